//! Who may do what: every route times every role, own projects and others, and no token.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::documented::{document, operation};
use crate::place::Place;
use crate::server::{Answer, Server};

pub(super) const ROLES: [&str; 5] = ["writer", "approver", "reader", "auditor", "admin"];

/// What can be asked, and which roles may (API.md section 4).
pub(super) const TABLE: &[(&str, &str, &str, &[&str])] = &[
    ("open", "POST", "/v1/runs", &["writer", "admin"]),
    ("entries", "POST", "/v1/runs/{run}/entries", &["writer", "admin"]),
    ("signals", "POST", "/v1/runs/{run}/signals", &["writer", "admin"]),
    ("events", "GET", "/v1/runs/{sealed}/events", &ROLES),
    ("all events", "GET", "/v1/events", &ROLES),
    ("whole run", "POST", "/v1/stream", &["writer", "admin"]),
    ("open gate", "POST", "/v1/runs/{run}/gates", &["writer", "admin"]),
    ("finalize", "POST", "/v1/runs/{run}/finalize", &["writer", "admin"]),
    ("abort", "POST", "/v1/runs/{run}/abort", &["writer", "approver", "admin"]),
    ("resolve gate", "POST", "/v1/runs/{run}/gates/g", &["approver", "admin"]),
    ("log", "POST", "/v1/runs/{run}/logs?step_id=s", &["writer", "admin"]),
    ("log offset", "HEAD", "/v1/runs/{run}/logs?step_id=s", &ROLES),
    ("log lines", "GET", "/v1/runs/{run}/logs", &ROLES),
    ("log bytes", "GET", "/v1/runs/{sealed}/logs?step_id=logged", &ROLES),
    ("log stream", "GET", "/v1/runs/{sealed}/logs/stream", &ROLES),
    ("log streams", "GET", "/v1/logs/stream", &ROLES),
    ("delete logs", "DELETE", "/v1/runs/{sealed}/logs", &["admin"]),
    ("snapshot", "GET", "/v1/runs/{run}", &ROLES),
    ("snapshot by name", "GET", "/v1/runs/{run_id}", &ROLES),
    ("look at gate", "GET", "/v1/runs/{run}/gates/g", &ROLES),
    ("list", "GET", "/v1/runs", &ROLES),
    ("envelope", "GET", "/v1/envelopes/{sealed}", &ROLES),
    ("full envelope", "GET", "/v1/envelopes/{sealed}?disclosures=all", &["auditor", "admin"]),
    ("backup", "GET", "/v1/backup", &["admin"]),
    ("compaction", "POST", "/v1/compaction", &["admin"]),
    ("verification", "GET", "/v1/envelopes/{sealed}/verification", &ROLES),
    ("pack", "GET", "/v1/envelopes/{sealed}/pack", &ROLES),
    ("list envelopes", "GET", "/v1/envelopes", &ROLES),
    (
        "erase",
        "DELETE",
        "/v1/envelopes/{sealed}/disclosures?at=%2Fexecution%2Fsteps%2F0%2Fcommand",
        &["admin"],
    ),
    ("read project", "GET", "/v1/projects/acme/widget", &ROLES),
    ("write project", "PUT", "/v1/projects/acme/widget", &["admin"]),
    ("keys", "GET", "/v1/keys", &ROLES),
    ("ready", "GET", "/readyz", &ROLES),
    ("metrics", "GET", "/metrics", &ROLES),
    ("who am I", "GET", "/v1/session", &ROLES),
    ("end session", "DELETE", "/v1/session", &ROLES),
    ("list tokens", "GET", "/v1/tokens", &["admin"]),
    ("make token", "POST", "/v1/tokens", &["admin"]),
    ("delete token", "DELETE", "/v1/tokens/nobody", &["admin"]),
];

pub(super) struct Guarded {
    pub(super) server: Server,
    pub(super) admin: String,
    pub(super) place: Place,
}

impl Guarded {
    /// A service whose first token came from the command line.
    pub(super) fn new() -> Self {
        Self::with(&[])
    }

    pub(super) fn with(arguments: &[&str]) -> Self {
        let place = Place::new();
        let made = place.run(&["token", "create", "root", "--role", "admin", "--data-dir", "records"]);
        assert_eq!(made.status, 0, "{made:?}");
        let server = Server::start(&place, arguments);
        Self { server, admin: made.stdout.trim().to_owned(), place }
    }

