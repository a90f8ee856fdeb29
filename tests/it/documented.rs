//! Whatever any test is answered by the service stands in its /openapi.json: the status, the headers, and the body to its schema.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Answer, Connection, Server};

/// What stands in no operation, because it is of no route: who may not ask, and what is not there.
const OF_NO_ROUTE: [u16; 5] = [401, 403, 404, 405, 421];

pub(crate) fn document(address: &str) -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        Connection::to(address).unwrap().request("GET", "/openapi.json", &[], b"").unwrap().json()
    })
}

/// Panics unless the answer to that request stands in the document.
pub(crate) fn assert_documented(address: &str, method: &str, path: &str, answer: &Answer) {
    let document = document(address);
    let asked = format!("{method} {path}: {}", answer.status);
    let Some((template, operation)) = operation(document, method, path) else {
        assert!(OF_NO_ROUTE.contains(&answer.status), "{asked} is no route");
        return;
    };
    let documented = &operation["responses"][answer.status.to_string()];
    assert!(documented.is_object(), "{asked} is not documented");
    for (name, header) in documented["headers"].as_object().into_iter().flatten() {
        let header = named(document, header);
        let there = answer.header(&name.to_lowercase()).is_some();
        assert!(there || header["required"] == false, "{asked} has no {name}");
    }
    let Some(content) = documented["content"].as_object() else {
        assert!(answer.body.is_empty(), "{asked} has a body");
        return;
    };
    let media_type = answer.header("content-type").unwrap_or_default();
    let described = content.get(media_type).unwrap_or_else(|| panic!("{asked} is {media_type:?}"));
    let text = String::from_utf8_lossy(&answer.body);
    let body = match media_type {
        "application/x-ndjson" => {
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
        }
        json if json.ends_with("json") => answer.json(),
        _ => text.into(),
    };
    let name = format!("{method} {template} {} {media_type}", answer.status);
    if let Err(error) = validator(document, name, &described["schema"]).validate(&body) {
        panic!("{asked}: {error} at {}\n{body:#}", error.instance_path());
    }
}

/// The template and the operation of a request; `None` if there is none.
pub(crate) fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<(&'a str, &'a Value)> {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |template: &str| {
        let (mut parts, mut wanted) = (path.split('/'), template.split('/'));
        let fit = wanted
            .by_ref()
            .zip(parts.by_ref())
            .all(|(wanted, part)| wanted == part || wanted.starts_with('{') && !part.is_empty());
        let more = template.ends_with("{project}");
        fit && template.split('/').count() <= path.split('/').count() && (parts.next().is_none() || more)
    };
    let (template, item) = document["paths"].as_object()?.iter().find(|(template, _)| fits(template))?;
    Some((template, item.get(method.to_lowercase())?))
}

/// What a reference leads to.
fn named<'a>(document: &'a Value, part: &'a Value) -> &'a Value {
    let place = part["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
    place.map_or(part, |place| document.pointer(place).unwrap())
}

/// Made once for each schema, which takes longer than to use it.
fn validator(document: &Value, name: String, schema: &Value) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    if let Some(made) = MADE.lock().unwrap().get(&name) {
        return made.clone();
    }
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    let made = Arc::new(jsonschema::options().build(&whole).unwrap());
    MADE.lock().unwrap().insert(name, made.clone());
    made
}

#[test]
fn the_document_is_there_for_everybody_and_names_every_method_that_is_allowed() {
    let place = Place::new();
    let made = place.run(&["token", "create", "root", "--role", "admin", "--data-dir", "records"]);
    assert_eq!(made.status, 0, "{made:?}");
    let server = Server::start(&place, &[]);
    let document = server.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let bearer = format!("Bearer {}", made.stdout.trim());
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        let answer = server.request("PATCH", &path, &[("Authorization", &bearer)], b"");
        assert_eq!(answer.status, 405, "{path}");
        let allowed = answer.header("allow").unwrap().to_lowercase();
        let allowed: BTreeSet<&str> = allowed.split(',').map(str::trim).collect();
        let documented = item.as_object().unwrap().keys().map(String::as_str);
        assert_eq!(allowed, documented.filter(|name| *name != "parameters").collect(), "{path}");
    }
}
