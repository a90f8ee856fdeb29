//! `/metrics`: the figures of the service, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{Answer, text};
use super::openapi::Operation;
use super::openapi::schema::any_text;
use crate::service::{Action, Service};

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn show(State(service): State<Arc<Service>>) -> Answer {
    Ok(text(StatusCode::OK, service.metrics().await, PROMETHEUS))
}

pub(super) fn about_show() -> Operation {
    Operation::new("getMetrics", "The figures of the service").needs(Action::Read).answers(
        200,
        "As Prometheus reads them.",
        PROMETHEUS,
        any_text(),
    )
}
