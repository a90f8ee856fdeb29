//! What the operator is told: lines, figures, readiness; and what nobody is told.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Answer, Connection, Server};

/// Serves with these arguments; what is told on standard error goes into the file `told`.
fn serve(place: &Place, before: &str, arguments: &[&str]) -> Server {
    let mut command = Command::new("sh");
    let serve =
        format!("{before} exec \"$0\" serve --json --listen 127.0.0.1:0 --data-dir records \"$@\" 2>told");
    command.args(["-c", &serve, env!("CARGO_BIN_EXE_sealstone")]).args(arguments).current_dir(place.path(""));
    for name in ["SEALSTONE_LOG_FORMAT", "SEALSTONE_LOG_LEVEL"] {
        command.env_remove(name);
    }
    Server::spawn(command).unwrap()
}

fn told(place: &Place) -> String {
    fs::read_to_string(place.path("told")).unwrap()
}

/// Every line of it, each a JSON object.
fn lines(place: &Place) -> Vec<Value> {
    let line = |line: &str| -> Value { serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")) };
    told(place).lines().map(line).collect()
}

fn token(place: &Place) -> String {
    let made = place.run(&["token", "create", "root", "--role", "admin", "--data-dir", "records"]);
    assert_eq!(made.status, 0, "{made:?}");
    made.stdout.trim().to_owned()
}

/// One figure: the line that begins with this.
fn figure(metrics: &str, named: &str) -> f64 {
    let found = metrics.lines().find_map(|line| line.strip_prefix(named)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {named} in {metrics}")).parse().unwrap()
}

#[test]
fn each_request_is_one_line_that_says_nothing_of_what_was_sent() {
    let place = Place::new();
    let token = token(&place);
    let mut server = serve(&place, "", &["--log-format", "json", "--log-level", "debug"]);
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Cookie", "session=hush-cookie"),
        ("X-Request-Id", "build-7:a.b_C"),
        ("User-Agent", "hush-agent"),
    ];
    let asked = std::cell::Cell::new(0);
    let ask = |method: &str, path: &str, body: &Value| {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let key = format!("hush-key-{}", asked.replace(asked.get() + 1));
        let headers: Vec<_> = headers.into_iter().chain([("Idempotency-Key", key.as_str())]).collect();
        let answer = server.request(method, path, &headers, body.as_bytes());
        assert_eq!(answer.header("x-request-id"), Some("build-7:a.b_C"), "{path}");
        answer
    };
    let run = ask("POST", "/v1/runs", &json!({ "project": "hush-project", "run_id": "hush-run" }));
    assert_eq!(run.status, 201);
    let step = json!({ "type": "step", "step_id": "hush-step", "kind": "test", "status": "passed", "command": ["hush-command"] });
    assert_eq!(ask("POST", "/v1/runs/hush-run/entries?project=hush-project", &step).status, 200);
    assert_eq!(
        ask("POST", "/v1/runs/hush-run/entries?hush-query=1", &json!({ "hush-member": 1 })).status,
        400
    );
    assert_eq!(ask("POST", "/v1/runs/hush-run/entries", &json!({ "type": "hush-type" })).status, 422);
    assert_eq!(ask("GET", "/v1/projects/hush-project", &Value::Null).status, 200);
    assert_eq!(ask("GET", "/hush-path?hush-query", &Value::Null).status, 404);
    assert_eq!(ask("POST", "/v1/runs/hush-run/finalize", &json!({ "result": "succeeded" })).status, 200);
    assert_eq!(server.request("GET", "/v1/runs", &[("Authorization", "Bearer sst_hush")], b"").status, 401);
    assert_eq!(server.terminate(), 0);

    let key = fs::read_to_string(place.path("records/key.pem")).unwrap();
    let key = key.lines().nth(1).unwrap();
    for secret in ["hush", token.as_str(), token.trim_start_matches("sst_"), key, "PRIVATE"] {
        assert!(!told(&place).contains(secret), "{secret} in {}", told(&place));
    }
    let lines = lines(&place);
    let messages: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(messages.first(), Some(&"serving"));
    assert_eq!(messages.last(), Some(&"ended"));
    let started = &lines[0];
    assert_eq!(started["engine"], "fjall");
    assert!(
        started["keyid"].is_string() && started["url"].is_string() && started["layout"].is_u64(),
        "{started}"
    );
    let requests: Vec<&Value> = lines.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(requests.len(), 8);
    let appended = requests[1];
    assert_eq!(appended["route"], "/v1/runs/{run}/entries");
    assert_eq!((&appended["method"], &appended["status"]), (&json!("POST"), &json!(200)));
    assert_eq!((&appended["caller"], &appended["level"]), (&json!("root"), &json!("INFO")));
    assert_eq!(appended["request_id"], "build-7:a.b_C");
    assert!(appended["duration_ms"].is_f64() && appended["bytes"].is_u64(), "{appended}");
    assert_eq!(requests[5]["route"], "unmatched");
    assert_eq!((&requests[7]["caller"], &requests[7]["status"]), (&json!("nobody"), &json!(401)));
}

#[test]
fn every_answer_names_its_request_and_so_does_a_failure() {
    let place = Place::new();
    let server = serve(&place, "", &["--min-free", "1000TiB", "--log-format", "json"]);
    let long = "x".repeat(65);
    for bad in ["", "a b", "a/b", "é", "a\"b", "sst_token", long.as_str()] {
        let answer = server.request("GET", "/nowhere", &[("X-Request-Id", bad)], b"");
        let id = answer.header("x-request-id").unwrap();
        assert!(id.len() == 36 && id.as_bytes()[14] == b'7', "{bad}: {id}");
    }
    let refused = server.request("GET", "/v1/runs", &[("Origin", "http://elsewhere.example")], b"");
    assert_eq!(refused.status, 403);
    assert!(refused.header("x-request-id").is_some());
    assert!(server.request("DELETE", "/healthz", &[], b"").header("x-request-id").is_some());
    let full = server.post("/v1/runs", &json!({ "project": "p" }));
    let id = full.header("x-request-id").unwrap();
    assert_eq!((full.status, full.json()["request_id"].as_str()), (507, Some(id)));
    let lines = lines(&place);
    let failed = lines.iter().find(|line| line["message"] == "request failed").unwrap();
    assert_eq!((&failed["level"], &failed["code"]), (&json!("ERROR"), &json!("disk_full")));
    assert_eq!((failed["request_id"].as_str(), &failed["caller"]), (Some(id), &json!("local")));
    let full = lines.iter().find(|line| line["min_free_bytes"].is_u64()).unwrap();
    assert_eq!(full["level"], "ERROR");
}

#[test]
fn who_went_away_before_the_answer_is_told_too() {
    let place = Place::new();
    let server = serve(&place, "", &["--log-format", "json"]);
    let gates = format!("/v1/runs/{}/gates", server.open());
    assert_eq!(server.post(&gates, &json!({ "gate_id": "g", "reason": "may it?" })).status, 201);
    // Whether it was asked before it was hung up nobody knows: so it is tried again.
    let gone = (0..100).find_map(|_| {
        let mut waiting = Connection::to(&server.address).unwrap();
        waiting.send("GET", &format!("{gates}/g?wait=30"), &[("X-Request-Id", "gone")], b"").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        waiting.hang_up();
        lines(&place).into_iter().find(|line| line["request_id"] == "gone")
    });
    let gone = gone.unwrap();
    assert_eq!(gone["route"], "/v1/runs/{run}/gates/{gate_id}");
    assert!(gone["status"].is_null() && gone["message"].as_str().unwrap().contains("went away"), "{gone}");
}

#[test]
fn a_terminal_stays_quiet_until_something_fails() {
    let place = Place::new();
    let mut server = serve(&place, "", &["--log-level", "info"]);
    server.open();
    assert_eq!(server.terminate(), 0);
    assert!(told(&place).contains("INFO request ") && told(&place).contains("ending: requests under way"));
    let mut server = serve(&place, "", &[]);
    server.open();
    assert_eq!(server.get("/nowhere").status, 404);
    assert_eq!(server.terminate(), 0);
    assert_eq!(told(&place), "ending: requests under way are answered\n");
    // A limit on the size of files is a disk that fails at some write.
    let server = serve(&place, "trap '' XFSZ; ulimit -f 1500;", &[]);
    let path = format!("/v1/runs/{}/entries", server.open());
    let event = json!({ "type": "event", "name": "e", "message": "x".repeat(60_000) });
    assert!((0..1_000).any(|_| server.post(&path, &event).status == 503));
    assert_eq!(server.get("/readyz").status, 503);
    let told = told(&place);
    assert!(told.contains("ERROR the store failed: nothing is recorded until a restart reason="), "{told}");
    assert!(told.contains("code=\"store_unavailable\""), "{told}");
}

#[test]
fn what_happens_is_counted() {
    let place = Place::new();
    let server = serve(&place, "", &["--idle-timeout", "1s"]);
    let run = server.open();
    let entries = format!("/v1/runs/{run}/entries");
    for n in 0..3 {
        let event = json!({ "type": "event", "name": format!("e{n}") });
        assert_eq!(server.post(&entries, &event).status, 200);
    }
    assert_eq!(server.post(&entries, &json!({ "type": "nothing" })).status, 422);
    let finalize = format!("/v1/runs/{run}/finalize");
    assert_eq!(server.post(&finalize, &json!({ "result": "succeeded" })).status, 200);
    assert_eq!(server.get(&format!("/v1/envelopes/{run}/verification")).status, 200);
    let overdue = server.open();
    server.wait_until(&format!("/v1/runs/{overdue}?envelope=false"), |run| run["state"] == "sealed");
    // What is sealed can be seen a moment before it is counted.
    let counted =
        |answer: &Answer| String::from_utf8_lossy(&answer.body).contains("seal_duration_seconds_count 2\n");
    let mut answer = server.get("/metrics");
    for _ in 0..200 {
        if counted(&answer) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
        answer = server.get("/metrics");
    }
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let metrics = String::from_utf8(answer.body).unwrap();
    let route = "route=\"/v1/runs/{run}/entries\",method=\"POST\"";
    for (named, wanted) in [
        (format!("sealstone_http_requests_total{{{route},status=\"2xx\"}}"), 3.0),
        (format!("sealstone_http_requests_total{{{route},status=\"4xx\"}}"), 1.0),
        (format!("sealstone_http_request_duration_seconds_count{{{route}}}"), 4.0),
        (format!("sealstone_http_request_duration_seconds_bucket{{{route},le=\"+Inf\"}}"), 4.0),
        ("sealstone_http_problems_total{code=\"type_unknown\"}".into(), 1.0),
        ("sealstone_runs_opened_total".into(), 2.0),
        ("sealstone_runs_overdue_total{result=\"expired\"}".into(), 1.0),
        ("sealstone_records_total{type=\"run\"}".into(), 2.0),
        ("sealstone_records_total{type=\"event\"}".into(), 3.0),
        ("sealstone_records_total{type=\"outcome\"}".into(), 2.0),
        ("sealstone_records_total{type=\"sealed\"}".into(), 2.0),
        ("sealstone_seals_total{outcome=\"done\"}".into(), 2.0),
        ("sealstone_seal_duration_seconds_count".into(), 2.0),
        ("sealstone_runs_closing".into(), 0.0),
        ("sealstone_seals_failing".into(), 0.0),
        ("sealstone_verifications_total{verdict=\"verified\"}".into(), 1.0),
        ("sealstone_commits_waiting".into(), 0.0),
        ("sealstone_disk_min_free_bytes".into(), f64::from(256 << 20)),
        ("sealstone_ready".into(), 1.0),
    ] {
        assert_eq!(figure(&metrics, &named), wanted, "{named}");
    }
    let commits = figure(&metrics, "sealstone_commit_duration_seconds_count");
    assert!(commits >= 8.0 && commits == figure(&metrics, "sealstone_commit_batches_count"), "{metrics}");
    let written = figure(&metrics, "sealstone_written_bytes_total");
    assert_eq!(written, figure(&metrics, "sealstone_commit_bytes_sum"));
    assert!(figure(&metrics, "sealstone_disk_free_bytes") > 0.0);
    // Each family is explained before its samples.
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(metrics.contains(&format!("# TYPE {family} ")), "{line}");
    }
}

