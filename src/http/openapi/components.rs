//! The schemas that several routes share, and those that are published in schemas/.

use serde_json::{Map, Value, json};

use super::schema::{
    ID, PATH_ID, any_object, any_text, count, digest, either, element, flag, id, many, maybe, object, one_of,
    path_id, period, refer, short_id, text, time, uuid, with,
};
use crate::events::Preset;
use crate::evidence::envelope::{Kind, OF_THE_FINISHED, OF_THE_SERVICE, RESULTS};
use crate::journal::State;
use crate::service::Role;

/// The published schemas, by the names that they have here and their files.
const PUBLISHED: [(&str, &str, &str); 5] = [
    ("Envelope", "envelope.v1.json", include_str!("../../../schemas/envelope.v1.json")),
    ("Event", "event.v1.json", include_str!("../../../schemas/event.v1.json")),
    ("Keyring", "keyring.v1.json", include_str!("../../../schemas/keyring.v1.json")),
    ("SealedEnvelope", "sealed-envelope.v1.json", include_str!("../../../schemas/sealed-envelope.v1.json")),
    ("Verification", "verification.v1.json", include_str!("../../../schemas/verification.v1.json")),
];

pub(super) fn schemas() -> Map<String, Value> {
    let own = [
        ("Digest", json!({ "$ref": "#/components/schemas/Envelope/$defs/digest" })),
        ("Entry", entry()),
        ("Gate", gate()),
        ("Head", object([("seq", count()), ("entry_hash", digest())])),
        ("Id", json!({ "type": "string", "pattern": ID, "maxLength": 128 })),
        ("NewToken", with(token(), [("token", any_text())])),
        ("PathId", json!({ "type": "string", "pattern": PATH_ID, "maxLength": 128 })),
        ("Problem", problem()),
        ("Settings", settings()),
        ("Signal", signal()),
        ("SignalType", either(one_of(["progress", "token", "heartbeat"]), custom_type())),
        ("Snapshot", snapshot()),
        ("Summary", summary()),
        ("Time", json!({ "$ref": "#/components/schemas/Envelope/$defs/time" })),
        ("Token", token()),
    ];
    let published = PUBLISHED.map(|(name, _, text)| (name, published(name, text)));
    own.into_iter().chain(published).map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// A published schema as it stands here: what it refers to is beside it.
fn published(name: &str, text: &str) -> Value {
    let mut schema: Value = serde_json::from_str(text).expect("the files in schemas/ are JSON, a test holds");
    for member in ["$id", "$schema"] {
        schema.as_object_mut().map(|members| members.remove(member));
    }
    refer_here(&mut schema, name);
    schema
}

fn refer_here(schema: &mut Value, own: &str) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(target)) = members.get_mut("$ref") {
                let (file, place) = target.split_once('#').unwrap_or((target.as_str(), ""));
                let name = PUBLISHED.iter().find(|(_, of, _)| *of == file).map_or(own, |(name, ..)| name);
                *target = format!("#/components/schemas/{name}{place}");
            }
            members.values_mut().for_each(|value| refer_here(value, own));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| refer_here(item, own)),
        _ => {}
    }
}

