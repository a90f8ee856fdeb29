//! Logs: kept byte for byte, read by ranges and lines, described in the sealed envelope, deleted.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use sealstone::evidence::digest::Digest;
use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Answer, Connection, Server};

const PLAIN: (&str, &str) = ("Content-Type", "text/plain");

fn write(server: &Server, run: &str, query: &str, offset: Option<u64>, bytes: &[u8]) -> Answer {
    let offset = offset.map(|offset| offset.to_string());
    let mut headers = vec![PLAIN];
    headers.extend(offset.as_deref().map(|offset| ("Upload-Offset", offset)));
    server.request("POST", &format!("/v1/runs/{run}/logs?{query}"), &headers, bytes)
}

fn offset(server: &Server, run: &str, query: &str) -> u64 {
    let answer = server.request("HEAD", &format!("/v1/runs/{run}/logs?{query}"), &[], b"");
    assert_eq!(answer.status, 200);
    answer.header("upload-offset").unwrap().parse().unwrap()
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
        .body
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect()
}

fn texts(answer: &Answer) -> Vec<String> {
    lines(answer).iter().map(|line| line["text"].as_str().unwrap().to_owned()).collect()
}

fn start(server: &Server, run: &str, steps: &[&str]) {
    for step_id in steps {
        let started =
            json!({ "type": "step_started", "step_id": step_id, "kind": "test", "allowed_to_fail": true });
        assert_eq!(server.post(&format!("/v1/runs/{run}/entries"), &started).status, 200);
    }
}

fn finish(server: &Server, run: &str, step: &Value) -> Answer {
    server.post(&format!("/v1/runs/{run}/entries"), step)
}

fn finalize(server: &Server, run: &str) {
    let closed = server.post(&format!("/v1/runs/{run}/finalize"), &json!({ "result": "failed" }));
    assert_eq!(closed.status, 200, "{closed:?}");
}

#[test]
fn a_log_is_kept_byte_for_byte_and_its_digest_is_sealed_with_its_step() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    start(&server, &run, &["unit/x", "other"]);
    let pieces: [(&str, &[u8]); 4] = [
        ("stdout", b"first \xff\r\nsec"),
        ("stderr", b"warn\n"),
        ("stdout", "ond \u{1F600}\n\0\n".as_bytes()),
        ("stdout", b"no line feed"),
    ];
    let mut all = Vec::new();
    assert_eq!(offset(&server, &run, "step_id=unit/x"), 0);
    for (stream, bytes) in pieces {
        let query = format!("step_id=unit/x&stream={stream}");
        let answer = write(&server, &run, &query, Some(all.len() as u64), bytes);
        all.extend(bytes);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["offset"], all.len());
        // Sent again, it goes nowhere, and is told where the log ends.
        let again = write(&server, &run, &query, Some((all.len() - bytes.len()) as u64), bytes);
        assert_eq!((again.status, &again.json()["code"]), (409, &json!("log_offset_mismatch")));
        assert_eq!(again.json()["offset"], all.len());
        assert_eq!(again.header("upload-offset"), Some(all.len().to_string().as_str()));
    }
    assert_eq!(offset(&server, &run, "step_id=unit/x"), all.len() as u64);
    assert_eq!(write(&server, &run, "step_id=other", None, b"one\ntwo\n").json()["log_pos"], 6);

    let log = format!("/v1/runs/{run}/logs?step_id=unit/x");
    let whole = server.get(&log);
    assert_eq!((whole.status, &whole.body), (200, &all));
    assert_eq!(whole.header("x-content-type-options"), Some("nosniff"));
    for (range, part) in
        [("bytes=0-4", 0..5), ("bytes=9-", 9..all.len()), ("bytes=-3", all.len() - 3..all.len())]
    {
        let answer = server.request("GET", &log, &[("Range", range)], b"");
        assert_eq!((answer.status, answer.body.as_slice()), (206, &all[part]), "{range}");
    }
    let beyond = server.request("GET", &log, &[("Range", "bytes=999-")], b"");
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some(format!("bytes */{}", all.len()).as_str()))
    );

    let wrong = json!({ "type": "step", "step_id": "unit/x", "kind": "test", "status": "failed",
        "log": { "digest": Digest::of("else") } });
    let refused = finish(&server, &run, &wrong);
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("log_digest_mismatch")));
    let described = json!({ "type": "step", "step_id": "unit/x", "kind": "test", "status": "failed",
        "log": { "digest": Digest::of(&all), "bytes": 1 } });
    assert_eq!(finish(&server, &run, &described).json()["code"], "member_reserved");
    let right = json!({ "type": "step", "step_id": "unit/x", "kind": "test", "status": "failed",
        "log": { "digest": Digest::of(&all) } });
    assert_eq!(finish(&server, &run, &right).status, 200);
    let late = write(&server, &run, "step_id=unit/x", None, b"late");
    assert_eq!((late.status, &late.json()["code"]), (409, &json!("log_ended")));

    // Numbered in the order in which they end; what no line feed ended ends with its step.
    let found = server.get(&format!("/v1/runs/{run}/logs"));
    let expected = ["first \u{FFFD}\r", "warn", "second \u{1F600}", "\0", "one", "two", "no line feed"]
        .map(str::to_owned);
    assert_eq!(texts(&found), expected);
    assert!(lines(&found).iter().zip(0..).all(|(line, n)| line["log_pos"] == n));
    assert_eq!(texts(&server.get(&format!("/v1/runs/{run}/logs?from=2&limit=3"))), expected[2..5]);
    assert_eq!(texts(&server.get(&format!("{log}&from_line=1&lines=2"))), expected[1..3]);
    assert_eq!(texts(&server.get(&format!("{log}&from_line=4"))), ["no line feed"]);
    assert_eq!(texts(&server.get(&format!("{log}&from_line=5"))), [""; 0]);

    finalize(&server, &run);
    let closed = write(&server, &run, "step_id=other", None, b"late");
    assert_eq!((closed.status, &closed.json()["code"]), (409, &json!("run_closed")));
    let envelope = server.get(&format!("/v1/envelopes/{run}")).json();
    let step = &envelope["envelope"]["execution"]["steps"][0];
    assert_eq!(step["log"], json!({ "digest": Digest::of(&all), "bytes": all.len(), "lines": 5 }));
    assert_eq!(server.get(&log).header("etag"), Some(format!("\"{}\"", Digest::of(&all)).as_str()));
    assert_eq!(server.get(&format!("/v1/envelopes/{run}/verification")).json()["verdict"], "verified");
}

