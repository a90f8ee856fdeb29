//! Every code that the service answers with, provoked; and that what is refused leaves nothing behind.

use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Answer, Server};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

/// A service with a run to be refused in.
struct Refusing {
    server: Server,
    run: String,
    _place: Place,
}

impl Refusing {
    fn new() -> Self {
        let place = Place::new();
        let server = Server::start(&place, &[]);
        let run = server.open();
        Self { server, run, _place: place }
    }

    fn path(&self, rest: &str) -> String {
        format!("/v1/runs/{}{rest}", self.run)
    }

    fn entry(&self, entry: Value) -> Answer {
        self.server.post(&self.path("/entries"), &entry)
    }

    fn recorded(&self, entry: Value) -> Value {
        let answer = self.entry(entry);
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()
    }

    /// The head, which no refusal moves.
    fn head(&self) -> Value {
        self.server.get(&self.path("?envelope=false")).json()["head"].clone()
    }

    fn refused(&self, answer: &Answer, status: u16, code: &str, pointer: Option<&str>) {
        let problem = answer.json();
        assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["pointer"].as_str(), pointer, "{problem}");
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{problem}");
    }
}

#[test]
fn entries_that_break_the_model_are_refused_at_the_member() {
    let service = Refusing::new();
    let head = service.head();
    let step = |more: Value| {
        let mut step = json!({ "type": "step", "step_id": "s", "kind": "test", "status": "passed" });
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        step
    };
    for (entry, code, pointer) in [
        (json!({ "type": "run" }), "type_unknown", "/type"),
        (json!({ "type": "outcome", "result": "succeeded" }), "type_unknown", "/type"),
        (json!({}), "type_unknown", "/type"),
        (step(json!({ "unknown": 1 })), "member_invalid", "/unknown"),
        (step(json!({ "status": "perfect" })), "member_invalid", "/status"),
        (step(json!({ "attempt": 0 })), "member_invalid", "/attempt"),
        (step(json!({ "step_id": "../etc" })), "member_invalid", "/step_id"),
        (step(json!({ "message": "x".repeat(70_000) })), "member_invalid", "/message"),
        (step(json!({ "data": { "a": { "$withheld": "sha256:00" } } })), "member_invalid", "/data"),
        (step(json!({ "log": { "digest": "sha256:00" } })), "member_reserved", "/log"),
        (step(json!({ "seq": 7 })), "member_reserved", "/seq"),
        (step(json!({ "recorded_at": "2026-11-21T08:00:00.000Z" })), "member_reserved", "/recorded_at"),
        (step(json!({ "reported_by": { "name": "me" } })), "member_reserved", "/reported_by"),
        (
            json!({ "type": "step_started", "step_id": "s", "kind": "test", "status": "passed" }),
            "member_invalid",
            "/status",
        ),
        (json!({ "type": "step_started", "step_id": "s" }), "member_invalid", "/kind"),
        (json!({ "type": "artifact", "artifact_id": "a", "digest": "md5:00" }), "member_invalid", "/digest"),
        (json!({ "type": "event", "name": "run_finalized" }), "event_name_reserved", "/name"),
        (json!({ "type": "event", "name": "token" }), "event_name_reserved", "/name"),
        (json!({ "type": "event", "name": "custom:" }), "member_invalid", "/name"),
        (
            json!({ "type": "redaction", "rule_id": "r", "path": "a", "match_type": "exact", "match_count": 1 }),
            "member_invalid",
            "/path",
        ),
    ] {
        let answer = service.entry(entry.clone());
        service.refused(&answer, 422, code, Some(pointer));
    }
    let data: serde_json::Map<String, Value> =
        (0..5).map(|i| (format!("m{i}"), "x".repeat(60_000).into())).collect();
    service.refused(&service.entry(step(json!({ "data": data.clone() }))), 413, "element_too_large", None);
    // Also what would be recorded of it only at the close.
    let started = json!({ "type": "step_started", "step_id": "s", "kind": "test", "data": data });
    service.refused(&service.entry(started), 413, "element_too_large", None);
    let gate = json!({ "reason": "\u{1}".repeat(60_000) });
    service.refused(&service.server.post(&service.path("/gates"), &gate), 413, "element_too_large", None);
    let mut deep = json!(1);
    for _ in 0..60 {
        deep = json!([deep]);
    }
    service.refused(
        &service.entry(step(json!({ "data": { "deep": deep } }))),
        422,
        "member_invalid",
        Some("/data"),
    );
    assert_eq!(service.head(), head);
}

