//! Signals: told to who watches, where they came between the records, and kept by nobody.

use std::time::Duration;

use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Answer, Server};
use crate::sse::{Event, Stream};

const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

fn signal(server: &Server, run: &str, signal: &Value) -> Answer {
    server.post(&format!("/v1/runs/{run}/signals"), signal)
}

fn signals(server: &Server, run: &str, lines: &str) -> Answer {
    server.request("POST", &format!("/v1/runs/{run}/signals"), &[NDJSON], lines.as_bytes())
}

fn record(server: &Server, run: &str, name: &str) {
    let entry = json!({ "type": "event", "name": name });
    assert_eq!(server.post(&format!("/v1/runs/{run}/entries"), &entry).status, 200);
}

fn finalize(server: &Server, run: &str) {
    let path = format!("/v1/runs/{run}/finalize");
    assert_eq!(server.post(&path, &json!({ "result": "failed" })).status, 200);
}

fn settle(server: &Server, settings: &Value) -> Answer {
    let headers = [("Content-Type", "application/json")];
    server.request("PUT", "/v1/projects/p", &headers, settings.to_string().as_bytes())
}

fn refused(answer: &Answer, status: u16, code: &str) -> Value {
    let problem = answer.json();
    assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
    problem
}

/// The stream of a run, after what it says of itself.
fn follow(server: &Server, run: &str, query: &str) -> Stream {
    let mut stream = Stream::open(server, &format!("/v1/runs/{run}/events{query}"), &[]);
    assert_eq!(stream.next().unwrap().name, "stream_open");
    stream
}

