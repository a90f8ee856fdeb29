//! The offline commands: the right exit status, one clear line for bad input, and nothing but the answer on standard output.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::place::{Place, Ran, text};
use crate::vectors::{cases, dir};

fn vector(name: &str) -> String {
    dir().join(name).to_str().unwrap().to_owned()
}

/// A one-line error with this in it.
fn assert_refused(ran: &Ran, status: i32, says: &str) {
    assert_eq!(ran.status, status, "{ran:?}");
    let told = if ran.stdout.is_empty() { &ran.stderr } else { &ran.stdout };
    assert!(told.contains(says), "{says:?} is not in {told}");
}

#[test]
fn verify_gives_every_case_its_verdict_and_exit_status() {
    let place = Place::new();
    for (name, case) in cases() {
        let mut arguments =
            vec!["verify".to_owned(), "--json".to_owned(), vector(case["file"].as_str().unwrap())];
        let inputs = &case["inputs"];
        for file in case["keyring"].as_array().into_iter().flatten() {
            arguments.extend(["--keys".to_owned(), vector(file.as_str().unwrap())]);
        }
        for head in inputs["heads"].as_array().into_iter().flatten() {
            arguments.push(format!("--head={}:{}", head[0], head[1].as_str().unwrap()));
        }
        for (member, value) in inputs["expect"].as_object().into_iter().flatten() {
            arguments.push(format!("--expect={member}={}", value.as_str().unwrap()));
        }
        if let Some(threshold) = inputs["threshold"].as_u64() {
            arguments.push(format!("--threshold={threshold}"));
        }
        if inputs["artifacts"].is_object() {
            continue; // artifacts_are_found_by_name_and_by_digest
        }
        let ran = place.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(report["verdict"], case["verdict"], "{name}");
        let statuses = ["verified", "rejected", "unreadable", "integrity_only", "prefix"];
        let status = statuses.iter().position(|verdict| case["verdict"] == **verdict).unwrap();
        assert_eq!(ran.status, i32::try_from(status).unwrap(), "{name}");
    }
}

#[test]
fn artifacts_are_found_by_name_and_by_digest() {
    let place = Place::new();
    let envelope = vector("valid/ci-pipeline.json");
    let keys = vector("keys/trusted.pub.pem");
    let (junit, widget) = (place.write("j.xml", "junit"), place.write("w", "widget"));
    let (junit, widget) = (format!("junit={}", text(&junit)), format!("dist/bin={}", text(&widget)));
    let verify = |more: &[&str]| {
        let ran =
            place.run(&[&["verify", "--json", envelope.as_str(), "--keys", keys.as_str()], more].concat());
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        (ran.status, report["axes"]["artifacts"].clone(), report["first_failure"]["code"].clone())
    };
    assert_eq!(verify(&["--artifact", &junit]), (0, "not_checked".into(), Value::Null));
    assert_eq!(verify(&["--artifact", &junit, "--artifact", &widget]), (0, "pass".into(), Value::Null));
    let wrong = junit.replace("junit=", "dist/bin=");
    assert_eq!(verify(&["--artifact", &wrong]), (1, "fail".into(), "artifact.digest_mismatch".into()));

    fs::create_dir_all(place.path("store/deep")).unwrap();
    place.write("store/one", "junit");
    let store = place.path("store");
    assert_eq!(verify(&["--artifacts", text(&store)]), (1, "fail".into(), "artifact.missing".into()));
    place.write("store/deep/two", "widget");
    assert_eq!(verify(&["--artifacts", text(&store)]), (0, "pass".into(), Value::Null));
}