#[test]
fn a_step_that_nobody_finished_has_its_log_in_the_envelope() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    start(&server, &run, &["s"]);
    write(&server, &run, "step_id=s", None, b"so far");
    finalize(&server, &run);
    let envelope = server.get(&format!("/v1/envelopes/{run}")).json();
    let step = &envelope["envelope"]["execution"]["steps"][0];
    assert_eq!(
        (&step["status"], &step["log"]["digest"]),
        (&json!("incomplete"), &json!(Digest::of("so far")))
    );
    assert_eq!(texts(&server.get(&format!("/v1/runs/{run}/logs"))), ["so far"]);
}

#[test]
fn what_was_acknowledged_of_a_log_survives_a_kill_and_goes_on_where_it_ended() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let run = server.open();
    start(&server, &run, &["big"]);
    let text: Vec<u8> = (0..200_000).flat_map(|n| format!("{n} of many lines\n").into_bytes()).collect();
    let path = format!("/v1/runs/{run}/logs?step_id=big");
    // A body that stays open while the service dies.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // What is recorded while a body goes on is whole lines.
    let sent = 1 + text[..1_000_000].iter().rposition(|byte| *byte == b'\n').unwrap();
    stream.write_all(&text[..1_000_000]).unwrap();
    let started = Instant::now();
    while offset(&server, &run, "step_id=big") < sent as u64 {
        assert!(started.elapsed() < Duration::from_secs(20), "nothing is recorded while the body is open");
        std::thread::sleep(Duration::from_millis(20));
    }
    server.kill();
    assert!(!matches!(stream.read(&mut [0; 9]), Ok(n) if n > 0));
    let server = Server::start(&place, &[]);
    let at = offset(&server, &run, "step_id=big");
    assert_eq!(at, sent as u64);
    // Who does not know where it ended is told, and goes on there.
    let elsewhere = write(&server, &run, "step_id=big", Some(0), &text[..100]);
    assert_eq!((elsewhere.status, elsewhere.header("upload-offset")), (409, Some(at.to_string().as_str())));
    let rest = &text[usize::try_from(at).unwrap()..];
    let answer = write(&server, &run, "step_id=big", Some(at), rest).json();
    assert_eq!(answer, json!({ "offset": text.len(), "lines": 200_000, "log_pos": 200_000 }));
    assert_eq!(server.get(&path).body, text);
    let middle = server.get(&format!("{path}&from_line=123456&lines=2"));
    assert_eq!(texts(&middle), ["123456 of many lines", "123457 of many lines"]);
    assert_eq!(middle.header("sealstone-more"), Some("true"));
    // All of them, page by page, once.
    let (mut next, mut seen) = (0, 0);
    loop {
        let page = server.get(&format!("/v1/runs/{run}/logs?from={next}&limit=10000"));
        for line in lines(&page) {
            assert_eq!(line["text"], format!("{} of many lines", line["log_pos"]));
            assert_eq!(line["log_pos"], seen);
            seen += 1;
        }
        next = seen;
        if page.header("sealstone-more") == Some("false") {
            break;
        }
    }
    assert_eq!(seen, 200_000);
    finish(&server, &run, &json!({ "type": "step", "step_id": "big", "kind": "test", "status": "passed" }));
    finalize(&server, &run);
    let envelope = server.get(&format!("/v1/envelopes/{run}")).json();
    assert_eq!(envelope["envelope"]["execution"]["steps"][0]["log"]["digest"], json!(Digest::of(&text)));
}

