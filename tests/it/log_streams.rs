//! Streams of log lines: what they say, where they begin, when they end, and for whom they are.

use serde_json::{Value, json};

use crate::access::Guarded;
use crate::place::Place;
use crate::server::Server;
use crate::sse::{Event, Stream};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn write(server: &Server, run: &str, query: &str, bytes: &[u8]) -> Value {
    let path = format!("/v1/runs/{run}/logs?{query}");
    let answer = server.request("POST", &path, &[("Content-Type", "text/plain")], bytes);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// A run in which these steps go on.
fn open(server: &Server, steps: &[&str]) -> String {
    let run = server.open();
    for step_id in steps {
        let step =
            json!({ "type": "step_started", "step_id": step_id, "kind": "test", "allowed_to_fail": true });
        assert_eq!(server.post(&format!("/v1/runs/{run}/entries"), &step).status, 200);
    }
    run
}

fn finish(server: &Server, run: &str, step_id: &str) {
    let step = json!({ "type": "step", "step_id": step_id, "kind": "test", "status": "passed" });
    assert_eq!(server.post(&format!("/v1/runs/{run}/entries"), &step).status, 200);
}

fn finalize(server: &Server, run: &str) {
    let answer = server.post(&format!("/v1/runs/{run}/finalize"), &json!({ "result": "failed" }));
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A stream whose first event was that it is open.
fn follow(server: &Server, path: &str, headers: &[(&str, &str)]) -> Stream {
    let mut stream = Stream::open(server, path, headers);
    assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(stream.next().unwrap().name, "stream_open");
    stream
}

fn of(run: &str, query: &str) -> String {
    format!("/v1/runs/{run}/logs/stream{query}")
}

fn texts(lines: &[Event]) -> Vec<&str> {
    lines.iter().map(|line| line.data["text"].as_str().unwrap()).collect()
}

fn take(stream: &mut Stream, count: usize) -> Vec<Event> {
    (0..count).map(|_| stream.next_named("log")).collect()
}

/// The lines are those that the run's logs have from there on, each once.
fn assert_are_lines(server: &Server, run: &str, from: usize, told: &[Event]) {
    let mut kept = Vec::new();
    loop {
        let path = format!("/v1/runs/{run}/logs?limit=10000&from={}", from + kept.len());
        let page = server.get(&path);
        kept.extend(String::from_utf8(page.body.clone()).unwrap().lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("line");
            line
        }));
        if page.header("sealstone-more") == Some("false") {
            break;
        }
    }
    assert_eq!(told.len(), kept.len());
    for (told, mut kept) in told.iter().zip(kept) {
        let id = told.id.as_deref().unwrap();
        assert_eq!(id, kept["log_pos"].to_string());
        kept["type"] = "log".into();
        kept["evidence_id"] = run.into();
        kept["project"] = "p".into();
        kept["run_id"] = told.data["run_id"].clone();
        assert_eq!(told.data, kept);
        assert_eq!(told.raw, format!("id: {id}\nevent: log\ndata: {}\n\n", told.data));
    }
}