#[test]
fn a_directory_is_judged_file_by_file_and_the_worst_counts() {
    let place = Place::new();
    let keys = vector("keys/trusted.pub.pem");
    let copy = |from: &str, to: &str| fs::copy(vector(from), place.path(to)).unwrap();
    copy("valid/minimal.json", "a.json");
    copy("keyrings/good/scoped.json", "keyring.json");
    place.write("notes.txt", "not an envelope");
    let verify = || place.run(&["verify", ".", "--keys", &keys]);
    assert_eq!((verify().status, verify().stdout.lines().count()), (0, 1));
    copy("prefix/open-run.json", "b.json");
    assert_eq!(verify().status, 4);
    place.write("c.json", &fs::read(vector("valid/minimal.json")).unwrap()[..500]);
    assert_eq!(verify().status, 2);
    copy("invalid/signature.none.json", "d.json");
    let ran = verify();
    assert_eq!((ran.status, ran.stdout.lines().count()), (1, 4));
    let words: Vec<&str> = ran.stdout.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(words, ["verified", "prefix", "unreadable", "rejected"]);
    assert!(ran.stderr.contains("2 other file(s)"), "{}", ran.stderr);
    for line in place.run(&["verify", ".", "--json"]).stdout.lines() {
        assert!(serde_json::from_str::<Value>(line).unwrap()["report"]["verdict"].is_string());
    }
}

#[test]
fn every_path_is_judged_and_an_unread_one_is_not_forgotten() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    let (good, bad, keys) =
        (vector("valid/minimal.json"), vector("invalid/signature.none.json"), vector("keys/trusted.pub.pem"));
    let ran = place.run(&["verify", "--keys", &keys, &good, "empty", "nowhere", &bad]);
    assert_eq!((ran.status, ran.stdout.lines().count()), (1, 2), "{ran:?}");
    assert_eq!(place.run(&["verify", "--keys", &keys, &good, "nowhere"]).status, 66);
    assert_eq!(place.run(&["verify", &good, "nowhere"]).status, 66);
}

#[test]
fn bad_input_gets_one_clear_line_and_the_right_status() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    assert_refused(&place.run(&["verify", "empty"]), 66, "no sealed envelopes");
    assert_refused(&place.run(&["verify", "nowhere.json"]), 66, "cannot read nowhere.json");
    place.write("nothing.json", "");
    assert_refused(&place.run(&["verify", "nothing.json"]), 2, "json.syntax");
    place.write("binary", [0xff, 0xfe, 0, 1, 2]);
    assert_refused(&place.run(&["verify", "binary"]), 2, "not UTF-8");
    let valid = fs::read(vector("valid/ci-pipeline.json")).unwrap();
    place.write("cut.json", &valid[..valid.len() - 10]);
    assert_refused(&place.run(&["verify", "cut.json"]), 2, "the text ends inside a string");
    assert_refused(&place.run(&["show", "cut.json"]), 2, "json.syntax");
    assert_refused(&place.run(&["pack", "cut.json"]), 2, "json.syntax");
    let prefix = vector("prefix/open-run.json");
    assert_refused(&place.run(&["pack", &prefix]), 2, "seal.missing");

    let private = vector("keys/trusted.pem");
    let minimal = vector("valid/minimal.json");
    assert_refused(&place.run(&["verify", &minimal, "--keys", &private]), 2, "keyring.invalid");
    assert_refused(&place.run(&["verify", &minimal, "--keys", &private]), 2, "private key");
    let bad = vector("keyrings/invalid/twice.json");
    assert_refused(&place.run(&["verify", &minimal, "--keys", &bad]), 2, "keyring.invalid");
    for wrong in [
        ["--head", "1:x"],
        ["--expect", "color=red"],
        ["--artifact", "x"],
        ["--threshold", "0"],
        ["--head", "x"],
        ["--nonsense", "x"],
    ] {
        assert_eq!(place.run(&["verify", &minimal, wrong[0], wrong[1]]).status, 64, "{wrong:?}");
    }
    assert_refused(
        &place.run(&["pack", &minimal, "--keep", "/run/project"]),
        64,
        "names nothing that may be withheld",
    );
    assert_refused(&place.run(&["verify", &minimal, "--artifact", "x=."]), 66, "not a regular file");
    assert_eq!(place.run(&[]).status, 64);
    assert_eq!(place.run(&["--help"]).status, 0);
}