    pub(super) fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {token}");
        let (media_type, body) = sent(method, path, body);
        let mut headers = vec![("Content-Type", media_type)];
        if !token.is_empty() {
            headers.push(("Authorization", &bearer));
        }
        self.server.request(method, path, &headers, body.as_bytes())
    }

    pub(super) fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.ask(&self.admin, method, path, body);
        assert!(answer.status < 300, "{}", answer.json());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    pub(super) fn token(&self, name: &str, role: &str, projects: &[&str]) -> String {
        let made =
            self.admin("POST", "/v1/tokens", &json!({ "name": name, "role": role, "projects": projects }));
        made["token"].as_str().unwrap().to_owned()
    }

    /// An open run with a gate, and a sealed one, of that project.
    pub(super) fn runs(&self, project: &str, n: usize) -> (String, String, String) {
        let run_id = format!("{}-{n}", project.replace('/', "-"));
        let run = self.admin("POST", "/v1/runs", &json!({ "project": project, "run_id": run_id }));
        let run = run["evidence_id"].as_str().unwrap().to_owned();
        self.admin("POST", &format!("/v1/runs/{run}/gates"), &json!({ "gate_id": "g", "reason": "may it?" }));
        let sealed = self.admin("POST", "/v1/runs", &json!({ "project": project }));
        let sealed = sealed["evidence_id"].as_str().unwrap().to_owned();
        let step = json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed", "command": ["secret"] });
        self.admin("POST", &format!("/v1/runs/{sealed}/entries"), &step);
        for (run, step_id) in [(&run, "s"), (&sealed, "logged")] {
            let started = json!({ "type": "step_started", "step_id": step_id, "kind": "test", "allowed_to_fail": true });
            self.admin("POST", &format!("/v1/runs/{run}/entries"), &started);
        }
        self.admin("POST", &format!("/v1/runs/{sealed}/logs?step_id=logged"), &json!({}));
        self.admin("POST", &format!("/v1/runs/{sealed}/finalize"), &json!({ "result": "succeeded" }));
        (run, run_id, sealed)
    }
}

/// What is sent there, and as what.
pub(super) fn sent(method: &str, path: &str, body: &Value) -> (&'static str, String) {
    match path {
        _ if !["POST", "PUT"].contains(&method) => ("application/json", String::new()),
        "/v1/stream" => {
            ("application/x-ndjson", format!("{body}\n{{\"type\":\"finalize\",\"result\":\"failed\"}}"))
        }
        log if log.contains("/logs") => ("text/plain", body.to_string()),
        _ => ("application/json", body.to_string()),
    }
}

pub(super) fn body(what: &str, project: &str) -> Value {
    match what {
        "open" => json!({ "project": project }),
        "whole run" => json!({ "type": "run", "project": project }),
        "entries" => json!({ "type": "event", "name": "e" }),
        "signals" => json!({ "type": "heartbeat" }),
        "open gate" => json!({ "reason": "may it?" }),
        "finalize" => json!({ "result": "failed" }),
        "resolve gate" => json!({ "decision": "approved" }),
        "make token" => json!({ "name": "x", "role": "reader" }),
        _ => json!({}),
    }
}

#[test]
fn every_route_is_for_the_roles_of_the_table_and_for_no_other() {
    let guarded = Guarded::new();
    let mut n = 0;
    for role in ROLES {
        // Tokens reach beyond any one project: an admin of one is none of tokens.
        let scope = if role == "admin" { "*" } else { "acme/*" };
        let token = guarded.token(&format!("the-{role}"), role, &[scope]);
        for (what, method, path, may) in TABLE.iter().copied() {
            n += 1;
            let (run, run_id, sealed) = guarded.runs("acme/widget", n);
            let at = |path: &str| {
                path.replace("{run}", &run).replace("{run_id}", &run_id).replace("{sealed}", &sealed)
            };
            let answer = guarded.ask(&token, method, &at(path), &body(what, "acme/widget"));
            let code = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()["code"].clone();
            match may.contains(&role) {
                true if what == "delete token" => assert_eq!(code, "token_not_found"),
                true if what == "end session" => assert_eq!(code, "session_not_found"),
                true => assert!(answer.status < 300, "{role} may {what}: {} {code}", answer.status),
                false => assert_eq!(
                    (answer.status, code.as_str()),
                    (403, Some("forbidden")),
                    "{role} may not {what}"
                ),
            }
            // Without a token only what everybody may ask.
            let nobody = guarded.ask("", method, &at(path), &body(what, "acme/widget"));
            let open = ["/v1/keys", "/readyz"].contains(&path);
            assert_eq!(nobody.status == 401, !open, "{what} without a token: {}", nobody.status);
            if !open {
                assert!(method == "HEAD" || nobody.json()["code"] == "token_required");
                assert!(nobody.header("www-authenticate").is_some_and(|told| told.starts_with("Bearer")));
            }
        }
    }
}

