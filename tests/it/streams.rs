//! Streams of events: what they say, where they begin, when they end, and that nobody harms another there.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::access::Guarded;
use crate::place::Place;
use crate::server::Server;
use crate::sse::{Event, Stream};

const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];

fn event(server: &Server, run: &str, name: &str) {
    let answer = server.post(&format!("/v1/runs/{run}/entries"), &json!({ "type": "event", "name": name }));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Records events in one request.
fn events(server: &Server, run: &str, names: impl Iterator<Item = String>) {
    let line = |name: String| json!({ "type": "event", "name": name }).to_string() + "\n";
    let lines: String = names.map(line).collect();
    let answer = server.request("POST", &format!("/v1/runs/{run}/entries"), NDJSON, lines.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn finalize(server: &Server, run: &str) {
    let answer = server.post(&format!("/v1/runs/{run}/finalize"), &json!({ "result": "succeeded" }));
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn positions(events: &[Event]) -> Vec<u64> {
    let records = events.iter().filter(|event| !event.name.starts_with("stream_"));
    records.filter_map(|event| event.id.as_ref()?.parse().ok()).collect()
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[test]
fn a_stream_speaks_at_once_and_ends_with_the_seal() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    let mut stream = Stream::open(&server, &format!("/v1/runs/{run}/events"), &[]);
    assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(stream.header("cache-control"), Some("no-store"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    assert_eq!(stream.header("content-encoding"), None);
    let retry: u64 = stream.block().unwrap().trim_end().strip_prefix("retry: ").unwrap().parse().unwrap();
    assert!((1_000..3_000).contains(&retry));
    let open = stream.next().unwrap();
    assert_eq!((open.name.as_str(), &open.data["head_pos"]), ("stream_open", &json!(0)));
    event(&server, &run, "checkpoint");
    event(&server, &run, "custom:x");
    finalize(&server, &run);
    let heard = stream.all();
    assert_eq!(names(&heard), ["run_started", "checkpoint", "custom:x", "run_completed", "run_finalized"]);
    assert_eq!(positions(&heard), [0, 1, 2, 3, 4]);
    assert!(!stream.cut);
    // A page has the same.
    let path = format!("/v1/runs/{run}/events");
    let page = server.request("GET", &path, &[("Accept", "application/json")], b"").json();
    let data: Vec<&Value> = heard.iter().map(|event| &event.data).collect();
    assert_eq!(
        (page["events"].as_array().unwrap().iter().collect::<Vec<_>>(), &page["closed"]),
        (data, &json!(true))
    );
    assert_eq!(page["next"], 5);
    // Nothing comes any more: who comes back is told not to.
    assert_eq!(Stream::open(&server, &path, &[("Last-Event-ID", "4")]).status, 204);
    assert_eq!(Stream::open(&server, &format!("{path}?from=latest"), &[]).status, 204);
}

#[test]
fn a_stream_begins_where_it_is_asked_to() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    events(&server, &run, (1..500).map(|n| format!("e{n}")));
    let at = server.get(&format!("/v1/runs/{run}")).json()["envelope"]["events"][99]["recorded_at"].clone();
    finalize(&server, &run);
    let path = format!("/v1/runs/{run}/events");
    let heard = |query: &str, headers: &[(&str, &str)]| {
        let mut stream = Stream::open(&server, &format!("{path}?{query}"), headers);
        let heard = stream.all();
        let gap = heard.iter().find(|event| event.name == "stream_gap").map(|gap| gap.data["reason"].clone());
        (positions(&heard).first().copied(), positions(&heard).len(), gap)
    };
    let whole = (Some(0), 502, None);
    assert_eq!(heard("", &[]), whole);
    assert_eq!(heard("from=earliest", &[]), whole);
    assert_eq!(heard("from=17", &[]), (Some(17), 485, None));
    assert_eq!(heard("last_event_id=17", &[]), (Some(18), 484, None));
    // What a browser says by itself goes before.
    assert_eq!(heard("last_event_id=17&from=3", &[("Last-Event-ID", "400")]), (Some(401), 101, None));
    let (first, count, gap) = heard(&format!("since={}", at.as_str().unwrap()), &[]);
    // All were recorded at once.
    assert_eq!((first, count, gap), (Some(1), 501, None));
    let long = "9".repeat(5_000);
    let cursor = |start: (Option<u64>, usize, Option<Value>)| (start.0, start.1, Some(json!("cursor")));
    assert_eq!(heard("last_event_id=-1", &[]), whole);
    for id in ["x", "-2", "17.0", "0x11", "502", "99999999999999999999", " 1 2", "a-1", &long] {
        assert_eq!(heard("", &[("Last-Event-ID", id)]), cursor(whole.clone()), "{id}");
    }
    assert_eq!(heard("from=503", &[]), cursor(whole));
    for wrong in
        ["from=x", "from=-1", "since=yesterday", "heartbeat=4", "heartbeat=61", "limit=x&from=1&from=2"]
    {
        let answer = Stream::open(&server, &format!("{path}?{wrong}"), &[]);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("parameter_invalid")), "{wrong}");
    }
}

#[test]
fn filters_let_through_what_they_name_and_those_without_meaning_are_refused() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    for entry in [
        json!({ "type": "step_started", "step_id": "s", "kind": "test" }),
        json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed" }),
        json!({ "type": "event", "name": "custom:a" }),
        json!({ "type": "event", "name": "custom:b" }),
        json!({ "type": "event", "name": "phase_started" }),
    ] {
        assert_eq!(server.post(&format!("/v1/runs/{run}/entries"), &entry).status, 200);
    }
    finalize(&server, &run);
    let heard = |query: &str| {
        let mut stream = Stream::open(&server, &format!("/v1/runs/{run}/events?{query}"), &[]);
        let heard = stream.all();
        let between = heard.iter().map(|event| event.name.clone());
        let always = ["stream_open", "run_started", "run_completed", "run_finalized"];
        assert_eq!(heard.iter().filter(|event| always.contains(&event.name.as_str())).count(), 4, "{query}");
        between.filter(|name| !always.contains(&name.as_str())).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(heard("preset=minimal"), "");
    assert_eq!(heard("preset=chat"), "step_started step_finished");
    assert_eq!(heard("preset=debug"), "step_started step_finished custom:a custom:b phase_started");
    assert_eq!(heard("types=custom:b,phase.started"), "custom:b phase_started");
    assert_eq!(heard("types=complete,step"), "step_started step_finished");
    for wrong in [
        "preset=some",
        "types=",
        "types=steps",
        "types=custom:",
        "types=step,,token",
        "preset=all&types=step",
    ] {
        for path in [format!("/v1/runs/{run}/events"), "/v1/events".into()] {
            let answer = Stream::open(&server, &format!("{path}?{wrong}"), &[]);
            let code = if wrong.contains('&') { "parameter_invalid" } else { "filter_unknown" };
            assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(code)), "{wrong}");
        }
    }
}

#[test]
fn what_is_private_or_large_is_in_no_event() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let settings = json!({ "private": ["/execution/steps/*/command", "/execution/steps/*/data/key", "/gates/*/reason"], "public": [] });
    let put = server.request(
        "PUT",
        "/v1/projects/p",
        &[("Content-Type", "application/json")],
        settings.to_string().as_bytes(),
    );
    assert_eq!(put.status, 200);
    let run = server.open();
    let mut stream = Stream::open(&server, &format!("/v1/runs/{run}/events"), &[]);
    let started = json!({ "type": "step_started", "step_id": "s", "kind": "test", "command": ["s3cret-a"], "data": { "key": "s3cret-b" }, "phase": "p" });
    let finished = json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed", "message": "m".repeat(20_000) });
    for entry in [&started, &finished] {
        assert_eq!(server.post(&format!("/v1/runs/{run}/entries"), entry).status, 200);
    }
    assert_eq!(
        server
            .post(&format!("/v1/runs/{run}/gates"), &json!({ "gate_id": "g", "reason": "s3cret-c" }))
            .status,
        201
    );
    assert_eq!(
        server.post(&format!("/v1/runs/{run}/gates/g"), &json!({ "decision": "approved" })).status,
        200
    );
    finalize(&server, &run);
    let heard = stream.all();
    assert!(heard.iter().all(|event| !event.raw.contains("s3cret")), "{heard:#?}");
    let named = |name: &str| heard.iter().find(|event| event.name == name).unwrap().data.clone();
    assert_eq!(named("step_started")["phase"], "p");
    assert_eq!(
        (&named("step_finished")["omitted"], &named("step_finished")["message"]),
        (&json!(["message"]), &Value::Null)
    );
    assert!(named("step_finished")["command"]["$withheld"].is_string());
    assert_eq!(named("needs_input")["gate_id"], "g");
}