#[test]
fn whatever_a_line_has_it_is_told_once_and_whole() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = open(&server, &["unit/x", "other"]);
    write(&server, &run, "step_id=other", b"from before\n");
    let mut stream = follow(&server, &of(&run, ""), &[]);
    let mut all = follow(&server, "/v1/logs/stream", &[]);
    let long = "x".repeat(200 << 10);
    let nul = "\0".repeat(100 << 10);
    // Both streams at once, and a line of many pieces.
    for (query, bytes) in [
        ("step_id=unit/x", "\u{FEFF}bom\r\n\rcr\rcr\n\0nul\u{1F600} \u{2028}é\n\n".as_bytes()),
        ("step_id=unit/x&stream=stderr", b"bad \xff\xfe\xc3 one\nbegun "),
        ("step_id=other", b"data: x\nid: 9\n"),
        ("step_id=unit/x", format!("{long}\n{nul}\n").as_bytes()),
    ] {
        write(&server, &run, query, bytes);
    }
    for piece in ["on ", "\u{1F600} ", "stdout"] {
        write(&server, &run, "step_id=unit/x", piece.as_bytes());
        write(&server, &run, "step_id=unit/x&stream=stderr", piece.as_bytes());
    }
    write(&server, &run, "step_id=unit/x&stream=stderr", b"\nnever ended");
    // What no line feed ended ends with its step.
    finish(&server, &run, "unit/x");
    let expected = [
        "\u{FEFF}bom\r",
        "\rcr\rcr",
        "\0nul\u{1F600} \u{2028}é",
        "",
        "bad \u{FFFD}\u{FFFD}\u{FFFD} one",
        "data: x",
        "id: 9",
        &long,
        &nul,
        "begun on \u{1F600} stdout",
        "on \u{1F600} stdout",
        "never ended",
    ];
    let told = take(&mut stream, expected.len());
    assert_eq!(texts(&told), expected);
    assert_are_lines(&server, &run, 1, &told);
    let data = &told[4].data;
    assert_eq!(
        (&data["stream"], &data["step_id"], &data["attempt"]),
        (&json!("stderr"), &json!("unit/x"), &json!(1))
    );
    let heard = take(&mut all, expected.len());
    assert_eq!(
        heard.iter().map(|event| &event.data).collect::<Vec<_>>(),
        told.iter().map(|event| &event.data).collect::<Vec<_>>()
    );
    let (epoch, first) = heard[0].id.as_deref().unwrap().split_once('-').unwrap();
    assert_eq!((heard[11].id.clone(), first), (Some(format!("{epoch}-12")), "1"));

    // From each of them on, and from a moment.
    for from in 0..=13 {
        let lines = |query: &str, headers: &[(&str, &str)]| {
            let mut stream = follow(&server, &of(&run, query), headers);
            let lines = take(&mut stream, 13 - from);
            stream.hang_up();
            lines
        };
        assert_are_lines(&server, &run, from, &lines(&format!("?from={from}"), &[]));
        if let Some(last) = from.checked_sub(1) {
            let last = last.to_string();
            assert_are_lines(&server, &run, from, &lines("?from=latest", &[("Last-Event-ID", &last)]));
            assert_are_lines(&server, &run, from, &lines(&format!("?last_event_id={last}"), &[]));
            let id = format!("{epoch}-{from}");
            if from < 12 {
                let mut again = follow(&server, "/v1/logs/stream", &[("Last-Event-ID", &id)]);
                assert_eq!(texts(&take(&mut again, 12 - from)), expected[from..]);
            }
        }
    }
    let at = told[9].data["at"].as_str().unwrap();
    let mut since = follow(&server, &of(&run, &format!("?since={at}")), &[]);
    let first = since.next().unwrap();
    assert!(first.data["at"].as_str().unwrap() >= at);
    let before = server.get(&format!("/v1/runs/{run}/logs")).body;
    let before = String::from_utf8(before).unwrap();
    let before = before.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let earlier = before.filter(|line| line["at"].as_str().unwrap() < at).count();
    assert_eq!(first.data["log_pos"], json!(earlier));
    let nothing = follow(&server, &of(&run, "?since=2000-01-01T00:00:00.000Z"), &[]).next().unwrap();
    assert_eq!(nothing.data["log_pos"], 0);

    // Nothing comes after the seal.
    finalize(&server, &run);
    assert_eq!((stream.next().map(|event| event.raw), stream.cut), (None, false));
    assert_eq!(Stream::open(&server, &of(&run, ""), &[]).status, 204);
    assert_eq!(Stream::open(&server, &of(&run, ""), &[("Last-Event-ID", "12")]).status, 204);
    let mut ended = follow(&server, &of(&run, "?from=earliest"), &[]);
    assert_are_lines(&server, &run, 0, &ended.all());

    let deleted = server.request("DELETE", &format!("/v1/runs/{run}/logs"), &[], b"");
    assert_eq!(deleted.status, 204);
    let gone = Stream::open(&server, &of(&run, "?from=earliest"), &[]);
    assert_eq!((gone.status, &gone.json()["code"]), (410, &json!("log_deleted")));
    // Nor has memory what the store has not.
    let mut again = follow(&server, "/v1/logs/stream?from=0&last_event_id=", &[]);
    assert_eq!(again.next().unwrap().data["reason"], "trimmed");
}

