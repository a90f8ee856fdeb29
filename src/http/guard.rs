//! Without tokens whoever reaches the address is admin: so nobody may reach it through a browser from elsewhere.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Response, Uri, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;

use super::problem::Problem;

/// Lets through what was sent to this machine by name, and by no page of another site.
pub(super) async fn only_this_machine(request: Request, next: Next) -> Response<Body> {
    match check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
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
    let foreign = origin.is_some_and(|origin| origin != format!("http://{host}"));
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
