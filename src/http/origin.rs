//! Where a request comes from, as browsers tell it (RFC 6454), and the cookie that they keep for us (RFC 6265).

use axum::http::{HeaderMap, Uri, header};

use super::problem::Problem;

/// How browsers reach this service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// Through TLS, of its own or of a proxy.
    pub(crate) https: bool,
}

/// What a request must say of its origin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Origin {
    /// If it says anything, that it is ours.
    MayTell,
    /// That it is ours.
    MustTell,
}

/// What a request shows as its session.
#[derive(Debug, PartialEq)]
pub(super) enum Shown<'a> {
    Nothing,
    One(&'a str),
    /// More than one: somebody else may have set the other.
    Several,
}

impl Site {
    /// Refuses what the page of another site asks.
    pub(super) fn check(self, uri: &Uri, headers: &HeaderMap, must: Origin) -> Result<(), Problem> {
        let refused = |why| Err(Problem::new(403, "origin_refused", why));
        if headers.get_all("sec-fetch-site").iter().any(|site| site == "cross-site") {
            return refused("requests from pages of other sites are refused");
        }
        let mut told = headers.get_all(header::ORIGIN).iter();
        match (told.next(), told.next()) {
            (None, _) if must == Origin::MayTell => Ok(()),
            (Some(origin), None) if self.is_own(origin.to_str().unwrap_or_default(), uri, headers) => Ok(()),
            (None, _) => refused("a write with a session needs an Origin header; programs send a token"),
            (Some(_), _) => refused(
                "requests from pages of other sites are refused; a proxy has to pass the Host header on",
            ),
        }
    }

    /// Whether the origin has scheme, host and port of what was asked.
    fn is_own(self, origin: &str, uri: &Uri, headers: &HeaderMap) -> bool {
        let (scheme, port) = if self.https { ("https://", ":443") } else { ("http://", ":80") };
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().unwrap_or_default(),
            _ => return false,
        };
        // A request line that names a host counts before the header (RFC 9112, section 3.2.2).
        let host = uri.authority().map_or(host, |authority| authority.as_str());
        let bare = |host: &str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
        !host.is_empty() && origin.strip_prefix(scheme).is_some_and(|origin| bare(origin) == bare(host))
    }

    /// The session's cookie among those of a request.
    pub(super) fn session(self, headers: &HeaderMap) -> Shown<'_> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut own = pairs.filter(|(name, _)| *name == self.cookie_name()).map(|(_, value)| value);
        match (own.next(), own.next()) {
            (None, _) => Shown::Nothing,
            (Some(value), None) => Shown::One(value),
            (Some(_), Some(_)) => Shown::Several,
        }
    }

    /// What sets the session's cookie for so many seconds; 0 removes it.
    pub(super) fn cookie(self, value: &str, lasts_s: i64) -> String {
        let secure = if self.https { "; Secure" } else { "" };
        let name = self.cookie_name();
        format!("{name}={value}; Max-Age={lasts_s}; Path=/; HttpOnly; SameSite=Strict{secure}")
    }

    /// With the prefix, no other host and no connection in the open can have set it.
    pub(super) fn cookie_name(self) -> &'static str {
        if self.https { "__Host-sealstone_session" } else { "sealstone_session" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<header::HeaderName>().unwrap(), value.parse::<header::HeaderValue>().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_the_scheme_host_and_port_that_were_asked_are_ours() {
        for (https, host, origin, own) in [
            (true, "ci.example.org", "https://ci.example.org", true),
            (true, "CI.example.org:443", "https://ci.example.org", true),
            (true, "ci.example.org:8443", "https://ci.example.org:8443", true),
            (true, "ci.example.org", "http://ci.example.org", false),
            (true, "ci.example.org", "https://ci.example.org:8443", false),
            (true, "ci.example.org", "https://ci.example.org.evil", false),
            (true, "ci.example.org", "https://evil/ci.example.org", false),
            (true, "ci.example.org", "null", false),
            (true, "ci.example.org", "", false),
            (true, "", "https://", false),
            (false, "localhost:7325", "http://localhost:7325", true),
            (false, "localhost:7325", "http://127.0.0.1:7325", false),
            (false, "localhost:7325", "https://localhost:7325", false),
        ] {
            let sent = headers(&[("host", host), ("origin", origin)]);
            let checked = Site { https }.check(&Uri::from_static("/v1/runs"), &sent, Origin::MustTell);
            assert_eq!(checked.is_ok(), own, "{host} {origin}");
        }
        let site = Site { https: true };
        let uri = Uri::from_static("/");
        for twice in [("origin", "https://a"), ("host", "a")] {
            let sent = headers(&[("host", "a"), ("origin", "https://a"), twice]);
            assert!(site.check(&uri, &sent, Origin::MustTell).is_err(), "{twice:?} twice");
        }
        assert!(site.check(&uri, &headers(&[("host", "a")]), Origin::MustTell).is_err());
        assert!(site.check(&uri, &headers(&[("host", "a")]), Origin::MayTell).is_ok());
        let cross = headers(&[("host", "a"), ("origin", "https://a"), ("sec-fetch-site", "cross-site")]);
        assert!(site.check(&uri, &cross, Origin::MayTell).is_err());
    }

    #[test]
    fn a_cookie_counts_by_its_full_name_and_once() {
        let site = Site { https: false };
        for (line, shown) in [
            ("sealstone_session=a", Shown::One("a")),
            ("x=1; sealstone_session=a; y=2", Shown::One("a")),
            ("__Host-sealstone_session=a", Shown::Nothing),
            ("xsealstone_session=a", Shown::Nothing),
            ("sealstone_session", Shown::Nothing),
            ("sealstone_session=a; sealstone_session=a", Shown::Several),
        ] {
            assert_eq!(site.session(&headers(&[("cookie", line)])), shown, "{line}");
        }
        let lines = headers(&[("cookie", "sealstone_session=a"), ("cookie", "sealstone_session=b")]);
        assert_eq!(site.session(&lines), Shown::Several);
        let secure = Site { https: true };
        assert_eq!(secure.session(&headers(&[("cookie", "sealstone_session=a")])), Shown::Nothing);
        let cookie = secure.cookie("a", 60);
        assert_eq!(
            cookie,
            "__Host-sealstone_session=a; Max-Age=60; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
    }
}
