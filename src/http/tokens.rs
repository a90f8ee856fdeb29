//! `/v1/tokens`: who is let in.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::answer::{Answer, json, no_content};
use super::body;
use super::guard::By;
use super::openapi::Operation;
use super::openapi::schema::{many, maybe, object, one_of, refer, scope as scope_schema, short_id, time};
use super::path::Path;
use super::problem::Problem;
use crate::evidence::canonical::Object;
use crate::service::{Action, Role, Scope, Service, Token};

pub(super) async fn create(
    State(service): State<Arc<Service>>,
    By(caller): By,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    caller.check(Action::Administer)?;
    let (members, _) = body::object(&headers, sent).await?;
    body::check_known(&members, &["name", "role", "projects", "expires_at"])?;
    let name = members.text("name").filter(|name| Token::is_name(name));
    let name = name.ok_or_else(|| body::invalid("name", "1–64 of A–Z a–z 0–9 . _ : - expected"))?.to_owned();
    let role: Option<Role> = members.text("role").and_then(|role| role.parse().ok());
    let role =
        role.ok_or_else(|| body::invalid("role", "writer, approver, reader, auditor or admin expected"))?;
    let scope = scope(&members)?;
    let expires_at = match body::text(&members, "expires_at")? {
        None => None,
        Some(text) => Some(text.parse().map_err(|error| body::invalid("expires_at", &format!("{error}")))?),
    };
    let (secret, token) = service.create_token(&caller, name, role, scope, expires_at).await?;
    let mut shown = serde_json::json!(token);
    super::answer::put(&mut shown, "token", secret.show());
    Ok(json(StatusCode::CREATED, &shown))
}

pub(super) fn about_create() -> Operation {
    let members = [("name", short_id()), ("role", one_of(Role::ALL.map(Role::as_str)))];
    let asked = maybe(object(members), [("projects", many(scope_schema())), ("expires_at", time())]);
    Operation::new("createToken", "Makes a token")
        .about("Only admins of all projects. The first token has to be such an admin's.")
        .needs(Action::Administer)
        .takes(asked)
        .answers(201, "The token; `token` is shown once, here.", body::JSON, refer("NewToken"))
        .links(&["deleteToken"], &[("id", "$response.body#/id")])
        .refuses(409, &["first_token"])
        .refuses(422, &["member_invalid"])
        .refuses(503, &["store_unavailable"])
}

fn scope(members: &Object<'_>) -> Result<Scope, Problem> {
    let wrong = |detail: &str| body::invalid("projects", detail);
    let Some(projects) = members.get("projects") else { return Ok(Scope::all()) };
    let names = projects.as_list().map(|list| list.iter().map(|name| name.as_text().map(str::to_owned)));
    let names: Option<Vec<String>> = names.and_then(Iterator::collect);
    let names = names.ok_or_else(|| wrong("a list of *, names or prefix/* expected"))?;
    Scope::parse(names)
        .map_err(|name| wrong(&format!("{name:?} is no project; *, names or prefix/* expected")))
}

pub(super) async fn list(State(service): State<Arc<Service>>, By(caller): By) -> Answer {
    let tokens = service.list_tokens(&caller)?;
    let tokens: Vec<&Token> = tokens.iter().map(|token| &**token).collect();
    Ok(json(StatusCode::OK, &serde_json::json!({ "tokens": tokens })))
}

pub(super) fn about_list() -> Operation {
    Operation::new("listTokens", "All tokens, without what would let anybody in")
        .about("Only admins of all projects.")
        .needs(Action::Administer)
        .answers(200, "The tokens.", body::JSON, object([("tokens", many(refer("Token")))]))
}

pub(super) async fn forget(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(id): Path<String>,
) -> Answer {
    if !service.delete_token(&caller, id).await? {
        return Err(Problem::new(
            404,
            "token_not_found",
            "there is no token of that id; list them with GET /v1/tokens",
        ));
    }
    Ok(no_content())
}

pub(super) fn about_forget() -> Operation {
    Operation::new("deleteToken", "Makes a token count no more")
        .about("Only admins of all projects.")
        .needs(Action::Administer)
        .answers_nothing(204, "Forgotten.")
        .refuses(404, &["token_not_found"])
        .refuses(409, &["last_admin"])
        .refuses(503, &["store_unavailable"])
}