#[test]
fn figures_and_reasons_are_for_who_has_a_token() {
    let place = Place::new();
    let token = token(&place);
    let server = serve(&place, "", &["--min-free", "1000TiB"]);
    let with =
        |path: &str| server.request("GET", path, &[("Authorization", &format!("Bearer {token}"))], b"");
    assert_eq!(server.get("/metrics").status, 401);
    assert_eq!(figure(&String::from_utf8(with("/metrics").body).unwrap(), "sealstone_ready"), 0.0);
    let nobody = server.get("/readyz");
    assert_eq!((nobody.status, nobody.json()), (503, json!({ "ready": false })));
    let somebody = with("/readyz");
    assert_eq!((somebody.status, &somebody.json()["ready"]), (503, &json!(false)));
    assert!(somebody.json()["reasons"][0].as_str().unwrap().contains("--min-free"));
}

#[test]
fn connections_beyond_the_files_there_are_wait_and_break_nothing() {
    let place = Place::new();
    // 512 files are for other things, and 64 connections there are at least.
    let server = serve(&place, "ulimit -n 576;", &[]);
    let run = server.open();
    let mut held: Vec<Connection> = (0..64).map(|_| Connection::to(&server.address).unwrap()).collect();
    for connection in &mut held {
        assert_eq!(connection.request("GET", "/healthz", &[], b"").unwrap().status, 200);
    }
    let metrics = held[0].request("GET", "/metrics", &[], b"").unwrap();
    let metrics = String::from_utf8(metrics.body).unwrap();
    assert_eq!(figure(&metrics, "sealstone_http_connections"), 64.0);
    assert_eq!(figure(&metrics, "sealstone_http_max_connections"), 64.0);
    // One more is served once another one goes, and not before.
    let address = server.address.clone();
    let waiting = std::thread::spawn(move || {
        Connection::to(&address).unwrap().request("GET", "/healthz", &[], b"").unwrap().status
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!waiting.is_finished());
    let event = json!({ "type": "event", "name": "e" }).to_string();
    let path = format!("/v1/runs/{run}/entries");
    let json = [("Content-Type", "application/json")];
    assert_eq!(held[1].request("POST", &path, &json, event.as_bytes()).unwrap().status, 200);
    held.pop().unwrap().hang_up();
    assert_eq!(waiting.join().unwrap(), 200);
}
