//! The life of a run, through a real socket and the real commands, to a file that anybody can judge.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::place::{Place, Ran};
use crate::server::Server;

fn ndjson(entries: &[Value]) -> String {
    entries.iter().map(|entry| format!("{entry}\n")).collect()
}

#[test]
fn fifty_steps_with_all_that_belongs_to_them_end_in_one_envelope_that_verifies() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let opened = server.post(
        "/v1/runs",
        &json!({
            "project": "acme/widget", "run_id": "build-7", "intent": "release", "plan": ["s0", "s49"],
            "subject": { "commit_sha": "9fceb02", "dirty": false }, "labels": { "team": "core" },
            "trigger": { "provider": "git", "actor": "somebody@example.org" },
        }),
    );
    assert_eq!(opened.status, 201);
    assert!(opened.header("location").is_some_and(|own| own.starts_with("/v1/runs/")));
    let opened = opened.json();
    let id = opened["evidence_id"].as_str().unwrap();
    let entries = format!("/v1/runs/{id}/entries");
    let mut heads = vec![opened["head"].clone()];
    for i in 0..50 {
        let (step, artifact) = (format!("s{i}"), format!("dist/{i}"));
        let digest = format!("sha256:{i:064x}");
        let mut lines = vec![
            json!({ "type": "step_started", "step_id": step, "kind": "test", "command": ["cargo", "test", i.to_string()] }),
            json!({ "type": "artifact", "artifact_id": artifact, "digest": digest, "size": i }),
        ];
        if i % 7 == 0 {
            lines.push(json!({ "type": "step", "step_id": step, "status": "failed", "exit_code": 1 }));
            lines.push(json!({ "type": "event", "name": "retry", "step_id": step }));
            lines.push(json!({ "type": "step_started", "step_id": step, "kind": "test", "attempt": 2 }));
        }
        let attempt = if i % 7 == 0 { 2 } else { 1 };
        lines.push(json!({ "type": "step_finished", "step_id": step, "attempt": attempt, "status": "passed", "exit_code": 0, "artifact_ids": [artifact] }));
        lines.push(json!({ "type": "observation", "observation_id": format!("o{i}"), "name": "size", "value": { "bytes": i }, "basis_artifact_ids": [artifact] }));
        let sent = server.request(
            "POST",
            &entries,
            &[("Content-Type", "application/x-ndjson")],
            ndjson(&lines).as_bytes(),
        );
        assert_eq!(sent.status, 200, "{}", sent.json());
        let answer = sent.json();
        assert_eq!(answer["entries"].as_array().unwrap().len(), lines.len());
        assert_eq!(
            answer["entries"].as_array().unwrap().last().unwrap()["entry_hash"],
            answer["head"]["entry_hash"]
        );
        heads.push(answer["head"].clone());
    }
    let gate =
        server.post(&format!("/v1/runs/{id}/gates"), &json!({ "reason": "ship it?", "step_id": "s49" }));
    assert_eq!((gate.status, gate.json()["gate_id"].as_str()), (201, Some("gate-1")));
    assert_eq!(server.get(&format!("/v1/runs/{id}")).json()["needs_input"], true);
    let seen = gate.json()["head"]["entry_hash"].clone();
    let resolved = server.post(
        &format!("/v1/runs/{id}/gates/gate-1"),
        &json!({ "decision": "approved", "comment": "go", "seen_head": seen }),
    );
    assert_eq!(resolved.status, 200, "{}", resolved.json());
    // The prefix is the same record, and the heads are in it.
    let snapshot = server.get("/v1/runs/build-7").json();
    let chain = snapshot["envelope"]["integrity"]["hash_chain"].as_array().unwrap();
    for head in &heads {
        assert_eq!(chain[head["seq"].as_u64().unwrap() as usize]["entry_hash"], head["entry_hash"]);
    }
    assert_eq!((&snapshot["pending_steps"], &snapshot["open_gates"]), (&json!([]), &json!([])));
    assert_eq!(server.get(&format!("/v1/envelopes/{id}")).status, 404);

    let finalized = server.post(&format!("/v1/runs/{id}/finalize"), &json!({ "result": "succeeded" }));
    assert_eq!(finalized.status, 200, "{}", finalized.json());
    let again = server.post(&format!("/v1/runs/{id}/finalize"), &json!({ "result": "succeeded" }));
    assert_eq!(again.json(), finalized.json());
    let fetched = server.get(&format!("/v1/envelopes/{id}"));
    let envelope_digest = finalized.json()["envelope_digest"].as_str().unwrap().to_owned();
    assert_eq!(fetched.header("sealstone-envelope-digest"), Some(envelope_digest.as_str()));
    let tag = fetched.header("etag").unwrap();
    let known = server.request("GET", &format!("/v1/envelopes/{id}"), &[("If-None-Match", tag)], b"");
    assert_eq!((known.status, known.body.len()), (304, 0));
    let report = server.get(&format!("/v1/envelopes/{id}/verification")).json();
    assert_eq!(report["verdict"], "verified");
    let posted = |query: &str| {
        server
            .request(
                "POST",
                &format!("/v1/verify{query}"),
                &[("Content-Type", "application/json")],
                &fetched.body,
            )
            .json()
    };
    assert_eq!(posted("")["verdict"], "verified");
    assert_eq!(posted("?trust=none")["verdict"], "integrity_only");
    assert_eq!(posted("?expect=result=failed")["first_failure"]["code"], "expected.mismatch");

    let sealed = place.write("sealed.json", &fetched.body);
    let keys = place.path("records/keyring.json");
    let last = &heads[heads.len() - 1];
    let head = format!("{}:{}", last["seq"], last["entry_hash"].as_str().unwrap());
    let arguments = [
        "verify",
        "sealed.json",
        "--keys",
        keys.to_str().unwrap(),
        "--head",
        &head,
        "--expect",
        "result=succeeded",
        "--json",
    ];
    let ran = place.run(&arguments);
    assert_eq!(ran.status, 0, "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&report["verdict"], &report["withheld"]), (&json!("verified"), &json!(0)));
    // And by the auditor's build, which has nothing of the service in it.
    match std::env::var_os("SEALSTONE_AUDITOR") {
        None => eprintln!(
            "SKIPPED: SEALSTONE_AUDITOR names no build without default features; tests/run.sh makes one"
        ),
        Some(auditor) => {
            let ran: Ran =
                Command::new(auditor).args(arguments).current_dir(place.path("")).output().unwrap().into();
            assert_eq!(ran.status, 0, "{ran:?}");
        }
    }
    // Where the format's reference implementation is to judge too, the file is kept for it.
    if let Some(kept) = std::env::var_os("SEALSTONE_KEEP").map(std::path::PathBuf::from) {
        let kept = kept.join("life");
        fs::create_dir_all(&kept).unwrap();
        fs::copy(sealed, kept.join("life.json")).unwrap();
        fs::write(kept.join("key.pem"), server.get("/v1/keys.pem").body).unwrap();
    }
}

