//! `RunContext` without a service: what a program does is recorded once, in order, and sealed; who watches sees what a service would show.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use sealstone::client::context::{
    ContextError, Decision, Queue, QueueSettings, RunContext, StepStatus, Surroundings,
};
use sealstone::events::{Filter, Frame, Preset, Replay};
use sealstone::evidence::canonical::{Object, Value};
use sealstone::evidence::digest::Digest;
use sealstone::evidence::key::SigningKey;
use sealstone::evidence::time::Timestamp;
use serde_json::Value as Json;
use tokio_stream::StreamExt as _;

use crate::place::Place;
use crate::schemas::schema;

#[path = "../../examples/run_context.rs"]
mod example;

fn surroundings() -> Surroundings {
    let (ticks, calls) = (AtomicU8::new(0), AtomicU8::new(0));
    Surroundings::new(
        move || Timestamp::from_unix_ms(1_790_000_000_000 + i64::from(ticks.fetch_add(1, Ordering::Relaxed))),
        move || [calls.fetch_add(1, Ordering::Relaxed); 16],
    )
}

fn run() -> Object<'static> {
    Object::from_iter([("project", "acme/agent"), ("run_id", "r-1")])
}

fn start() -> (RunContext, Queue) {
    RunContext::start(run(), surroundings(), &QueueSettings::default()).unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

/// The envelope, once the program has verified it and it is what the schema says.
fn envelope(queue: &Queue) -> Json {
    let sealed = queue.seal(Timestamp::from_unix_ms(0), &[&key()]).unwrap();
    let place = Place::new();
    std::fs::write(place.path("run.json"), &sealed.file).unwrap();
    std::fs::write(place.path("run.pem"), key().public().to_spki_pem()).unwrap();
    let ran = place.run(&["verify", "run.json", "--keys", "run.pem"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    crate::schemas::assert_sealed_envelope(sealed.file.as_bytes());
    serde_json::from_str::<Json>(&sealed.file).unwrap()["envelope"].clone()
}

fn names(frames: &[Frame]) -> Vec<&str> {
    frames.iter().map(Frame::name).collect()
}

fn members<const N: usize>(members: [(&'static str, &'static str); N]) -> Object<'static> {
    Object::from_iter(members)
}

fn code<T: std::fmt::Debug>(result: Result<T, ContextError>) -> &'static str {
    let error = result.unwrap_err();
    assert!(!error.to_string().is_empty());
    error.code()
}

#[tokio::test]
async fn everything_is_in_the_sealed_envelope_once_and_in_order() {
    let (context, queue) = start();
    let step = context.step_with("unit/a", "test", members([("name", "units")])).unwrap();
    step.artifact("report", Digest::of("<xml/>"), members([("kind", "junit")])).unwrap();
    step.observation("tests", Value::count(3), &["report"], Object::new()).unwrap();
    step.finish(StepStatus::Passed, Object::from_iter([("exit_code", 0)])).unwrap();
    context.checkpoint("tested", members([("commit", "abc")])).unwrap();
    context.event("custom:published", Object::new()).unwrap();
    context.finish(Value::from("done")).unwrap();

    let envelope = envelope(&queue);
    let step = &envelope["execution"]["steps"][0];
    assert_eq!((&step["step_id"], &step["status"]), (&"unit/a".into(), &"passed".into()));
    assert_eq!((&step["artifact_ids"][0], &step["exit_code"]), (&"report".into(), &0.into()));
    assert!(step["duration_ms"].as_u64().unwrap() > 0, "{step}");
    assert_eq!(envelope["observations"][0]["basis_artifact_ids"][0], "report");
    assert_eq!(
        (&envelope["observations"][1]["name"], &envelope["observations"][1]["value"]),
        (&"output".into(), &"done".into())
    );
    assert_eq!(envelope["events"][0]["data"]["commit"], "abc");
    assert_eq!(envelope["outcome"]["result"], "succeeded");
    let frames = queue.frames(Filter::default());
    assert_eq!(
        names(&frames),
        [
            "run_started",
            "step_started",
            "artifact_written",
            "observation_recorded",
            "step_finished",
            "checkpoint",
            "custom:published",
            "observation_recorded",
            "run_completed",
            "run_finalized"
        ]
    );
    let ids: Vec<String> = frames.iter().map(|frame| frame.id().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..10).map(|pos| pos.to_string()).collect::<Vec<_>>());
    // What is watched is what is sealed: every link of the chain has its event.
    let hashes: Vec<Json> = frames
        .iter()
        .map(|frame| serde_json::from_str::<Json>(frame.data()).unwrap()["entry_hash"].clone())
        .filter(|hash| !hash.is_null())
        .collect();
    let links = envelope["integrity"]["hash_chain"].as_array().unwrap();
    assert_eq!(hashes, links.iter().map(|link| link["entry_hash"].clone()).collect::<Vec<_>>());
    let head = queue.head().unwrap();
    assert_eq!(envelope["integrity"]["head_entry_hash"], head.entry_hash.to_string());
}

