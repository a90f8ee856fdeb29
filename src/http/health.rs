//! `/healthz` and `/readyz`: whether the service lives, and whether it can do its work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{Answer, json};
use crate::service::Service;

pub(super) async fn live() -> Answer {
    Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" })))
}

pub(super) async fn ready(State(service): State<Arc<Service>>) -> Answer {
    let reasons = service.readiness();
    Ok(match reasons.is_empty() {
        true => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
        false => json(
            StatusCode::SERVICE_UNAVAILABLE,
            &serde_json::json!({ "status": "failing", "reasons": reasons }),
        ),
    })
}