#[test]
fn the_document_names_the_roles_of_the_table() {
    let guarded = Guarded::new();
    // One row is of a parameter, whose roles are fewer than those of its operation.
    for (what, method, path, may) in TABLE.iter().filter(|(what, ..)| *what != "full envelope") {
        let (_, operation) = operation(document(&guarded.server.address), method, path).unwrap();
        let required = operation["security"].as_array().unwrap().iter();
        let named: BTreeSet<&str> = required.filter_map(|one| one["token"][0].as_str()).collect();
        let anybody = operation["security"][0] == json!({});
        assert!(anybody || named == BTreeSet::from_iter(may.iter().copied()), "{what}: {named:?}");
    }
}

#[test]
fn a_run_of_another_project_is_told_like_one_that_is_not_there() {
    let guarded = Guarded::new();
    let (run, run_id, sealed) = guarded.runs("other/thing", 1);
    let missing = "01a1fd8c-ab13-74fe-ba1f-fc160c4ef33e";
    for role in ROLES.into_iter().filter(|role| *role != "admin") {
        let token = guarded.token(&format!("the-{role}"), role, &["acme/*", "other"]);
        for (what, method, path, may) in TABLE.iter().copied() {
            if !path.contains('{') || !may.contains(&role) {
                continue;
            }
            let at = |ids: [&str; 3]| {
                path.replace("{run}", ids[0]).replace("{run_id}", ids[1]).replace("{sealed}", ids[2])
            };
            let there = guarded.ask(&token, method, &at([&run, &run_id, &sealed]), &body(what, "x"));
            let nowhere = guarded.ask(&token, method, &at([missing, "nobody", missing]), &body(what, "x"));
            assert_eq!((there.status, &there.body), (404, &nowhere.body), "{role}: {what}");
        }
        let listed = guarded.ask(&token, "GET", "/v1/runs", &json!({}));
        assert_eq!(listed.json()["runs"], json!([]));
    }
    for project in ["other/thing", "other/nothing"] {
        let reader = guarded.token("r", "reader", &["acme/*"]);
        let answer = guarded.ask(&reader, "GET", &format!("/v1/projects/{project}"), &json!({}));
        assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("project_not_found")));
    }
    let writer = guarded.token("w", "writer", &["acme/*"]);
    let refused =
        guarded.ask(&writer, "POST", "/v1/runs", &json!({ "project": "other/thing", "run_id": run_id }));
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("project_forbidden")));
}

#[test]
fn an_admin_of_some_projects_governs_no_tokens_and_the_last_admin_stays() {
    let guarded = Guarded::new();
    let some = guarded.token("some", "admin", &["acme/*"]);
    for (method, path, sent) in [
        ("POST", "/v1/tokens", json!({ "name": "x", "role": "admin" })),
        ("GET", "/v1/tokens", json!({})),
        ("DELETE", "/v1/tokens/x", json!({})),
        ("GET", "/v1/backup", json!({})),
    ] {
        let answer = guarded.ask(&some, method, path, &sent);
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (403, Some("forbidden")),
            "{method} {path}"
        );
    }
    assert_eq!(guarded.ask(&some, "PUT", "/v1/projects/acme/x", &json!({})).status, 200);
    assert_eq!(guarded.ask(&some, "PUT", "/v1/projects/other", &json!({})).status, 404);
    let listed = guarded.admin("GET", "/v1/tokens", &json!({}));
    let root = listed["tokens"].as_array().unwrap().iter().find(|token| token["name"] == "root").unwrap();
    let path = format!("/v1/tokens/{}", root["id"].as_str().unwrap());
    let last = guarded.ask(&guarded.admin, "DELETE", &path, &json!({}));
    assert_eq!((last.status, last.json()["code"].as_str()), (409, Some("last_admin")));
    // One that will end is none that stays; and it hinders nobody from deleting what governs nothing.
    let ends = json!({ "name": "ends", "role": "admin", "expires_at": "2999-01-01T00:00:00.000Z" });
    guarded.admin("POST", "/v1/tokens", &ends);
    assert_eq!(guarded.ask(&guarded.admin, "DELETE", &path, &json!({})).status, 409);
    let scoped = listed["tokens"].as_array().unwrap().iter().find(|token| token["name"] == "some").unwrap();
    guarded.admin("DELETE", &format!("/v1/tokens/{}", scoped["id"].as_str().unwrap()), &json!({}));
    guarded.token("other-root", "admin", &["*"]);
    assert_eq!(guarded.ask(&guarded.admin, "DELETE", &path, &json!({})).status, 204);
    assert_eq!(guarded.ask(&guarded.admin, "GET", "/v1/runs", &json!({})).status, 401);
}

