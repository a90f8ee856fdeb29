//! `/metrics`: the figures of the service, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{Answer, text};
use crate::service::Service;

pub(super) async fn show(State(service): State<Arc<Service>>) -> Answer {
    Ok(text(StatusCode::OK, service.metrics().await, "text/plain; version=0.0.4; charset=utf-8"))
}
