//! Problem details (RFC 9457) with stable codes.

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;

use super::answer::put;
use super::body::drain;
use crate::evidence::canonical::JsonError;
use crate::journal::Refusal;
use crate::service::ServiceError;

/// Where the next bytes of a log go.
pub(super) const UPLOAD_OFFSET: &str = "upload-offset";

/// Why a request was not answered with what it asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    status: u16,
    code: String,
    detail: String,
    pointer: Option<String>,
    /// The line of an NDJSON body, from 1.
    line: Option<usize>,
    /// Where a log ends.
    offset: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &str, detail: impl ToString) -> Self {
        let (code, detail) = (code.to_owned(), detail.to_string());
        Self { status, code, detail, pointer: None, line: None, offset: None }
    }

    /// A part of the query, or a header, that cannot be read.
    pub(super) fn parameter(name: &str, detail: impl std::fmt::Display) -> Self {
        Self::new(400, "parameter_invalid", format!("{name}: {detail}"))
    }

    pub(super) fn json(error: &JsonError) -> Self {
        Self::new(400, error.code.as_str(), error)
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn code(&self) -> &str {
        &self.code
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn set_pointer(&mut self, pointer: String) {
        self.pointer = Some(pointer);
    }

    pub(super) fn at_line(self, line: usize) -> Self {
        Self { line: Some(line), ..self }
    }

    fn http_status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The text of it, with the id of the request where that helps who looks for it.
    pub(super) fn document(&self, request_id: Option<&str>) -> String {
        let status = self.http_status();
        let mut members = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Problem"),
            "status": status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Some(pointer) = &self.pointer {
            put(&mut members, "pointer", pointer.as_str());
        }
        if let Some(line) = self.line {
            put(&mut members, "line", line);
        }
        if let Some(offset) = self.offset {
            put(&mut members, "offset", offset);
        }
        if let Some(id) = request_id {
            put(&mut members, "request_id", id);
        }
        members.to_string()
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let (code, status) = error.code();
        Self { pointer: error.pointer(), offset: error.log_offset(), ..Self::new(status, code, error) }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        ServiceError::Rejected(refusal.into()).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let status = self.http_status();
        let mut response = Response::new(Body::from(self.document(None)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer realm=\"sealstone\"");
            headers.insert(header::WWW_AUTHENTICATE, bearer);
        }
        if let Some(offset) = self.offset {
            headers.insert(UPLOAD_OFFSET, HeaderValue::from(offset));
        }
        if matches!(status.as_u16(), 429 | 503 | 507) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // For who counts and tells it.
        response.extensions_mut().insert(self);
        response
    }
}

pub(super) async fn no_route(uri: Uri, body: Body) -> Problem {
    drain(body).await;
    Problem::new(404, "route_not_found", format!("there is nothing at {}", uri.path()))
}

pub(super) async fn no_method(method: Method, uri: Uri) -> Problem {
    Problem::new(405, "method_not_allowed", format!("{method} is nothing that {} does", uri.path()))
}
