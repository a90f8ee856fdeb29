//! Gates of a `RunContext` at a service: in order, and answered once, whoever still waits.

use std::time::Duration;

use sealstone::client::context::{Answer, ContextError, Decision, RunContext, StepStatus};
use sealstone::evidence::canonical::{Object, Value};
use sealstone::evidence::digest::Digest;
use serde_json::json;

use crate::faulty::{Fault, Faulty};
use crate::place::Place;
use crate::run_context_reported::{SOON, connect};
use crate::server::Server;

const APPROVED: Answer = Answer { decision: Decision::Approved, comment: None };

/// Asks for so long; `None` if nobody answered by then.
async fn ask_for(context: &RunContext, ms: u64) -> Option<Result<Answer, ContextError>> {
    tokio::time::timeout(Duration::from_millis(ms), context.needs_input("g", "go on?")).await.ok()
}

async fn ask(context: &RunContext) -> Answer {
    tokio::time::timeout(SOON, context.needs_input("g", "go on?")).await.unwrap().unwrap()
}

/// Waits until the gate is open, and approves it.
fn approve(server: &Server, run_id: &str) {
    server.wait_until(&format!("/v1/runs/{run_id}?envelope=false"), |run| run["needs_input"] == true);
    let answer = json!({ "decision": "approved" });
    assert_eq!(server.post(&format!("/v1/runs/{run_id}/gates/g"), &answer).status, 200);
}

#[tokio::test]
async fn a_gate_is_behind_what_was_recorded_before_it() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let (url, address) = (server.url(), server.address.clone());
    drop(server);
    let (context, report) = connect(&place, url);
    let step = context.step("a", "test").unwrap();
    for n in 0..30 {
        step.artifact(&format!("a-{n}"), Digest::of("x"), Object::new()).unwrap();
    }
    // Nobody awaits it.
    let asked = step.needs_input("g", "go on?");
    assert!(tokio::time::timeout(Duration::from_millis(10), asked).await.is_err());
    let server = Server::start(&place, &["--listen", &address]);
    let run = server.wait_until("/v1/runs/r", |run| run["needs_input"] == true);
    assert_eq!(run["envelope"]["artifacts"].as_array().unwrap().len(), 30, "{run}");
    approve(&server, "r");
    assert_eq!(step.needs_input("g", "go on?").await, Ok(APPROVED));
    step.finish(StepStatus::Passed, Object::new()).unwrap();
    context.finish(Value::Null).unwrap();
    let delivered = report.finish(SOON).await;
    assert!(delivered.envelope_digest.is_some(), "{delivered:?}");
}

#[tokio::test]
async fn a_gate_goes_where_the_run_went() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let (context, report) = connect(&place, server.url());
    server.wait_until("/v1/runs/r?envelope=false", |run| run["state"] == "open");
    assert_eq!(server.post("/v1/runs/r/finalize", &json!({ "result": "failed" })).status, 200);
    context.checkpoint("after the end", Object::new()).unwrap();
    assert_eq!(ask_for(&context, 10).await, None);
    approve(&server, "r:rest");
    assert_eq!(ask(&context).await, APPROVED);
    context.finish(Value::Null).unwrap();
    let delivered = report.finish(SOON).await;
    assert!(delivered.notes.iter().any(|note| note.contains("r:rest")), "{delivered:?}");
    let evidence_id = delivered.evidence_id.unwrap();
    let sealed = server.get(&format!("/v1/envelopes/{evidence_id}"));
    let digest = delivered.envelope_digest.map(|digest| digest.to_string());
    assert_eq!(sealed.header("sealstone-envelope-digest").map(str::to_owned), digest);
}

#[tokio::test]
async fn the_answer_of_a_gate_that_nobody_awaits_is_recorded() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let (context, report) = connect(&place, server.url());
    assert_eq!(ask_for(&context, 10).await, None);
    assert_eq!(ask_for(&context, 10).await, None);
    let other = context.needs_input("g", "something else?").await.unwrap_err();
    assert_eq!(other.code(), "gate_exists");
    approve(&server, "r");
    let finished = async {
        while let Err(why) = context.finish(Value::Null) {
            assert_eq!(why.code(), "result_contradicted");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, finished).await.unwrap();
    let delivered = report.finish(SOON).await;
    assert!(delivered.envelope_digest.is_some(), "{delivered:?}");
}

#[tokio::test]
async fn what_something_before_the_service_says_ends_no_gate() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let balancer = Faulty::before(&server.address);
    let (context, report) = connect(&place, balancer.url());
    server.wait_until("/v1/runs/r?envelope=false", |run| run["state"] == "open");
    balancer.set(Fault::Page(404));
    assert_eq!(ask_for(&context, 300).await, None);
    balancer.set(Fault::Pass);
    approve(&server, "r");
    assert_eq!(ask(&context).await, APPROVED);
    context.finish(Value::Null).unwrap();
    let delivered = report.finish(SOON).await;
    assert!(delivered.envelope_digest.is_some(), "{delivered:?}");
}

#[tokio::test]
async fn a_service_that_lets_nobody_in_is_not_waited_for() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let gatekeeper = Faulty::before(&server.address);
    gatekeeper.set(Fault::Problem(401));
    let (context, report) = connect(&place, gatekeeper.url());
    let refused = ask_for(&context, 20_000).await.unwrap().unwrap_err();
    assert_eq!(refused.code(), "gate_refused");
    assert!(refused.to_string().contains("report_held"), "{refused}");
    context.finish(Value::Null).unwrap();
    let delivered = report.finish(SOON).await;
    assert!(delivered.why.is_some_and(|why| why.contains("401")));
}
