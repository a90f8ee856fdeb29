//! `sealstone watch`, and the reader of event streams below it, against a service that sends what it is told to.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use sealstone::client::sse::Parser;
use serde_json::{Value, json};

use crate::place::{Place, Ran};
use crate::vectors::dir;

/// A text of the corpus: one, or pieces of which some are repeated.
fn whole(pieces: &Value) -> String {
    match pieces {
        Value::Array(pieces) => pieces.iter().map(whole).collect(),
        Value::String(text) => text.clone(),
        piece => piece["repeat"]
            .as_str()
            .unwrap()
            .repeat(usize::try_from(piece["times"].as_u64().unwrap()).unwrap()),
    }
}

#[test]
fn what_is_sent_is_read_alike_wherever_it_is_cut() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sse/corpus.json");
    let corpus: Value = serde_json::from_slice(&std::fs::read(corpus).unwrap()).unwrap();
    for case in corpus.as_array().unwrap() {
        let (stream, name) = (whole(&case["stream"]), &case["name"]);
        let expected: Vec<_> = case["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| [0, 1, 2].map(|i| whole(&event[i])))
            .collect();
        let all_cuts = 0..=stream.len();
        for cut in all_cuts.step_by(if stream.len() > 10_000 { 4_999 } else { 1 }) {
            let (mut parser, mut events) = (Parser::default(), VecDeque::new());
            let (before, after) = stream.as_bytes().split_at(cut);
            for piece in [before, after] {
                parser.feed(piece, &mut events).unwrap();
            }
            let events: Vec<_> =
                events.into_iter().map(|event| [event.id, event.event, event.data]).collect();
            assert!(events == expected, "{name}, cut at {cut}: {events:.1000?}");
            assert_eq!(parser.last_event_id(), case["cursor"], "{name}, cut at {cut}");
        }
    }
}

/// Answers each request by its path and its cursor, with raw bytes, and keeps what was asked.
struct Fake {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn start(answer: impl Fn(&str, Option<u64>) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
                let cursor = head.iter().find_map(|line| line.strip_prefix("last-event-id: "));
                heard.lock().unwrap().push(path.to_owned());
                let _ = stream.write_all(&answer(path, cursor.map(|cursor| cursor.parse().unwrap())));
            }
        });
        Self { url, asked }
    }

    fn watch(&self, place: &Place, arguments: &[&str]) -> Ran {
        place.run(&[&["watch", "r1", "--server", &self.url], arguments].concat())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(), body.as_ref()].concat()
}

fn vector(name: &str) -> String {
    dir().join(name).to_str().unwrap().to_owned()
}

/// What a service sends of the run that is sealed in this vector.
fn events() -> Vec<Value> {
    let sealed: Value =
        serde_json::from_slice(&std::fs::read(vector("valid/ci-pipeline.json")).unwrap()).unwrap();
    let envelope = &sealed["envelope"];
    let chain = envelope["integrity"]["hash_chain"].as_array().unwrap();
    let element = |(seq, link): (usize, &Value)| json!({"type": "checkpoint", "message": "\u{1b}[2J", "seq": seq, "entry_hash": link["entry_hash"]});
    let mut events: Vec<Value> = chain.iter().enumerate().map(element).collect();
    events[0]["type"] = "run_started".into();
    events.insert(1, json!({"type": "needs_input", "gate_id": "gate-1", "reason": "ship it?"}));
    events.insert(2, json!({"type": "step_started", "step_id": "unit", "kind": "test"}));
    events.push(json!({"type": "run_finalized"}));
    for (pos, event) in events.iter_mut().enumerate() {
        event["pos"] = pos.into();
        event["evidence_id"] = envelope["evidence_id"].clone();
    }
    events
}

/// A service that has these events, sends three on each connection, and cuts the next one off.
fn service(events: Vec<Value>) -> Fake {
    let sealed = std::fs::read(vector("valid/ci-pipeline.json")).unwrap();
    Fake::start(move |path, cursor| {
        if path.starts_with("/v1/envelopes/") {
            return answer("200 OK", &sealed);
        }
        let mut body = "retry: 1\n\nevent: stream_open\ndata: {\"type\":\"stream_open\"}\n\n".to_owned();
        if path.contains("/logs/stream") {
            let line = json!({"type": "log", "log_pos": 0, "step_id": "unit", "text": "compiling"});
            return match cursor {
                Some(_) => answer("204 No Content", ""),
                None => answer(
                    "200 OK\r\nContent-Type: text/event-stream",
                    format!("{body}id: 0\nevent: log\ndata: {line}\n\n"),
                ),
            };
        }
        body += "event: progress\ndata: {\"type\":\"progress\",\"fraction\":0.5,\"message\":\"half\"}\n\n";
        let first = cursor.map_or(0, |cursor| cursor + 1);
        for event in events.iter().skip(usize::try_from(first).unwrap()).take(3) {
            let name = event["type"].as_str().unwrap();
            body += &format!("id: {}\nevent: {name}\ndata: {event}\n\n", event["pos"]);
        }
        answer("200 OK\r\nContent-Type: text/event-stream", body + "id: 99\ndata: cut")
    })
}

