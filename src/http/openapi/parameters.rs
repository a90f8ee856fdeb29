//! Every parameter and every header on one screen: a name means the same wherever it stands.

use serde_json::{Value, json};

use super::schema::{any_text, digest, flag, id, many, one_of, path_id, time, uri, uuid};
use crate::evidence::envelope::RESULTS;
use crate::evidence::verify::Expected;
use crate::journal::State;

/// The parameter of that name in a path, a query, or the headers.
pub(super) fn of(place: &str, name: &str) -> Value {
    let (description, schema) = known(name).unwrap_or(("", json!(true)));
    json!({ "name": name, "in": place, "required": place == "path", "description": description, "schema": schema })
}

/// The header of that name in an answer.
pub(super) fn header(name: &str, required: bool) -> Value {
    let (description, schema) = known(name).unwrap_or(("", json!(true)));
    json!({ "required": required, "description": description, "schema": schema })
}

/// What is said of a name, and what it may be.
pub(super) fn known(name: &str) -> Option<(&'static str, Value)> {
    Some(match name {
        "commit_sha" => ("The commit that the run worked on, as it was recorded.", any_text()),
        "cursor" => ("`next` of the page before.", uuid()),
        "envelope" => ("Whether the envelope so far is shown too.", flag()),
        "evidence_id" => ("A run: its evidence_id, or a run_id that no other project has.", id()),
        "expect" => ("`member=value`: what the run must be.", many(expectation())),
        "gate_id" => ("A gate of the run.", id()),
        "head" => ("`SEQ:HASH`: a head that was kept, and must be in the chain.", many(kept_head())),
        "id" => ("The id of a token.", uuid()),
        "label" => (
            "`name:value`: a label that the run has.",
            many(json!({ "type": "string", "pattern": "^[^:]*:" })),
        ),
        "limit" => (
            "How many at most.",
            json!({ "type": "integer", "minimum": 1, "maximum": 1_000, "default": 100 }),
        ),
        "opened_after" => ("Runs opened after it.", time()),
        "opened_before" => ("Runs opened before it.", time()),
        "project" => ("A project.", path_id()),
        "result" => ("How the run ended.", one_of(RESULTS)),
        "run" => {
            ("A run: its evidence_id, or its run_id; with `project` where several projects have it.", id())
        }
        "state" => ("How far the run is.", one_of(State::ALL.map(State::as_str))),
        "trust" => ("`none`: judge without the keys of this service.", one_of(["service", "none"])),
        "wait" => (
            "Seconds to wait for an answer to the gate.",
            json!({ "type": "integer", "minimum": 0, "maximum": 60, "default": 0 }),
        ),
        "ETag" => ("The digest of the bytes sent, in quotes.", any_text()),
        "Idempotency-Key" => (
            "Makes sending the same again harmless: the first answer comes again.",
            json!({ "type": "string", "pattern": "^[!-~]{1,255}$" }),
        ),
        "If-Match" => (
            "Record only if the last `entry_hash` of the chain is this one, in quotes.",
            json!({ "type": "string", "pattern": "^\"sha256:[0-9a-f]{64}\"$" }),
        ),
        "If-None-Match" => ("An `ETag` that is known already.", any_text()),
        "Link" => ("The next page, `rel=\"next\"`.", any_text()),
        "Location" => ("The run.", uri()),
        "Retry-After" => {
            ("Seconds until it is worth trying again.", json!({ "type": "integer", "minimum": 1 }))
        }
        "Sealstone-Envelope-Digest" => ("The digest that the seal signs.", digest()),
        "WWW-Authenticate" => ("How to say who asks.", json!({ "type": "string", "pattern": "^Bearer " })),
        _ => return None,
    })
}

fn expectation() -> Value {
    let members = Expected::ALL.map(Expected::as_str).join("|");
    json!({ "type": "string", "pattern": format!("^(?:{members})=") })
}

fn kept_head() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]{1,15}:sha256:[0-9a-f]{64}$" })
}
