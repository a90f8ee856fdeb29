//! Without tokens whoever reaches the address is admin: so nobody may reach it through a browser from elsewhere.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Response, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;

use super::problem::Problem;

/// Lets through what was sent to this machine by name, and by no page of another site.
pub(super) async fn only_this_machine(request: Request, next: Next) -> Response<Body> {
    match check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    if !is_loopback(host) {
        let detail = format!("{host:?} is not this machine; without a token ask for localhost or 127.0.0.1");
        return Err(Problem::new(421, "host_refused", detail));
    }
    let origin = text(header::ORIGIN);
    let foreign = origin.is_some_and(|origin| origin != format!("http://{host}"));
    let cross = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if foreign || cross {
        return Err(Problem::new(403, "origin_refused", "requests from pages of other sites are refused"));
    }
    Ok(())
}

/// `localhost`, or a literal address of the loopback, with or without a port.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
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
