//! A running service takes another key, and what is said of keys, on SIGHUP.

use serde_json::{Value, json};

use crate::place::Place;
use crate::server::Server;

struct Serving {
    place: Place,
    server: Server,
}

impl Serving {
    fn new() -> Self {
        let place = Place::new();
        let server = Server::start(&place, &[]);
        Self { place, server }
    }

    fn restart(&mut self) {
        self.server.kill();
        self.server = Server::start(&self.place, &[]);
    }

    fn keys(&self, arguments: &[&str]) -> Value {
        let ran = self.place.run(&[&["keys"], arguments, &["--data-dir", "records", "--json"]].concat());
        assert_eq!(ran.status, 0, "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    }

    fn rotate(&self) -> String {
        self.keys(&["rotate"])["keyid"].as_str().unwrap().to_owned()
    }

    /// Opens a run and seals it: its evidence_id, and the keyid of the seal.
    fn sealed(&self) -> (String, String) {
        let run = self.server.open();
        let closed = self.server.post(&format!("/v1/runs/{run}/finalize"), &json!({ "result": "succeeded" }));
        assert_eq!(closed.status, 200, "{closed:?}");
        let keyid = self.sealed_by(&run);
        (run, keyid)
    }

    fn sealed_by(&self, run: &str) -> String {
        let file = self.server.get(&format!("/v1/envelopes/{run}")).json();
        file["seal"]["signatures"][0]["keyid"].as_str().unwrap().to_owned()
    }

    fn served(&self) -> Value {
        self.server.get("/v1/keys").json()
    }

    fn terms(&self, keyid: &str) -> Value {
        let served = self.served();
        let found = served["keys"].as_array().unwrap().iter().find(|key| key["keyid"] == keyid);
        found.cloned().unwrap_or_default()
    }

    /// Exit status of `verify` with the keyring that is served, and what it says.
    fn judged(&self, run: &str) -> (i32, String) {
        self.place.write("served.json", self.server.get("/v1/keys").body);
        self.place.write("sealed.json", self.server.get(&format!("/v1/envelopes/{run}")).body);
        let ran = self.place.run(&["verify", "sealed.json", "--keys", "served.json", "--json"]);
        (ran.status, ran.stdout)
    }
}

#[test]
fn what_is_sealed_before_and_after_a_rotation_verifies_with_the_served_keyring() {
    let mut serving = Serving::new();
    let (before, old) = serving.sealed();
    let new = serving.rotate();
    let (between, by) = serving.sealed();
    assert_eq!((&by, serving.terms(&new)), (&old, Value::Null), "nothing is taken before it is told");
    let told = serving.server.hangup();
    assert!(told.contains(&format!("sealed by {new}")), "{told}");
    let (after, by) = serving.sealed();
    assert_eq!(by, new);
    let on_disk = std::fs::read(serving.place.path("records/keyring.json")).unwrap();
    assert_eq!(serving.served(), serde_json::from_slice::<Value>(&on_disk).unwrap());
    for run in [&before, &between, &after] {
        assert_eq!(serving.judged(run).0, 0);
    }
    let retired = serving.keys(&["retire", &old]);
    serving.server.hangup();
    for restarted in [false, true] {
        if restarted {
            serving.restart();
        }
        assert_eq!(serving.terms(&old)["not_after"], retired["not_after"]);
        for run in [&before, &between, &after] {
            assert_eq!(serving.judged(run).0, 0, "{:?}", serving.judged(run));
        }
        assert_eq!(serving.sealed().1, new);
    }
}

#[test]
fn what_a_revoked_key_sealed_is_rejected_with_the_served_keyring_for_good() {
    let mut serving = Serving::new();
    let keyring = std::fs::read(serving.place.path("records/keyring.json")).unwrap();
    let (by_old, old) = serving.sealed();
    serving.rotate();
    serving.server.hangup();
    let (by_new, _) = serving.sealed();
    serving.keys(&["revoke", &old]);
    assert_eq!(serving.judged(&by_old).0, 0);
    serving.server.hangup();
    for round in ["taken", "started again", "with an old keyring"] {
        if round == "with an old keyring" {
            serving.place.write("records/keyring.json", &keyring);
        }
        if round != "taken" {
            serving.restart();
        }
        assert_eq!(serving.terms(&old)["revoked"], true, "{round}");
        let (status, told) = serving.judged(&by_old);
        assert!(status == 1 && told.contains("key.revoked"), "{round}: {told}");
        let verification = serving.server.get(&format!("/v1/envelopes/{by_old}/verification")).json();
        assert_eq!(verification["verdict"], "rejected", "{round}");
        assert_eq!(serving.judged(&by_new).0, 0, "{round}");
    }
    let pem = String::from_utf8(serving.server.get("/v1/keys.pem").body).unwrap();
    assert_eq!(pem.matches("BEGIN PUBLIC KEY").count(), 1, "PEM has no terms: in it the key would count");
    // Whom nobody trusts any more has sealed these records all the same.
    serving.server.kill();
    let checked = serving.place.run(&["store", "check", "--data-dir", "records"]);
    assert_eq!(checked.status, 0, "{checked:?}");
}

#[test]
fn what_cannot_be_taken_leaves_key_and_keyring_as_they_were() {
    let mut serving = Serving::new();
    let (_, old) = serving.sealed();
    let served = serving.served();
    let read = |name: &str| std::fs::read(serving.place.path(name)).unwrap();
    let (key, keyring) = (read("records/key.pem"), read("records/keyring.json"));
    let other = Place::new();
    other.run(&["keygen", "--out", "key.pem", "--json"]);
    let revoked = other.run(&["keys", "list", "keyring.json"]).stdout[..64].to_owned();
    other.run(&["keys", "revoke", &revoked, "--key", "key.pem"]);
    let of_other = |name: &str| std::fs::read(other.path(name)).unwrap();
    let half = key[..key.len() / 2].to_vec();
    for (what, new_key, new_keyring, tells) in [
        ("a key that is none", b"garbage".to_vec(), keyring.clone(), "not an Ed25519 private key"),
        ("half a key", half, keyring.clone(), "not an Ed25519 private key"),
        ("a keyring that is none", key.clone(), b"{\"keys\":1}".to_vec(), "keyring.invalid"),
        ("a revoked key", of_other("key.pem"), of_other("keyring.json"), "is revoked"),
    ] {
        serving.place.write("records/key.pem", &new_key);
        serving.place.write("records/keyring.json", &new_keyring);
        let told = serving.server.hangup();
        assert!(told.contains("stay as they were") && told.contains(tells), "{what}: {told}");
        assert!(!told.contains("PRIVATE KEY-----"), "{told}");
        assert_eq!(serving.served(), served, "{what}");
        let (run, by) = serving.sealed();
        assert_eq!((by, serving.judged(&run).0), (old.clone(), 0), "{what}");
    }
    std::fs::remove_file(serving.place.path("records/key.pem")).unwrap();
    serving.place.write("records/keyring.json", &keyring);
    assert!(serving.server.hangup().contains("stay as they were"));
    assert!(!serving.place.path("records/key.pem").exists(), "no key is made by the way");
    serving.place.write("records/key.pem", &key);
    assert!(serving.server.hangup().contains(&format!("sealed by {old}")));
    // Nor is anything served when nobody knows on what terms.
    serving.place.write("records/keyring.json", "{}");
    serving.server.kill();
    let refused = Server::try_start(&serving.place, &[]).err().expect("it started");
    assert!(refused.starts_with("2 ") && refused.contains("keyring.invalid"), "{refused}");
}

#[test]
fn nothing_is_sealed_with_a_revoked_key_and_what_waits_is_sealed_by_the_next() {
    let mut serving = Serving::new();
    let (_, old) = serving.sealed();
    serving.keys(&["revoke", &old]);
    let told = serving.server.hangup();
    assert!(told.contains("nothing is sealed any more") && told.contains(&old), "{told}");
    let run = serving.server.open();
    let finalize = format!("/v1/runs/{run}/finalize");
    let pending = serving.server.post(&finalize, &json!({ "result": "succeeded" }));
    assert_eq!((pending.status, pending.json()["code"].as_str()), (503, Some("seal_pending")));
    let ready = serving.server.get("/readyz");
    assert!(ready.status == 503 && ready.json()["reasons"][0].as_str().unwrap().contains("is revoked"));
    // Nor does it start with it.
    serving.server.kill();
    let refused = Server::try_start(&serving.place, &[]).err().expect("it started");
    assert!(refused.contains("is revoked") && refused.contains("keys rotate"), "{refused}");
    serving.rotate();
    serving.server = Server::start(&serving.place, &[]);
    let closed = serving.server.post(&finalize, &json!({ "result": "succeeded" }));
    assert_eq!(closed.status, 200, "{closed:?}");
    assert_eq!(serving.judged(&run).0, 0);
    assert_eq!(serving.server.get("/readyz").status, 200);
}