#[test]
fn a_stream_goes_on_where_it_was_when_the_service_was_killed() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let run = server.open();
    let (path, mut all) = (format!("/v1/runs/{run}/events"), Stream::open(&server, "/v1/events", &[]));
    // Of one run alone it is told how far it is.
    let open = all.next().unwrap();
    assert_eq!((open.name.as_str(), open.data.get("head_pos")), ("stream_open", None));
    let mut stream = Stream::open(&server, &path, &[]);
    events(&server, &run, (0..300).map(|n| format!("e{n}")));
    let mut heard: Vec<Event> = (0..200).map(|_| stream.next().unwrap()).collect();
    let global = all.next_named("e100").id.unwrap();
    server.kill();
    server = Server::start(&place, &[]);
    let id = heard.last().unwrap().id.clone().unwrap();
    let mut stream = Stream::open(&server, &path, &[("Last-Event-ID", &id)]);
    assert_eq!(stream.next().unwrap().data["resumed_from"], json!(id));
    finalize(&server, &run);
    heard.extend(stream.all());
    assert_eq!(positions(&heard), (0..303).collect::<Vec<u64>>());
    // Of all runs nothing is kept over a restart, and that is said.
    let mut all = Stream::open(&server, "/v1/events", &[("Last-Event-ID", &global)]);
    assert_eq!(all.next_named("stream_gap").data["reason"], "restart");
}