/// What can be recorded, a schema for each `type`.
fn entry() -> Value {
    let typed = |types: &[&'static str], schema| with(schema, [("type", one_of(types))]);
    let of = |kind: Kind, optional: &[&str]| typed(&[kind.as_str()], element(kind, OF_THE_SERVICE, optional));
    let of_the_start: Vec<&str> = [OF_THE_SERVICE, OF_THE_FINISHED].concat();
    let finished = element(Kind::Step, OF_THE_SERVICE, &["kind"]);
    let log =
        json!({ "allOf": [object([("digest", digest())])], "description": "What its log has to have." });
    json!({
        "description": "What is recorded, by its `type`. The service sets what is not here. A `step` inherits what it leaves out from its `step_started`.",
        "oneOf": [
            typed(&["step_started"], element(Kind::Step, &of_the_start, &[])),
            typed(&["step", "step_finished"], maybe(finished, [("log", log)])),
            of(Kind::Artifact, &["content_uri"]),
            of(Kind::Observation, &[]),
            of(Kind::Event, &[]),
            of(Kind::Redaction, &[]),
        ],
    })
}

fn problem() -> Value {
    let always = object([
        ("type", json!({ "const": "about:blank" })),
        ("title", any_text()),
        ("status", json!({ "type": "integer" })),
        ("code", json!({ "type": "string", "description": "Stable: programs may rely on it." })),
        ("detail", json!({ "type": "string", "description": "What happened, and what to do." })),
    ]);
    let pointer = json!({ "type": "string", "description": "The member that is wrong (RFC 6901)." });
    let line = json!({ "type": "integer", "minimum": 1, "description": "The line of an NDJSON body." });
    let offset = json!({ "allOf": [count()], "description": "Where the log ends." });
    let request_id =
        json!({ "type": "string", "description": "The `X-Request-Id`, where that helps who looks for it." });
    maybe(always, [("pointer", pointer), ("line", line), ("offset", offset), ("request_id", request_id)])
}

/// A run in short.
fn summary() -> Value {
    let sections = ["steps", "artifacts", "observations", "gates", "events", "redactions"];
    let counts = object(sections.map(|section| (section, count())));
    let always = object([
        ("run_id", id()),
        ("evidence_id", uuid()),
        ("project", path_id()),
        ("state", one_of(State::ALL.map(State::as_str))),
        ("needs_input", flag()),
        ("abort_requested", flag()),
        ("opened_at", time()),
        ("labels", any_object()),
        ("head", refer("Head")),
        ("pos", count()),
        ("counts", counts),
    ]);
    let subject = json!({ "type": "object", "description": "As recorded: commitments where it is private." });
    maybe(
        always,
        [
            ("result", one_of(RESULTS)),
            ("closed_at", time()),
            ("subject", subject),
            ("envelope_digest", digest()),
        ],
    )
}

fn snapshot() -> Value {
    let waiting = with(summary(), ["pending_steps", "open_gates"].map(|name| (name, many(any_object()))));
    let waiting = with(waiting, [("idle_timeout", period()), ("private", many(any_text()))]);
    maybe(waiting, [("envelope", refer("Envelope")), ("progress", refer("Event"))])
}

/// A question to people, and the answer once it is there. What is private is not shown while it is open, and a commitment
/// afterwards. Where something was recorded: its place in the journal, and the chain's head after it.
fn gate() -> Value {
    let commitment = json!({ "$ref": "#/components/schemas/Envelope/$defs/commitment" });
    let private = |schema| either(schema, commitment.clone());
    let always = object([("gate_id", id()), ("opened_at", time()), ("state", one_of(["open", "resolved"]))]);
    let decision = one_of(["approved", "rejected", "unanswered"]);
    let reporter = object([("name", any_text())]);
    maybe(
        always,
        [
            ("reason", private(text())),
            ("step_id", path_id()),
            ("decision", decision),
            ("comment", private(text())),
            ("actor", private(text())),
            ("resolved_at", time()),
            ("seen_head", digest()),
            ("seq", count()),
            ("reported_by", reporter),
            ("head", refer("Head")),
            ("pos", count()),
        ],
    )
}

fn settings() -> Value {
    let pointers = many(any_text());
    let always = object([("private", pointers.clone()), ("public", pointers)]);
    let rule = object([("rule_id", id()), ("pattern", any_text()), ("replacement", any_text())]);
    maybe(
        always,
        [
            ("max_run_duration", period()),
            ("idle_timeout", period()),
            ("log_retention", period()),
            ("redact", many(rule)),
            ("signals", either(one_of(Preset::ALL.map(Preset::as_str)), many(refer("SignalType")))),
        ],
    )
}

/// What is told and not recorded, a schema for each `type`.
fn signal() -> Value {
    let of = |name| object([("type", one_of([name]))]);
    let fraction = json!({ "type": "number", "minimum": 0, "maximum": 1 });
    json!({
        "description": "What is told to who watches, by its `type`, and not recorded.",
        "oneOf": [
            maybe(of("progress"), [("fraction", fraction), ("message", text()), ("step_id", path_id())]),
            maybe(with(of("token"), [("text", text())]), [("step_id", path_id())]),
            of("heartbeat"),
            maybe(object([("type", custom_type())]), [("data", any_object())]),
        ],
    })
}

fn custom_type() -> Value {
    json!({ "type": "string", "pattern": "^custom:[A-Za-z0-9._:-]+$", "maxLength": 128 })
}

fn token() -> Value {
    let always = object([
        ("id", uuid()),
        ("name", short_id()),
        ("role", one_of(Role::ALL.map(Role::as_str))),
        ("projects", many(any_text())),
        ("created_at", time()),
    ]);
    maybe(always, [("expires_at", time())])
}
