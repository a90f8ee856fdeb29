//! `/v1/runs/{run}/gates`: questions to people.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::answer::{Answer, json, put};
use super::body;
use super::guard::By;
use super::openapi::Operation;
use super::openapi::schema::{digest, element, maybe, object, one_of, refer, text};
use super::path::Path;
use super::query::{Query, idempotency_key};
use super::runs::plain;
use crate::evidence::canonical::Value;
use crate::evidence::envelope::Kind;
use crate::journal::{GateDecision, NewGate, Resolution};
use crate::service::{Action, Done, GateView, Service};

/// How long a look at a gate may wait, in seconds.
const MAX_WAIT_S: u64 = 60;

const QUERY: &[&str] = &["project"];

pub(super) async fn open(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    caller.check(Action::Write)?;
    let query = Query::read(raw, QUERY)?;
    let key = idempotency_key(&headers)?;
    let (members, bytes) = body::object(&headers, sent).await?;
    let gate = NewGate::parse(members, key)?;
    let evidence_id = service.find(&caller, Action::Write, &run, query.project()?).await?;
    let (done, view) = service.open_gate(&evidence_id, gate, bytes, &caller).await?;
    let status = if done.added { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &shown(view, Some(&done))))
}

pub(super) fn about_open() -> Operation {
    let of_the_answer = ["opened_at", "decision", "actor", "comment", "resolved_at", "seen_head"];
    let gate = element(Kind::Gate, &of_the_answer, &["gate_id"]);
    Operation::new("openGate", "Asks people for a decision")
        .needs(Action::Write)
        .of_a_run()
        .query(QUERY)
        .takes(gate)
        .records()
        .answers(200, "The gate, opened before by the same request.", body::JSON, refer("Gate"))
        .answers(201, "The gate, opened now.", body::JSON, refer("Gate"))
        .links(
            &["getGate", "resolveGate"],
            &[("run", "$request.path.run"), ("gate_id", "$response.body#/gate_id")],
        )
        .refuses(409, &["gate_exists", "run_closed"])
        .refuses(422, &["member_reserved", "run_full"])
}

const LOOK: &[&str] = &["project", "wait"];

pub(super) async fn look(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path((run, gate_id)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw, LOOK)?;
    let wait = |text: &str| text.parse().ok().filter(|seconds| *seconds <= MAX_WAIT_S);
    let wait = query.parsed("wait", "seconds from 0 to 60", wait)?.unwrap_or_default();
    let evidence_id = service.find(&caller, Action::Read, &run, query.project()?).await?;
    let view = service.wait_for_gate(&evidence_id, &gate_id, Duration::from_secs(wait)).await?;
    service.check_still(&caller)?;
    Ok(json(StatusCode::OK, &shown(view, None)))
}

pub(super) fn about_look() -> Operation {
    Operation::new("getGate", "A gate as it is, or once it is resolved")
        .needs(Action::Read)
        .of_a_run()
        .query(LOOK)
        .answers(200, "The gate.", body::JSON, refer("Gate"))
        .refuses(404, &["gate_not_found"])
}

pub(super) async fn resolve(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path((run, gate_id)): Path<(String, String)>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    caller.check(Action::Resolve)?;
    let query = Query::read(raw, QUERY)?;
    let key = idempotency_key(&headers)?;
    let (members, bytes) = body::object(&headers, sent).await?;
    body::check_known(&members, &["decision", "comment", "seen_head"])?;
    let decision = match members.text("decision") {
        Some("approved") => GateDecision::Approved,
        Some("rejected") => GateDecision::Rejected,
        _ => return Err(body::invalid("decision", "approved or rejected expected")),
    };
    let seen_head = match members.get("seen_head").map(Value::as_text) {
        None => None,
        Some(text) => Some(
            text.and_then(|text| text.parse().ok())
                .ok_or_else(|| body::invalid("seen_head", "an entry_hash expected"))?,
        ),
    };
    let comment = body::text(&members, "comment")?;
    let evidence_id = service.find(&caller, Action::Resolve, &run, query.project()?).await?;
    let resolution = Resolution { gate_id, decision, comment, seen_head, key };
    let (done, view) = service.resolve_gate(&evidence_id, resolution, bytes, &caller).await?;
    Ok(json(StatusCode::OK, &shown(view, Some(&done))))
}

pub(super) fn about_resolve() -> Operation {
    let resolution = maybe(
        object([("decision", one_of(["approved", "rejected"]))]),
        [("comment", text()), ("seen_head", digest())],
    );
    Operation::new("resolveGate", "Answers a gate")
        .needs(Action::Resolve)
        .of_a_run()
        .query(QUERY)
        .takes(resolution)
        .records()
        .answers(200, "The gate, resolved so.", body::JSON, refer("Gate"))
        .refuses(404, &["gate_not_found"])
        .refuses(409, &["gate_resolved", "run_closed"])
        .refuses(422, &["head_unknown"])
}

fn shown(view: GateView, done: Option<&Done>) -> serde_json::Value {
    let mut shown = plain(&view.members.into());
    for name in ["type", "recorded_at"] {
        if let Some(members) = shown.as_object_mut() {
            members.remove(name);
        }
    }
    put(&mut shown, "state", if view.resolved { "resolved" } else { "open" });
    if let Some(Done { answer, .. }) = done {
        put(&mut shown, "head", serde_json::json!(answer.head));
        if let Some(receipt) = answer.receipts.first() {
            put(&mut shown, "pos", receipt.pos);
        }
    }
    shown
}