#[test]
fn bodies_that_are_not_what_they_should_be_are_refused() {
    let service = Refusing::new();
    let head = service.head();
    let send = |headers: &[(&str, &str)], body: &[u8]| {
        service.server.request("POST", &service.path("/entries"), headers, body)
    };
    for (body, code) in [
        (&b"{"[..], "json.syntax"),
        (b"{\"type\":\"event\",\"type\":\"event\"}", "json.duplicate_key"),
        (
            b"{\"type\":\"event\",\"name\":\"e\",\"data\":{\"n\":9007199254740993}}",
            "json.number_out_of_range",
        ),
        (b"{\"type\":\"\\ud800\"}", "json.lone_surrogate"),
        (b"\xff", "json.syntax"),
        (&b"[".repeat(70), "json.too_deep"),
    ] {
        service.refused(&send(&[JSON], body), 400, code, None);
    }
    service.refused(&send(&[("Content-Type", "text/plain")], b"{}"), 415, "media_type_unsupported", None);
    service.refused(&send(&[], b"{}"), 415, "media_type_unsupported", None);
    service.refused(&send(&[JSON], &vec![b' '; (1 << 20) + 1]), 413, "body_too_large", None);
    service.refused(&send(&[NDJSON], b"\n\n"), 422, "no_entries", None);
    for headers in [
        &[("Content-Type", "application/json; charset=utf-16")][..],
        &[JSON, JSON],
        &[JSON, ("Content-Encoding", "gzip")],
    ] {
        service.refused(&send(headers, b"{}"), 415, "media_type_unsupported", None);
    }
    // The answer is seen though the body goes on.
    service.refused(&send(&[JSON], &vec![b' '; 8 << 20]), 413, "body_too_large", None);
    let long = [b"{\"type\":\"event\",\"name\":\"".to_vec(), vec![b'x'; 2 << 20], b"\"}".to_vec()].concat();
    let answer = send(&[NDJSON], &long);
    service.refused(&answer, 400, "json.too_large", None);
    assert_eq!(answer.json()["line"], 1);
    let lines = "{\"type\":\"event\",\"name\":\"e\"}\n".repeat(10_001);
    service.refused(&send(&[NDJSON], lines.as_bytes()), 422, "too_many_entries", None);
    // All or nothing, and the line is told.
    let body = b"{\"type\":\"event\",\"name\":\"e\"}\n\n{\"type\":\"event\"}\n";
    let answer = send(&[NDJSON], body);
    service.refused(&answer, 422, "member_invalid", Some("/name"));
    assert_eq!(answer.json()["line"], 3);
    let answer = send(&[NDJSON], b"{\"type\":\"event\",\"name\":\"e\"}\n{\n");
    assert_eq!(
        (answer.json()["code"].as_str(), answer.json()["line"].as_u64()),
        (Some("json.syntax"), Some(2))
    );
    for header in [("Idempotency-Key", "a b"), ("If-Match", "\"nonsense\"")] {
        let answer = send(&[JSON, header], b"{\"type\":\"event\",\"name\":\"e\"}");
        service.refused(&answer, 400, "parameter_invalid", None);
    }
    assert_eq!(service.head(), head);
}

