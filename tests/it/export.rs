//! What is exported is judged offline, by what is in the tar alone.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::place::{Place, text};
use crate::server::Server;

fn token(place: &Place, server: &str, admin: &str, role: &str) -> String {
    let made = place.run(&["token", "create", role, "--role", role, "--server", server, "--token", admin]);
    assert_eq!(made.status, 0, "{made:?}");
    made.stdout.trim().to_owned()
}

#[test]
fn an_export_unpacked_verifies_offline_and_has_what_is_withheld() {
    let place = Place::new();
    let admin = place.run(&["token", "create", "root", "--role", "admin", "--data-dir", "records"]);
    let admin = admin.stdout.trim().to_owned();
    let server = Server::start(&place, &[]);
    let url = server.url();
    let bearer = format!("Bearer {admin}");
    let headers = [("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
    let post = |path: &str, body: Value| server.request("POST", path, &headers, body.to_string().as_bytes());
    let mut runs = Vec::new();
    for (project, result) in [("acme/widget", "succeeded"), ("acme/widget", "failed"), ("other", "succeeded")]
    {
        let run = post("/v1/runs", json!({ "project": project })).json()["evidence_id"]
            .as_str()
            .unwrap()
            .to_owned();
        let step = json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed", "command": ["withheld-from-others"] });
        assert_eq!(post(&format!("/v1/runs/{run}/entries"), step).status, 200);
        assert_eq!(post(&format!("/v1/runs/{run}/finalize"), json!({ "result": result })).status, 200);
        runs.push((project, run));
    }
    // One that is still open is in no export.
    assert_eq!(post("/v1/runs", json!({ "project": "other" })).status, 201);

    let auditor = token(&place, &url, &admin, "auditor");
    let export = |token: &str, more: &[&str]| {
        place.run(&[["export", "--server", &url, "--token", token].as_slice(), more].concat())
    };
    let exported = export(&auditor, &["--out", "evidence.tar", "--json"]);
    assert_eq!(exported.status, 0, "{exported:?}");
    assert_eq!(serde_json::from_str::<Value>(&exported.stdout).unwrap()["envelopes"], 3);
    let listed = Command::new("tar")
        .args(["-tvf", text(&place.path("evidence.tar")), "--numeric-owner"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().next().unwrap().ends_with(" keyring.json"), "{listed}");
    assert!(listed.lines().all(|line| line.starts_with("-rw-r--r-- 0/0")), "{listed}");
    // The same again is the same tar.
    assert_eq!(export(&auditor, &["--out", "again.tar"]).status, 0);
    assert!(fs::read(place.path("evidence.tar")).unwrap() == fs::read(place.path("again.tar")).unwrap());
    drop(server);

    fs::create_dir(place.path("evidence")).unwrap();
    let (from, to) = (place.path("evidence.tar"), place.path("evidence"));
    let unpacked = Command::new("tar").args(["-xf", text(&from), "-C", text(&to)]).status().unwrap();
    assert!(unpacked.success());
    let verified = place.run(&["verify", "evidence", "--keys", "evidence/keyring.json", "--json"]);
    assert_eq!((verified.status, verified.stdout.lines().count()), (0, 3), "{verified:?}");
    for (project, run) in &runs {
        let name = format!("evidence/{}.{run}.json", project.replace('/', "_"));
        let file = fs::read_to_string(place.path(&name)).unwrap();
        assert!(file.contains("withheld-from-others"), "{name}");
    }
}

#[test]
fn an_export_takes_what_was_asked_for_and_refuses_whom_it_would_have_to_leave_something_out() {
    let place = Place::new();
    let admin = place.run(&["token", "create", "root", "--role", "admin", "--data-dir", "records"]);
    let admin = admin.stdout.trim().to_owned();
    let server = Server::start(&place, &[]);
    let url = server.url();
    let bearer = format!("Bearer {admin}");
    let headers = [("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
    let few = [("a/b", "succeeded"), ("a/b", "failed"), ("c", "succeeded")];
    // More than one page.
    for (project, result) in few.into_iter().chain([("many", "succeeded"); 101]) {
        let opened = server.request(
            "POST",
            "/v1/runs",
            &headers,
            json!({ "project": project }).to_string().as_bytes(),
        );
        let path = format!("/v1/runs/{}/finalize", opened.json()["evidence_id"].as_str().unwrap());
        let closed =
            server.request("POST", &path, &headers, json!({ "result": result }).to_string().as_bytes());
        assert_eq!(closed.status, 200, "{}", closed.json());
    }
    let count = |more: &[&str]| {
        let fixed = ["export", "--server", &url, "--token", &admin, "--out", "x.tar", "--json"];
        let exported = place.run(&[fixed.as_slice(), more].concat());
        assert_eq!(exported.status, 0, "{exported:?}");
        serde_json::from_str::<Value>(&exported.stdout).unwrap()["envelopes"].as_u64().unwrap()
    };
    assert_eq!((count(&[]), count(&["--project", "many"])), (104, 101));
    assert_eq!(count(&["--project", "a/b"]), 2);
    assert_eq!(count(&["--project", "a/b", "--result", "failed"]), 1);
    assert_eq!(count(&["--since", "2026-01-01T00:00:00.000Z"]), 104);
    assert_eq!(count(&["--since", "2999-01-01T00:00:00.000Z"]), 0);
    for role in ["reader", "writer", "approver"] {
        let token = token(&place, &url, &admin, role);
        let refused = place.run(&["export", "--server", &url, "--token", &token, "--out", "refused.tar"]);
        assert!(refused.status == 1 && refused.stderr.contains("see what is withheld"), "{refused:?}");
        assert!(!place.path("refused.tar").exists());
        // Nor does it get everything at once.
        let refused =
            place.run(&["store", "backup", "--server", &url, "--token", &token, "--out", "refused"]);
        assert!(refused.status == 1 && refused.stderr.contains("forbidden"), "{refused:?}");
    }
    let out = place.run(&["export", "--server", &url, "--token", &admin, "--out", "-"]);
    assert!(out.status == 0 && out.stdout.starts_with("keyring.json"), "{}", out.stderr);
}