#[test]
fn the_first_token_is_one_that_makes_others_and_shuts_the_door_behind_it() {
    let place = Place::new();
    let refused = place.run(&["token", "create", "ci", "--role", "writer", "--data-dir", "records"]);
    assert!(refused.status == 64 && refused.stderr.contains("first token"), "{refused:?}");
    let server = Server::start(&place, &[]);
    let first = server.post("/v1/tokens", &json!({ "name": "ci", "role": "writer" }));
    assert_eq!((first.status, first.json()["code"].as_str()), (409, Some("first_token")));
    assert_eq!(server.get("/v1/runs").status, 200);
    assert_eq!(server.post("/v1/tokens", &json!({ "name": "root", "role": "admin" })).status, 201);
    assert_eq!(server.get("/v1/runs").status, 401);
}

#[test]
fn a_token_that_is_deleted_while_its_request_arrives_records_nothing() {
    let guarded = Guarded::new();
    let made = guarded.admin("POST", "/v1/tokens", &json!({ "name": "gone", "role": "writer" }));
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let (run, ..) = guarded.runs("acme/widget", 1);
    let head = guarded.admin("GET", &format!("/v1/runs/{run}"), &json!({}))["head"].clone();
    let body = json!({ "type": "event", "name": "late" }).to_string();
    let mut stream = std::net::TcpStream::connect(&guarded.server.address).unwrap();
    let request = format!(
        "POST /v1/runs/{run}/entries HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {bearer}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    guarded.admin("DELETE", &format!("/v1/tokens/{}", made["id"].as_str().unwrap()), &json!({}));
    std::io::Write::write_all(&mut stream, body.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("token_invalid"), "{answer}");
    assert_eq!(guarded.admin("GET", &format!("/v1/runs/{run}"), &json!({}))["head"], head);
}

#[test]
fn who_has_no_token_has_small_files_judged() {
    let guarded = Guarded::new();
    let judged = |token: &str, bytes: usize| {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Content-Type", "application/json")];
        if !token.is_empty() {
            headers.push(("Authorization", bearer.as_str()));
        }
        guarded.server.request("POST", "/v1/verify", &headers, &vec![b' '; bytes]).status
    };
    assert_eq!((judged("", 1_000), judged("", 9 << 20), judged(&guarded.admin, 9 << 20)), (200, 413, 200));
}

#[test]
fn disclosures_are_for_auditors_and_admins() {
    let guarded = Guarded::new();
    let (_, _, sealed) = guarded.runs("acme/widget", 1);
    for role in ROLES {
        let token = guarded.token(&format!("the-{role}"), role, &["*"]);
        let file = guarded.ask(&token, "GET", &format!("/v1/envelopes/{sealed}"), &json!({}));
        let disclosed = String::from_utf8_lossy(&file.body).contains("secret");
        assert_eq!(disclosed, ["auditor", "admin"].contains(&role), "{role}");
        guarded.place.write("file.json", &file.body);
        let verified = guarded.place.run(&["verify", "file.json", "--keys", "records/keyring.json"]);
        assert_eq!(verified.status, 0, "{role}: the seal holds with and without: {verified:?}");
    }
}

#[test]
fn what_is_recorded_says_who_reported_it_and_who_decided() {
    let guarded = Guarded::new();
    let (writer, approver) =
        (guarded.token("ci", "writer", &["*"]), guarded.token("ann", "approver", &["*"]));
    let run = guarded.ask(&writer, "POST", "/v1/runs", &json!({ "project": "p" })).json()["evidence_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let at = |rest: &str| format!("/v1/runs/{run}{rest}");
    guarded.ask(&writer, "POST", &at("/entries"), &json!({ "type": "event", "name": "e" }));
    guarded.ask(&writer, "POST", &at("/gates"), &json!({ "gate_id": "g", "reason": "may it?" }));
    assert_eq!(
        guarded.ask(&approver, "POST", &at("/gates/g"), &json!({ "decision": "approved" })).status,
        200
    );
    // The same again by somebody else is the same decision, and stays who made it.
    assert_eq!(
        guarded.ask(&guarded.admin, "POST", &at("/gates/g"), &json!({ "decision": "approved" })).status,
        200
    );
    assert_eq!(guarded.ask(&writer, "POST", &at("/finalize"), &json!({ "result": "succeeded" })).status, 200);
    let envelope = guarded.admin("GET", &at(""), &json!({}))["envelope"].clone();
    for element in [&envelope["run"], &envelope["events"][0], &envelope["outcome"]] {
        assert_eq!(element["reported_by"], json!({ "name": "ci" }));
    }
    assert_eq!(
        (&envelope["gates"][0]["actor"], &envelope["gates"][0]["reported_by"]["name"]),
        (&json!("ann"), &json!("ann"))
    );
}

#[test]
fn tokens_are_shown_once_and_count_until_they_end() {
    let guarded = Guarded::new();
    let listed = guarded.admin("GET", "/v1/tokens", &json!({}));
    assert!(!listed.to_string().contains("sst_"));
    for wrong in [
        json!({ "name": "a b", "role": "reader" }),
        json!({ "name": "a", "role": "king" }),
        json!({ "name": "a", "role": "reader", "projects": ["a//b"] }),
        json!({ "name": "a", "role": "reader", "expires_at": "soon" }),
        json!({ "name": "a", "role": "reader", "more": 1 }),
    ] {
        assert_eq!(guarded.ask(&guarded.admin, "POST", "/v1/tokens", &wrong).status, 422, "{wrong}");
    }
    let made = guarded.admin(
        "POST",
        "/v1/tokens",
        &json!({ "name": "short", "role": "reader", "expires_at": "2020-01-01T00:00:00.000Z" }),
    );
    let expired = guarded.ask(made["token"].as_str().unwrap(), "GET", "/v1/runs", &json!({}));
    assert_eq!((expired.status, expired.json()["code"].as_str()), (401, Some("token_invalid")));
    let made = guarded.admin("POST", "/v1/tokens", &json!({ "name": "some", "role": "reader" }));
    let token = made["token"].as_str().unwrap();
    assert_eq!(guarded.ask(token, "GET", "/v1/runs", &json!({})).status, 200);
    guarded.admin("DELETE", &format!("/v1/tokens/{}", made["id"].as_str().unwrap()), &json!({}));
    assert_eq!(guarded.ask(token, "GET", "/v1/runs", &json!({})).status, 401);
    for wrong in ["sst_x", "x", "", "sst_"] {
        let answer =
            guarded.server.request("GET", "/v1/runs", &[("Authorization", &format!("Bearer {wrong}"))], b"");
        assert_eq!(
            (answer.status, answer.json()["code"].as_str()),
            (401, Some("token_invalid")),
            "{wrong:?}"
        );
    }
    // Nothing that lets anybody in stands in the data directory.
    assert_eq!(guarded.place.files_with(&guarded.admin), [""; 0]);
}

#[test]
fn tokens_are_made_and_used_from_the_command_line() {
    let guarded = Guarded::new();
    let url = guarded.server.url();
    let run = |token: &str, arguments: &[&str]| {
        let mut command = guarded.place.command(arguments);
        command.env("SEALSTONE_SERVER", &url).env("SEALSTONE_TOKEN", token);
        crate::place::Ran::from(command.output().unwrap())
    };
    let made = run(
        &guarded.admin,
        &["token", "create", "ci", "--role", "writer", "--project", "acme/*", "--expires", "30d"],
    );
    assert_eq!(made.status, 0, "{made:?}");
    let writer = made.stdout.trim();
    let opened = run(writer, &["run", "open", "--project", "acme/widget", "--no-subject"]);
    assert_eq!(opened.status, 0, "{opened:?}");
    let refused = run(writer, &["run", "open", "--project", "other", "--no-subject", "--require-evidence"]);
    assert!(refused.status == 1 && refused.stderr.contains("project_forbidden"), "{refused:?}");
    let refused = run("", &["run", "open", "--project", "acme/widget", "--no-subject", "--require-evidence"]);
    assert!(refused.status == 1 && refused.stderr.contains("token_required"), "{refused:?}");
    let listed = run(&guarded.admin, &["token", "list"]).stdout;
    assert!(listed.contains("ci") && listed.contains("acme/*") && !listed.contains("sst_"), "{listed}");
    let id = listed
        .lines()
        .find(|line| line.contains("ci"))
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(run(&guarded.admin, &["token", "delete", &id]).status, 0);
    let required = ["run", "open", "--project", "acme/widget", "--no-subject", "--require-evidence"];
    assert_eq!(run(writer, &required).status, 1);
    // Its directory is in use: another token is asked of the service.
    let offline = run("", &["token", "create", "x", "--role", "reader", "--data-dir", "records"]);
    assert!(offline.status == 73 && offline.stderr.contains("in use"), "{offline:?}");
}

#[test]
fn a_token_that_is_used_too_often_is_told_to_slow_down_and_no_other_is() {
    let place = Place::new();
    let token = |name: &str| {
        let made = place.run(&["token", "create", name, "--role", "admin", "--data-dir", "records"]);
        made.stdout.trim().to_owned()
    };
    let (hasty, calm) = (token("hasty"), token("calm"));
    let server = Server::start(&place, &["--rate-limit", "5"]);
    let ask = |token: &str| {
        server.request("GET", "/v1/runs", &[("Authorization", &format!("Bearer {token}"))], b"")
    };
    let answers: Vec<Answer> = (0..20).map(|_| ask(&hasty)).collect();
    let limited = answers.iter().find(|answer| answer.status == 429).expect("no limit");
    assert_eq!(limited.json()["code"], "rate_limited");
    assert!(limited.header("retry-after").is_some());
    assert_eq!(ask(&calm).status, 200);
}

#[test]
fn another_address_needs_a_token_and_somebody_who_speaks_tls() {
    let place = Place::new();
    let refused = |arguments: &[&str], tells: &str| {
        let told = Server::try_start(&place, arguments).err().expect("it started");
        assert!(told.starts_with("64 ") && told.contains(tells), "{told}");
    };
    refused(&["--listen", "0.0.0.0:0", "--behind-proxy"], "make a token first");
    // Before a proxy everybody comes from this machine.
    refused(&["--behind-proxy"], "make a token first");
    assert_eq!(place.run(&["token", "create", "root", "--role", "admin", "--data-dir", "records"]).status, 0);
    refused(&["--listen", "0.0.0.0:0"], "--behind-proxy");
    // Once there is a token, any Host is served: names are the proxy's business.
    let server = Server::start(&place, &["--behind-proxy"]);
    assert_eq!(server.request("GET", "/healthz", &[("Host", "ci.example.org")], b"").status, 200);
    assert_eq!(server.request("GET", "/v1/runs", &[("Host", "ci.example.org")], b"").status, 401);
}

#[test]
fn a_download_ends_with_the_token_that_asked_for_it() {
    let guarded = Guarded::new();
    let (run, ..) = guarded.runs("acme/widget", 1);
    let (bearer, log) = (format!("Bearer {}", guarded.admin), format!("/v1/runs/{run}/logs?step_id=s"));
    let line = [vec![b'x'; 1023], vec![b'\n']].concat();
    let sent = line.repeat(48 << 10);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "text/plain")];
    assert_eq!(guarded.server.request("POST", &log, &headers, &sent).status, 200);
    let made = guarded.admin("POST", "/v1/tokens", &json!({ "name": "gone", "role": "reader" }));
    let mut stream = std::net::TcpStream::connect(&guarded.server.address).unwrap();
    let request = format!(
        "GET {log} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        made["token"].as_str().unwrap()
    );
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = vec![0; 1 << 10];
    std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    guarded.admin("DELETE", &format!("/v1/tokens/{}", made["id"].as_str().unwrap()), &json!({}));
    // What was under way arrives, and no more; how the connection ends does not matter.
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(answer.len() < sent.len(), "{} bytes of {}", answer.len(), sent.len());
}