#[test]
fn beyond_the_places_that_there_are_a_stream_is_refused() {
    let place = Place::new();
    let server = Server::start(&place, &["--max-subscribers", "2"]);
    let run = server.open();
    let path = format!("/v1/runs/{run}/events");
    let (one, _other) = (Stream::open(&server, &path, &[]), Stream::open(&server, "/v1/events", &[]));
    let refused = Stream::open(&server, &path, &[]);
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("subscribers_full")));
    assert!(refused.header("retry-after").is_some());
    one.hang_up();
    let started = Instant::now();
    while Stream::open(&server, &path, &[]).status != 200 {
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn a_quiet_stream_says_that_it_is_there_and_ends_with_its_token() {
    let guarded = Guarded::new();
    let (run, ..) = guarded.runs("acme", 1);
    let token = guarded.token("watcher", "reader", &["acme"]);
    let bearer = format!("Bearer {token}");
    let with = [("Authorization", bearer.as_str())];
    let path = format!("/v1/runs/{run}/events?from=latest&heartbeat=5");
    let mut loud = Stream::open(&guarded.server, &path, &with);
    let mut filtered = Stream::open(&guarded.server, &format!("{path}&types=token"), &with);
    loud.next_named("stream_open");
    filtered.next_named("stream_open");
    let step = json!({ "type": "event", "name": "checkpoint" });
    guarded.admin("POST", &format!("/v1/runs/{run}/entries"), &step);
    let pos = loud.next_named("checkpoint").id;
    assert!(loud.next_named("heartbeat").id.is_none());
    // Passed over, and not forgotten.
    assert_eq!(filtered.block().unwrap(), format!("id: {}\n\n", pos.unwrap()));
    let id = guarded.admin("GET", "/v1/tokens", &Value::Null)["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .find(|token| token["name"] == "watcher")
        .unwrap()["id"]
        .clone();
    guarded.admin("DELETE", &format!("/v1/tokens/{}", id.as_str().unwrap()), &Value::Null);
    assert_eq!((loud.next().map(|event| event.name), loud.cut), (None, false));
    assert_eq!(filtered.block(), None);
}

#[test]
fn who_stops_reading_or_goes_at_once_harms_nobody() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    let path = format!("/v1/runs/{run}/events");
    let mut reader = Stream::open(&server, &path, &[]);
    let stalled: Vec<Stream> = (0..100).map(|_| Stream::open(&server, &path, &[])).collect();
    let go = |n: usize| (0..n).for_each(|_| Stream::open(&server, &path, &[]).hang_up());
    go(1_000);
    let before = server.memory_bytes();
    // More than all buffers between a stalled reader and us hold.
    for n in 0..200 {
        events(&server, &run, (0..100).map(|i| format!("e{n}.{i}")));
        go(20);
    }
    finalize(&server, &run);
    let heard = reader.all();
    assert_eq!(positions(&heard), (0..20_003).collect::<Vec<u64>>());
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "{} MiB more", grown >> 20);
    // Who takes up reading again has missed nothing.
    for mut slow in stalled.into_iter().take(3) {
        assert_eq!(positions(&slow.all()), (0..20_003).collect::<Vec<u64>>());
    }
}

