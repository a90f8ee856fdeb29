//! What a project settles: what is withheld in its runs, what of that is public, and when they expire.

use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Answer, Server};

fn put(server: &Server, project: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json")];
    server.request("PUT", &format!("/v1/projects/{project}"), &headers, body.to_string().as_bytes())
}

/// A sealed run with a label, a command and a gate that was answered.
fn sealed_run(server: &Server, project: &str) -> String {
    let body = json!({ "project": project, "labels": { "team": "core-team" }, "intent": "the-intent" });
    let run = server.post("/v1/runs", &body).json()["evidence_id"].as_str().unwrap().to_owned();
    let step = json!({ "type": "step_started", "step_id": "s", "kind": "test", "command": ["the-command"] });
    assert_eq!(server.post(&format!("/v1/runs/{run}/entries"), &step).status, 200);
    let finish = json!({ "type": "step", "step_id": "s", "status": "passed", "message": "the-message" });
    assert_eq!(server.post(&format!("/v1/runs/{run}/entries"), &finish).status, 200);
    assert_eq!(
        server
            .post(&format!("/v1/runs/{run}/gates"), &json!({ "gate_id": "g", "reason": "the-reason" }))
            .status,
        201
    );
    let resolved = server.post(
        &format!("/v1/runs/{run}/gates/g"),
        &json!({ "decision": "approved", "comment": "the-comment" }),
    );
    assert_eq!(resolved.status, 200);
    assert_eq!(
        server.post(&format!("/v1/runs/{run}/finalize"), &json!({ "result": "succeeded" })).status,
        200
    );
    run
}

const VALUES: [&str; 6] =
    ["core-team", "the-intent", "the-command", "the-message", "the-reason", "the-comment"];

fn shown(bytes: &[u8]) -> Vec<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    VALUES.into_iter().filter(|value| text.contains(value)).collect()
}

#[test]
fn what_a_project_makes_private_is_withheld_and_what_it_makes_public_is_in_the_pack() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let before = sealed_run(&server, "acme/widget");
    let settled =
        put(&server, "acme/widget", &json!({ "private": "*", "public": ["/run/labels", "/gates/*/reason"] }));
    assert_eq!(settled.status, 200, "{}", settled.json());
    assert_eq!(server.get("/v1/projects/acme/widget").json()["private"], json!(["*"]));
    let after = sealed_run(&server, "acme/widget");
    let other = sealed_run(&server, "acme/other");
    for (run, envelope, pack) in [
        // Settings are for runs that are opened later, and for no other project.
        (
            &before,
            &["core-team", "the-intent", "the-message", "the-reason", "the-comment"][..],
            &["core-team", "the-intent", "the-message", "the-reason", "the-comment"][..],
        ),
        (
            &other,
            &["core-team", "the-intent", "the-message", "the-reason", "the-comment"],
            &["core-team", "the-intent", "the-message", "the-reason", "the-comment"],
        ),
        (&after, &[], &["core-team", "the-reason"]),
    ] {
        let snapshot = server.get(&format!("/v1/runs/{run}"));
        assert_eq!(shown(&snapshot.body), envelope, "what is in the envelope itself");
        let whole = server.get(&format!("/v1/envelopes/{run}"));
        assert_eq!(shown(&whole.body), VALUES, "an admin sees all");
        let packed = server.get(&format!("/v1/envelopes/{run}/pack"));
        assert_eq!(shown(&packed.body), pack);
        for file in [&whole.body, &packed.body] {
            place.write("file.json", file);
            let verified = place.run(&["verify", "file.json", "--keys", "records/keyring.json"]);
            assert_eq!(verified.status, 0, "{verified:?}");
        }
        // Lists show no more than the envelope does.
        let listed = server.get("/v1/runs").json();
        let listed =
            listed["runs"].as_array().unwrap().iter().find(|listed| listed["evidence_id"] == **run).unwrap();
        assert_eq!(listed.to_string().contains("core-team"), envelope.contains(&"core-team"));
    }
}

#[test]
fn a_gate_whose_reason_is_private_does_not_show_it_while_it_is_open() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    assert_eq!(put(&server, "p", &json!({ "private": ["/gates/*/reason"] })).status, 200);
    let run = server.open();
    let gate =
        server.post(&format!("/v1/runs/{run}/gates"), &json!({ "gate_id": "g", "reason": "the-reason" }));
    assert_eq!(gate.status, 201);
    for answer in
        [gate, server.get(&format!("/v1/runs/{run}")), server.get(&format!("/v1/runs/{run}/gates/g"))]
    {
        assert_eq!(shown(&answer.body), [""; 0]);
    }
}

#[test]
fn a_project_settles_how_long_its_runs_may_take() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    assert_eq!(put(&server, "p", &json!({ "idle_timeout": 1 })).status, 200);
    let run = server.open();
    let sealed = server.wait_until(&format!("/v1/runs/{run}"), |run| run["state"] == "sealed");
    assert_eq!(sealed["result"], "expired");
    assert_eq!(sealed["envelope"]["outcome"]["reason"], "idle_timeout of 1 s passed");
}

#[test]
fn settings_that_mean_nothing_are_refused_and_change_nothing() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let defaults = server.get("/v1/projects/p").json();
    assert_eq!(
        defaults,
        json!({ "private": ["/execution/steps/*/command", "/run/trigger/actor"], "public": [] })
    );
    for (wrong, pointer) in [
        (json!({ "private": ["/run/run_id"] }), "/private"),
        (json!({ "private": "all" }), "/private"),
        (json!({ "public": [1] }), "/public"),
        (json!({ "private": vec!["*"; 129] }), "/private"),
        (json!({ "private": [format!("/run/labels/{}", "x".repeat(600))] }), "/private"),
        (json!({ "public": ["nonsense"] }), "/public"),
        (json!({ "idle_timeout": 0 }), "/idle_timeout"),
        (json!({ "max_run_duration": "1h" }), "/max_run_duration"),
        (json!({ "redact": "all" }), "/redact"),
        (json!({ "redact": vec![json!({ "rule_id": "r", "pattern": "x" }); 51] }), "/redact"),
        (json!({ "redact": [1] }), "/redact/0"),
        (json!({ "redact": [{ "rule_id": "r" }] }), "/redact/0/pattern"),
        (json!({ "redact": [{ "rule_id": "r", "pattern": "x*" }] }), "/redact/0/pattern"),
        (json!({ "redact": [{ "rule_id": "r", "pattern": "(" }] }), "/redact/0/pattern"),
        (json!({ "redact": [{ "rule_id": "r", "pattern": "x", "flags": "i" }] }), "/redact/0/flags"),
        (json!({ "redact": vec![json!({ "rule_id": "r", "pattern": "x" }); 2] }), "/redact/1/rule_id"),
        (json!({ "colour": "red" }), "/colour"),
    ] {
        let answer = put(&server, "p", &wrong);
        assert_eq!((answer.status, answer.json()["pointer"].as_str()), (422, Some(pointer)), "{wrong}");
    }
    assert_eq!(server.get("/v1/projects/p").json(), defaults);
    assert_eq!(server.get("/v1/projects/a//b").json()["code"], "path_invalid");
}
