//! What a project settles: what is withheld in its runs, what of that is public, and when they expire.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::documented::{document, operation};
use crate::place::Place;
use crate::server::{Answer, Server};

fn put(server: &Server, project: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json")];
    server.request("PUT", &format!("/v1/projects/{project}"), &headers, body.to_string().as_bytes())
}

/// A sealed run with a label, a command and a gate that was answered.
fn sealed_run(server: &Server, project: &str) -> String {
    sealed_run_with(server, project, &json!([]))
}

/// And one that withholds these itself.
fn sealed_run_with(server: &Server, project: &str, private: &Value) -> String {
    let body = json!({ "project": project, "labels": { "team": "core-team" }, "intent": "the-intent", "private": private });
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
fn what_a_run_makes_private_itself_is_disclosed_to_auditors_and_admins_whatever_is_public() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let settled = json!({ "private": ["/execution/steps/*/command", "/run/labels"],
        "public": ["/execution/steps/*/command", "/run/labels"] });
    assert_eq!(put(&server, "p", &settled).status, 200);
    let own = json!(["/run/intent", "/run/labels/team", "/gates/*/reason"]);
    let run = sealed_run_with(&server, "p", &own);
    let page = [("Accept", "application/json")];
    let events = server.request("GET", &format!("/v1/runs/{run}/events"), &page, b"");
    for answer in [events, server.get(&format!("/v1/runs/{run}"))] {
        assert_eq!(shown(&answer.body), ["the-message", "the-comment"]);
    }
    assert_eq!(shown(&server.get("/v1/runs").body), [""; 0]);
    // Nor is it a member of the run.
    let snapshot = server.get(&format!("/v1/runs/{run}")).json();
    assert_eq!(snapshot["envelope"]["run"].get("private"), None);
    // Other runs of the project go on as it has settled.
    let other = server.get(&format!("/v1/envelopes/{}/pack", sealed_run(&server, "p")));
    assert_eq!(shown(&other.body), VALUES);

    let root = server.post("/v1/tokens", &json!({ "name": "root", "role": "admin" })).json();
    let bearer = |token: &Value| format!("Bearer {}", token["token"].as_str().unwrap());
    let as_admin = bearer(&root);
    let ask = |as_whom: &str, method: &str, path: &str, body: &Value| {
        let headers = [("Authorization", as_whom), ("Content-Type", "application/json")];
        server.request(method, path, &headers, body.to_string().as_bytes())
    };
    for role in ["writer", "approver", "reader", "auditor", "admin"] {
        let made = ask(&as_admin, "POST", "/v1/tokens", &json!({ "name": role, "role": role })).json();
        let file = ask(&bearer(&made), "GET", &format!("/v1/envelopes/{run}"), &json!({})).body;
        let all = ["auditor", "admin"].contains(&role);
        let expected = if all { &VALUES[..] } else { &["the-command", "the-message", "the-comment"] };
        assert_eq!(shown(&file), expected, "{role}");
        place.write("file.json", &file);
        let verified = place.run(&["verify", "file.json", "--keys", "records/keyring.json"]);
        assert_eq!(verified.status, 0, "{verified:?}");
    }
}