#[test]
fn asked_to_end_the_service_ends_every_stream_and_answers_what_is_under_way() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let run = server.open();
    let path = format!("/v1/runs/{run}/events");
    // Few hear what is reported meanwhile: nobody reads before the end.
    let quiet = format!("/v1/runs/{}/events", server.open());
    let heard = |n: usize| match n % 100 {
        0 => path.as_str(),
        1..50 => "/v1/events?run=none",
        _ => quiet.as_str(),
    };
    let mut streams: Vec<Stream> = (0..5_000).map(|n| Stream::open(&server, heard(n), &[])).collect();
    let stalled = server.open();
    let large = (0..100).map(|n| {
        format!("{{\"type\":\"event\",\"name\":\"e{n}\",\"message\":\"{}\"}}\n", "x".repeat(15_000))
    });
    let large: String = large.collect();
    for _ in 0..4 {
        let answer = server.request("POST", &format!("/v1/runs/{stalled}/entries"), NDJSON, large.as_bytes());
        assert_eq!(answer.status, 200);
    }
    // Takes the first of six megabytes and no more.
    let _stalled = Stream::open(&server, &format!("/v1/runs/{stalled}/events"), &[]);
    let waits = format!("/v1/runs/{stalled}/gates");
    assert_eq!(server.post(&waits, &json!({ "gate_id": "g", "reason": "r" })).status, 201);
    let mut waiting = crate::server::Connection::to(&server.address).unwrap();
    waiting.send("GET", &format!("{waits}/g?wait=60"), &[], b"").unwrap();
    let (address, entries) = (server.address.clone(), format!("/v1/runs/{run}/entries"));
    let reporter = std::thread::spawn(move || {
        let body = json!({ "type": "event", "name": "checkpoint" }).to_string();
        let headers = [("Content-Type", "application/json")];
        let mut recorded = 0;
        while let Ok(mut connection) = crate::server::Connection::to(&address) {
            match connection.request("POST", &entries, &headers, body.as_bytes()) {
                Ok(answer) => assert_eq!(answer.status, 200, "{answer:?}"),
                Err(_) => break,
            }
            recorded += 1;
        }
        recorded
    });
    std::thread::sleep(Duration::from_millis(200));
    let asked = Instant::now();
    assert_eq!(server.terminate(), 0);
    let ended = asked.elapsed();
    // With a margin for a machine that has other things to do.
    assert!(ended < Duration::from_secs(8), "it took {ended:?}");
    for stream in &mut streams {
        while stream.block().is_some() {}
        assert!(!stream.cut, "a stream was broken off");
    }
    assert_eq!(waiting.answer(true).unwrap().json()["state"], "open");
    let recorded: u64 = reporter.join().unwrap();
    let server = Server::start(&place, &[]);
    let pos = server.get(&format!("/v1/runs/{run}?envelope=false")).json()["pos"].as_u64().unwrap();
    assert!(pos >= recorded, "{recorded} were answered, {pos} are there");
}
