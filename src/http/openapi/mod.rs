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

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::answer::{Answer, text};
use super::body::JSON;
use super::route::Route;
use crate::service::Role;
pub(super) use operation::{Operation, Refusals};

/// What the routes have in common, in words.
const ABOUT: &str = "Runs are recorded, sealed into evidence envelopes, and judged. Bodies are strict JSON (unique names, numbers within ±(2^53−1), \
at most 64 containers deep). Errors are `application/problem+json` (RFC 9457) with a stable `code`; 405 has `Allow`, and what no path fits is 404 \
`route_not_found`; what is no HTTP, or has too long a head, is 400, 414 or 431 without a body. `HEAD` is answered wherever `GET` is. While the store has no token, whoever is on this machine may ask for everything.";

pub(super) async fn document() -> Answer {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| made_of(&super::routes()).to_string());
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

fn made_of(routes: &[Route]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let names = names(route.path);
        let item = paths.entry(route.path.replace("{*", "{")).or_insert_with(|| {
            let parameters: Vec<_> = names.iter().map(|name| parameters::of("path", name)).collect();
            json!({ "parameters": parameters })
        });
        item[route.method] = described(route, &names);
    }
    for item in paths.values_mut() {
        if let (Some(get), None) = (item.get("get"), item.get("head")) {
            item["head"] = without_bodies(get);
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
            "schemas": components::schemas(),
            "securitySchemes": {
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
        None => json!([{}, { "token": [] }]),
        Some(action) => {
            let roles = Role::ALL.into_iter().filter(|role| role.may(action));
            roles.map(|role| json!({ "token": [role.as_str()] })).collect()
        }
    };
    described
}

/// What HEAD does where GET does this.
fn without_bodies(get: &Value) -> Value {
    let mut head = get.clone();
    head["operationId"] = get["operationId"].as_str().map(|id| format!("{id}Head")).into();
    for (_, answer) in head["responses"].as_object_mut().into_iter().flatten() {
        for member in ["content", "links"] {
            answer.as_object_mut().map(|answer| answer.remove(member));
        }
    }
    head
}
