//! Every parameter and every header on one screen: a name means the same wherever it stands.

use serde_json::{Value, json};

use super::schema::{any_text, count, digest, flag, id, many, number, one_of, path_id, time, uri, uuid};
use crate::events::Preset;
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
        "artifact" => ("The digest of an artifact that the envelope has.", digest()),
        "at" => ("The pointer of a disclosure.", any_text()),
        "attempt" => ("Which attempt of the step.", number(1, u32::MAX.into(), 1)),
        "commit_sha" => ("The commit that the run worked on, as it was recorded.", any_text()),
        "cursor" => ("`next` of the page before.", any_text()),
        "disclosures" => {
            ("`all`: for auditors and admins; others are refused, and not given less.", one_of(["all"]))
        }
        "envelope" => ("Whether the envelope so far is shown too.", flag()),
        "evidence_id" => ("A run: its evidence_id, or a run_id that no other project has.", id()),
        "expect" => ("`member=value`: what the run must be.", many(expectation())),
        "from" => ("The `log_pos` of the first line.", count()),
        "from_line" => ("The first line, from 0.", count()),
        "gate_id" => ("A gate of the run.", id()),
        "head" => ("`SEQ:HASH`: a head that was kept, and must be in the chain.", many(kept_head())),
        "heartbeat" => ("Seconds after which the stream says that it is there.", number(5, 60, 15)),
        "id" => ("The id of a token.", uuid()),
        "label" => (
            "`name:value`: a label that the run has.",
            many(json!({ "type": "string", "pattern": "^[^:]*:" })),
        ),
        "last_event_id" => ("Like `Last-Event-ID`, for who cannot send that.", any_text()),
        "limit" => ("How many at most.", number(1, 1_000, 100)),
        "lines" => ("How many lines at most.", number(1, 10_000, 1_000)),
        "opened_after" => ("Runs opened after it.", time()),
        "opened_before" => ("Runs opened before it.", time()),
        "preset" => (
            "Which events: `debug` and `all` are all but log lines.",
            one_of(Preset::ALL.map(Preset::as_str)),
        ),
        "project" => ("A project.", path_id()),
        "result" => ("How the run ended.", one_of(RESULTS)),
        "run" => {
            ("A run: its evidence_id, or its run_id; with `project` where several projects have it.", id())
        }
        "sealed_after" => ("Envelopes sealed after it.", time()),
        "sealed_before" => ("Envelopes sealed before it.", time()),
        "since" => ("Begin with the first event that is not older.", time()),
        "state" => ("How far the run is.", one_of(State::ALL.map(State::as_str))),
        "trust" => ("`none`: judge without the keys of this service.", one_of(["service", "none"])),
        "step_id" => ("A step.", path_id()),
        "stream" => ("What the bytes were written to; `stdout` unless said.", one_of(["stdout", "stderr"])),
        "types" => (
            "Which events: names like `step_finished`, and of the producer's own `custom:` ones like `custom:deployed`, with commas between.",
            any_text(),
        ),
        "wait" => ("Seconds to wait for an answer to the gate.", number(0, 60, 0)),
        "Accept-Ranges" => ("What `Range` is counted in.", one_of(["bytes"])),
        "Content-Range" => ("Which of the bytes these are, and how many there are.", any_text()),
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
        "If-Range" => ("An `ETag`: of something else, all bytes are wanted.", any_text()),
        "Last-Event-ID" => ("The `id` after which the stream goes on.", any_text()),
        "Link" => ("The next page, `rel=\"next\"`.", any_text()),
        "Location" => ("The run.", uri()),
        "Range" => ("One range, like `bytes=0-99`; several are as good as none.", any_text()),
        "Retry-After" => {
            ("Seconds until it is worth trying again.", json!({ "type": "integer", "minimum": 1 }))
        }
        "Sealstone-Envelope-Digest" => ("The digest that the seal signs.", digest()),
        "Sealstone-More" => ("Whether there are more lines.", one_of(["true", "false"])),
        "Set-Cookie" => ("The session, or what removes it.", any_text()),
        "Upload-Offset" => ("Where the next bytes of the log go; without, at its end.", count()),
        "WWW-Authenticate" => ("How to say who asks.", json!({ "type": "string", "pattern": "^Bearer " })),
        "X-Request-Id" => (
            "The request's own, where it came with one of 1–64 of A–Z a–z 0–9 . _ : -; else a new one.",
            json!({ "type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$" }),
        ),
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
