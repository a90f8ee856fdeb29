//! Who asks, found out before anything else.
//!
//! Without tokens whoever reaches the address is admin: so nobody may reach it through a browser from elsewhere.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, Uri, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;

use super::body::drain_refused;
use super::origin::{Origin, Shown, Site};
use super::problem::Problem;
use crate::service::{Caller, Held, Service};

/// What everybody may ask, and to begin a session.
const OPEN: [&str; 6] = ["/healthz", "/openapi.json", "/readyz", "/v1/keys", "/v1/keys.pem", "/v1/verify"];

/// Who asks.
pub(super) struct By(pub(super) Caller);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Whom nobody looked at is nobody.
        Ok(Self(parts.extensions.get().cloned().unwrap_or(Caller::Nobody)))
    }
}

/// Finds out who asks, and refuses who must not.
pub(super) async fn let_in(
    State((service, site)): State<(Arc<Service>, Site)>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    match caller(&service, site, request.method(), request.uri(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            request.extensions_mut().insert(site);
            let mut response = next.run(request).await;
            // For who tells of it.
            response.extensions_mut().insert(caller);
            response
        }
        Err(problem) => {
            // Who still sends would not see the answer, and what is left of it would be taken for the next request.
            let (parts, body) = request.into_parts();
            drain_refused(&parts.headers, body).await;
            problem.into_response()
        }
    }
}

fn caller(
    service: &Service,
    site: Site,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    if !service.had_tokens() {
        return only_this_machine(uri, headers).map(|()| Caller::Local);
    }
    let mut told = headers.get_all(header::AUTHORIZATION).iter();
    match (told.next(), told.next()) {
        (None, _) => match in_session(service, site, method, uri, headers) {
            // What everybody may ask needs no session, and fails by none that is over.
            Err(problem) if problem.status() != 429 && is_open(method, uri.path()) => Ok(Caller::Nobody),
            found => found,
        },
        (Some(value), None) => {
            let shown = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
            counted(service.held(shown.unwrap_or_default().trim()), "token_invalid")
        }
        (Some(_), Some(_)) => Err(Problem::new(401, "token_invalid", "one Authorization header expected")),
    }
}

/// Who comes with a session. A browser sends its cookie whoever makes it ask: so it has to say that our own page does.
fn in_session(
    service: &Service,
    site: Site,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let shown = match site.session(headers) {
        Shown::Nothing => return Err(token_required()),
        Shown::One(shown) => shown,
        Shown::Several => {
            let detail = "several cookies of one name; remove those of this site and sign in again";
            return Err(Problem::new(401, "session_invalid", detail));
        }
    };
    let reads = [Method::GET, Method::HEAD].contains(method);
    site.check(uri, headers, if reads { Origin::MayTell } else { Origin::MustTell })?;
    counted(service.held_in_session(shown), "session_invalid")
}

/// Whether everybody may ask it.
pub(super) fn is_open(method: &Method, path: &str) -> bool {
    OPEN.contains(&path) || (method == Method::POST && path == "/v1/session")
}

/// Who holds what counts; `code` is for what does not.
pub(super) fn counted(held: Held, code: &str) -> Result<Caller, Problem> {
    match held {
        Held::Counts(caller) => Ok(caller),
        Held::TooOften => Err(Problem::new(429, "rate_limited", "this token is used too often; slow down")),
        Held::Nothing if code == "session_invalid" => {
            Err(Problem::new(401, code, "this session is over, or was none; sign in again"))
        }
        Held::Nothing => {
            Err(Problem::new(401, code, "this token does not count, or no more; ask for another"))
        }
    }
}

pub(super) fn token_required() -> Problem {
    Problem::new(401, "token_required", "send a token: Authorization: Bearer sst_…")
}

/// Lets through what was sent to this machine by name, and by no page of another site.
fn only_this_machine(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    let hosts = headers.get_all(header::HOST).iter().count();
    // A request line may name a host too (RFC 9112, section 3.2.2).
    let named = uri.authority().is_none_or(|authority| is_loopback(authority.as_str()));
    if hosts != 1 || !named || !is_loopback(host) {
        let detail = format!("{host:?} is not this machine; without a token ask for localhost or 127.0.0.1");
        return Err(Problem::new(421, "host_refused", detail));
    }
    let origin = text(header::ORIGIN);
    let own = [format!("http://{host}"), format!("https://{host}")];
    let foreign = origin.is_some_and(|origin| !own.iter().any(|own| own == origin));
    let cross = headers.get_all("sec-fetch-site").iter().any(|site| site == "cross-site");
    if foreign || cross {
        return Err(Problem::new(403, "origin_refused", "requests from pages of other sites are refused"));
    }
    Ok(())
}

/// `localhost`, or a literal address of the loopback, with or without a port.
fn is_loopback(host: &str) -> bool {
    let (name, rest) = match host.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(bracketed) => bracketed.unwrap_or_default(),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let address = || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    port && (name.eq_ignore_ascii_case("localhost") || address())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for good in ["localhost", "LOCALHOST:7325", "127.0.0.1", "127.8.9.1:80", "[::1]", "[::1]:7325"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in
            ["", "example.org", "127.0.0.1.example.org", "localhost.example.org:80", "10.0.0.1", "[::2]:1"]
        {
            assert!(!is_loopback(bad), "{bad}");
        }
    }
}