#[test]
fn logs_have_limits_and_a_refused_log_costs_nothing_else() {
    let place = Place::new();
    let server = Server::start(&place, &["--max-log", "1MiB"]);
    let run = server.open();
    let early = write(&server, &run, "step_id=s", None, b"x");
    assert_eq!((early.status, &early.json()["code"]), (409, &json!("step_not_started")));
    start(&server, &run, &["s", "t"]);
    let most = vec![b'x'; 1 << 20];
    assert_eq!(write(&server, &run, "step_id=s", None, &most).status, 200);
    let full = write(&server, &run, "step_id=t", None, b"x");
    assert_eq!((full.status, &full.json()["code"]), (413, &json!("log_too_large")));
    for (query, headers, code) in [
        ("", vec![PLAIN], "parameter_invalid"),
        ("step_id=..", vec![PLAIN], "parameter_invalid"),
        ("step_id=s&attempt=0", vec![PLAIN], "parameter_invalid"),
        ("step_id=s&stream=stdin", vec![PLAIN], "parameter_invalid"),
        ("step_id=s", vec![PLAIN, ("Upload-Offset", "-1")], "parameter_invalid"),
        ("step_id=s", vec![PLAIN, ("Upload-Offset", "1"), ("Upload-Offset", "1")], "parameter_invalid"),
        ("step_id=s", vec![("Content-Type", "application/json")], "media_type_unsupported"),
        ("step_id=s", vec![], "media_type_unsupported"),
    ] {
        let answer = server.request("POST", &format!("/v1/runs/{run}/logs?{query}"), &headers, b"x");
        assert_eq!(answer.json()["code"], code, "{query} {headers:?}");
    }
    assert_eq!(server.get(&format!("/v1/runs/{run}/logs?step_id=none")).json()["code"], "log_not_found");
    // It goes on, and is sealed.
    finish(&server, &run, &json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed" }));
    finalize(&server, &run);
    assert_eq!(server.get(&format!("/v1/envelopes/{run}/verification")).json()["verdict"], "verified");
}

#[test]
fn deleted_logs_are_gone_and_the_envelope_stays_as_it_was() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let settled = server.request(
        "PUT",
        "/v1/projects/short",
        &[("Content-Type", "application/json")],
        json!({ "log_retention": 1 }).to_string().as_bytes(),
    );
    assert_eq!(settled.json()["log_retention"], 1);
    for project in ["p", "short"] {
        let opened = server.post("/v1/runs", &json!({ "project": project })).json();
        let run = opened["evidence_id"].as_str().unwrap();
        start(&server, run, &["s"]);
        assert_eq!(write(&server, run, "step_id=s", None, b"line\n").status, 200);
        let open = server.request("DELETE", &format!("/v1/runs/{run}/logs"), &[], b"");
        assert_eq!((open.status, &open.json()["code"]), (409, &json!("run_not_sealed")));
        finish(&server, run, &json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed" }));
        finalize(&server, run);
        let before = server.get(&format!("/v1/envelopes/{run}")).body;
        if project == "p" {
            for _ in 0..2 {
                let deleted = server.request("DELETE", &format!("/v1/runs/{run}/logs"), &[], b"");
                assert_eq!(deleted.status, 204);
            }
        } else {
            // By itself, after the project's log_retention.
            server.wait_until(&format!("/v1/runs/{run}/logs?step_id=s&from_line=0"), |answer| {
                answer["code"] == "log_deleted"
            });
        }
        for path in ["", "?step_id=s", "?step_id=s&from_line=0"] {
            let gone = server.get(&format!("/v1/runs/{run}/logs{path}"));
            assert_eq!((gone.status, &gone.json()["code"]), (410, &json!("log_deleted")));
        }
        assert_eq!(server.get(&format!("/v1/envelopes/{run}")).body, before);
    }
}

#[test]
fn many_write_to_the_logs_of_one_run_at_once() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    start(&server, &run, &["s0", "s1", "s2", "s3"]);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (server, run) = (&server, &run);
            scope.spawn(move || {
                let mut connection = Connection::to(&server.address).unwrap();
                for n in 0..50 {
                    let path = format!("/v1/runs/{run}/logs?step_id=s{}&stream=stdout", writer % 4);
                    let line = format!("{writer} wrote {n}\n");
                    let answer = connection.request("POST", &path, &[PLAIN], line.as_bytes()).unwrap();
                    assert_eq!(answer.status, 200);
                }
            });
        }
    });
    let found = texts(&server.get(&format!("/v1/runs/{run}/logs")));
    assert_eq!(found.len(), 400);
    for writer in 0..8 {
        let own = found.iter().filter(|text| text.starts_with(&format!("{writer} ")));
        assert!(own.eq((0..50).map(|n| format!("{writer} wrote {n}")).collect::<Vec<_>>().iter()));
    }
}