fn next(stream: &mut Stream, count: usize) -> Vec<Event> {
    (0..count).map(|_| stream.next().expect("the stream ends")).collect()
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

fn figure(server: &Server, name: &str) -> String {
    let text = String::from_utf8(server.get("/metrics").body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn signals_are_told_among_the_records_and_are_none() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    let mut all = Stream::open(&server, "/v1/events", &[]);
    assert_eq!(all.next().unwrap().name, "stream_open");
    let mut stream = follow(&server, &run, "");
    assert_eq!(figure(&server, "sealstone_subscribers"), "2");
    record(&server, &run, "before");
    let written = figure(&server, "sealstone_written_bytes_total");
    let taken = signal(&server, &run, &json!({ "type": "token", "text": "a\nb", "step_id": "s" }));
    assert_eq!((taken.status, taken.json()), (202, json!({ "taken": 1, "dropped": 0 })));
    let many = "{\"type\":\"progress\",\"fraction\":0.5,\"message\":\"half\"}\n\n\
                {\"type\":\"custom:x\",\"data\":{\"a\":[1]}}\n{\"type\":\"heartbeat\"}\n";
    assert_eq!(signals(&server, &run, many).json(), json!({ "taken": 3, "dropped": 0 }));
    assert_eq!(figure(&server, "sealstone_written_bytes_total"), written);
    record(&server, &run, "after");
    let wanted = ["before", "token", "progress", "custom:x", "heartbeat", "after"];
    let events = next(&mut stream, 7);
    assert_eq!(names(&events), [&["run_started"], &wanted[..]].concat());
    let ids: Vec<_> = events.iter().filter_map(|event| event.id.as_deref()).collect();
    assert_eq!(ids, ["0", "1", "2"]);
    let told: Vec<&Value> = events[2..6].iter().map(|event| &event.data).collect();
    assert_eq!((&told[0]["text"], &told[0]["step_id"]), (&json!("a\nb"), &json!("s")));
    assert_eq!((&told[1]["fraction"], &told[1]["message"]), (&json!(0.5), &json!("half")));
    assert_eq!(told[2]["data"], json!({ "a": [1] }));
    for data in &told {
        assert!(data["evidence_id"] == *run && data["project"] == "p" && data["at"].is_string());
        assert!(data.get("pos").is_none() && data.get("replayed").is_none());
        let same = told.iter().filter(|other| other["signal_id"] == data["signal_id"]).count();
        assert!(data["signal_id"].is_string() && same == 1, "{data}");
    }
    let of_all = next(&mut all, 6);
    assert_eq!(names(&of_all), wanted);
    assert!(of_all[1..5].iter().all(|event| event.id.is_none()));
    let page = server.get(&format!("/v1/runs/{run}?envelope=false")).json();
    assert_eq!((&page["pos"], &page["counts"]["events"]), (&json!(2), &json!(2)));
    assert_eq!(page["progress"], *told[1]);
    assert_eq!(figure(&server, "sealstone_signals_total{outcome=\"taken\"}"), "4");
}

#[test]
fn who_comes_late_is_told_what_is_held_and_nobody_after_the_end_or_a_restart() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let (run, other) = (server.open(), server.open());
    let some = "{\"type\":\"token\",\"text\":\"a\"}\n{\"type\":\"heartbeat\"}\n{\"type\":\"token\",\"text\":\"b\"}\n";
    assert_eq!(signals(&server, &other, some).status, 202);
    let many: String = (0..1_002).map(|n| format!("{{\"type\":\"token\",\"text\":\"{n}\"}}\n")).collect();
    assert_eq!(signals(&server, &run, &many).json()["taken"], 1_002);
    // Asked in the lane: what came before is told.
    server.get(&format!("/v1/runs/{run}?envelope=false"));
    let mut late = follow(&server, &run, "");
    let held = next(&mut late, 1_000);
    assert!(held.iter().all(|event| event.data["replayed"] == true && event.id.is_none()));
    assert_eq!((&held[0].data["text"], &held[999].data["text"]), (&json!("2"), &json!("1001")));
    assert_eq!(late.next().unwrap().name, "run_started");
    // What comes now is told to both who are there, and is from before for neither.
    let mut some = follow(&server, &other, "?types=token&from=latest");
    assert_eq!(names(&next(&mut some, 2)), ["token", "token"]);
    signals(&server, &other, "{\"type\":\"progress\"}\n{\"type\":\"token\",\"text\":\"now\"}\n");
    let now = some.next().unwrap();
    assert_eq!((&now.data["text"], now.data.get("replayed")), (&json!("now"), None));
    finalize(&server, &run);
    assert_eq!(names(&late.all()), ["run_failed", "run_finalized"]);
    assert_eq!(names(&follow(&server, &run, "").all()), ["run_started", "run_failed", "run_finalized"]);
    refused(&signal(&server, &run, &json!({ "type": "heartbeat" })), 409, "run_closed");
    server.kill();
    let server = Server::start(&place, &[]);
    let mut stream = follow(&server, &other, "");
    finalize(&server, &other);
    assert_eq!(names(&stream.all()), ["run_started", "run_failed", "run_finalized"]);
}

#[test]
fn a_project_settles_which_signals_its_later_runs_take() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let before = server.open();
    let settled = settle(&server, &json!({ "signals": ["token", "custom:a"] }));
    assert_eq!((settled.status, settled.json()["signals"].clone()), (200, json!(["token", "custom:a"])));
    assert_eq!(server.get("/v1/projects/p").json()["signals"], json!(["token", "custom:a"]));
    let run = server.open();
    let all = "{\"type\":\"progress\"}\n{\"type\":\"token\",\"text\":\"t\"}\n{\"type\":\"heartbeat\"}\n\
               {\"type\":\"custom:a\"}\n{\"type\":\"custom:b\"}\n";
    let mut stream = follow(&server, &run, "");
    let answer = signals(&server, &run, all);
    assert_eq!((answer.status, answer.json()), (202, json!({ "taken": 2, "dropped": 3 })));
    assert_eq!(names(&next(&mut stream, 3)), ["run_started", "token", "custom:a"]);
    assert_eq!(signals(&server, &before, all).json(), json!({ "taken": 5, "dropped": 0 }));
    assert_eq!(figure(&server, "sealstone_signals_total{outcome=\"dropped\"}"), "3");
    assert_eq!(settle(&server, &json!({ "signals": "minimal" })).json()["signals"], "minimal");
    let silent = server.open();
    assert_eq!(signals(&server, &silent, all).json(), json!({ "taken": 0, "dropped": 5 }));
    // A run keeps what was settled when it was opened.
    server.kill();
    let server = Server::start(&place, &[]);
    assert_eq!(signals(&server, &run, all).json(), json!({ "taken": 2, "dropped": 3 }));
}