#[test]
fn what_contradicts_the_record_is_refused() {
    let service = Refusing::new();
    let artifact =
        json!({ "type": "artifact", "artifact_id": "a", "digest": format!("sha256:{}", "0".repeat(64)) });
    let step = |attempt: u64, status: &str| json!({ "type": "step", "step_id": "s", "kind": "test", "status": status, "attempt": attempt });
    let first = service.recorded(step(2, "failed"));
    service.recorded(artifact.clone());
    service.recorded(json!({ "type": "observation", "observation_id": "o", "name": "n", "value": 1, "basis_artifact_ids": ["a"] }));
    // The same again is a repeat, with the first answer.
    assert_eq!(service.recorded(step(2, "failed"))["entries"], first["entries"]);
    let refused = |entry: Value, status, code| service.refused(&service.entry(entry), status, code, None);
    refused(step(2, "passed"), 409, "step_exists");
    refused(step(1, "passed"), 409, "attempt_order");
    refused(json!({ "type": "step_started", "step_id": "s", "kind": "test" }), 409, "attempt_order");
    refused(
        json!({ "type": "artifact", "artifact_id": "a", "digest": format!("sha256:{}", "1".repeat(64)) }),
        409,
        "artifact_exists",
    );
    refused(
        json!({ "type": "observation", "observation_id": "o", "name": "n", "value": 2, "basis_artifact_ids": ["a"] }),
        409,
        "observation_exists",
    );
    refused(
        json!({ "type": "observation", "observation_id": "p", "name": "n", "value": 2, "basis_artifact_ids": ["b"] }),
        422,
        "artifact_unknown",
    );

    let gates = service.path("/gates");
    let gate = json!({ "gate_id": "g", "reason": "may it?" });
    assert_eq!(service.server.post(&gates, &gate).status, 201);
    assert_eq!(service.server.post(&gates, &gate).status, 200);
    service.refused(
        &service.server.post(&gates, &json!({ "gate_id": "g", "reason": "other" })),
        409,
        "gate_exists",
        None,
    );
    service.refused(
        &service.server.post(&gates, &json!({ "gate_id": "h" })),
        422,
        "member_invalid",
        Some("/reason"),
    );
    service.refused(
        &service.server.post(&gates, &json!({ "reason": "r", "actor": "me" })),
        422,
        "member_reserved",
        Some("/actor"),
    );
    let answer =
        |gate: &str, body: Value| service.server.post(&service.path(&format!("/gates/{gate}")), &body);
    service.refused(&answer("x", json!({ "decision": "approved" })), 404, "gate_not_found", None);
    service.refused(&answer("g", json!({ "decision": "maybe" })), 422, "member_invalid", Some("/decision"));
    let elsewhere = format!("sha256:{}", "2".repeat(64));
    service.refused(
        &answer("g", json!({ "decision": "approved", "seen_head": elsewhere })),
        422,
        "head_unknown",
        Some("/seen_head"),
    );
    assert_eq!(answer("g", json!({ "decision": "approved" })).status, 200);
    assert_eq!(answer("g", json!({ "decision": "approved" })).status, 200);
    service.refused(&answer("g", json!({ "decision": "rejected" })), 409, "gate_resolved", None);

    let event = json!({ "type": "event", "name": "e" }).to_string();
    let send = |headers: &[(&str, &str)], body: &str| {
        service.server.request(
            "POST",
            &service.path("/entries"),
            &[&[JSON], headers].concat(),
            body.as_bytes(),
        )
    };
    let stale = format!("\"{elsewhere}\"");
    service.refused(&send(&[("If-Match", &stale)], &event), 412, "head_mismatch", None);
    let keyed = send(&[("Idempotency-Key", "k1")], &event);
    // Looked up before If-Match, and before the state of the run.
    assert_eq!(send(&[("Idempotency-Key", "k1"), ("If-Match", &stale)], &event).json(), keyed.json());
    service.refused(
        &send(&[("Idempotency-Key", "k1")], &json!({ "type": "event", "name": "f" }).to_string()),
        422,
        "idempotency_key_reused",
        None,
    );

    let finalize =
        |result: &str| service.server.post(&service.path("/finalize"), &json!({ "result": result }));
    service.refused(&finalize("succeeded"), 409, "result_contradicted", None);
    service.refused(&finalize("expired"), 422, "member_invalid", Some("/result"));
    let too_long = json!({ "reason": "x".repeat(70_000), "force": true });
    service.refused(
        &service.server.post(&service.path("/abort"), &too_long),
        422,
        "member_invalid",
        Some("/reason"),
    );
    assert_eq!(service.server.get(&service.path("")).json()["abort_requested"], false);
    assert_eq!(service.server.post(&service.path("/abort"), &json!({ "reason": "enough" })).status, 202);
    assert_eq!(service.server.get(&service.path("")).json()["abort_requested"], true);
    assert_eq!(finalize("failed").status, 200);
    service.refused(&finalize("succeeded"), 409, "run_closed", None);
    service.refused(&service.entry(json!({ "type": "event", "name": "late" })), 409, "run_closed", None);
    service.refused(&service.server.post(&service.path("/abort"), &json!({})), 409, "run_closed", None);
    service.refused(&service.server.post(&gates, &json!({ "reason": "late" })), 409, "run_closed", None);
    // What was recorded before is still answered as it was.
    assert_eq!(send(&[("Idempotency-Key", "k1")], &event).json(), keyed.json());
    assert_eq!(service.recorded(artifact)["entries"][0]["seq"], 2);
}