fn keys() -> String {
    vector("keys/trusted.pub.pem")
}

#[test]
fn a_run_is_followed_over_broken_connections_to_the_verdict_on_what_was_sealed() {
    let (place, fake) = (Place::new(), service(events()));
    let ran = fake.watch(&place, &["--json", "--check", "--keys", &keys()]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let mut lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let report = lines.pop().unwrap();
    assert_eq!((&report["verdict"], &report["axes"]["expectations"]), (&json!("verified"), &json!("pass")));
    let of_the_record: Vec<Value> = lines.into_iter().filter(|event| event["pos"].is_u64()).collect();
    assert_eq!(of_the_record, events());
    assert!(
        ran.stderr.contains("elements were streamed, each with the entry_hash that is sealed"),
        "{ran:?}"
    );
    let fetched = format!("/v1/envelopes/{}", events()[0]["evidence_id"].as_str().unwrap());
    assert_eq!(fake.asked().last(), Some(&fetched));
}

#[test]
fn a_seal_over_something_else_than_was_streamed_is_rejected() {
    let place = Place::new();
    let mut changed = events();
    changed[4]["entry_hash"] = format!("sha256:{}", "0".repeat(64)).into();
    let seq = format!("seq {}", changed[4]["seq"]);
    let ran = service(changed.clone()).watch(&place, &["--json", "--check", "--keys", &keys()]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stderr.contains("not what was sealed") && ran.stderr.contains(&seq), "{ran:?}");
    let report: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(report["first_failure"]["code"], "expected_head.not_found");
    // Who did not ask is told what the envelope is worth by itself.
    assert_eq!(service(changed).watch(&place, &["--keys", &keys()]).status, 0);

    let mut announced = events();
    announced.last_mut().unwrap()["envelope_digest"] = format!("sha256:{}", "0".repeat(64)).into();
    let ran = service(announced).watch(&place, &["--check"]);
    assert_eq!((ran.status, ran.stderr.contains("another envelope was announced")), (1, true), "{ran:?}");
}

#[test]
fn an_element_that_was_never_streamed_is_missed_unless_a_filter_was_asked_for() {
    let place = Place::new();
    let mut without = events();
    without[4].as_object_mut().unwrap().remove("entry_hash");
    let fake = service(without);
    let ran = fake.watch(&place, &["--check", "--keys", &keys()]);
    assert_eq!((ran.status, ran.stderr.contains("was not streamed")), (1, true), "{ran:?}");
    let ran = fake
        .watch(&place, &["--check", "--keys", &keys(), "--types", "checkpoint,custom:x", "--project", "a/b"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let asked = fake.asked().into_iter().filter(|asked| asked.contains("types")).collect::<Vec<_>>();
    assert!(asked[0].contains("project=a%2Fb&types=checkpoint%2Ccustom%3Ax"), "{asked:?}");
}

#[test]
fn a_person_reads_lines_and_how_a_gate_is_answered_and_the_verdict_alone_on_standard_output() {
    let (place, fake) = (Place::new(), service(events()));
    let ran = fake.watch(&place, &["--logs"]);
    assert_eq!(ran.status, 3, "{ran:?}");
    assert!(ran.stdout.starts_with("integrity only"), "{ran:?}");
    let told = [
        "needs input: ship it?",
        "sealstone run gate gate-1 --run r1 --approve",
        "▸ unit",
        "50 %  half",
        "unit │ compiling",
    ];
    for told in told {
        assert_eq!(ran.stderr.matches(told).count(), 1, "{told}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
}

#[test]
fn what_cannot_be_watched_says_why_with_the_right_status() {
    let place = Place::new();
    let nothing = "{\"code\":\"run_not_found\",\"detail\":\"no such run\"}";
    let problem = "404 Not Found\r\nContent-Type: application/problem+json";
    let fake = Fake::start(move |_, _| answer(problem, nothing));
    let ran = fake.watch(&place, &[]);
    assert_eq!((ran.status, ran.stderr.contains("no such run")), (1, true), "{ran:?}");
    let ran = fake.watch(&place, &["--preset", "all", "--types", "log"]);
    assert_eq!(ran.status, 64, "{ran:?}");
    // Not at the end, when nobody sits there any more.
    let before = fake.asked().len();
    assert_eq!(fake.watch(&place, &["--keys", "nowhere"]).status, 66);
    place.write("ring", "{}");
    assert_eq!((fake.watch(&place, &["--keys", "ring"]).status, fake.asked().len()), (2, before));
    let no_json = "retry: 1\n\ndata: <p>\n\n";
    let fake = Fake::start(move |_, _| answer("200 OK\r\nContent-Type: text/event-stream", no_json));
    assert_eq!(fake.watch(&place, &[]).status, 69);
}