#[test]
fn who_comes_while_lines_arrive_misses_none() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = open(&server, &["a", "b"]);
    let lines = |stream: &mut Stream| {
        let mut told: Vec<Event> = Vec::new();
        while let Some(event) = stream.next() {
            assert_eq!(event.name, "log");
            told.push(event);
        }
        told
    };
    let all = std::thread::scope(|scope| {
        let mut writers = Vec::new();
        for step_id in ["a", "b"] {
            let (server, run) = (&server, &run);
            writers.push(scope.spawn(move || {
                for n in 0..150 {
                    let text: String = (0..20).map(|m| format!("{step_id} {n} {m}\n")).collect();
                    write(server, run, &format!("step_id={step_id}"), text.as_bytes());
                }
            }));
        }
        let readers: Vec<_> = (0..8)
            .map(|n| {
                let (server, run) = (&server, &run);
                scope.spawn(move || {
                    std::thread::sleep(std::time::Duration::from_millis(n * 20));
                    lines(&mut follow(server, &of(run, "?from=earliest"), &[]))
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        finalize(&server, &run);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect::<Vec<_>>()
    });
    for told in all {
        assert_eq!(told.len(), 6_000);
        assert_are_lines(&server, &run, 0, &told);
    }
}

#[test]
fn more_lines_at_once_than_memory_keeps_are_told_from_the_store() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = open(&server, &["s"]);
    let mut stream = follow(&server, &of(&run, ""), &[]);
    let mut all = follow(&server, "/v1/logs/stream", &[]);
    let count = 100_000;
    write(&server, &run, "step_id=s", "\n".repeat(count).as_bytes());
    finish(&server, &run, "s");
    for n in 0..count {
        assert_eq!(stream.next().unwrap().data["log_pos"], n);
    }
    // Of all runs, what was not kept is a gap that is told.
    let (mut next, mut gap) = (0, false);
    while next < count {
        let event = all.next().unwrap();
        if event.name == "stream_gap" {
            gap = true;
            continue;
        }
        let log_pos = usize::try_from(event.data["log_pos"].as_u64().unwrap()).unwrap();
        assert!(log_pos == next || (gap && log_pos > next), "{log_pos} in place of {next}");
        (next, gap) = (log_pos + 1, false);
    }
}

#[test]
fn what_a_rule_matches_is_in_no_stream() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let rules = json!({ "redact": [{ "rule_id": "password", "pattern": "pass-[a-z0-9]+" }] });
    assert_eq!(server.request("PUT", "/v1/projects/p", &[JSON], rules.to_string().as_bytes()).status, 200);
    let run = open(&server, &["s"]);
    let mut streams = [of(&run, ""), "/v1/logs/stream".to_owned()].map(|path| follow(&server, &path, &[]));
    write(&server, &run, "step_id=s", b"user root, pass-s3cr3t, and on\npass-again");
    finish(&server, &run, "s");
    for stream in &mut streams {
        let told = take(stream, 2);
        assert_eq!(texts(&told), ["user root, ***********, and on", "**********"]);
        assert!(!told.iter().any(|line| line.raw.contains("s3cr3t")));
    }
}

#[test]
fn a_stream_ends_when_the_lines_that_it_is_of_are_deleted() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = open(&server, &["s"]);
    let line = format!("{}\n", "x".repeat(99));
    write(&server, &run, "step_id=s", line.repeat(100_000).as_bytes());
    finalize(&server, &run);
    let mut stream = follow(&server, &of(&run, "?from=earliest"), &[]);
    assert_eq!(stream.next().unwrap().data["log_pos"], 0);
    assert_eq!(server.request("DELETE", &format!("/v1/runs/{run}/logs"), &[], b"").status, 204);
    let mut more = stream.all();
    assert_eq!(more.pop().unwrap().data["code"], "log_deleted");
    assert!(more.len() < 99_999 && !stream.cut, "{} more", more.len());
    assert_eq!(Stream::open(&server, &of(&run, "?from=earliest"), &[]).status, 410);
}