#[test]
fn runs_are_found_by_name_and_told_apart() {
    let service = Refusing::new();
    let open = |project: &str, intent: &str| {
        service.server.post("/v1/runs", &json!({ "project": project, "run_id": "r", "intent": intent }))
    };
    let first = open("a", "x");
    assert_eq!((first.status, open("a", "x").status), (201, 200));
    assert_eq!(open("a", "x").json()["evidence_id"], first.json()["evidence_id"]);
    service.refused(&open("a", "y"), 409, "run_exists", None);
    assert_eq!(service.server.get("/v1/runs/r").status, 200);
    assert_eq!(open("b", "x").status, 201);
    service.refused(&service.server.get("/v1/runs/r"), 409, "run_ambiguous", None);
    assert_eq!(service.server.get("/v1/runs/r?project=b").json()["project"], "b");
    service.refused(&service.server.get("/v1/runs/r?project=c"), 404, "run_not_found", None);
    for unknown in ["nobody", "01a1fd8c-ab13-74fe-ba1f-fc160c4ef33e", "a%2Fb", "%00"] {
        service.refused(&service.server.get(&format!("/v1/runs/{unknown}")), 404, "run_not_found", None);
        service.refused(
            &service
                .server
                .post(&format!("/v1/runs/{unknown}/entries"), &json!({ "type": "event", "name": "e" })),
            404,
            "run_not_found",
            None,
        );
    }
    // A run_id that is another run's evidence_id takes nothing from that one.
    let squat = service.server.post("/v1/runs", &json!({ "project": "q", "run_id": service.run }));
    assert_eq!(squat.status, 201);
    for query in ["", "?project=p"] {
        let found = service.server.get(&service.path(query)).json();
        assert_eq!(found["evidence_id"].as_str(), Some(service.run.as_str()));
    }
    assert_eq!(service.server.get(&service.path("?project=q")).json()["project"], "q");
    service.refused(&service.server.get("/v1/runs/%ff"), 400, "path_invalid", None);
    let with_key = |body: Value| {
        service.server.request(
            "POST",
            "/v1/runs",
            &[JSON, ("Idempotency-Key", "k")],
            body.to_string().as_bytes(),
        )
    };
    let keyed = with_key(json!({ "project": "a" }));
    assert_eq!(with_key(json!({ "project": "a" })).json()["evidence_id"], keyed.json()["evidence_id"]);
    service.refused(&with_key(json!({ "project": "a", "intent": "z" })), 422, "idempotency_key_reused", None);
    service.refused(&service.server.post("/v1/runs", &json!({})), 422, "member_invalid", Some("/project"));
    service.refused(
        &service.server.post("/v1/runs", &json!({ "project": "a", "run_id": "a/b" })),
        422,
        "member_invalid",
        Some("/run_id"),
    );
    service.refused(
        &service.server.post("/v1/runs", &json!({ "project": "a", "sequence": "x" })),
        422,
        "member_reserved",
        Some("/sequence"),
    );
    service.refused(
        &service.server.get(&format!("/v1/envelopes/{}", service.run)),
        404,
        "envelope_not_found",
        None,
    );
}