#[test]
fn a_run_is_opened_once_by_the_same_private_list_and_by_no_other() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let open = |private: Value| {
        let body = json!({ "project": "p", "run_id": "r", "intent": "the-intent", "private": private });
        server.post("/v1/runs", &body)
    };
    for (wrong, pointer) in [
        (json!(["/run/run_id"]), "/private/0"),
        (json!(["/run/intent", "nonsense"]), "/private/1"),
        (json!(["/run/intent", 1]), "/private/1"),
        (json!([format!("/run/labels/{}", "x".repeat(600))]), "/private/0"),
        (json!(vec!["*"; 129]), "/private"),
        (json!("all"), "/private"),
        (json!({}), "/private"),
        (json!(null), "/private"),
    ] {
        let answer = open(wrong.clone());
        assert_eq!((answer.status, answer.json()["pointer"].as_str()), (422, Some(pointer)), "{wrong}");
    }
    let opened = open(json!(["/run/intent", "/run/labels"]));
    assert_eq!(opened.status, 201, "{opened:?}");
    for again in [json!(["/run/intent", "/run/labels"]), json!(["/run/labels", "/run/intent", "/run/labels"])]
    {
        assert_eq!(open(again).json()["evidence_id"], opened.json()["evidence_id"]);
    }
    for other in [json!([]), json!(["/run/intent"]), json!("*")] {
        let answer = open(other);
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("run_exists")));
    }
    // The first line of a stream is the same.
    let stream = |line: &Value| {
        let headers = [("Content-Type", "application/x-ndjson")];
        let body = format!("{line}\n{{\"type\":\"finalize\",\"result\":\"failed\"}}\n");
        server.request("POST", "/v1/stream", &headers, body.as_bytes())
    };
    let mut line = json!({ "type": "run", "project": "p", "run_id": "r", "intent": "the-intent" });
    assert_eq!(stream(&line).json()["code"], "run_exists");
    line["private"] = json!(["/run/intent", "/run/labels"]);
    let followed = stream(&line);
    let text = String::from_utf8_lossy(&followed.body);
    assert!(text.contains("run_finalized") && shown(&followed.body).is_empty(), "{text}");
    line["private"] = json!(["/run/project"]);
    let refused = stream(&line).json();
    assert_eq!((&refused["pointer"], &refused["line"]), (&json!("/private/0"), &json!(1)));
}

#[test]
fn who_reports_is_told_after_how_long_without_a_word_the_run_expires() {
    let place = Place::new();
    let server = Server::start(&place, &["--idle-timeout", "90s"]);
    assert_eq!(put(&server, "brief", &json!({ "idle_timeout": 7 })).status, 200);
    for (project, seconds) in [("p", 90), ("brief", 7)] {
        let opened = server.post("/v1/runs", &json!({ "project": project, "run_id": "r" })).json();
        assert_eq!(opened["idle_timeout"], seconds);
        // For runs opened later.
        assert_eq!(put(&server, project, &json!({ "idle_timeout": 8 })).status, 200);
        let own = opened["links"]["self"].as_str().unwrap();
        assert_eq!(server.get(own).json()["idle_timeout"], seconds);
    }
}

