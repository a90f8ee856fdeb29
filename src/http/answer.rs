//! Answers as JSON.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::journal::{Overview, Standing, State};

/// What a route answers with.
pub(super) type Answer = Result<Response<Body>, super::problem::Problem>;

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    text(status, serde_json::to_vec(value).expect("answers have text for names"), "application/json")
}

/// Done, and there is nothing to say.
pub(super) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

pub(super) fn text(status: StatusCode, body: impl Into<Body>, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A run in short (API.md section 2, *summary*).
pub(super) fn summary(overview: &Overview, standing: &Standing) -> serde_json::Value {
    let mut summary = serde_json::json!({
        "run_id": overview.run_id,
        "evidence_id": overview.evidence_id,
        "project": overview.project,
        "state": standing.state,
        "needs_input": standing.state == State::Open && standing.open_gates > 0,
        "abort_requested": standing.abort_requested_at.is_some(),
        "opened_at": overview.opened_at,
        "labels": overview.labels,
        "head": standing.head,
        "pos": standing.pos,
        "counts": standing.counts,
    });
    let optional = [
        ("result", serde_json::to_value(&standing.result)),
        ("closed_at", serde_json::to_value(standing.closed_at)),
        ("subject", serde_json::to_value(&overview.subject)),
        ("envelope_digest", serde_json::to_value(standing.envelope_digest)),
    ];
    for (name, value) in optional {
        if let Ok(value) = value
            && !value.is_null()
        {
            put(&mut summary, name, value);
        }
    }
    summary
}

/// Puts a member into an object.
pub(super) fn put(object: &mut serde_json::Value, member: &str, value: impl Into<serde_json::Value>) {
    if let Some(members) = object.as_object_mut() {
        members.insert(member.to_owned(), value.into());
    }
}
