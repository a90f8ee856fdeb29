//! What the table promises of itself.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::Value;

use super::{components, made_of, names, parameters};
use crate::http::guard::is_open;
use crate::http::origin::Site;
use crate::http::routes;

const SITE: Site = Site { https: true };

#[test]
fn every_route_is_described_and_every_description_has_a_route() {
    let routes = routes();
    let document = made_of(&routes, SITE);
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys().filter(|method| *method != "parameters");
        described.extend(methods.map(|method| (method.clone(), path.clone())));
    }
    let gets = routes.iter().filter(|route| route.method == "get").map(|route| ("head", route));
    let routed: BTreeSet<_> = gets
        .chain(routes.iter().map(|route| (route.method, route)))
        .map(|(method, route)| (method.to_owned(), route.path.replace("{*", "{")))
        .collect();
    assert_eq!(described, routed);
    for route in &routes {
        let operation = &route.operation;
        let succeeds = operation.answered().any(|status| (200..300).contains(&status));
        assert!(succeeds, "{} has no answer but problems", route.path);
        let both = operation.answered().find(|status| operation.refusals.contains_key(status));
        assert_eq!(both, None, "{} answers it, and refuses with it", route.path);
    }
}

#[test]
fn every_parameter_and_every_schema_that_is_named_is_there() {
    let routes = routes();
    for route in &routes {
        let operation = &route.operation;
        let all = names(route.path).into_iter().chain(operation.query.iter().copied());
        for name in all.chain(operation.headers.iter().copied()) {
            assert!(parameters::known(name).is_some(), "{name} of {} is unknown", route.path);
        }
    }
    let document = made_of(&routes, SITE);
    let text = document.to_string();
    for named in text.split("\"$ref\":\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let place = named.strip_prefix('#').unwrap_or_else(|| panic!("{named} is elsewhere"));
        assert!(document.pointer(place).is_some(), "{named} is nowhere");
    }
    let schemas = components::schemas();
    let unused = schemas.keys().find(|name| !text.contains(&format!("\"#/components/schemas/{name}")));
    assert_eq!(unused, None);
}

#[test]
fn no_two_operations_have_one_name_and_links_lead_to_operations() {
    let document = made_of(&routes(), SITE);
    let operations =
        || document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
    let named: Vec<&str> =
        operations().filter_map(|(_, operation)| operation["operationId"].as_str()).collect();
    assert_eq!(named.iter().collect::<BTreeSet<_>>().len(), named.len(), "{named:?}");
    let answers = operations().filter_map(|(_, operation)| operation["responses"].as_object());
    let links = answers.flat_map(|answers| answers.values()).filter_map(|answer| answer["links"].as_object());
    for link in links.flat_map(|links| links.values()) {
        assert!(named.contains(&link["operationId"].as_str().unwrap()), "{link}");
    }
}

#[test]
fn what_needs_no_token_is_what_everybody_may_ask() {
    for route in routes() {
        let method = route.method.to_uppercase().parse().unwrap();
        let (method, path): (Method, _) = (method, route.path);
        assert_eq!(route.operation.needs.is_none(), is_open(&method, path), "{method} {path}");
    }
}

#[test]
fn the_schemas_of_ids_take_what_is_taken() {
    let schemas = components::schemas();
    let pattern = |name: &str| schemas[name]["pattern"].as_str().map(str::to_owned);
    assert_eq!(schemas["Problem"]["required"].as_array().map(Vec::len), Some(5));
    let valid = |name: &str, text: &str| {
        let schema: Value =
            serde_json::json!({ "type": "string", "pattern": pattern(name), "maxLength": 128 });
        jsonschema::is_valid(&schema, &text.into())
    };
    use crate::evidence::envelope::limits::{is_id, is_path_id};
    let long = "x".repeat(129);
    for text in ["a", "0", "A.b_c:d-e", "", ".a", "-a", "a b", "a/b", "é", "a\n", &long, &long[1..]] {
        assert_eq!(valid("Id", text), is_id(text), "{text:?}");
    }
    for text in [
        "a/b", "a/.b", "a/-", "a/...", "/a", "a/", "a//b", "a/./b", "a/..", "..", "a/..b", "a/...b",
        "a/..../b",
    ] {
        assert_eq!(valid("PathId", text), is_path_id(text), "{text:?}");
    }
}
