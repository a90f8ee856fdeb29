//! `/healthz` and `/readyz`: whether the service lives, and whether it can do its work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{Answer, json, put};
use super::guard::By;
use crate::service::{Caller, Service};

pub(super) async fn live() -> Answer {
    Ok(json(StatusCode::OK, &serde_json::json!({ "status": "ok" })))
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