#[tokio::test]
async fn what_the_example_seals_verifies() {
    let mut stream = String::new();
    let (file, key) = example::run(|block| stream += block).await;
    let place = Place::new();
    std::fs::write(place.path("run.json"), file).unwrap();
    std::fs::write(place.path("run.pem"), key).unwrap();
    let ran = place.run(&["verify", "run.json", "--keys", "run.pem", "--expect", "result=succeeded"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(stream.starts_with("id: 0\nevent: run_started\ndata: {"), "{stream}");
    assert!(stream.contains("event: token\n") && stream.contains("\nevent: input_recorded\n"), "{stream}");
}

/// Line by line, in order: it is compiled there.
#[test]
fn what_the_readme_shows_is_in_the_example() {
    let (readme, example) = (include_str!("../../README.md"), include_str!("../../examples/run_context.rs"));
    let shown = readme.split("**From programs in Rust.**").nth(1).unwrap().split("\n\n").nth(1).unwrap();
    for line in shown.lines() {
        assert!(line.starts_with("    ") && example.contains(line.trim()), "{line}");
    }
}

#[tokio::test]
async fn a_step_that_panics_is_failed_and_one_that_is_dropped_is_incomplete() {
    let (context, queue) = start();
    let panics = context.clone();
    let task = tokio::spawn(async move {
        let _step = panics.step("panics", "test").unwrap();
        tokio::task::yield_now().await;
        panic!("a test panics");
    });
    assert!(task.await.unwrap_err().is_panic());
    let dropped = context.clone();
    let task = tokio::spawn(async move {
        let _step = dropped.step("dropped", "test").unwrap();
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    let failed = context.step("failed", "test").unwrap().conclude(Err::<(), _>("\u{1}é".repeat(2_000)));
    assert!(failed.is_err());
    context.step("passed", "test").unwrap().conclude(Ok::<_, String>(1)).unwrap();
    // A run with such steps does not succeed, and is open until it says so.
    assert_eq!(code(context.finish(Value::from("fine"))), "result_contradicted");
    context.fail("steps failed").unwrap();

    let envelope = envelope(&queue);
    let steps: Vec<(&str, &str, &str)> = envelope["execution"]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let own = |member: &str| step[member].as_str().unwrap_or_default();
            (own("step_id"), own("status"), own("message"))
        })
        .collect();
    assert_eq!(steps[0], ("panics", "failed", "ended by a panic"));
    assert_eq!(steps[1], ("dropped", "incomplete", "dropped before it was finished"));
    assert_eq!((steps[2].0, steps[2].1, steps[2].2.len()), ("failed", "failed", 1_000));
    assert_eq!(steps[3], ("passed", "passed", ""));
    assert_eq!(envelope["observations"], Json::Array(vec![]), "nothing of a refused end is recorded");
}

#[tokio::test]
async fn a_run_that_nobody_closes_is_failed_when_the_last_of_it_goes() {
    let (context, queue) = start();
    let step = context.step("a", "test").unwrap();
    drop(context);
    assert!(queue.seal(Timestamp::from_unix_ms(0), &[&key()]).is_err(), "its step goes on");
    drop(step);
    let envelope = envelope(&queue);
    let outcome = (&envelope["outcome"]["result"], &envelope["outcome"]["reason"]);
    assert_eq!(outcome, (&"failed".into(), &"what ran let go of the run without closing it".into()));
    assert_eq!(envelope["execution"]["steps"][0]["status"], "incomplete");

    let (context, queue) = start();
    let task = tokio::spawn(async move {
        let _context = context;
        panic!("a test panics");
    });
    assert!(task.await.is_err());
    assert_eq!(self::envelope(&queue)["outcome"]["reason"], "a panic ended what ran");
}

#[tokio::test]
async fn a_context_is_current_in_what_is_scoped_and_nowhere_else() {
    let (context, queue) = start();
    assert!(RunContext::current().is_none());
    context
        .scope(async {
            RunContext::current().unwrap().emit_token("here").unwrap();
            assert!(tokio::spawn(async { RunContext::current().is_none() }).await.unwrap());
            let scoped = RunContext::current().unwrap();
            let there = scoped.scope(async { RunContext::current().map(|here| here.emit_token("there")) });
            tokio::spawn(there).await.unwrap().unwrap().unwrap();
        })
        .await;
    assert!(RunContext::current().is_none());
    let (other, _queue) = start();
    let inner = other.scope(async { RunContext::current().unwrap().abort("the inner one") });
    context.scope(inner).await.unwrap();
    assert_eq!(code(other.emit_token("")), "run_closed");
    context.emit_token("goes on").unwrap();
    assert_eq!(
        names(&queue.frames(Filter::types(["token"]).unwrap())),
        ["run_started", "token", "token", "token"]
    );
}

#[tokio::test]
async fn a_gate_waits_for_its_answer_its_runs_end_or_a_wish_to_stop() {
    let (context, queue) = start();
    let waiting = |gate_id: &'static str| {
        let context = context.clone();
        tokio::spawn(async move { context.needs_input(gate_id, "go on?").await })
    };
    let deploy = waiting("deploy");
    tokio::task::yield_now().await;
    assert_eq!(code(context.needs_input("deploy", "again?").await), "gate_exists");
    assert_eq!(code(queue.answer("other", Decision::Approved, None)), "gate_not_found");
    queue.answer("deploy", Decision::Rejected, Some("not today")).unwrap();
    let answer = deploy.await.unwrap().unwrap();
    assert_eq!((answer.decision, answer.comment.as_deref()), (Decision::Rejected, Some("not today")));
    assert_eq!(code(queue.answer("deploy", Decision::Approved, None)), "gate_not_found");
    assert_eq!(code(context.needs_input("deploy", "again?").await), "gate_exists");
    // The same again has the same answer.
    assert_eq!(context.needs_input("deploy", "go on?").await, Ok(answer));
    assert_eq!(code(context.needs_input("no id", "").await), "member_invalid");

    let stopped = waiting("stopped");
    tokio::task::yield_now().await;
    assert!(!context.is_cancelled());
    let cancelled = context.clone();
    let cancelled = tokio::spawn(async move { cancelled.cancelled().await });
    queue.request_abort(Some("enough")).unwrap();
    queue.request_abort(None).unwrap();
    assert_eq!(code(stopped.await.unwrap()), "abort_requested");
    cancelled.await.unwrap();
    context.cancelled().await;
    assert!(context.is_cancelled());
    assert_eq!(code(context.needs_input("more", "").await), "abort_requested");
    assert_eq!(code(context.finish(Value::Null)), "result_contradicted");
    context.abort("asked to").unwrap();
    assert_eq!(code(queue.request_abort(None)), "run_closed");

    let envelope = envelope(&queue);
    let gates: Vec<&str> =
        envelope["gates"].as_array().unwrap().iter().map(|gate| gate["decision"].as_str().unwrap()).collect();
    assert_eq!(gates, ["rejected", "unanswered"]);
    let frames = queue.frames(Filter::default());
    assert_eq!(names(&frames).iter().filter(|name| **name == "abort_requested").count(), 1);

    let (context, _queue) = start();
    let waits = context.clone();
    let waits = tokio::spawn(async move { waits.needs_input("g", "?").await });
    tokio::task::yield_now().await;
    context.fail("no").unwrap();
    assert_eq!(code(waits.await.unwrap()), "run_closed");
}

#[tokio::test]
async fn what_a_service_would_refuse_is_refused_at_the_call() {
    let (context, queue) = start();
    let long = "x".repeat((64 << 10) + 1);
    assert_eq!(code(context.step("../x", "test")), "member_invalid");
    assert_eq!(code(context.step_with("a", "test", members([("status", "passed")]))), "member_invalid");
    assert_eq!(code(context.step_with("a", "test", members([("log", "")]))), "member_reserved");
    assert_eq!(code(context.event("step_finished", Object::new())), "event_name_reserved");
    assert_eq!(code(context.event("custom:", Object::new())), "member_invalid");
    assert_eq!(code(context.event("a b", Object::new())), "member_invalid");
    assert_eq!(code(context.emit_token(&long)), "member_invalid");
    assert_eq!(code(context.emit_progress(1.1, "")), "member_invalid");
    assert_eq!(code(context.emit_progress(f64::NAN, "")), "member_invalid");
    assert_eq!(code(context.emit_custom("a b", Object::new())), "member_invalid");
    assert_eq!(code(context.emit_custom("", Object::new())), "member_invalid");
    assert_eq!(code(context.observation("o", Value::Null, &["none"], Object::new())), "artifact_unknown");
    let texts: Vec<String> = std::iter::repeat_n(long[1..].to_owned(), 5).collect();
    assert_eq!(code(context.observation("o", texts.into(), &[], Object::new())), "element_too_large");
    let withheld = Object::from_iter([("data", Value::Object(members([("$withheld", "")])))]);
    assert_eq!(code(context.event("retry", withheld)), "member_invalid");
    context.artifact("a", Digest::of(""), Object::new()).unwrap();
    assert_eq!(code(context.artifact("a", Digest::of(""), Object::new())), "artifact_exists");

    let first = context.step("twice", "test").unwrap();
    assert_eq!(code(context.step("twice", "test")), "attempt_order");
    let second = Object::from_iter([("attempt", Value::count(2))]);
    context.step_with("twice", "test", second).unwrap().finish(StepStatus::Passed, Object::new()).unwrap();
    assert_eq!(code(first.finish(StepStatus::Passed, Object::new())), "step_over");
    let refused = context.step("refused", "test").unwrap();
    assert_eq!(code(refused.finish(StepStatus::Passed, members([("colour", "red")]))), "member_invalid");

    for member in ["step_id", "attempt", "kind"] {
        let renamed = context.step(&format!("renamed/{member}"), "test").unwrap();
        assert_eq!(code(renamed.finish(StepStatus::Passed, members([(member, "x")]))), "member_reserved");
    }

    context.fail("no").unwrap();
    for refused in [
        context.emit_token("late"),
        context.checkpoint("late", Object::new()),
        context.step("late", "test").map(drop),
        context.finish(Value::Null),
        context.fail("again"),
    ] {
        assert_eq!(code(refused), "run_closed");
    }
    let envelope = envelope(&queue);
    let steps = envelope["execution"]["steps"].as_array().unwrap();
    let ends: Vec<&str> = steps.iter().map(|step| step["status"].as_str().unwrap()).collect();
    assert_eq!(ends[..3], ["incomplete", "passed", "incomplete"]);
    assert_eq!(
        code(RunContext::start(Object::new(), surroundings(), &QueueSettings::default())),
        "member_invalid"
    );
    let evidence_id = members([("project", "p"), ("evidence_id", "mine")]);
    assert_eq!(
        code(RunContext::start(evidence_id, surroundings(), &QueueSettings::default())),
        "member_reserved"
    );
}

#[tokio::test]
async fn only_the_hints_that_the_filter_has_are_passed_on() {
    let (context, queue) = start();
    let chat = context.filtered(Preset::Chat.into());
    assert!(chat.is_allowed("token") && !chat.is_allowed("progress") && context.is_allowed("progress"));
    chat.emit_token("a").unwrap();
    chat.emit_progress(0.5, "half").unwrap();
    chat.step("a", "test").unwrap().emit_progress(0.5, "half").unwrap();
    assert_eq!(code(chat.emit_progress(2.0, "")), "member_invalid");
    let custom = context.filtered(Filter::types(["custom:a"]).unwrap());
    custom.emit_custom("a", members([("b", "c")])).unwrap();
    custom.emit_custom("b", Object::new()).unwrap();
    custom.checkpoint("is recorded", Object::new()).unwrap();
    let frames = queue.frames(Filter::default());
    assert_eq!(
        names(&frames),
        ["run_started", "token", "step_started", "step_finished", "custom:a", "checkpoint"]
    );
}

#[tokio::test]
async fn all_who_follow_hear_the_same_and_who_comes_back_goes_on() {
    let (context, queue) = start();
    let follow = |replay| {
        let events = queue.subscribe(Filter::default(), replay);
        tokio::spawn(events.map(|frame| frame.block().clone()).collect::<Vec<_>>())
    };
    let early = follow(Replay::All);
    tokio::task::yield_now().await;
    context.emit_token("before").unwrap();
    context.checkpoint("one", Object::new()).unwrap();
    context.emit_token("between").unwrap();
    let (late, from_now) = (follow(Replay::All), follow(Replay::Nothing));
    let (after, beyond) = (follow(Replay::After("0".into())), follow(Replay::After("9".into())));
    tokio::task::yield_now().await;
    context.checkpoint("two", Object::new()).unwrap();
    context.finish(Value::Null).unwrap();
    let sealed = queue.seal(Timestamp::from_unix_ms(0), &[&key()]).unwrap();
    // The same again is told once.
    assert_eq!(queue.seal(Timestamp::from_unix_ms(0), &[&key()]).unwrap(), sealed);
    let early = early.await.unwrap();
    assert_eq!(early.len(), 7);
    assert_eq!(late.await.unwrap(), early);
    assert_eq!(from_now.await.unwrap(), early[4..]);
    assert_eq!(after.await.unwrap(), early[1..]);
    let beyond = beyond.await.unwrap();
    assert!(beyond[0].starts_with(b"event: stream_gap\n"));
    assert_eq!(beyond[1..], early[..]);
    let frames: Vec<_> = queue.frames(Filter::default()).iter().map(|frame| frame.block().clone()).collect();
    assert_eq!(frames, early);
}

#[tokio::test]
async fn who_follows_hears_the_end_when_nobody_is_left_to_seal() {
    let (context, queue) = start();
    let events = queue.subscribe(Preset::Minimal.into(), Replay::All);
    drop((context, queue));
    let names: Vec<_> = events.map(|frame| frame.name().to_owned()).collect().await;
    assert_eq!(names, ["run_started", "run_failed"]);
}

#[tokio::test]
async fn a_full_run_says_so_and_can_still_be_closed() {
    let mut settings = QueueSettings::default();
    settings.max_bytes = 0;
    let (context, queue) = RunContext::start(run(), surroundings(), &settings).unwrap();
    let goes_on: Vec<_> = (0..20).map(|n| context.step(&format!("s/{n}"), "test").unwrap()).collect();
    let text = "x".repeat(60 << 10);
    let mut count = 0;
    let full = loop {
        match context.observation(&format!("o-{count}"), text.clone().into(), &[], Object::new()) {
            Ok(()) => count += 1,
            Err(full) => break full,
        }
    };
    assert!(
        matches!(full, ContextError::Full { max_bytes: 2_097_152, .. }) && full.code() == "run_full",
        "{full}"
    );
    assert!((5..15).contains(&count), "{count}");
    while context.checkpoint("fills up", Object::new()).is_ok() {}
    assert_eq!(code(context.step("more", "test")), "run_full");
    // Hints take no room of it: the oldest are forgotten.
    for n in 0..2_000 {
        context.emit_token(&n.to_string()).unwrap();
    }
    let (mut ended, mut all) = (0, 0);
    for step in goes_on {
        let end = members([("message", "a longer end")]);
        all += 1;
        ended += usize::from(step.finish(StepStatus::Passed, end).is_ok());
    }
    assert_eq!((ended, all), (20, 20), "room is kept for the ends of what goes on");
    context.finish(Value::Null).unwrap();
    let frames = queue.frames(Filter::types(["token"]).unwrap());
    let tokens: Vec<Json> = frames
        .iter()
        .filter(|frame| frame.name() == "token")
        .map(|frame| serde_json::from_str::<Json>(frame.data()).unwrap()["text"].clone())
        .collect();
    assert!(tokens.len() <= 1_000 && tokens.last() == Some(&"1999".into()), "{}", tokens.len());
    let envelope = envelope(&queue);
    assert!(envelope.to_string().len() < 2 << 20);
    assert_eq!(envelope["observations"].as_array().unwrap().len(), count);
}

#[tokio::test]
async fn what_is_private_is_in_no_event() {
    let (context, queue) = start();
    let command = Object::from_iter([("command", vec!["login".to_owned(), "hunter2".to_owned()])]);
    let step = context.step_with("login", "command", command).unwrap();
    step.finish(StepStatus::Passed, Object::new()).unwrap();
    context.finish(Value::Null).unwrap();
    let frames = queue.frames(Filter::default());
    assert!(frames.iter().all(|frame| !frame.data().contains("hunter2")));
    assert!(frames[2].data().contains("$withheld"), "{}", frames[2].data());
    let sealed = queue.seal(Timestamp::from_unix_ms(0), &[&key()]).unwrap();
    assert!(sealed.file.contains("hunter2"), "the producer's own file discloses it");
}

#[tokio::test]
async fn many_threads_tell_of_one_run() {
    let (context, queue) = start();
    let context = Arc::new(context);
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let context = &context;
            threads.spawn(move || {
                for n in 0..50 {
                    let step = context.step(&format!("{thread}/{n}"), "test").unwrap();
                    step.emit_token("x").unwrap();
                    step.finish(StepStatus::Passed, Object::new()).unwrap();
                }
            });
        }
    });
    context.finish(Value::Null).unwrap();
    assert_eq!(envelope(&queue)["execution"]["steps"].as_array().unwrap().len(), 200);
    let frames = queue.frames(Filter::types(["step"]).unwrap());
    let ids: Vec<u32> = frames.iter().map(|frame| frame.id().unwrap().parse().unwrap()).collect();
    assert_eq!(ids, (0..403).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_event_is_what_the_schema_says() {
    let (context, queue) = start();
    let waits = context.clone();
    let waits = tokio::spawn(async move { waits.needs_input("g", "?").await });
    tokio::task::yield_now().await;
    context.emit_progress(0.25, "a quarter").unwrap();
    context.emit_token("t").unwrap();
    context.emit_custom("x", members([("a", "b")])).unwrap();
    context.step("s", "test").unwrap().finish(StepStatus::Skipped, Object::new()).unwrap();
    let large =
        Object::from_iter([("data", Value::Object(Object::from_iter([("large", "x".repeat(20 << 10))])))]);
    context.event("retry", large).unwrap();
    queue.answer("g", Decision::Approved, None).unwrap();
    waits.await.unwrap().unwrap();
    queue.request_abort(Some("stop")).unwrap();
    context.abort("stopped").unwrap();
    queue.seal(Timestamp::from_unix_ms(0), &[&key()]).unwrap();
    let frames = queue.frames(Filter::default());
    let schema = schema("event.v1.json");
    for frame in &frames {
        let data: Json = serde_json::from_str(frame.data()).unwrap();
        assert!(schema.is_valid(&data), "{data}");
        assert_eq!(frame.name() == "retry", data["omitted"] == serde_json::json!(["data"]), "{data}");
    }
    assert_eq!(frames.len(), 12, "{:?}", names(&frames));
}