#[test]
fn input_without_end_is_refused_in_bounded_memory() {
    let place = Place::new();
    let limited = |input: &str| {
        // 1 GiB of address space: what is read is at most the 128 MiB of a file, and one byte.
        let script = format!("ulimit -v 1048576; {input} | \"$0\" verify -");
        let output =
            Command::new("bash").args(["-c", &script, env!("CARGO_BIN_EXE_sealstone")]).output().unwrap();
        Ran::from(output)
    };
    assert_refused(&limited("head -c 1G /dev/zero | tr '\\0' '['"), 2, "json.too_large");
    assert_refused(&limited("head -c 100M /dev/zero | tr '\\0' '['"), 2, "json.too_deep");
    assert_refused(&limited("yes"), 2, "json.too_large");

    let fifo = place.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let script = format!("exec yes > '{}'", fifo.display());
    let mut writer = Command::new("bash").args(["-c", &script]).stderr(Stdio::null()).spawn().unwrap();
    let ran = place.run(&["verify", text(&fifo)]);
    assert_refused(&ran, 2, "json.too_large");
    // The writer ends by itself when nobody reads any more.
    assert!(!writer.wait().unwrap().success());
}

#[test]
fn what_is_shown_cannot_command_the_terminal() {
    let place = Place::new();
    let ran = place.run(&["show", &vector("valid/torture.json")]);
    assert_eq!(ran.status, 0);
    assert!(ran.stdout.contains("\\u{1b}[31mred"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stdout.contains('\r'));
    for name in [
        "valid/ci-pipeline.json",
        "prefix/open-run.json",
        "valid/fully-withheld.json",
        "valid/disclosed.json",
    ] {
        assert_eq!(place.run(&["show", &vector(name)]).status, 0, "{name}");
        let json = place.run(&["show", "--json", &vector(name)]).stdout;
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["format"], "sealstone.envelope.v1");
    }
}

#[test]
fn a_pack_keeps_the_seal_and_only_the_disclosures_asked_for() {
    let place = Place::new();
    let (from, keys) = (vector("valid/disclosed.json"), vector("keys/trusted.pub.pem"));
    let withheld = |arguments: &[&str]| {
        let pack = place.run(arguments);
        assert_eq!(pack.status, 0, "{pack:?}");
        place.write("pack.json", &pack.stdout);
        let report = place.run(&["verify", "--json", "pack.json", "--keys", &keys]).stdout;
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["verdict"], "verified");
        report["withheld"].as_u64().unwrap()
    };
    assert_eq!(withheld(&["pack", &from]), 6);
    assert_eq!(withheld(&["pack", &from, "--keep", "/execution/steps/*/command"]), 5);
    assert_eq!(withheld(&["pack", &from, "--keep", "*"]), 0);
    assert_eq!(place.run(&["pack", &from, "--out", "nowhere/x.json"]).status, 73);
}

#[test]
fn what_a_program_reads_is_exact_to_the_byte() {
    let place = Place::new();
    // torture.json has U+007F and U+0085 in it, which canonical form leaves as they are.
    let from = vector("valid/torture.json");
    let packed = place.command(&["pack", &from]).output().unwrap().stdout;
    assert!(packed.contains(&0x7f) && packed == fs::read(&from).unwrap());
    let shown = place.run(&["show", "--json", &from]).stdout;
    assert!(!shown.contains(['\u{7f}', '\u{85}']));
    let sealed: Value = serde_json::from_slice(&packed).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), sealed["envelope"]);
}

#[test]
fn keygen_makes_a_key_once_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let made: Value =
        serde_json::from_str(&place.run(&["keygen", "--json", "--out", "k/key.pem"]).stdout).unwrap();
    let mode = fs::metadata(place.path("k/key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_refused(&place.run(&["keygen", "--out", "k/key.pem"]), 73, "never written over");
    let listed = place.run(&["keys", "list", "k/keyring.json"]);
    assert!(listed.stdout.contains(made["keyid"].as_str().unwrap()), "{listed:?}");
    let pem = place.run(&["keys", "list", "--pem", "k/keyring.json"]).stdout;
    place.write("public.pem", pem);
    let again = place.run(&["keys", "list", "--json", "public.pem"]).stdout;
    assert_eq!(again, place.run(&["keys", "list", "--json", "k/keyring.json"]).stdout);
    assert_refused(&place.run(&["keys", "list"]), 66, "cannot read");
}

#[cfg(not(feature = "client"))]
#[test]
fn a_build_without_a_feature_names_it() {
    for arguments in [&["exec", "--", "true"][..], &["watch", "r1", "--check"]] {
        assert_refused(&Place::new().run(arguments), 64, "feature `client`");
    }
}