#[test]
fn the_list_of_runs_is_filtered_and_paged() {
    let service = Refusing::new();
    for i in 0..7 {
        let body = json!({
            "project": if i % 2 == 0 { "even" } else { "odd" }, "run_id": format!("r{i}"), "labels": { "n": i.to_string() },
            "subject": { "commit_sha": format!("c{i}") },
        });
        assert_eq!(service.server.post("/v1/runs", &body).status, 201);
    }
    let names = |query: &str| {
        let page = service.server.get(&format!("/v1/runs?{query}")).json();
        let runs =
            page["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned());
        (runs.collect::<Vec<_>>().join(" "), page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(names("project=even").0, "r6 r4 r2 r0");
    assert_eq!(names("label=n:3").0, "r3");
    assert_eq!(names("commit_sha=c5&state=open").0, "r5");
    assert_eq!(names("state=sealed").0, "");
    let (first, next) = names("limit=2&project=even");
    let next = next.unwrap();
    assert_eq!(
        (first.as_str(), names(&format!("limit=2&project=even&cursor={next}")).0.as_str()),
        ("r6 r4", "r2 r0")
    );
    let link = service.server.get("/v1/runs?limit=2&project=even");
    assert_eq!(
        link.header("link"),
        Some(format!("</v1/runs?limit=2&project=even&cursor={next}>; rel=\"next\"").as_str())
    );
    let (opened_at, later) =
        (service.server.get("/v1/runs/r3").json()["opened_at"].clone(), "2999-01-01T00:00:00.000Z");
    assert!(!names(&format!("opened_before={}", opened_at.as_str().unwrap())).0.contains("r3"));
    assert_eq!(names(&format!("opened_after={later}")).0, "");
    for query in [
        "limit=0",
        "limit=x",
        "state=odd",
        "result=odd",
        "label=x",
        "cursor=x",
        "opened_after=yesterday",
        "what=1",
        "state=open&state=open",
        "project=",
        "project=a//b",
    ] {
        service.refused(&service.server.get(&format!("/v1/runs?{query}")), 400, "parameter_invalid", None);
    }
}

#[test]
fn what_is_not_there_and_who_may_not_ask_are_told() {
    let service = Refusing::new();
    service.refused(&service.server.get("/v1/nothing"), 404, "route_not_found", None);
    service.refused(&service.server.request("DELETE", "/v1/runs", &[], b""), 405, "method_not_allowed", None);
    let get = |headers: &[(&str, &str)]| service.server.request("GET", "/v1/runs", headers, b"");
    service.refused(&get(&[("Host", "evil.example.org")]), 421, "host_refused", None);
    service.refused(&get(&[("Host", "127.0.0.1.example.org:80")]), 421, "host_refused", None);
    service.refused(&get(&[("Origin", "http://evil.example.org")]), 403, "origin_refused", None);
    service.refused(&get(&[("Host", "localhost"), ("Host", "localhost")]), 421, "host_refused", None);
    service.refused(&get(&[("Host", "localhost:99999")]), 421, "host_refused", None);
    let foreign = service.server.request("GET", "http://evil.example.org/v1/runs", &[], b"");
    service.refused(&foreign, 421, "host_refused", None);
    service.refused(&get(&[("Origin", "null")]), 403, "origin_refused", None);
    service.refused(&get(&[("Sec-Fetch-Site", "cross-site")]), 403, "origin_refused", None);
    assert_eq!(get(&[("Origin", "http://localhost")]).status, 200);
    for query in ["trust=all", "head=1", "expect=colour=red", "expect=x"] {
        let answer = service.server.request("POST", &format!("/v1/verify?{query}"), &[JSON], b"{}");
        service.refused(&answer, 400, "parameter_invalid", None);
    }
    let some = service.server.get("/v1/envelopes/x?disclosures=some");
    service.refused(&some, 400, "parameter_invalid", None);
    let judged = service.server.request("POST", "/v1/verify", &[JSON], b"not json");
    assert_eq!((judged.status, judged.json()["verdict"].as_str()), (200, Some("unreadable")));
}

#[test]
fn an_abort_by_force_closes_and_seals_and_can_be_repeated() {
    let service = Refusing::new();
    service.recorded(json!({ "type": "step_started", "step_id": "s", "kind": "test" }));
    let abort = || {
        let headers = [JSON, ("Idempotency-Key", "k")];
        service.server.request(
            "POST",
            &service.path("/abort"),
            &headers,
            b"{\"force\":true,\"reason\":\"enough\"}",
        )
    };
    assert_eq!((abort().status, abort().status), (202, 202));
    let sealed = service.server.wait_until(&service.path(""), |run| run["state"] == "sealed");
    assert_eq!((sealed["result"].as_str(), sealed["counts"]["steps"].as_u64()), (Some("aborted"), Some(1)));
    assert_eq!(sealed["envelope"]["execution"]["steps"][0]["status"], "incomplete");
    assert_eq!(sealed["envelope"]["outcome"]["reason"], "enough");
}

#[test]
fn a_close_that_is_repeated_is_held_to_the_same_limits() {
    let service = Refusing::new();
    let finalize = |body: Value| service.server.post(&service.path("/finalize"), &body);
    assert_eq!(finalize(json!({ "result": "failed" })).status, 200);
    let repeated = finalize(json!({ "result": "failed", "reason": "x".repeat(70_000) }));
    service.refused(&repeated, 422, "member_invalid", Some("/reason"));
}

#[test]
fn a_full_run_says_so_and_can_be_closed() {
    let service = Refusing::new();
    let line = |i: usize| {
        let data: Value = (0..3)
            .map(|m| (format!("m{m}"), Value::from("x".repeat(60_000))))
            .collect::<serde_json::Map<_, _>>()
            .into();
        format!("{}\n", json!({ "type": "event", "name": "e", "data": { "i": i, "more": data } }))
    };
    let full = (0..20).find_map(|batch| {
        let lines: String = (0..40).map(|i| line(batch * 40 + i)).collect();
        let answer = service.server.request("POST", &service.path("/entries"), &[NDJSON], lines.as_bytes());
        (answer.status != 200).then_some(answer)
    });
    service.refused(&full.unwrap(), 422, "run_full", None);
    let answer = service.server.post(&service.path("/finalize"), &json!({ "result": "succeeded" }));
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(
        service.server.get(&format!("/v1/envelopes/{}/verification", service.run)).json()["verdict"],
        "verified"
    );
}
