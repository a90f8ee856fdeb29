//! `sealstone keys rotate`, `retire`, `revoke` on files.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::place::{Place, Ran};

struct Keys(Place);

impl Keys {
    fn new() -> Self {
        let place = Place::new();
        assert_eq!(place.run(&["keygen", "--out", "ci/key.pem"]).status, 0);
        Self(place)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.0.run(&[&["keys"], arguments, &["--key", "ci/key.pem"]].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ran.status, 0, "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Keys by keyid.
    fn keyring(&self) -> Vec<(String, Value)> {
        let keyring: Value =
            serde_json::from_slice(&std::fs::read(self.0.path("ci/keyring.json")).unwrap()).unwrap();
        let keys = keyring["keys"].as_array().unwrap().iter();
        keys.map(|key| (key["keyid"].as_str().unwrap().to_owned(), key.clone())).collect()
    }

    fn terms(&self, keyid: &str) -> Value {
        self.keyring().into_iter().find(|(other, _)| other == keyid).unwrap().1
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path("ci")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn a_rotation_leaves_the_new_key_alone_or_the_old_one_beside_it_and_both_in_the_keyring() {
    let keys = Keys::new();
    let first = keys.keyring()[0].0.clone();
    let before = std::fs::read(keys.0.path("ci/key.pem")).unwrap();
    let rotated = keys.json(&["rotate"]);
    assert_eq!((rotated["old_keyid"].as_str(), &rotated["kept"]), (Some(first.as_str()), &Value::Null));
    assert_eq!(keys.files(), ["key.pem", "keyring.json"], "nothing is left of the old one");
    let (old, new) = (keys.terms(&first), keys.terms(rotated["keyid"].as_str().unwrap()));
    // A service seals with the old one until it has taken the new one.
    assert_eq!((&old["not_before"], &old["not_after"]), (&Value::Null, &Value::Null));
    assert!(new["not_before"].is_string() && new["not_after"].is_null());
    assert_ne!(std::fs::read(keys.0.path("ci/key.pem")).unwrap(), before);

    let before = std::fs::read(keys.0.path("ci/key.pem")).unwrap();
    let again = keys.json(&["rotate", "--keep-old"]);
    let old_keyid = again["old_keyid"].as_str().unwrap();
    assert_eq!(again["old_keyid"], rotated["keyid"]);
    let kept = format!("key.pem.{}.old", &old_keyid[..8]);
    assert_eq!(keys.files(), ["key.pem", &kept, "keyring.json"]);
    assert_eq!(std::fs::read(keys.0.path("ci").join(&kept)).unwrap(), before);
    for private in ["key.pem", &kept] {
        let mode = std::fs::metadata(keys.0.path("ci").join(private)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{private}");
    }
    let told = keys.run(&["rotate"]);
    assert!(told.stdout.contains("its private half is gone") && !told.stdout.contains("PRIVATE"), "{told:?}");
    assert_eq!(keys.keyring().len(), 4);
    let missing = keys.0.run(&["keys", "rotate", "--key", "nothing.pem"]);
    assert!(missing.status == 66 && missing.stderr.contains("nothing.pem"), "{missing:?}");
    assert!(!keys.0.path("keyring.json").exists());
}

#[test]
fn who_rotates_at_the_same_time_waits_and_no_key_is_missing_from_the_keyring() {
    let keys = Keys::new();
    let rotate = || keys.0.command(&["keys", "rotate", "--key", "ci/key.pem", "--json"]);
    let all: Vec<_> = (0..6).map(|_| rotate().stdout(std::process::Stdio::null()).spawn().unwrap()).collect();
    all.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    assert_eq!(keys.keyring().len(), 7);
    let rotated = keys.json(&["rotate"]);
    assert!(keys.keyring().iter().any(|(keyid, _)| *keyid == rotated["old_keyid"]));
}

#[test]
fn a_key_is_retired_at_a_time_that_stays_and_revoked_for_good() {
    let keys = Keys::new();
    let old = keys.keyring()[0].0.clone();
    let current = keys.run(&["retire", &old]);
    assert!(current.status == 64 && current.stderr.contains("rotate"), "{current:?}");
    assert!(keys.terms(&old)["not_after"].is_null());
    let new = keys.json(&["rotate"])["keyid"].as_str().unwrap().to_owned();
    // A time to come may be named also for the key that seals.
    let planned = keys.json(&["retire", &new, "--at", "2999-01-01T00:00:00.000Z"]);
    assert_eq!(planned["not_after"], "2999-01-01T00:00:00.000Z");
    let retired = keys.json(&["retire", &old[..8]]);
    assert_eq!(retired["keyid"], old.as_str());
    assert_eq!(keys.json(&["retire", &old])["not_after"], retired["not_after"], "said again");
    let earlier = keys.json(&["retire", &old, "--at", "2026-01-01T00:00:00.000Z"]);
    assert_eq!(earlier["not_after"], "2026-01-01T00:00:00.000Z");
    let never = keys.run(&["retire", &new, "--at", "2020-01-01T00:00:00.000Z"]);
    assert_eq!(never.status, 64, "{never:?}");
    let revoked = keys.json(&["revoke", &old]);
    assert_eq!((revoked["revoked"].as_bool(), &revoked["not_after"]), (Some(true), &earlier["not_after"]));
    let current = keys.run(&["revoke", &new]);
    assert!(
        current.status == 0 && current.stderr.contains("nothing is sealed with it any more"),
        "{current:?}"
    );
    let listed = keys.0.run(&["keys", "list", "ci/keyring.json"]).stdout;
    assert_eq!(listed.matches("revoked").count(), 2, "{listed}");
    // PEM has no terms: in it a revoked key would count.
    assert_eq!(keys.0.run(&["keys", "list", "--pem", "ci/keyring.json"]).stdout, "");
}

#[test]
fn a_key_that_is_not_there_is_told_and_changes_nothing() {
    let keys = Keys::new();
    let before = std::fs::read(keys.0.path("ci/keyring.json")).unwrap();
    let keyid = keys.keyring()[0].0.clone();
    for wrong in ["0000000000", "", &keyid[..7], &format!("{keyid}0")] {
        for command in ["retire", "revoke"] {
            let told = keys.run(&[command, wrong]);
            assert!(told.status == 64 && told.stderr.contains("has no key"), "{told:?}");
        }
    }
    assert_eq!(std::fs::read(keys.0.path("ci/keyring.json")).unwrap(), before);
    let nowhere = keys.0.run(&["keys", "revoke", &keyid, "--data-dir", "nowhere"]);
    assert!(nowhere.status == 66 && nowhere.stderr.contains("nowhere/keyring.json"), "{nowhere:?}");
    keys.0.write("ci/keyring.json", "{}");
    let broken = keys.run(&["rotate"]);
    assert!(broken.status == 73 && broken.stderr.contains("keyring.json"), "{broken:?}");
    assert_eq!(keys.files(), ["key.pem", "keyring.json"]);
}