#[cfg(feature = "client")]
#[test]
fn the_client_finds_a_run_by_its_name_and_project_and_tells_how_it_stands() {
    use sealstone::client::{Client, ClientError, Retry};

    let place = Place::new();
    let server = Server::start(&place, &[]);
    for project in ["a", "b"] {
        assert_eq!(server.post("/v1/runs", &json!({ "project": project, "run_id": "r" })).status, 201);
    }
    assert_eq!(server.post("/v1/runs/r/abort?project=b", &json!({})).status, 202);
    let client = Client::new(&server.url(), None, &[], Retry::default(), || [7; 16]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let look = |run: &str| runtime.block_on(client.run(run));
    for (project, abort_requested) in [("a", false), ("b", true)] {
        let found = look(&format!("{project}/r")).unwrap();
        assert_eq!((found.project.as_str(), found.run_id.as_str()), (project, "r"));
        assert_eq!((found.state.as_str(), found.abort_requested), ("open", abort_requested));
        assert_eq!(found.idle_timeout, Some(3_600));
    }
    let refused = look("r").unwrap_err();
    assert!(matches!(&refused, ClientError::Refused { code, .. } if code == "run_ambiguous"), "{refused}");
}

#[test]
fn a_gate_whose_reason_is_private_does_not_show_it_while_it_is_open() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    // Which place it will have among the gates is known once it is answered.
    for private in ["/gates/*/reason", "/gates/1/reason"] {
        assert_eq!(put(&server, "p", &json!({ "private": [private] })).status, 200);
        let run = server.open();
        let gate =
            server.post(&format!("/v1/runs/{run}/gates"), &json!({ "gate_id": "g", "reason": "the-reason" }));
        assert_eq!(gate.status, 201);
        for answer in
            [gate, server.get(&format!("/v1/runs/{run}")), server.get(&format!("/v1/runs/{run}/gates/g"))]
        {
            assert_eq!(shown(&answer.body), [""; 0], "{private}");
        }
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
        (json!({ "private": ["/run/run_id"] }), "/private/0"),
        (json!({ "private": "all" }), "/private"),
        (json!({ "public": [1] }), "/public/0"),
        (json!({ "private": vec!["*"; 129] }), "/private"),
        (json!({ "private": [format!("/run/labels/{}", "x".repeat(600))] }), "/private/0"),
        (json!({ "public": ["/run/labels", "nonsense"] }), "/public/1"),
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

/// What can be asked of a run, in an order in which all of it can be done: method, path after the run, body, status.
fn asked_of_a_run() -> Vec<(&'static str, &'static str, Value, u16)> {
    let step = json!({ "type": "step_started", "step_id": "s", "kind": "test", "command": ["x"] });
    vec![
        ("POST", "runs/r/entries", step, 200),
        ("POST", "runs/r/signals", json!({ "type": "heartbeat" }), 202),
        ("POST", "runs/r/logs?step_id=s", json!("a line"), 200),
        ("HEAD", "runs/r/logs?step_id=s", Value::Null, 200),
        ("GET", "runs/r/logs?step_id=s", Value::Null, 200),
        ("POST", "runs/r/gates", json!({ "gate_id": "g", "reason": "may it?" }), 201),
        ("GET", "runs/r/gates/g", Value::Null, 200),
        ("POST", "runs/r/gates/g", json!({ "decision": "approved" }), 200),
        ("GET", "runs/r", Value::Null, 200),
        ("POST", "runs/r/abort", json!({}), 202),
        ("POST", "runs/r/finalize", json!({ "result": "aborted" }), 200),
        ("GET", "runs/r/events", Value::Null, 200),
        ("GET", "runs/r/logs/stream?from=0", Value::Null, 200),
        ("DELETE", "runs/r/logs", Value::Null, 204),
        ("GET", "envelopes/r", Value::Null, 200),
        ("GET", "envelopes/r/pack", Value::Null, 200),
        ("GET", "envelopes/r/verification", Value::Null, 200),
        ("DELETE", "envelopes/r/disclosures?at=/execution/steps/0/command", Value::Null, 204),
    ]
}

#[test]
fn a_name_that_runs_of_two_projects_have_is_told_apart_by_project_on_every_route() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    for project in ["a", "b"] {
        assert_eq!(server.post("/v1/runs", &json!({ "project": project, "run_id": "r" })).status, 201);
    }
    let document = document(&server.address);
    let mut asked = BTreeSet::new();
    for (method, path, body, status) in asked_of_a_run() {
        let path = format!("/v1/{path}");
        let with =
            |project: &str| format!("{path}{}project={project}", if path.contains('?') { '&' } else { '?' });
        let media_type = if body.is_string() { "text/plain" } else { "application/json" };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers: &[_] = if body.is_empty() { &[] } else { &[("Content-Type", media_type)] };
        // Of what answers without a body no problem can be read.
        if method != "HEAD" {
            let ambiguous = server.request(method, &path, headers, body.as_bytes()).json();
            assert_eq!(ambiguous["code"], "run_ambiguous", "{method} {path}");
            let unknown = server.request(method, &with("c"), headers, body.as_bytes()).json();
            assert_eq!(unknown["code"], "run_not_found", "{method} {path}");
        }
        let answer = server.request(method, &with("b"), headers, body.as_bytes());
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        asked.insert((method.to_lowercase(), operation(document, method, &path).unwrap().0));
    }
    let of_a_run = |path: &str| path.starts_with("/v1/runs/{run}") || path.starts_with("/v1/envelopes/{");
    for (path, item) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| of_a_run(path)) {
        for method in item.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            // What answers to GET answers to HEAD.
            let method = if method == "head" { "get" } else { method.as_str() };
            assert!(asked.contains(&(method.to_owned(), path.as_str())), "{method} {path}");
        }
    }
    // Nothing of it came to the other.
    assert_eq!(server.get("/v1/runs/r?project=a").json()["pos"], 0);
}
