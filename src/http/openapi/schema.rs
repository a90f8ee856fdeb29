//! JSON Schemas of what is sent and answered. Those of elements are made of the model, so that they take what is taken.

use serde_json::{Map, Value, json};

use crate::evidence::canonical::MAX_SAFE_INTEGER;
use crate::evidence::envelope::limits::{MAX_REPORTER_BYTES, MAX_TEXT_BYTES};
use crate::evidence::envelope::model::{Form, Member};
use crate::evidence::envelope::{DEFAULT_PRIVATE, Kind};
use crate::journal::{MAX_POINTER_BYTES, MAX_POINTERS};

/// What an id is (`is_id`), but for its length.
pub(super) const ID: &str = "^[A-Za-z0-9][A-Za-z0-9._:-]*$";
/// And one with slashes (`is_path_id`): no segment is empty, `.` or `..`.
pub(super) const PATH_ID: &str =
    r"^[A-Za-z0-9][A-Za-z0-9._:-]*(?:/(?:\.*[A-Za-z0-9_:-][A-Za-z0-9._:-]*|\.{3,}))*$";
/// A project, or all below it.
const SCOPE: &str =
    r"^[A-Za-z0-9][A-Za-z0-9._:-]*(?:/(?:\.*[A-Za-z0-9_:-][A-Za-z0-9._:-]*|\.{3,}))*(?:/\*)?$";
const MIN_INTEGER: i64 = -9_007_199_254_740_991;

/// A schema among the components of the document.
pub(in crate::http) fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

pub(in crate::http) fn digest() -> Value {
    refer("Digest")
}

pub(in crate::http) fn id() -> Value {
    refer("Id")
}

pub(in crate::http) fn path_id() -> Value {
    refer("PathId")
}

pub(in crate::http) fn time() -> Value {
    refer("Time")
}

pub(in crate::http) fn uuid() -> Value {
    json!({ "type": "string", "format": "uuid" })
}

pub(in crate::http) fn uri() -> Value {
    json!({ "type": "string", "format": "uri-reference" })
}

pub(in crate::http) fn flag() -> Value {
    json!({ "type": "boolean" })
}

/// Anything at all.
pub(in crate::http) fn anything() -> Value {
    json!({})
}

/// An object of anything.
pub(in crate::http) fn any_object() -> Value {
    json!({ "type": "object" })
}

/// A string of anything.
pub(in crate::http) fn any_text() -> Value {
    json!({ "type": "string" })
}

pub(in crate::http) fn either(one: Value, other: Value) -> Value {
    json!({ "anyOf": [one, other] })
}

pub(in crate::http) fn some(min: usize, max: usize, items: Value) -> Value {
    json!({ "type": "array", "items": items, "minItems": min, "maxItems": max })
}

/// The name of a token.
pub(in crate::http) fn short_id() -> Value {
    json!({ "allOf": [id()], "type": "string", "maxLength": MAX_REPORTER_BYTES })
}

/// `*`, a project, or all below a prefix.
pub(in crate::http) fn scope() -> Value {
    either(one_of(["*"]), json!({ "type": "string", "pattern": SCOPE, "maxLength": 130 }))
}

/// Pointers to what may be withheld, in which `*` is any index; or all that may be.
pub(in crate::http) fn private() -> Value {
    let max_bytes = MAX_POINTER_BYTES;
    let pointer =
        json!({ "type": "string", "pattern": "^/", "maxLength": max_bytes, "examples": DEFAULT_PRIVATE });
    either(some(0, MAX_POINTERS, pointer), one_of(["*"]))
}

/// Seconds.
pub(in crate::http) fn period() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX })
}

pub(in crate::http) fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

pub(in crate::http) fn count() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": MAX_SAFE_INTEGER })
}

/// Any text: 64 KiB of UTF-8 at most.
pub(in crate::http) fn text() -> Value {
    json!({ "type": "string", "maxLength": MAX_TEXT_BYTES })
}

/// A number, and which it is unless said.
pub(in crate::http) fn number(min: u64, max: u64, default: u64) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max, "default": default })
}

pub(in crate::http) fn many(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

pub(in crate::http) fn one_of(words: impl AsRef<[&'static str]>) -> Value {
    json!({ "enum": words.as_ref() })
}

/// An object with these members, all there, and no others.
pub(in crate::http) fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let required = members.each_ref().map(|(name, _)| *name).to_vec();
    let properties: Map<String, Value> =
        members.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

/// The same object with members that may be there.
pub(in crate::http) fn maybe<const N: usize>(mut object: Value, members: [(&str, Value); N]) -> Value {
    for (name, schema) in members {
        object["properties"][name] = schema;
    }
    object
}

/// The same object with more members that are all there.
pub(in crate::http) fn with<const N: usize>(mut object: Value, members: [(&str, Value); N]) -> Value {
    if let Some(required) = object["required"].as_array_mut() {
        required.extend(members.each_ref().map(|(name, _)| (*name).into()));
    }
    maybe(object, members)
}

/// What a producer sends of an element: what the model has, without what the service sets; `optional` is derived if it is not there.
pub(in crate::http) fn element(kind: Kind, without: &[&str], optional: &[&str]) -> Value {
    let sent = |member: &&Member| !without.contains(&member.name);
    let members: Vec<Member> = kind.members().iter().filter(sent).copied().collect();
    let mut schema = object_of(&members);
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| !name.as_str().is_some_and(|name| optional.contains(&name)));
    }
    schema
}

fn object_of(members: &[Member]) -> Value {
    let required: Vec<_> =
        members.iter().filter(|member| member.required).map(|member| member.name).collect();
    let properties: Map<String, Value> =
        members.iter().map(|member| (member.name.to_owned(), of(member.form))).collect();
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

fn of(form: Form) -> Value {
    match form {
        Form::Any => anything(),
        Form::Bool => flag(),
        Form::Count => count(),
        Form::Digest => digest(),
        Form::ExitCode => {
            json!({ "type": ["integer", "null"], "minimum": MIN_INTEGER, "maximum": MAX_SAFE_INTEGER })
        }
        Form::Id => id(),
        Form::Labels => json!({ "type": "object", "propertyNames": id(), "additionalProperties": text() }),
        Form::List(form) => many(of(*form)),
        Form::Map => any_object(),
        Form::Object(members) => object_of(members),
        Form::OneOf(words) => one_of(words),
        Form::PathId => path_id(),
        Form::Positive => json!({ "type": "integer", "minimum": 1, "maximum": MAX_SAFE_INTEGER }),
        Form::Pointer => {
            json!({ "allOf": [text()], "type": "string", "pattern": "^(?:/(?:[^/~]|~[01])*)*$" })
        }
        Form::Text | Form::Word => text(),
        Form::Time => time(),
    }
}