#[test]
fn a_run_is_reported_by_commands_alone() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let url = server.url();
    let run = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.env("SEALSTONE_SERVER", &url);
        Ran::from(command.output().unwrap())
    };
    let ok = |arguments: &[&str]| {
        let ran = run(arguments);
        assert_eq!(ran.status, 0, "{arguments:?} {ran:?}");
        ran.stdout.trim().to_owned()
    };
    place.write("widget.bin", b"widget");
    let id = ok(&[
        "run",
        "open",
        "--project",
        "acme/widget",
        "--run-id",
        "r1",
        "--label",
        "team=core",
        "--no-subject",
    ]);
    assert_eq!(
        ok(&[
            "run",
            "open",
            "--project",
            "acme/widget",
            "--run-id",
            "r1",
            "--label",
            "team=core",
            "--no-subject"
        ]),
        id
    );
    let at = ["--run", &id];
    let told = |arguments: &[&str]| ok(&[arguments, &at].concat());
    assert!(told(&["run", "step", "unit", "--kind", "test"]).starts_with("noted at "));
    let head = told(&["run", "artifact", "widget.bin", "--id", "widget", "--kind", "binary"]);
    told(&["run", "step", "unit", "--status", "passed", "--exit-code", "0", "--artifact-id", "widget"]);
    told(&["run", "observe", "coverage", "0.93", "--basis", "widget"]);
    told(&["run", "event", "checkpoint", "--data", "{\"shard\":3}"]);
    told(&["run", "step", "alone", "--status", "skipped"]);
    let recorded = server.get(&format!("/v1/runs/{id}")).json()["envelope"]["execution"]["steps"].clone();
    let kinds: Vec<&str> =
        recorded.as_array().unwrap().iter().map(|step| step["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["test", "command"], "a step keeps the kind that it started with");
    let refused = run(&[&["run", "step", "unit", "--kind", "test", "--status", "failed"][..], &at].concat());
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("step_exists"), "{refused:?}");
    assert_eq!(told(&["run", "gate", "--reason", "ship?", "--wait", "0s"]), "gate-1 open");
    assert_eq!(told(&["run", "gate", "gate-1", "--approve", "--comment", "go"]), "gate-1 approved");
    // Somebody answers while another waits.
    let waiting = place
        .command(&[
            "run", "gate", "second", "--reason", "sure?", "--run", &id, "--wait", "30s", "--server", &url,
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    server.wait_until(&format!("/v1/runs/{id}"), |run| run["needs_input"] == true);
    told(&["run", "gate", "second", "--reject"]);
    let waited = Ran::from(waiting.wait_with_output().unwrap());
    assert_eq!((waited.status, waited.stdout.trim()), (2, "second rejected"));
    let contradicted = run(&[&["run", "finalize", "succeeded"][..], &at].concat());
    assert!(contradicted.stderr.contains("result_contradicted"), "{contradicted:?}");
    assert!(told(&["run", "finalize", "failed", "--reason", "not sure"]).starts_with("sealed sha256:"));

    ok(&["keys", "list", "--from-server", "--json"]);
    assert_eq!(ok(&["keys", "list", "--from-server", "--json"]), server.get("/v1/keys").json().to_string());
    let verified = ok(&[
        "verify",
        &id,
        "--keys",
        "records/keyring.json",
        "--head",
        &head,
        "--artifact",
        "widget=widget.bin",
    ]);
    assert!(verified.starts_with("verified"), "{verified}");
    assert!(ok(&["show", "r1"]).contains("acme/widget"));
    ok(&["fetch", "r1", "--out", "sealed.json"]);
    assert_eq!(fs::read(place.path("sealed.json")).unwrap(), server.get(&format!("/v1/envelopes/{id}")).body);
}

#[test]
fn the_line_that_serve_prints_records_a_run_and_verifies_it() {
    let place = Place::new();
    let errors = place.path("stderr");
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "records"]);
    command.stdout(std::process::Stdio::null()).stderr(fs::File::create(&errors).unwrap());
    let mut service = command.spawn().unwrap();
    let started = std::time::Instant::now();
    let line = loop {
        let told = fs::read_to_string(&errors).unwrap();
        if let Some(line) = told.lines().find(|line| line.trim_start().starts_with("S=")) {
            break line.trim().to_owned();
        }
        assert!(started.elapsed().as_secs() < 20, "{told}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    // Pasted as it is, in the same directory.
    let mut shell = place.command(&[]);
    let environment: Vec<_> =
        shell.get_envs().map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned))).collect();
    shell = Command::new("sh");
    shell.args(["-c", &line]).current_dir(place.path(""));
    for (name, value) in environment {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let ran = Ran::from(shell.output().unwrap());
    service.kill().unwrap();
    service.wait().unwrap();
    assert_eq!(ran.status, 0, "{line} {ran:?}");
    assert!(ran.stdout.contains("verified: it is whole"), "{ran:?}");
}