#[test]
fn what_is_no_signal_is_refused_with_all_that_came_along_and_harms_nothing() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    let mut stream = follow(&server, &run, "");
    let good = "{\"type\":\"token\",\"text\":\"never\"}\n";
    for (line, status, code, pointer) in [
        ("{\"type\":\"step_finished\"}", 422, "member_invalid", json!("/type")),
        ("{\"type\":\"custom:a b\"}", 422, "member_invalid", json!("/type")),
        ("{\"type\":\"token\"}", 422, "member_invalid", json!("/text")),
        ("{\"type\":\"progress\",\"fraction\":2}", 422, "member_invalid", json!("/fraction")),
        ("{\"type\":\"heartbeat\",\"id\":\"1\"}", 422, "member_invalid", json!("/id")),
        ("[]", 422, "member_invalid", json!("")),
        ("{", 400, "json.syntax", Value::Null),
        ("{\"type\":\"heartbeat\",\"type\":\"token\"}", 400, "json.duplicate_key", Value::Null),
    ] {
        let problem = refused(&signals(&server, &run, &format!("{good}\n{line}\n")), status, code);
        assert_eq!((&problem["pointer"], &problem["line"]), (&pointer, &json!(3)), "{line}");
        let alone = server.request(
            "POST",
            &format!("/v1/runs/{run}/signals"),
            &[("Content-Type", "application/json")],
            line.as_bytes(),
        );
        assert!(refused(&alone, status, code).get("line").is_none());
    }
    let long = "x".repeat(60_000);
    let large = json!({ "type": "custom:x", "data": { "a": [long, long, long, long, long] } });
    refused(&signal(&server, &run, &large), 413, "element_too_large");
    refused(&signals(&server, &run, " \n\n"), 422, "no_signals");
    let many = "{\"type\":\"heartbeat\"}\n".repeat(10_001);
    refused(&signals(&server, &run, &many), 422, "too_many_signals");
    refused(&signals(&server, &run, &" ".repeat((8 << 20) + 1)), 413, "body_too_large");
    let missing = "01a1fd8c-ab13-74fe-ba1f-fc160c4ef33e";
    refused(&signal(&server, missing, &json!({ "type": "heartbeat" })), 404, "run_not_found");
    assert_eq!(signal(&server, &run, &json!({ "type": "token", "text": "good" })).status, 202);
    let events = next(&mut stream, 2);
    assert_eq!((events[0].name.as_str(), &events[1].data["text"]), ("run_started", &json!("good")));
    for (wrong, pointer) in [
        (json!("some"), "/signals"),
        (json!(1), "/signals"),
        (json!(["token", "step"]), "/signals/1"),
        (json!(["custom:"]), "/signals/0"),
        (json!(["token", 7]), "/signals/1"),
        (json!(vec!["token"; 101]), "/signals"),
    ] {
        let problem = refused(&settle(&server, &json!({ "signals": wrong })), 422, "member_invalid");
        assert_eq!(problem["pointer"], pointer, "{wrong}");
    }
}

#[test]
fn what_a_rule_matches_is_shown_to_nobody_who_watches() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let growing = json!({ "rule_id": "grows", "pattern": "ü", "replacement": "-".repeat(64) });
    let rules = json!({ "redact": [{ "rule_id": "key", "pattern": "key-[0-9]+" }, growing] });
    assert_eq!(settle(&server, &rules).status, 200);
    let run = server.open();
    let mut stream = follow(&server, &run, "");
    let lines = "{\"type\":\"token\",\"text\":\"a key-1 b\"}\n{\"type\":\"progress\",\"message\":\"key-2\"}\n\
                 {\"type\":\"custom:x\",\"data\":{\"list\":[\"key-3\"]}}\n";
    assert_eq!(signals(&server, &run, lines).status, 202);
    let events = next(&mut stream, 4);
    assert_eq!(events[1].data["text"], "a *** b");
    assert!(events.iter().all(|event| !event.raw.contains("key-")));
    let named = "{\"type\":\"heartbeat\"}\n{\"type\":\"custom:x\",\"data\":{\"key-4\":1}}\n";
    let problem = refused(&signals(&server, &run, named), 422, "name_redacted");
    assert_eq!((&problem["line"], &problem["pointer"]), (&json!(2), &json!("/data")));
    let grows = json!({ "type": "token", "text": "ü".repeat(30_000) }).to_string() + "\n";
    refused(&signals(&server, &run, &grows.repeat(20)), 413, "element_too_large");
    assert_eq!(signal(&server, &run, &json!({ "type": "token", "text": "next" })).status, 202);
    assert_eq!(stream.next().unwrap().data["text"], "next");
}

#[test]
fn a_run_that_signals_does_not_expire() {
    let place = Place::new();
    let server = Server::start(&place, &["--idle-timeout", "2s"]);
    let (silent, telling) = (server.open(), server.open());
    let state = |run: &str| server.get(&format!("/v1/runs/{run}?envelope=false")).json()["state"].clone();
    // The silent one tells when so much time has passed that the other would have expired too.
    while state(&silent) != "sealed" {
        assert_eq!(signal(&server, &telling, &json!({ "type": "heartbeat" })).status, 202);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(state(&telling), "open");
    let path = format!("/v1/runs/{telling}?envelope=false");
    assert_eq!(server.wait_until(&path, |run| run["state"] == "sealed")["result"], "expired");
}
