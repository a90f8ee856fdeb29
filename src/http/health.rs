//! `/healthz` and `/readyz`: whether the service lives, and whether it can do its work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{Answer, json, put};
use super::body::JSON;
use super::guard::By;
use super::openapi::Operation;
use super::openapi::schema::{any_text, many, maybe, object, one_of};
use crate::service::{Caller, Service};

pub(super) async fn live() -> Answer {
    Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" })))
}

pub(super) fn about_live() -> Operation {
    Operation::new("isLive", "Whether the service lives").answers(
        200,
        "It does.",
        JSON,
        object([("status", one_of(["ok"]))]),
    )
}

/// The reasons are for those who have a token.
pub(super) async fn ready(State(service): State<Arc<Service>>, By(caller): By) -> Answer {
    let reasons = service.readiness();
    Ok(match reasons.is_empty() {
        true => json(StatusCode::OK, &serde_json::json!({ "ready": true })),
        false => {
            let mut failing = serde_json::json!({ "ready": false });
            if caller != Caller::Nobody {
                put(&mut failing, "reasons", reasons);
            }
            json(StatusCode::SERVICE_UNAVAILABLE, &failing)
        }
    })
}

pub(super) fn about_ready() -> Operation {
    let ready = |is: bool| object([("ready", serde_json::json!({ "const": is }))]);
    let failing = maybe(ready(false), [("reasons", many(any_text()))]);
    Operation::new("isReady", "Whether runs can be recorded and sealed")
        .answers(200, "They can.", JSON, ready(true))
        .answers(503, "They cannot; the reasons are for those with a token.", JSON, failing)
}