#[test]
fn a_call_that_begins_while_the_service_is_away_is_answered_once_it_is_there() {
    let place = Place::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = place.command(&[
        "run",
        "open",
        "--project",
        "p",
        "--no-subject",
        "--server",
        &format!("http://{free}"),
    ]);
    let waiting =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    let server = Server::start(&place, &["--listen", &free]);
    let opened = Ran::from(waiting.wait_with_output().unwrap());
    assert_eq!(opened.status, 0, "{opened:?}");
    assert_eq!(server.get("/v1/runs").json()["runs"][0]["evidence_id"].as_str(), Some(opened.stdout.trim()));
}

#[test]
fn a_service_that_is_away_is_told_and_a_run_has_a_name_all_the_same() {
    let away = ["--no-subject", "--server", "http://127.0.0.1:1", "--flush-timeout", "100ms"];
    let place = Place::new();
    let ran = place.run(&[&["run", "open", "--project", "p", "--run-id", "r"], away.as_slice()].concat());
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "p/r\n"), "{ran:?}");
    assert!(ran.stderr.contains("the rest is kept in"), "{ran:?}");
    // What cannot be kept is not said to be.
    place.write("no-directory", "");
    let nowhere = [&["run", "open", "--project", "p", "--spool", "no-directory"], away.as_slice()].concat();
    let ran = place.run(&nowhere);
    assert_eq!((ran.status, ran.stdout.as_str()), (69, ""), "{ran:?}");
    let ran = Place::new().run(&["run", "open", "--project", "p", "--no-subject", "--server", "nonsense"]);
    assert_eq!(ran.status, 64);
}
