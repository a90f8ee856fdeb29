//! `/openapi.json`: the routes as a document (OpenAPI 3.1), made of the table that the router is made of.
#![expect(
    clippy::indexing_slicing,
    reason = "an index into a JSON object adds the member; all of them are made here"
)]

mod components;
mod operation;
mod parameters;
pub(super) mod schema;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]
mod tests;

use std::sync::OnceLock;

use axum::Extension;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::answer::{Answer, text};
use super::body::JSON;
use super::origin::Site;
use super::route::Route;
use crate::service::Role;
pub(super) use operation::{Operation, Refusals};

/// What the routes have in common, in words.
const ABOUT: &str = "Runs are recorded, sealed into evidence envelopes, and judged. Bodies are strict JSON (unique names, numbers within ±(2^53−1), \
at most 64 containers deep). Errors are `application/problem+json` (RFC 9457) with a stable `code`; 405 has `Allow`, and what no path fits is 404 \
`route_not_found`; what is no HTTP, or has too long a head, is 400, 414 or 431 without a body. `HEAD` is answered wherever `GET` is. A request may bring its own `X-Request-Id`. While the store has no token, whoever is on this machine may ask for everything.";

pub(super) async fn document(Extension(site): Extension<Site>) -> Answer {
    static OVER_TLS: OnceLock<String> = OnceLock::new();
    static IN_THE_OPEN: OnceLock<String> = OnceLock::new();
    let document = if site.https { &OVER_TLS } else { &IN_THE_OPEN };
    let document = document.get_or_init(|| made_of(&super::routes(), site).to_string());
    Ok(text(StatusCode::OK, document.as_str(), JSON))
}

pub(super) fn about_document() -> Operation {
    Operation::new("getOpenApi", "This document").answers(
        200,
        "OpenAPI 3.1.",
        JSON,
        json!({ "type": "object" }),
    )
}

fn made_of(routes: &[Route], site: Site) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let names = names(route.path);
        let item = paths.entry(route.path.replace("{*", "{")).or_insert_with(|| {
            let parameters: Vec<_> = names.iter().map(|name| parameters::of("path", name)).collect();
            json!({ "parameters": parameters })
        });
        let described = described(route, &names);
        item[route.method] = if route.method == "head" { without_bodies(described) } else { described };
    }
    for item in paths.values_mut() {
        if let (Some(get), None) = (item.get("get"), item.get("head")) {
            let mut head = without_bodies(get.clone());
            head["operationId"] = get["operationId"].as_str().map(|id| format!("{id}Head")).into();
            item["head"] = head;
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Sealstone",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "headers": { "X-Request-Id": parameters::header("X-Request-Id", true) },
            "schemas": components::schemas(),
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": site.cookie_name(),
                    "description": "As good as the token that it was begun with. Whatever is no GET or HEAD needs an `Origin` with it, which has to be ours.",
                },
                "token": { "type": "http", "scheme": "bearer", "description": "A token, `sst_…`. The roles that will do are named at each route." },
            },
        },
    })
}

/// The names in a path.
fn names(path: &str) -> Vec<&str> {
    let parts = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    parts.map(|name| name.trim_start_matches('*')).collect()
}

fn described(route: &Route, names: &[&str]) -> Value {
    let operation = &route.operation;
    let mut described = operation.described(!names.is_empty());
    described["security"] = match operation.needs {
        // With a token nothing more can be asked, but one that does not count is refused.
        None => json!([{}, { "token": [] }, { "session": [] }]),
        Some(action) => {
            let roles = Role::ALL.into_iter().filter(|role| role.may(action));
            let either = |role: Role| ["token", "session"].map(|scheme| json!({ scheme: [role.as_str()] }));
            roles.flat_map(either).collect()
        }
    };
    described
}

/// As HEAD answers it.
fn without_bodies(mut head: Value) -> Value {
    for (_, answer) in head["responses"].as_object_mut().into_iter().flatten() {
        for member in ["content", "links"] {
            answer.as_object_mut().map(|answer| answer.remove(member));
        }
    }
    head
}