#[test]
fn what_a_rule_matches_in_a_log_is_covered_and_told_beside_the_step() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let rules = json!({ "redact": [{ "rule_id": "password", "pattern": "pass-[a-z0-9]+" }] });
    let headers = [("Content-Type", "application/json")];
    assert_eq!(server.request("PUT", "/v1/projects/p", &headers, rules.to_string().as_bytes()).status, 200);
    let run = server.open();
    start(&server, &run, &["s"]);
    let line = "user root, pass-s3cr3t, and on\n";
    let all = line.repeat(20_000);
    let answer = write(&server, &run, "step_id=s", Some(0), all.as_bytes());
    assert_eq!(answer.json()["offset"], all.len());
    let covered = line.replace("pass-s3cr3t", "***********").repeat(20_000);
    assert_eq!(server.get(&format!("/v1/runs/{run}/logs?step_id=s")).body, covered.as_bytes());
    finish(&server, &run, &json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed" }));
    finalize(&server, &run);
    let envelope = server.get(&format!("/v1/envelopes/{run}")).json();
    let step = &envelope["envelope"]["execution"]["steps"][0];
    assert_eq!(step["log"]["digest"], json!(Digest::of(&covered)));
    let redaction = &envelope["envelope"]["redactions"][0];
    assert_eq!(
        (&redaction["rule_id"], &redaction["path"], &redaction["match_count"], &redaction["masked_len"]),
        (&json!("password"), &json!("/execution/steps/0/log"), &json!(20_000), &json!(220_000))
    );
    assert_eq!(server.get(&format!("/v1/envelopes/{run}/verification")).json()["verdict"], "verified");
    server.kill();
    assert_eq!(place.files_with("s3cr3t"), [""; 0]);
}

#[test]
fn a_log_that_trickles_is_seen_line_by_line_and_what_came_before_a_break_is_kept() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let rules = json!({ "redact": [{ "rule_id": "password", "pattern": "pass-[a-z0-9]+" }] });
    let headers = [("Content-Type", "application/json")];
    assert_eq!(server.request("PUT", "/v1/projects/p", &headers, rules.to_string().as_bytes()).status, 200);
    let run = server.open();
    start(&server, &run, &["s"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = format!(
        "POST /v1/runs/{run}/logs?step_id=s HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let log = format!("/v1/runs/{run}/logs?step_id=s");
    // However it arrives, a secret in one line is found.
    for piece in ["first ", "line\npass-", "s3c", "r3t", " and more\nnot ended pass-x"] {
        stream.write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(250));
    }
    assert_eq!(server.get(&log).body, b"first line\n*********** and more\n");
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    let all = b"first line\n*********** and more\nnot ended ******";
    let started = Instant::now();
    while server.get(&log).body != all {
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", server.get(&log));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_who_do_not_say_where_their_bytes_go_write_side_by_side() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    start(&server, &run, &["s"]);
    std::thread::scope(|scope| {
        for (stream, letter) in [("stdout", "o"), ("stderr", "e")] {
            let (server, run) = (&server, &run);
            let text = format!("{}\n", letter.repeat(99)).repeat(20_000);
            scope.spawn(move || {
                let answer = write(server, run, &format!("step_id=s&stream={stream}"), None, text.as_bytes());
                assert_eq!(answer.status, 200, "{answer:?}");
            });
        }
    });
    let log = server.get(&format!("/v1/runs/{run}/logs?step_id=s")).body;
    let count = |letter: u8| log.iter().filter(|byte| **byte == letter).count();
    assert_eq!((log.len(), count(b'o'), count(b'e')), (4_000_000, 1_980_000, 1_980_000));
}
