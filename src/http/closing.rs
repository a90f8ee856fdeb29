//! `/v1/runs/{run}/finalize` and `/abort`: how a run ends.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::answer::{Answer, json};
use super::body;
use super::guard::By;
use super::openapi::Operation;
use super::openapi::schema::{digest, flag, maybe, object, one_of, refer, text, uuid};
use super::path::Path;
use super::problem::Problem;
use super::query::{Query, idempotency_key, if_match};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::Digest;
use crate::journal::{Abort, Close};
use crate::service::{Action, Service};

const QUERY: &[&str] = &["project"];

pub(super) async fn finalize(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    caller.check(Action::Write)?;
    let query = Query::read(raw, QUERY)?;
    let (key, if_match) = (idempotency_key(&headers)?, if_match(&headers)?);
    let (members, bytes) = body::object(&headers, sent).await?;
    let close = close(&members, if_match, key)?;
    let evidence_id = service.find(&caller, Action::Write, &run, query.project()?).await?;
    let closed = service.finalize(&evidence_id, close, bytes, &caller).await?;
    let answer = serde_json::json!({
        "evidence_id": evidence_id,
        "envelope_digest": closed.envelope_digest,
        "head": closed.head,
    });
    Ok(json(StatusCode::OK, &answer))
}

/// How a run is to be closed.
pub(super) fn close(
    members: &Object<'_>,
    if_match: Option<Digest>,
    key: Option<String>,
) -> Result<Close, Problem> {
    body::check_known(members, &["result", "reason"])?;
    let result = match members.text("result") {
        Some(result @ ("succeeded" | "failed" | "aborted")) => result.to_owned(),
        _ => return Err(body::invalid("result", "succeeded, failed or aborted expected")),
    };
    Ok(Close { result, reason: body::text(members, "reason")?, if_match, key })
}

pub(super) fn about_finalize() -> Operation {
    let close = maybe(object([("result", one_of(["succeeded", "failed", "aborted"]))]), [("reason", text())]);
    let closed = object([("evidence_id", uuid()), ("envelope_digest", digest()), ("head", refer("Head"))]);
    Operation::new("finalizeRun", "Closes a run and seals it")
        .needs(Action::Write)
        .of_a_run()
        .query(QUERY)
        .takes(close)
        .records()
        .compares()
        .answers(200, "Closed with this result, and sealed.", body::JSON, closed)
        .links(
            &["getEnvelope", "getVerification", "getPack"],
            &[("evidence_id", "$response.body#/evidence_id")],
        )
        .refuses(409, &["result_contradicted", "run_closed"])
        .refuses(503, &["seal_pending"])
}

pub(super) async fn abort(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    caller.check(Action::Abort)?;
    let query = Query::read(raw, QUERY)?;
    let key = idempotency_key(&headers)?;
    let (members, bytes) = body::object(&headers, sent).await?;
    body::check_known(&members, &["reason", "force"])?;
    let force = match members.get("force") {
        None => false,
        Some(Value::Bool(force)) => *force,
        Some(_) => return Err(body::invalid("force", "true or false expected")),
    };
    let reason = body::text(&members, "reason")?;
    let evidence_id = service.find(&caller, Action::Abort, &run, query.project()?).await?;
    service.abort(&evidence_id, Abort { reason, force, key }, bytes, &caller).await?;
    Ok(json(
        StatusCode::ACCEPTED,
        &serde_json::json!({ "evidence_id": evidence_id, "abort_requested": true }),
    ))
}

pub(super) fn about_abort() -> Operation {
    let abort = maybe(object([]), [("reason", text()), ("force", flag())]);
    Operation::new("abortRun", "Asks the producer to stop")
        .about("With `force` the run is closed as aborted at once, and sealed by itself.")
        .needs(Action::Abort)
        .of_a_run()
        .query(QUERY)
        .takes(abort)
        .or_nothing()
        .records()
        .answers(202, "Asked.", body::JSON, object([("evidence_id", uuid()), ("abort_requested", flag())]))
        .refuses(409, &["run_closed"])
}
