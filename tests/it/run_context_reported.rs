//! `RunContext` at a service: what the program does is recorded there, and watched as it would be without one.

use std::thread;
use std::time::Duration;

use sealstone::client::context::{
    ConnectError, ContextError, Decision, Delivered, QueueSettings, Report, RunContext, ServiceSettings,
    SpoolSettings, StepStatus, Surroundings,
};
use sealstone::events::{Filter, Frame};
use sealstone::evidence::canonical::{Object, Value};
use sealstone::evidence::digest::Digest;
use sealstone::evidence::key::SigningKey;
use sealstone::evidence::time::Timestamp;
use serde_json::{Value as Json, json};

use crate::place::Place;
use crate::reporting::{spooled_in, wait_until};
use crate::server::Server;
use crate::sse::Stream;

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn surroundings() -> Surroundings {
    let now = || {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap())
    };
    Surroundings::new(now, || {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).unwrap();
        bytes
    })
}

pub(crate) fn run() -> Object<'static> {
    Object::from_iter([("project", "p"), ("run_id", "r")])
}

pub(crate) fn settings(place: &Place, url: String) -> ServiceSettings {
    let mut settings = ServiceSettings::new(url);
    settings.spool = Some(SpoolSettings::new(place.path("spool"), place.path("data/sealstone/spool.key")));
    settings
}

pub(crate) fn connect(place: &Place, url: String) -> (RunContext, Report) {
    RunContext::connect(run(), surroundings(), &settings(place, url)).unwrap()
}

async fn program(context: &RunContext) -> Result<(), ContextError> {
    let more = Object::from_iter([("name", "the units"), ("phase", "test")]);
    let step = context.step_with("unit/a", "test", more)?;
    step.emit_progress(0.5, "half")?;
    step.artifact("report", Digest::of("<xml/>"), Object::new())?;
    step.observation("tests", Value::count(3), &["report"], Object::new())?;
    let more = [("exit_code", Value::from(0)), ("message", Value::from("x".repeat(20 << 10)))];
    step.finish(StepStatus::Passed, Object::from_iter(more))?;
    context.checkpoint("tested", Object::from_iter([("large", "x".repeat(20 << 10))]))?;
    let first = context.step("again", "custom")?;
    let second = context.step_with("again", "custom", Object::from_iter([("attempt", Value::count(2))]))?;
    second.finish(StepStatus::Passed, Object::new())?;
    drop(first);
    let answer = context.needs_input("deploy", "to production?").await?;
    assert_eq!((answer.decision, answer.comment.as_deref()), (Decision::Approved, Some("go on")));
    let allowed = Object::from_iter([("allowed_to_fail", true)]);
    drop(context.step_with("flaky", "test", allowed)?);
    context.finish(Value::from("deployed"))
}

/// Name and data of what has an id, but for what is of the moment or of the service.
fn told(name: &str, data: &Json) -> (String, Json) {
    let mut data = data.clone();
    for member in [
        "actor",
        "at",
        "duration_ms",
        "entry_hash",
        "envelope_digest",
        "evidence_id",
        "finished_at",
        "opened_at",
        "project_seq",
        "recorded_at",
        "reported_by",
        "resolved_at",
        "sequence",
        "started_at",
    ] {
        data.as_object_mut().unwrap().remove(member);
    }
    (name.to_owned(), data)
}

