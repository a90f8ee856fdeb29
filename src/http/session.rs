//! `/v1/session`: a cookie for a token, for those who look through a browser.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};

use super::answer::{Answer, json, no_content, put};
use super::body;
use super::guard::{self, By};
use super::openapi::Operation;
use super::openapi::schema::{any_text, many, maybe, object, one_of, short_id, time};
use super::origin::{Origin, Site};
use super::problem::Problem;
use crate::evidence::time::Timestamp;
use crate::service::{Action, Caller, Role, Scope, Service};

/// Begins a session. Who is made to begin one by a page of another site would work under another's name.
pub(super) async fn begin(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Extension(site): Extension<Site>,
    uri: Uri,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    site.check(&uri, &headers, Origin::MayTell)?;
    let (members, _) = body::object(&headers, sent).await?;
    body::check_known(&members, &["token"])?;
    let token = members.text("token").ok_or_else(|| body::invalid("token", "a token expected"))?;
    let holder = match caller {
        Caller::Local => Caller::Local,
        _ => guard::counted(service.held(token), "token_invalid")?,
    };
    let begun = service.begin_session(holder).await?;
    let response = json(StatusCode::CREATED, &described(&begun.caller)?);
    Ok(with_cookie(response, &site.cookie(begun.secret.show(), begun.lasts_s)))
}

pub(super) fn about_begin() -> Operation {
    Operation::new("beginSession", "A cookie for a token")
        .about(
            "For our own page: what another site's page asks is refused. A session is as good as its token.",
        )
        .takes(object([("token", any_text())]))
        .answers(201, "Who that is here.", body::JSON, who())
        .with_header("Set-Cookie", true)
        .refuses(409, &["no_tokens"])
        .refuses(422, &["member_invalid"])
        .refuses(503, &["store_unavailable"])
}

fn who() -> serde_json::Value {
    let always = object([
        ("role", one_of(Role::ALL.map(Role::as_str))),
        ("projects", many(any_text())),
        ("by", one_of(["local", "session", "token"])),
    ]);
    maybe(always, [("name", short_id()), ("expires_at", time())])
}

/// Tells callers who they are here.
pub(super) async fn look(By(caller): By) -> Answer {
    Ok(json(StatusCode::OK, &described(&caller)?))
}

pub(super) fn about_look() -> Operation {
    Operation::new("getSession", "Who asks, as the service sees it").needs(Action::Read).answers(
        200,
        "By which token, or the session of which.",
        body::JSON,
        who(),
    )
}

/// Ends the session that the request came with.
pub(super) async fn end(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Extension(site): Extension<Site>,
) -> Answer {
    service.end_session(caller).await?;
    Ok(with_cookie(no_content(), &site.cookie("", 0)))
}

pub(super) fn about_end() -> Operation {
    Operation::new("endSession", "Ends the session that the request comes with")
        .needs(Action::Read)
        .answers_nothing(204, "Over; the cookie is removed.")
        .with_header("Set-Cookie", true)
        .refuses(404, &["session_not_found"])
        .refuses(503, &["store_unavailable"])
}

fn described(caller: &Caller) -> Result<serde_json::Value, Problem> {
    let (role, projects, by) = match caller {
        Caller::Local => (Role::Admin, Scope::all(), "local"),
        Caller::Nobody => return Err(guard::token_required()),
        Caller::Session(token, _) => (token.role, token.scope.clone(), "session"),
        Caller::Token(token) => (token.role, token.scope.clone(), "token"),
    };
    let mut told = serde_json::json!({ "role": role, "projects": projects, "by": by });
    if let Some(name) = caller.name() {
        put(&mut told, "name", name);
    }
    if let Some(end) = expires_at(caller) {
        put(&mut told, "expires_at", end.to_string());
    }
    Ok(told)
}

fn expires_at(caller: &Caller) -> Option<Timestamp> {
    match caller {
        Caller::Session(_, session) => Some(session.expires_at),
        caller => caller.token().and_then(|token| token.expires_at),
    }
}

fn with_cookie(mut response: Response<Body>, cookie: &str) -> Response<Body> {
    let mut cookie = HeaderValue::from_str(cookie).expect("names, base64url and numbers are visible ASCII");
    cookie.set_sensitive(true);
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}
