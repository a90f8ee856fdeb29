//! `sealstone watch` against the real service.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::place::{Place, Ran, text};
use crate::server::Server;

/// A `watch --json` that goes on while the test does.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
    seen: Vec<Value>,
}

impl Watching {
    fn start(place: &Place, server: &Server, run: &str) -> Self {
        let keys = place.path("records/keyring.json");
        let mut command = place.command(&["watch", run, "--json", "--check", "--keys", text(&keys)]);
        command.args(["--server", &server.url()]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines, seen: Vec::new() }
    }

    /// Reads to the next event of that type.
    fn wait_for(&mut self, wanted: &str) {
        while self.seen.last().is_none_or(|event| event["type"] != wanted) {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "{wanted} never came: {:?}", self.seen);
            self.seen.push(serde_json::from_str(&line).unwrap());
        }
    }

    /// What it printed, and how it ended.
    fn end(mut self) -> (Vec<Value>, Ran) {
        self.seen.extend(self.lines.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()));
        (self.seen, Ran::from(self.child.wait_with_output().unwrap()))
    }
}

fn report(server: &Server, run: &str, path: &str, body: &Value) {
    let answer = server.post(&format!("/v1/runs/{run}/{path}"), body);
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
}

/// What each record is called, in order: each stands at its place once.
fn recorded(events: &[Value]) -> Vec<&str> {
    let records: Vec<&Value> = events.iter().filter(|event| event["pos"].is_u64()).collect();
    for (pos, record) in records.iter().enumerate() {
        assert_eq!(record["pos"], pos, "{events:?}");
    }
    records.iter().filter_map(|record| record["type"].as_str()).collect()
}

#[test]
fn a_run_is_watched_to_its_verdict_while_the_service_is_killed_and_started_again() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let run = server.open();
    let mut watching = Watching::start(&place, &server, &run);
    watching.wait_for("run_started");
    report(&server, &run, "entries", &json!({"type": "step_started", "step_id": "unit", "kind": "test"}));
    report(&server, &run, "gates", &json!({"gate_id": "ship", "reason": "ship it?"}));
    watching.wait_for("needs_input");
    server.kill();
    let address = server.address.clone();
    let server = Server::start(&place, &["--listen", &address]);
    report(&server, &run, "gates/ship", &json!({"decision": "approved"}));
    let step = json!({"type": "step", "step_id": "unit", "kind": "test", "status": "passed", "exit_code": 0});
    report(&server, &run, "entries", &step);
    watching.wait_for("step_finished");
    report(&server, &run, "finalize", &json!({"result": "succeeded"}));
    let (mut events, ran) = watching.end();
    assert_eq!(ran.status, 0, "{ran:?} {events:?}");
    let verdict = events.pop().unwrap();
    assert_eq!((&verdict["verdict"], &verdict["evidence_id"]), (&json!("verified"), &json!(run)));
    let names =
        "run_started step_started needs_input input_recorded step_finished run_completed run_finalized";
    assert_eq!(recorded(&events).join(" "), names);
    assert!(
        ran.stderr.contains("4 of 4 elements were streamed, each with the entry_hash that is sealed"),
        "{ran:?}"
    );
}

#[test]
fn a_run_that_is_sealed_is_told_from_its_first_event_at_once() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    report(
        &server,
        &run,
        "entries",
        &json!({"type": "step", "step_id": "unit", "kind": "test", "status": "failed"}),
    );
    report(&server, &run, "finalize", &json!({"result": "failed", "reason": "\u{1b}[2J"}));
    let (mut events, ran) = Watching::start(&place, &server, &run).end();
    assert_eq!((ran.status, &events.pop().unwrap()["verdict"]), (0, &json!("verified")), "{ran:?}");
    assert_eq!(recorded(&events), ["run_started", "step_finished", "run_failed", "run_finalized"]);

    let url = server.url();
    let watch = |more: &[&str]| place.run(&[&["watch", &run, "--server", &url], more].concat());
    let ran = watch(&["--project", "p", "--preset", "minimal", "--check"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    assert!(ran.stderr.contains("✗ failed") && !ran.stderr.contains("unit"), "{ran:?}");
    assert!(
        ran.stderr.contains("2 of 3 elements were streamed") && !ran.stderr.contains('\u{1b}'),
        "{ran:?}"
    );
    let ran = watch(&["--types", "nothing_like_it"]);
    assert_eq!((ran.status, ran.stderr.contains("filter_unknown")), (1, true), "{ran:?}");
    assert_eq!(place.run(&["watch", "no-such-run", "--server", &url]).status, 1);
}

#[test]
fn what_steps_write_is_shown_where_it_is_asked_for() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    let url = server.url();
    let mut command = place.command(&["watch", &run, "--logs", "--server", &url]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    report(&server, &run, "entries", &json!({"type": "step_started", "step_id": "unit", "kind": "test"}));
    // Lines from before are not shown: the next are written once somebody follows.
    while !String::from_utf8(server.get("/metrics").body).unwrap().contains("sealstone_subscribers 2") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let headers = [("Content-Type", "text/plain")];
    let path = format!("/v1/runs/{run}/logs?step_id=unit");
    assert_eq!(server.request("POST", &path, &headers, b"one\n\x1b[2Jtwo\n").status, 200);
    let step = json!({"type": "step", "step_id": "unit", "kind": "test", "status": "passed"});
    report(&server, &run, "entries", &step);
    report(&server, &run, "finalize", &json!({"result": "succeeded"}));
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!(ran.status, 3, "{ran:?}");
    assert!(ran.stderr.contains("one\n") && ran.stderr.contains("two\n"), "{ran:?}");
    assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
}