#[tokio::test]
async fn who_watches_sees_the_same_with_a_service_and_without() {
    let (context, queue) = RunContext::start(run(), surroundings(), &QueueSettings::default()).unwrap();
    let (ran, answered) =
        tokio::join!(program(&context), async { queue.answer("deploy", Decision::Approved, Some("go on")) });
    ran.unwrap();
    answered.unwrap();
    let key = SigningKey::from_seed(&[7; 32]);
    queue.seal(Timestamp::from_unix_ms(0), &[&key]).unwrap();
    let frames = queue.frames(Filter::default());
    let here = |frame: &Frame| {
        let _ = frame.id()?;
        Some(told(frame.name(), &serde_json::from_str(frame.data()).unwrap()))
    };
    let here: Vec<_> = frames.iter().filter_map(here).collect();

    let place = Place::new();
    let server = Server::start(&place, &[]);
    let (context, report) = connect(&place, server.url());
    let delivered: Delivered = thread::scope(|threads| {
        threads.spawn(|| {
            // Nothing else is known of it before the gate is open.
            server.wait_until("/v1/runs/r?envelope=false", |run| run["needs_input"] == true);
            let answer = json!({ "decision": "approved", "comment": "go on" });
            assert_eq!(server.post("/v1/runs/r/gates/deploy", &answer).status, 200);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reported = move || {
            runtime.block_on(async {
                program(&context).await.unwrap();
                report.finish(SOON).await
            })
        };
        threads.spawn(reported).join().unwrap()
    });
    assert_eq!((delivered.unsent, &delivered.refused[..]), (0, &[][..]), "{delivered:?}");
    let evidence_id = delivered.evidence_id.unwrap();
    let mut stream = Stream::open(&server, &format!("/v1/runs/{evidence_id}/events?from=earliest"), &[]);
    let events = stream.all();
    let there: Vec<_> = events
        .iter()
        .filter(|event| event.id.is_some())
        .map(|event| told(&event.name, &event.data))
        .collect();
    let there: Vec<_> = there.into_iter().filter(|(name, _)| name != "stream_open").collect();
    for (here, there) in here.iter().zip(&there) {
        assert_eq!(here, there);
    }
    assert_eq!(here.len(), there.len());

    let sealed = server.get(&format!("/v1/envelopes/{evidence_id}"));
    let keys = server.get("/v1/keys");
    place.write("run.json", &sealed.body);
    place.write("keys.json", &keys.body);
    let ran = place.run(&["verify", "run.json", "--keys", "keys.json", "--expect", "result=succeeded"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let digest = sealed.header("sealstone-envelope-digest").map(str::to_owned);
    assert_eq!(digest, delivered.envelope_digest.map(|digest| digest.to_string()));
}

#[tokio::test]
async fn a_service_that_asks_for_an_end_is_heard() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let (context, report) = connect(&place, server.url());
    let asked = thread::scope(|threads| {
        threads.spawn(|| {
            server.wait_until("/v1/runs/r?envelope=false", |run| run["needs_input"] == true);
            assert_eq!(server.post("/v1/runs/r/abort", &json!({ "reason": "enough" })).status, 202);
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        threads
            .spawn(move || {
                runtime.block_on(async {
                    context
                        .needs_input("g", "?")
                        .await
                        .map_err(|why| (why.code(), context.is_cancelled(), context.abort("asked to")))
                })
            })
            .join()
            .unwrap()
    });
    assert_eq!(asked.unwrap_err(), ("abort_requested", true, Ok(())));
    let delivered = report.finish(SOON).await;
    assert_eq!((delivered.unsent, delivered.refused.len()), (0, 0), "{delivered:?}");
    let run = server.get("/v1/runs/r").json();
    assert_eq!(
        (&run["result"], &run["envelope"]["gates"][0]["decision"]),
        (&"aborted".into(), &"unanswered".into())
    );
}

#[tokio::test]
async fn a_gate_that_the_service_refuses_is_no_gate_of_the_run() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let (context, report) = connect(&place, server.url());
    server.wait_until("/v1/runs/r?envelope=false", |run| run["state"] == "open");
    let others = json!({ "gate_id": "g", "reason": "somebody else's" });
    assert_eq!(server.post("/v1/runs/r/gates", &others).status, 201);
    let refused = context.needs_input("g", "mine").await.unwrap_err();
    assert_eq!(refused.code(), "gate_refused");
    assert!(refused.to_string().contains("gate_exists"), "{refused}");
    assert_eq!(server.post("/v1/runs/r/gates/g", &json!({ "decision": "approved" })).status, 200);
    context.finish(Value::Null).unwrap();
    let delivered = report.finish(SOON).await;
    assert!(delivered.envelope_digest.is_some(), "{delivered:?}");
}

#[tokio::test]
async fn what_a_service_does_not_hear_waits_in_the_spool_and_is_sent_from_there() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let url = server.url();
    let address = server.address.clone();
    drop(server);
    let (context, report) = connect(&place, url.clone());
    let step = context.step("a", "test").unwrap();
    step.emit_token("nobody hears this").unwrap();
    step.finish(StepStatus::Passed, Object::new()).unwrap();
    let waited = tokio::time::timeout(Duration::from_millis(100), context.needs_input("g", "?")).await;
    assert!(waited.is_err(), "a gate waits for the service");
    context.fail("nobody answers").unwrap();
    assert_eq!(context.emit_token("late").unwrap_err().code(), "run_closed");
    let delivered = report.finish(Duration::from_millis(10)).await;
    assert!(delivered.unsent >= 4 && delivered.why.is_some(), "{delivered:?}");
    assert!(delivered.spooled.unwrap().exists());

    let server = Server::start(&place, &["--listen", &address]);
    let spool = place.path("spool");
    let ran = place.run(&["spool", "flush", "--server", &url, "--spool", spool.to_str().unwrap()]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let run = server.get("/v1/runs/r").json();
    assert_eq!(
        (&run["result"], &run["envelope"]["execution"]["steps"][0]["status"]),
        (&"failed".into(), &"passed".into())
    );
}

#[test]
fn what_can_never_be_reported_is_said_at_once() {
    let place = Place::new();
    let connect = |run, settings: &ServiceSettings| RunContext::connect(run, surroundings(), settings).err();
    let here = "http://127.0.0.1:9".to_owned();
    let nowhere = connect(run(), &settings(&place, "nowhere".into())).unwrap();
    assert!(matches!(nowhere, ConnectError::Client(_)), "{nowhere}");
    let mut no_token = settings(&place, here.clone());
    no_token.token = Some("a\nb".into());
    let token = connect(run(), &no_token).unwrap();
    assert!(matches!(token, ConnectError::Client(_)) && !token.to_string().contains("a\nb"), "{token}");
    let unnamed = connect(Object::new(), &settings(&place, here.clone())).unwrap();
    assert!(matches!(&unnamed, ConnectError::Run(why) if why.code() == "member_invalid"), "{unnamed}");
    place.write("file", "");
    let mut no_key = settings(&place, here);
    no_key.spool.as_mut().unwrap().key = place.path("file/key");
    let no_key = connect(run(), &no_key).unwrap();
    assert!(matches!(no_key, ConnectError::Spool(_)), "{no_key}");
    assert!(std::error::Error::source(&no_key).is_some_and(|why| why.is::<std::io::Error>()));
}

#[tokio::test]
async fn after_the_report_nothing_is_taken() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let (context, report) = connect(&place, server.url());
    let step = context.step("a", "test").unwrap();
    let delivered = report.finish(SOON).await;
    assert!(delivered.notes.iter().any(|note| note.contains("was not closed")), "{delivered:?}");
    for late in [
        step.finish(StepStatus::Passed, Object::new()),
        context.checkpoint("late", Object::new()),
        context.finish(Value::Null),
    ] {
        let late = late.unwrap_err();
        assert_eq!(late.code(), "report_finished", "{late}");
    }
}

#[tokio::test]
async fn a_reporter_that_ends_before_its_time_is_no_success() {
    let place = Place::new();
    let now = || match thread::current().name() {
        Some("reporter") => panic!("a test panics"),
        _ => Timestamp::from_unix_ms(1_790_000_000_000),
    };
    let surroundings = Surroundings::new(now, || [7; 16]);
    let settings = settings(&place, "http://127.0.0.1:9".into());
    let (context, report) = RunContext::connect(run(), surroundings, &settings).unwrap();
    context.fail("no").unwrap();
    let delivered = report.finish(Duration::ZERO).await;
    assert!(delivered.unsent > 0 && delivered.why.is_some(), "{delivered:?}");
}

#[test]
fn what_everybody_has_let_go_of_is_left_in_the_spool() {
    let place = Place::new();
    let (context, report) = connect(&place, "http://127.0.0.1:9".into());
    drop((report, context));
    wait_until("the end of the reporter", || !spooled_in(&place.path("spool"), "spool").is_empty());
}
