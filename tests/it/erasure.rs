//! Erasure: what is erased is in no answer and, once the store is compacted, in no file; what is sealed stays as it was.

use sealstone::evidence::digest::Digest;
use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Answer, Server};

/// Withheld values, and where.
const VALUES: [(&str, &str); 5] = [
    ("/run/trigger", "actor-7f3a9c"),
    ("/execution/steps/0/command", "command-5b1e8d"),
    ("/execution/steps/1/message", "message-2c4d6e"),
    ("/gates/0/reason", "reason-9e8f7a"),
    ("/outcome/reason", "outcome-1a2b3c"),
];

fn put(server: &Server, path: &str, body: &Value) -> Answer {
    server.request("PUT", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
}

fn erase(server: &Server, run: &str, at: &str) -> Answer {
    let path = format!("/v1/envelopes/{run}/disclosures?at={}", at.replace('/', "%2F"));
    server.request("DELETE", &path, &[], b"")
}

fn started() -> Value {
    json!({ "type": "step_started", "step_id": "a", "kind": "test", "command": ["sh", VALUES[1].1] })
}

fn other() -> Value {
    json!({ "type": "step", "step_id": "b", "kind": "test", "status": "failed", "message": VALUES[2].1 })
}

/// A sealed run in which all of them are withheld.
fn sealed(server: &Server) -> String {
    let value = |n: usize| VALUES[n].1;
    assert_eq!(put(server, "/v1/projects/p", &json!({ "private": "*" })).status, 200);
    let opened = server.post("/v1/runs", &json!({ "project": "p", "trigger": { "actor": value(0) } }));
    let run = opened.json()["evidence_id"].as_str().unwrap().to_owned();
    let entries = format!("/v1/runs/{run}/entries");
    let started =
        json!({ "type": "step_started", "step_id": "a", "kind": "test", "command": ["sh", value(1)] });
    let finished = json!({ "type": "step", "step_id": "a", "status": "passed" });
    let other =
        json!({ "type": "step", "step_id": "b", "kind": "test", "status": "failed", "message": value(2) });
    for entry in [started, finished, other] {
        assert_eq!(server.post(&entries, &entry).status, 200);
    }
    server.post(&format!("/v1/runs/{run}/gates"), &json!({ "gate_id": "g", "reason": value(3) }));
    let close = json!({ "reason": value(4), "force": true });
    assert_eq!(server.post(&format!("/v1/runs/{run}/abort"), &close).status, 202);
    server.wait_until(&format!("/v1/runs/{run}?envelope=false"), |run| run["state"] == "sealed");
    run
}

/// All that can be asked about a run.
fn answers(server: &Server, run: &str) -> String {
    let paths = [
        "/v1/runs",
        "/v1/runs/{run}",
        "/v1/runs/{run}/gates/g",
        "/v1/envelopes/{run}",
        "/v1/envelopes/{run}/verification",
    ];
    paths.map(|path| String::from_utf8(server.get(&path.replace("{run}", run)).body).unwrap()).concat()
}

#[test]
fn an_erased_value_is_in_no_answer_and_after_compaction_in_no_file() {
    for engine in ["fjall", "sled"] {
        let place = Place::new();
        let mut server = Server::start(&place, &["--engine", engine]);
        let run = sealed(&server);
        let before = server.get(&format!("/v1/envelopes/{run}")).json();
        for (n, (at, value)) in VALUES.into_iter().enumerate() {
            // As it was, it can be found.
            assert!(answers(&server, &run).contains(value), "{value}");
            assert_ne!(place.files_with(value), [""; 0], "{value}");
            assert_eq!(erase(&server, &run, at).status, 204, "{at}");
            assert!(!answers(&server, &run).contains(value), "{value}");
            let again = erase(&server, &run, at);
            assert_eq!((again.status, &again.json()["code"]), (404, &json!("disclosure_not_found")));
            // What is sealed is untouched, and what is left of the disclosures still opens it.
            let report = server.get(&format!("/v1/envelopes/{run}/verification")).json();
            assert_eq!(report["verdict"], "verified");
            let after = server.get(&format!("/v1/envelopes/{run}")).json();
            assert_eq!((&after["envelope"], &after["seal"]), (&before["envelope"], &before["seal"]));
            let gone = before["disclosures"].as_array().unwrap().len()
                - after["disclosures"].as_array().unwrap().len();
            assert_eq!(gone, n + 1);
        }
        // Nor are the digests there of what was asked, by which a value could be guessed.
        // (serde_json's order of names is the canonical one here.)
        let asked = [started().to_string(), other().to_string()].map(|asked| *Digest::of(asked).as_bytes());
        // While it serves, where the engine can do that.
        let online = server.request("POST", "/v1/compaction", &[], b"");
        if engine == "sled" {
            assert_eq!((online.status, &online.json()["code"]), (409, &json!("compaction_offline")));
            server.kill();
            let compacted = place.run(&["store", "compact", "--data-dir", "records"]);
            assert_eq!(compacted.status, 0, "{compacted:?}");
        } else {
            assert_eq!(online.status, 204, "{online:?}");
        }
        for (_, value) in VALUES {
            assert_eq!(place.files_with(value), [""; 0], "{value} on {engine}");
        }
        for digest in asked {
            assert_eq!(place.files_with(digest), [""; 0], "a digest of a request, on {engine}");
        }
        server.kill();
        let checked = place.run(&["store", "check", "--data-dir", "records"]);
        assert_eq!(checked.status, 0, "{checked:?}");
        let server = Server::start(&place, &["--engine", engine]);
        assert_eq!(server.get(&format!("/v1/envelopes/{run}")).json()["seal"], before["seal"]);
    }
}

#[test]
fn only_what_is_withheld_in_a_sealed_run_can_be_erased() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let open = server.open();
    let early = erase(&server, &open, "/run/trigger");
    assert_eq!((early.status, &early.json()["code"]), (409, &json!("run_not_sealed")));
    let run = sealed(&server);
    for at in ["", "/", "/run/project", "/execution/steps/9/command", "no-pointer"] {
        let answer = erase(&server, &run, at);
        assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("disclosure_not_found")), "{at}");
    }
    let missing = server.request("DELETE", &format!("/v1/envelopes/{run}/disclosures"), &[], b"");
    assert_eq!((missing.status, &missing.json()["code"]), (400, &json!("parameter_invalid")));
    assert_eq!(
        server.get(&format!("/v1/envelopes/{run}")).json()["disclosures"].as_array().unwrap().len(),
        VALUES.len()
    );
}
