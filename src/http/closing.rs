//! `/v1/runs/{run}/finalize` and `/abort`: how a run ends.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::answer::{Answer, json};
use super::body;
use super::guard::By;
use super::path::Path;
use super::query::{Query, idempotency_key, if_match};
use crate::evidence::canonical::Value;
use crate::journal::{Abort, Close};
use crate::service::{Action, Service};

pub(super) async fn finalize(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    caller.check(Action::Write)?;
    let query = Query::read(raw, &["project"])?;
    let (key, if_match) = (idempotency_key(&headers)?, if_match(&headers)?);
    let (members, bytes) = body::object(&headers, sent).await?;
    body::check_known(&members, &["result", "reason"])?;
    let result = match members.text("result") {
        Some(result @ ("succeeded" | "failed" | "aborted")) => result.to_owned(),
        _ => return Err(body::invalid("result", "succeeded, failed or aborted expected")),
    };
    let reason = body::text(&members, "reason")?;
    let evidence_id = service.find(&caller, Action::Write, &run, query.one("project")?).await?;
    let closed =
        service.finalize(&evidence_id, Close { result, reason, if_match, key }, bytes, &caller).await?;
    let answer = serde_json::json!({
        "evidence_id": evidence_id,
        "envelope_digest": closed.envelope_digest,
        "head": closed.head,
    });
    Ok(json(StatusCode::OK, &answer))
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
    let query = Query::read(raw, &["project"])?;
    let key = idempotency_key(&headers)?;
    let (members, bytes) = body::object(&headers, sent).await?;
    body::check_known(&members, &["reason", "force"])?;
    let force = match members.get("force") {
        None => false,
        Some(Value::Bool(force)) => *force,
        Some(_) => return Err(body::invalid("force", "true or false expected")),
    };
    let reason = body::text(&members, "reason")?;
    let evidence_id = service.find(&caller, Action::Abort, &run, query.one("project")?).await?;
    service.abort(&evidence_id, Abort { reason, force, key }, bytes, &caller).await?;
    Ok(json(
        StatusCode::ACCEPTED,
        &serde_json::json!({ "evidence_id": evidence_id, "abort_requested": true }),
    ))
}
