//! Every request has an id, is counted, and is told in one line.
//!
//! A line carries the route's template and not the path, never the query, and no value of a header but a well-formed id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use axum::middleware::Next;
use hyper::body::Body as _;
use tracing::{error, info};

use super::problem::Problem;
use crate::service::{Caller, Service};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 64;

pub(super) async fn tell(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let mut told = Told {
        id: request_id(request.headers()).unwrap_or_else(|| service.new_request_id()),
        method: method(request.method()),
        route: request.extensions().get::<MatchedPath>().cloned(),
        begun: Instant::now(),
        answered: false,
        service,
    };
    let mut response = next.run(request).await;
    told.answered(&mut response);
    if let Ok(id) = HeaderValue::from_str(&told.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// One that came with the request, and that any log and header can carry. A token that went there by mistake is none.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let mut sent = headers.get_all(REQUEST_ID).iter();
    let (Some(id), None) = (sent.next(), sent.next()) else { return None };
    let id = id.to_str().ok()?;
    let fits = (1..=MAX_REQUEST_ID_BYTES).contains(&id.len());
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    (fits && id.bytes().all(plain) && !id.contains("sst_")).then(|| id.to_owned())
}

/// Of methods only those that are known are named.
fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// To the microsecond.
fn in_ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

/// A request under way.
struct Told {
    id: String,
    method: &'static str,
    route: Option<MatchedPath>,
    begun: Instant,
    answered: bool,
    service: Arc<Service>,
}

impl Told {
    fn route(&self) -> &str {
        self.route.as_ref().map_or("unmatched", MatchedPath::as_str)
    }

    fn answered(&mut self, response: &mut Response<Body>) {
        self.answered = true;
        let took = self.begun.elapsed();
        let status = response.status();
        let problem = response.extensions_mut().remove::<Problem>();
        self.count(status, problem.as_ref(), took);
        if let Some(problem) = problem.as_ref().filter(|_| status.is_server_error()) {
            *response.body_mut() = Body::from(problem.document(Some(&self.id)));
        }
        let bytes = response.body().size_hint().exact();
        let caller = match response.extensions().get::<Caller>() {
            None | Some(Caller::Nobody) => "nobody",
            Some(caller) => caller.name().unwrap_or("local"),
        };
        let (request_id, method, route) = (self.id.as_str(), self.method, self.route());
        let (status, duration_ms) = (status.as_u16(), in_ms(took));
        if status < 500 {
            info!(request_id, method, route, status, duration_ms, bytes, caller, "request");
        } else {
            let code = problem.as_ref().map(Problem::code);
            let reason = problem.as_ref().map(Problem::detail);
            error!(
                request_id,
                method, route, status, duration_ms, bytes, caller, code, reason, "request failed"
            );
        }
    }

    fn count(&self, status: StatusCode, problem: Option<&Problem>, took: Duration) {
        let figures = self.service.figures();
        // What a route does not do is one row of it, whatever was tried.
        let method = if status == StatusCode::METHOD_NOT_ALLOWED { "other" } else { self.method };
        if let Some(requests) = figures.requests.row(&[self.route(), method]) {
            requests.seconds.took(took);
            if let Some(class) = requests.class(status.as_u16()) {
                class.add(1);
            }
        }
        if let Some(problem) = problem {
            figures.problems.add(problem.code(), 1);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.answered {
            let (request_id, method, route) = (self.id.as_str(), self.method, self.route());
            let duration_ms = in_ms(self.begun.elapsed());
            match std::thread::panicking() {
                true => error!(request_id, method, route, duration_ms, "request ended in a panic"),
                false => {
                    info!(request_id, method, route, duration_ms, "who asked went away before the answer")
                }
            }
        }
    }
}
