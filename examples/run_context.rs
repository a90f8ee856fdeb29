//! An agent whose run is its own evidence, without any service: what it does goes out as an event stream, and is sealed at the end.
//! `cargo run --example run_context`, then `sealstone verify run.json --keys run.pem`
#![allow(clippy::unwrap_used, reason = "an example stops by a panic")]

use std::time::{SystemTime, UNIX_EPOCH};

use sealstone::client::context::{Decision, Queue, QueueSettings, RunContext, StepStatus, Surroundings};
use sealstone::events::{EventKind, Filter, Replay};
use sealstone::evidence::canonical::{Object, Value};
use sealstone::evidence::digest::Digest;
use sealstone::evidence::key::SigningKey;
use sealstone::evidence::time::Timestamp;
use tokio_stream::StreamExt as _;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// Deep in the program nobody hands the context on: it is there.
async fn write_draft() -> Result<&'static str, Failure> {
    let context = RunContext::current().ok_or("no run")?;
    let step = context.step("draft", "custom")?;
    for (written, word) in (1_u8..).zip(["All ", "tests ", "pass."]) {
        step.emit_token(word)?;
        step.emit_progress(f64::from(written) / 3.0, "")?;
    }
    let draft = "All tests pass.";
    step.artifact("draft.txt", Digest::of(draft), Object::from_iter([("media_type", "text/plain")]))?;
    step.finish(StepStatus::Passed, Object::new())?;
    Ok(draft)
}

async fn agent(context: RunContext) -> Result<(), Failure> {
    context.event("phase_started", Object::from_iter([("phase", "draft")]))?;
    let draft = write_draft().await?;
    context.checkpoint("drafted", Object::new())?;
    let answer = context.needs_input("publish", "publish this?").await?;
    if answer.decision == Decision::Rejected {
        return Ok(context.abort("rejected")?);
    }
    context.step("publish", "custom")?.conclude(Ok::<_, String>(()))?;
    Ok(context.finish(Value::from(draft))?)
}

/// Shows the run as an event stream, and answers its gates: here a person would.
async fn watch(queue: &Queue, mut show: impl FnMut(&str)) {
    let mut events = queue.subscribe(Filter::default(), Replay::All);
    while let Some(event) = events.next().await {
        show(std::str::from_utf8(event.block()).unwrap());
        match event.kind() {
            EventKind::NeedsInput => queue.answer("publish", Decision::Approved, Some("go on")).unwrap(),
            EventKind::RunCompleted | EventKind::RunFailed | EventKind::RunAborted => return,
            _ => {}
        }
    }
}

/// The sealed envelope, and the public key that it verifies with.
pub(crate) async fn run(show: impl FnMut(&str)) -> (String, String) {
    let members = Object::from_iter([("project", "acme/agent"), ("intent", "tell how the tests went")]);
    let surroundings = Surroundings::new(now, random);
    let (context, queue) = RunContext::start(members, surroundings, &QueueSettings::default()).unwrap();
    let agent = tokio::spawn(context.scope(agent(context.clone())));
    drop(context);
    watch(&queue, show).await;
    if let Err(error) = agent.await.unwrap() {
        eprintln!("{error}");
    }
    let key = SigningKey::from_seed(&random());
    let sealed = queue.seal(now(), &[&key]).unwrap();
    (sealed.file, key.public().to_spki_pem())
}

#[tokio::main(flavor = "current_thread")]
#[allow(dead_code, reason = "a test calls what it calls")]
async fn main() {
    let (envelope, key) = run(|block| print!("{block}")).await;
    std::fs::write("run.json", envelope).unwrap();
    std::fs::write("run.pem", key).unwrap();
}