#[test]
fn withheld_logs_are_in_the_streams_of_those_only_who_may_see_what_is_withheld() {
    let guarded = Guarded::new();
    let settings = json!({ "private": ["/execution/steps/*/log"] });
    guarded.admin("PUT", "/v1/projects/closed", &settings);
    let tokens = ["reader", "auditor"].map(|role| guarded.token(role, role, &["closed", "open"]));
    let other = guarded.token("other", "auditor", &["elsewhere"]);
    let bearers = [&tokens[0], &tokens[1], &other].map(|token| format!("Bearer {token}"));
    let mut streams = bearers
        .each_ref()
        .map(|bearer| follow(&guarded.server, "/v1/logs/stream", &[("Authorization", bearer)]));
    for project in ["closed", "open"] {
        let run = guarded.admin("POST", "/v1/runs", &json!({ "project": project }));
        let run = run["evidence_id"].as_str().unwrap().to_owned();
        let step = json!({ "type": "step_started", "step_id": "s", "kind": "test" });
        guarded.admin("POST", &format!("/v1/runs/{run}/entries"), &step);
        let written =
            guarded.ask(&guarded.admin, "POST", &format!("/v1/runs/{run}/logs?step_id=s"), &json!({}));
        assert_eq!(written.status, 200);
        guarded.admin(
            "POST",
            &format!("/v1/runs/{run}/entries"),
            &json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed" }),
        );
        let statuses = bearers.each_ref().map(|bearer| {
            let stream = Stream::open(&guarded.server, &of(&run, ""), &[("Authorization", bearer)]);
            let status = stream.status;
            stream.hang_up();
            status
        });
        assert_eq!(statuses, if project == "closed" { [403, 200, 404] } else { [200, 200, 404] });
    }
    let projects = |stream: &mut Stream, count| {
        let told = take(stream, count);
        told.iter().map(|line| line.data["project"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(projects(&mut streams[1], 2), ["closed", "open"]);
    assert_eq!(projects(&mut streams[0], 1), ["open"]);
    streams.into_iter().for_each(Stream::hang_up);
}

#[test]
fn a_stream_of_all_runs_is_of_those_that_are_named() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let runs = [open(&server, &["s"]), open(&server, &["s"])];
    let mut one = follow(&server, &format!("/v1/logs/stream?run={}", runs[1]), &[]);
    let mut none = follow(&server, "/v1/logs/stream?project=other&heartbeat=5", &[]);
    for run in &runs {
        write(&server, run, "step_id=s", format!("of {run}\n").as_bytes());
    }
    assert_eq!(texts(&take(&mut one, 1)), [format!("of {}", runs[1])]);
    // Where to go on from is told all the same.
    let mut quiet = none.block().unwrap();
    while !quiet.starts_with("id: ") {
        quiet = none.block().unwrap();
    }
    assert!(quiet.ends_with("-2\n\n"), "{quiet:?}");
}

#[test]
fn who_is_behind_misses_of_deleted_logs_alone() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let mut all = follow(&server, "/v1/logs/stream", &[]);
    let runs = [(); 3].map(|()| open(&server, &["s"]));
    let lines = |run: &str| (0..2_000).map(|n| format!("{run} {n}\n")).collect::<String>();
    for run in &runs {
        write(&server, run, "step_id=s", lines(run).as_bytes());
        finalize(&server, run);
    }
    let first = take(&mut all, 1).remove(0).id.unwrap();
    let deleted = server.request("DELETE", &format!("/v1/runs/{}/logs", runs[1]), &[], b"");
    assert_eq!(deleted.status, 204);
    let mut behind = follow(&server, "/v1/logs/stream", &[("Last-Event-ID", &first)]);
    let (mut heard, mut gaps) = ([0, 0, 0], 0);
    while heard[2] == 0 || heard[2] < 1_000 {
        let event = behind.next().unwrap();
        match runs.iter().position(|run| event.data["evidence_id"] == run.as_str()) {
            Some(place) => heard[place] += 1,
            None => gaps += usize::from(event.name == "stream_gap"),
        }
    }
    assert!(heard[0] > 1_000 && heard[1] == 0 && gaps == 1, "{heard:?} and {gaps} gaps");
}
