//! A whole run in one connection: what is sent is recorded line by line, and the answer is its event stream.

use std::io::{ErrorKind, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::access::Guarded;
use crate::place::Place;
use crate::server::Server;
use crate::sse::{Event, Stream};

const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

/// What is sent, in pieces.
struct Sender(TcpStream);

impl Sender {
    fn open(server: &Server, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut connection = TcpStream::connect(&server.address).unwrap();
        connection.set_nodelay(true).unwrap();
        let mut head = format!("POST /v1/stream{query} HTTP/1.1\r\nHost: localhost\r\n");
        for (name, value) in [NDJSON, ("Transfer-Encoding", "chunked")].iter().chain(headers) {
            head += &format!("{name}: {value}\r\n");
        }
        connection.write_all((head + "\r\n").as_bytes()).unwrap();
        Self(connection)
    }

    /// Sends a chunk.
    fn send(&mut self, text: &str) {
        self.try_send(text).unwrap();
    }

    fn try_send(&mut self, text: &str) -> std::io::Result<()> {
        self.0.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
    }

    fn line(&mut self, line: &Value) {
        self.send(&format!("{line}\n"));
    }

    fn end(&mut self) {
        self.0.write_all(b"0\r\n\r\n").unwrap();
    }

    fn answer(&self) -> Stream {
        let stream = Stream::on(self.0.try_clone().unwrap());
        assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
        stream
    }
}

fn run(run_id: &str) -> Value {
    json!({ "type": "run", "project": "p", "run_id": run_id })
}

fn event(name: &str) -> Value {
    json!({ "type": "event", "name": name })
}

fn finalize() -> Value {
    json!({ "type": "finalize", "result": "succeeded" })
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The names of events and the lines that they answer.
fn told(events: &[Event]) -> Vec<(&str, Option<u64>)> {
    events.iter().map(|event| (event.name.as_str(), event.data["line"].as_u64())).collect()
}

/// The names of all that is recorded.
fn recorded(server: &Server, run: &str) -> Vec<String> {
    let page = server.request(
        "GET",
        &format!("/v1/runs/{run}/events?limit=1000"),
        &[("Accept", "application/json")],
        b"",
    );
    // None of a run that is not there yet.
    let names =
        page.json()["events"].as_array().into_iter().flatten().map(|event| event["type"].clone()).collect();
    serde_json::from_value(names).unwrap()
}

fn wait_for(server: &Server, run: &str, last: &str) -> Vec<String> {
    let started = Instant::now();
    loop {
        let names = recorded(server, run);
        if names.last().is_some_and(|name| name == last) {
            return names;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{names:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_run_lives_in_one_connection_and_every_answer_names_its_line() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let mut sender = Sender::open(&server, "", &[]);
    sender.line(&run("r"));
    let mut stream = sender.answer();
    assert_eq!(stream.next().unwrap().name, "stream_open");
    let mut next = |name: &str, line: Option<u64>| {
        let event = stream.next().unwrap();
        assert_eq!((event.name.as_str(), event.data["line"].as_u64()), (name, line));
        event
    };
    next("run_started", Some(1));
    sender.line(&json!({ "type": "step_started", "step_id": "s", "kind": "test" }));
    next("step_started", Some(2));
    sender.send(" \r\n");
    sender.line(&json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed" }));
    next("step_finished", Some(4));
    sender.line(&json!({ "type": "gate", "gate_id": "g", "reason": "may it?" }));
    next("needs_input", Some(5));
    server.post("/v1/runs/r/gates/g", &json!({ "decision": "approved" }));
    next("input_recorded", None);
    sender.line(&event("phase_started"));
    next("phase_started", Some(6));
    // What is recorded nowhere is told all the same; its line is named by nothing.
    sender.send(&text(&[json!({ "type": "progress", "fraction": 0.5 }), json!({ "type": "custom:x" })]));
    next("progress", None);
    next("custom:x", None);
    sender.line(&finalize());
    next("run_completed", Some(9));
    let last = next("run_finalized", Some(9));
    assert!(stream.next().is_none() && !stream.cut);
    let envelope = server.get(&format!("/v1/envelopes/{}", last.data["evidence_id"].as_str().unwrap()));
    assert_eq!(envelope.status, 200);
    assert_eq!(envelope.header("sealstone-envelope-digest"), last.data["envelope_digest"].as_str());
}

#[test]
fn what_arrives_all_at_once_is_answered_line_by_line_too() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let mut lines = vec![run("r")];
    lines.extend((0..2_500).map(|n| event(&format!("e{n}"))));
    lines.push(finalize());
    let body = text(&lines);
    // The last line needs no line feed.
    let answer = server.request("POST", "/v1/stream", &[NDJSON], body.trim_end().as_bytes());
    let answer = String::from_utf8(answer.body).unwrap();
    let told: Vec<(u64, u64)> = answer
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|data| Some((data["pos"].as_u64()?, data["line"].as_u64()?)))
        .collect();
    let wanted: Vec<(u64, u64)> = (0..2_502).map(|pos| (pos, pos + 1)).chain([(2_502, 2_502)]).collect();
    assert_eq!(told, wanted);
}

#[test]
fn a_bad_line_stops_exactly_there_and_the_run_goes_on_in_another_connection() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let passed = json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed" });
    let failed = json!({ "type": "step", "step_id": "s", "kind": "test", "status": "failed" });
    let bad = [
        ("{", "json.syntax"),
        ("[]", "member_invalid"),
        (r#"{"type":"what"}"#, "type_unknown"),
        (r#"{"type":"run","project":"p"}"#, "type_unknown"),
        (r#"{"type":"event","name":"open"}"#, "event_name_reserved"),
        (r#"{"type":"gate","reason":"x","more":1}"#, "member_invalid"),
        (r#"{"type":"finalize","result":"fine"}"#, "member_invalid"),
        (r#"{"type":"step_started","step_id":"x"}"#, "member_invalid"),
        (r#"{"type":"progress","fraction":2}"#, "member_invalid"),
        (&failed.to_string(), "step_exists"),
        (&format!("\"{}\"", "x".repeat(2 << 20)), "json.too_large"),
    ];
    for (n, (line, code)) in bad.iter().enumerate() {
        let run_id = format!("r{n}");
        let mut sender = Sender::open(&server, "", &[]);
        let before = text(&[run(&run_id), passed.clone(), event("a")]);
        // Who is cut off may not get rid of all.
        let _ = sender.try_send(&format!("{before}{line}\n{}", text(&[event("b"), finalize()])));
        let events = sender.answer().all();
        let wanted =
            [("stream_open", None), ("run_started", Some(1)), ("step_finished", Some(2)), ("a", Some(3))];
        let (last, before) = events.split_last().unwrap();
        assert_eq!(told(before), wanted, "{code}");
        assert_eq!((last.name.as_str(), last.data["line"].as_u64()), ("stream_error", Some(4)));
        assert_eq!(last.data["code"], *code, "{}", last.data);
        assert!(last.id.is_none() && last.data["detail"].is_string());
        assert_eq!(recorded(&server, &run_id), ["run_started", "step_finished", "a"]);
        assert_eq!(server.get(&format!("/v1/runs/{run_id}")).json()["state"], "open");
        let again = text(&[run(&run_id), event("b"), finalize()]);
        let again = server.request("POST", "/v1/stream?from=latest", &[NDJSON], again.as_bytes());
        assert_eq!(again.status, 200);
        assert_eq!(
            recorded(&server, &run_id),
            ["run_started", "step_finished", "a", "b", "run_completed", "run_finalized"]
        );
    }
}

#[test]
fn what_comes_after_the_end_is_refused() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let body = text(&[run("r"), finalize(), finalize(), event("late")]);
    let mut sender = Sender::open(&server, "?preset=minimal", &[]);
    sender.send(&body);
    let events = sender.answer().all();
    let (last, before) = events.split_last().unwrap();
    assert_eq!((&last.data["code"], &last.data["line"]), (&json!("run_closed"), &json!(4)), "{}", last.data);
    // The same close again is answered by what closed it.
    for answer in [("run_completed", Some(2)), ("run_finalized", Some(2)), ("run_completed", Some(3))] {
        assert!(told(before).contains(&answer), "{:?}", told(before));
    }
    assert_eq!(recorded(&server, "r").last().unwrap(), "run_finalized");
}

#[test]
fn a_close_that_cannot_be_sealed_yet_is_told_and_then_that() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let keys = server.get("/v1/keys").json();
    let key = keys["keys"][0]["keyid"].as_str().unwrap();
    assert_eq!(place.run(&["keys", "revoke", key, "--data-dir", "records"]).status, 0);
    server.hangup();
    let mut sender = Sender::open(&server, "", &[]);
    sender.send(&text(&[run("r"), event("a"), finalize(), event("late")]));
    let events = sender.answer().all();
    let wanted = [
        ("stream_open", None),
        ("run_started", Some(1)),
        ("a", Some(2)),
        ("run_completed", Some(3)),
        ("stream_error", Some(3)),
    ];
    assert_eq!(told(&events), wanted);
    assert_eq!(events.last().unwrap().data["code"], "seal_pending");
    assert_eq!(server.get("/v1/runs/r").json()["state"], "closing");
}

#[test]
fn who_sends_signals_without_a_pause_is_told_all_the_same_what_others_record() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let mut sender = Sender::open(&server, "?types=abort_requested", &[]);
    sender.line(&run("r"));
    let mut stream = sender.answer();
    let tokens = text(&vec![json!({ "type": "token", "text": "x" }); 2_000]);
    let pump = std::thread::spawn(move || {
        // Until nobody takes them any more.
        while sender.try_send(&tokens).is_ok() {}
    });
    assert_eq!(server.post("/v1/runs/r/abort", &json!({ "reason": "enough" })).status, 202);
    assert_eq!(stream.next_named("abort_requested").data["reason"], "enough");
    drop(server);
    pump.join().unwrap();
}

#[test]
fn a_line_that_repeats_what_was_recorded_is_answered_by_that_record() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let step = json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed" });
    let mut first = Sender::open(&server, "", &[]);
    first.send(&text(&[run("r"), step.clone(), event("a")]));
    let step_finished = first.answer().next_named("step_finished");
    assert_eq!(wait_for(&server, "r", "a").len(), 3);
    let mut second = Sender::open(&server, "?from=latest", &[]);
    second.line(&run("r"));
    let mut stream = second.answer();
    let answered =
        |event: Event| (event.name.clone(), event.data["pos"].as_u64(), event.data["line"].as_u64());
    assert_eq!(stream.next().unwrap().name, "stream_open");
    let opened = stream.next().unwrap();
    assert_eq!(opened.id, None, "it is behind where this stream has begun");
    assert_eq!(answered(opened), ("run_started".into(), Some(0), Some(1)));
    second.send(&text(&[step.clone(), step]));
    let (one, other) = (stream.next().unwrap(), stream.next().unwrap());
    assert_eq!((&one.id, &other.id, &one.data["at"]), (&None, &None, &step_finished.data["at"]));
    assert_eq!(answered(one), ("step_finished".into(), Some(1), Some(2)));
    assert_eq!(answered(other), ("step_finished".into(), Some(1), Some(3)));
    second.line(&event("b"));
    let next = stream.next().unwrap();
    assert_eq!(next.id.as_deref(), Some("3"));
    assert_eq!(answered(next), ("b".into(), Some(3), Some(4)));
    assert_eq!(recorded(&server, "r"), ["run_started", "step_finished", "a", "b"]);
}

#[test]
fn who_never_reads_the_answer_has_everything_recorded_and_finds_every_line_answered() {
    const EVENTS: u64 = 8_000;
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let mut sender = Sender::open(&server, "", &[]);
    sender.line(&run("r"));
    let data = "x".repeat(2_000);
    for _ in 0..EVENTS / 100 {
        sender.send(&text(&vec![json!({ "type": "event", "name": "e", "data": { "x": data } }); 100]));
    }
    sender.line(&event("last"));
    server.wait_until("/v1/runs/r?envelope=false", |run| run["pos"] == EVENTS + 1);
    let mut stream = sender.answer();
    let lines = (0..EVENTS).map(|_| stream.next_named("e").data["line"].as_u64().unwrap());
    assert!(lines.eq(2..EVENTS + 2));
    sender.end();
    assert_eq!(stream.next_named("last").data["line"], EVENTS + 2);
    // The end of what is sent is not the end of what is told.
    server.post("/v1/runs/r/finalize", &json!({ "result": "succeeded" }));
    assert_eq!(stream.next_named("run_finalized").data["line"], Value::Null);
    assert!(stream.next().is_none());
}

#[test]
fn of_who_is_cut_off_whole_lines_are_recorded_and_no_half_ones() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    for n in 0..20 {
        let run_id = format!("r{n}");
        let mut sender = Sender::open(&server, "", &[]);
        sender.line(&run(&run_id));
        // Some hang up before they are answered, some after; some have never looked.
        let mut stream = (n % 3 > 0).then(|| sender.answer());
        sender.send(&(text(&[event("a"), event("b")]) + r#"{"type":"event","name":"half"}"#));
        match &mut stream {
            None => drop(wait_for(&server, &run_id, "b")),
            Some(stream) if n % 3 == 1 => drop(stream.next_named("b")),
            Some(_) => {}
        }
        sender.0.shutdown(Shutdown::Both).unwrap();
        wait_for(&server, &run_id, "b");
        let again = text(&[run(&run_id), finalize()]);
        assert_eq!(server.request("POST", "/v1/stream", &[NDJSON], again.as_bytes()).status, 200);
        assert_eq!(recorded(&server, &run_id), ["run_started", "a", "b", "run_completed", "run_finalized"]);
    }
}

#[test]
fn two_connections_of_one_run_are_each_answered_for_their_own_lines() {
    const EVENTS: usize = 300;
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let mut senders = ["x", "y"].map(|name| (name, Sender::open(&server, "", &[])));
    for (_, sender) in &mut senders {
        sender.line(&run("r"));
    }
    let streams = senders.each_ref().map(|(_, sender)| sender.answer());
    let (mut done, threads): (Vec<_>, Vec<_>) = senders
        .into_iter()
        .map(|(name, mut sender)| {
            let (say, said) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                for n in 0..EVENTS {
                    // Some alone, some together.
                    let lines = vec![event(name); 1 + n % 3];
                    sender.send(&text(&lines));
                }
                say.send(sender).unwrap();
            });
            (said, thread)
        })
        .unzip();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut senders: Vec<Sender> = done.drain(..).map(|said| said.recv().unwrap()).collect();
    let each: u64 = (0..EVENTS as u64).map(|n| 1 + n % 3).sum();
    server.wait_until("/v1/runs/r?envelope=false", |run| run["pos"] == 2 * each);
    senders[0].line(&finalize());
    for ((own, mut stream), last) in ["x", "y"].into_iter().zip(streams).zip([Some(each + 2), None]) {
        let events = stream.all();
        let of = |name: &str| -> Vec<Option<u64>> {
            told(&events).into_iter().filter(|(other, _)| *other == name).map(|(_, line)| line).collect()
        };
        assert!(of(own).into_iter().eq((2..each + 2).map(Some)), "{own}: {:?}", of(own));
        let other = if own == "x" { "y" } else { "x" };
        assert_eq!(of(other), vec![None; usize::try_from(each).unwrap()]);
        assert_eq!(of("run_finalized"), [last]);
    }
}

#[test]
fn lines_may_be_split_anywhere() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let rest = "\n{\"type\":\"event\",\"name\":\"a\",\"data\":{\"x\":\"é\"}}\r\n{\"type\":\"finalize\",\"result\":\"failed\"}";
    let length = run("r100").to_string().len() + rest.len();
    for at in 0..=length {
        let run_id = format!("r{:03}", at);
        let body = run(&run_id).to_string() + rest;
        let mut sender = Sender::open(&server, "?preset=minimal", &[]);
        // An é may be split too.
        for piece in [&body.as_bytes()[..at], &body.as_bytes()[at..]].into_iter().filter(|p| !p.is_empty()) {
            sender.0.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
            sender.0.write_all(piece).unwrap();
            sender.0.write_all(b"\r\n").unwrap();
        }
        sender.end();
        let events = sender.answer().all();
        let wanted = [
            ("stream_open", None),
            ("run_started", Some(1)),
            ("run_failed", Some(3)),
            ("run_finalized", Some(3)),
        ];
        assert_eq!(told(&events), wanted, "{at}");
    }
    assert_eq!(recorded(&server, "r007"), ["run_started", "a", "run_failed", "run_finalized"]);
}

#[test]
fn what_is_wrong_before_the_run_is_open_is_an_ordinary_problem() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let ask = |query: &str, media_type: &str, body: &str| {
        let path = format!("/v1/stream{query}");
        let answer = server.request("POST", &path, &[("Content-Type", media_type)], body.as_bytes());
        let problem = answer.json();
        (answer.status, problem["code"].as_str().unwrap().to_owned(), problem["line"].as_u64())
    };
    let (ndjson, run_line) = (NDJSON.1, run("r").to_string());
    for (query, media_type, body, status, code, line) in [
        ("", "application/json", run_line.as_str(), 415, "media_type_unsupported", None),
        ("?preset=loud", ndjson, &run_line, 400, "filter_unknown", None),
        ("?heartbeat=1", ndjson, &run_line, 400, "parameter_invalid", None),
        ("?run=r", ndjson, &run_line, 400, "parameter_invalid", None),
        ("", ndjson, "", 422, "no_entries", None),
        ("", ndjson, "\n \n", 422, "no_entries", None),
        ("", ndjson, "\n{\n", 400, "json.syntax", Some(2)),
        ("", ndjson, "{\"project\":\"p\"}\n", 422, "member_invalid", Some(1)),
        ("", ndjson, "{\"type\":\"event\",\"name\":\"e\"}\n", 422, "member_invalid", Some(1)),
        ("", ndjson, "{\"type\":\"run\"}\n", 422, "member_invalid", Some(1)),
    ] {
        assert_eq!(ask(query, media_type, body), (status, code.to_owned(), line), "{query} {body:?}");
    }
    assert_eq!(server.get("/v1/runs").json()["runs"], json!([]));
    server.post("/v1/runs", &run("r"));
    let other = json!({ "type": "run", "project": "p", "run_id": "r", "labels": { "a": "b" } });
    assert_eq!(ask("", ndjson, &other.to_string()), (409, "run_exists".to_owned(), Some(1)));
    // What is sealed has nothing more to tell to who knows its end.
    server.post("/v1/runs/r/finalize", &json!({ "result": "failed" }));
    let after = server.request("POST", "/v1/stream?from=latest", &[NDJSON], run_line.as_bytes());
    assert_eq!(after.status, 204);
}

#[test]
fn a_run_that_could_not_be_followed_is_not_opened() {
    let place = Place::new();
    let server = Server::start(&place, &["--max-subscribers", "1"]);
    let first = Stream::open(&server, "/v1/events", &[]);
    let refused = server.request("POST", "/v1/stream", &[NDJSON], run("r").to_string().as_bytes());
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("subscribers_full")));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(server.get("/v1/runs").json()["runs"], json!([]));
    first.hang_up();
    // The place is free once the service finds that nobody reads.
    let body = text(&[run("r"), finalize()]);
    let started = Instant::now();
    while server.request("POST", "/v1/stream", &[NDJSON], body.as_bytes()).status != 200 {
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn who_may_not_write_opens_nothing_and_whose_token_is_deleted_records_nothing_more() {
    let guarded = Guarded::new();
    let reader = format!("Bearer {}", guarded.token("reader", "reader", &["*"]));
    let refused = guarded.server.request(
        "POST",
        "/v1/stream",
        &[NDJSON, ("Authorization", &reader)],
        run("r").to_string().as_bytes(),
    );
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("forbidden")));
    assert_eq!(guarded.admin("GET", "/v1/runs", &json!({}))["runs"], json!([]));

    let made = guarded.admin("POST", "/v1/tokens", &json!({ "name": "gone", "role": "writer" }));
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let mut sender = Sender::open(&guarded.server, "", &[("Authorization", &bearer)]);
    sender.send(&text(&[run("r"), event("a")]));
    let mut stream = sender.answer();
    assert_eq!(stream.next_named("a").data["reported_by"]["name"], "gone");
    guarded.admin("DELETE", &format!("/v1/tokens/{}", made["id"].as_str().unwrap()), &json!({}));
    sender.line(&event("late"));
    let error = stream.next().unwrap();
    assert_eq!((error.name.as_str(), error.data["code"].as_str()), ("stream_error", Some("token_invalid")));
    assert!(stream.next().is_none());
    assert_eq!(guarded.admin("GET", "/v1/runs/r", &json!({}))["pos"], 1);
}

#[test]
fn a_service_that_ends_sends_all_away_and_keeps_what_it_was_told() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let mut sender = Sender::open(&server, "", &[]);
    sender.send(&text(&[run("r"), event("a")]));
    let mut stream = sender.answer();
    stream.next_named("a");
    let begun = Instant::now();
    assert_eq!(server.terminate(), 0);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(stream.next().is_none() && !stream.cut);
    let late = (0..100).find_map(|_| sender.try_send(&text(&[event("late")])).err());
    assert!(late.is_none_or(|error| error.kind() != ErrorKind::TimedOut));
    let server = Server::start(&place, &[]);
    let again = text(&[run("r"), finalize()]);
    assert_eq!(server.request("POST", "/v1/stream", &[NDJSON], again.as_bytes()).status, 200);
    assert_eq!(recorded(&server, "r"), ["run_started", "a", "run_completed", "run_finalized"]);
}

#[test]
fn a_service_that_ends_waits_for_nobody_who_sends_without_a_pause() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let mut sender = Sender::open(&server, "", &[]);
    sender.line(&run("r"));
    let mut stream = sender.answer();
    let tokens = text(&vec![json!({ "type": "token", "text": "x" }); 200]);
    let pump = std::thread::spawn(move || while sender.try_send(&tokens).is_ok() {});
    stream.next_named("token");
    let reader = std::thread::spawn(move || {
        while stream.next().is_some() {}
        stream.cut
    });
    let begun = Instant::now();
    assert_eq!(server.terminate(), 0);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(!reader.join().unwrap(), "the stream has an end");
    pump.join().unwrap();
}
