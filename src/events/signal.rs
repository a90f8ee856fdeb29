//! Signals: what a producer tells who watches, and nobody keeps.

use std::sync::Arc;

use super::frame::{Frame, Source};
use super::vocabulary::EventKind;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::envelope::limits::{MAX_ELEMENT_BYTES, MAX_TEXT_BYTES, is_id, is_path_id};
use crate::evidence::envelope::{Fault, FaultReason, contains_commitment};
use crate::evidence::record::RecordError;
use crate::evidence::time::Timestamp;

/// One signal, of the form that it must have.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    name: String,
    /// Without `type`.
    pub(super) members: Object<'static>,
}

type Check = fn(&Value<'_>) -> Result<(), Fault>;

/// What a signal may have besides its `type`.
const PROGRESS: &[(&str, Check)] = &[("fraction", fraction), ("message", text), ("step_id", step_id)];
const TOKEN: &[(&str, Check)] = &[("text", text), ("step_id", step_id)];
const CUSTOM: &[(&str, Check)] = &[("data", data)];

impl Signal {
    /// Whether a signal may be of that `type`: progress, token, heartbeat, or custom: with a name.
    pub fn is_type(name: &str) -> bool {
        match EventKind::of(name) {
            EventKind::Progress | EventKind::Token | EventKind::Heartbeat => true,
            EventKind::Custom => is_id(name) && name != EventKind::Custom.name(),
            _ => false,
        }
    }

    /// Reads what was sent.
    pub fn parse(sent: Value<'_>) -> Result<Self, RecordError> {
        let Value::Object(sent) = sent else { return Err(Fault::expected("an object").into()) };
        let Some(name) = sent.text("type").filter(|name| Self::is_type(name)).map(str::to_owned) else {
            let types = "progress, token, heartbeat, or custom: with a name";
            return Err(Fault::expected(types).under("type").into());
        };
        check(EventKind::of(&name), &sent)?;
        let bytes = sent.canonical().len();
        if bytes > MAX_ELEMENT_BYTES {
            return Err(RecordError::ElementTooLarge { bytes, max: MAX_ELEMENT_BYTES });
        }
        let mut members = sent.into_owned();
        members.remove("type");
        Ok(Self { name, members })
    }

    /// Its `type`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The event that it is.
    pub(crate) fn frame(mut self, source: &Arc<Source>, at: Timestamp, signal_id: String) -> Frame {
        self.members.insert("signal_id", signal_id);
        Frame::new(None, &self.name, at, Some(source.clone()), self.members)
    }
}

#[cfg(feature = "client")]
impl From<Signal> for Object<'static> {
    fn from(signal: Signal) -> Self {
        let mut sent = signal.members;
        sent.insert("type", signal.name);
        sent
    }
}

fn check(kind: EventKind, sent: &Object<'_>) -> Result<(), Fault> {
    let known = match kind {
        EventKind::Progress => PROGRESS,
        EventKind::Token => TOKEN,
        EventKind::Custom => CUSTOM,
        _ => &[],
    };
    for (member, value) in sent.iter().filter(|(member, _)| *member != "type") {
        let check = known.iter().find(|(name, _)| *name == member);
        let checked = check.map_or(Err(FaultReason::Unknown.into()), |(_, check)| check(value));
        checked.map_err(|fault| fault.under(member))?;
    }
    match kind == EventKind::Token && sent.get("text").is_none() {
        true => Err(Fault::from(FaultReason::Missing).under("text")),
        false => Ok(()),
    }
}

fn fraction(value: &Value<'_>) -> Result<(), Fault> {
    match value {
        Value::Number(number) if (0.0..=1.0).contains(&number.get()) => Ok(()),
        _ => Err(Fault::expected("a number from 0 to 1")),
    }
}

fn text(value: &Value<'_>) -> Result<(), Fault> {
    match value.as_text() {
        Some(text) if text.len() > MAX_TEXT_BYTES => Err(FaultReason::TooLong.into()),
        Some(_) => Ok(()),
        None => Err(Fault::expected("text")),
    }
}

fn step_id(value: &Value<'_>) -> Result<(), Fault> {
    match value.as_text() {
        Some(id) if is_path_id(id) => Ok(()),
        _ => Err(Fault::expected("an id: 1–128 of A–Z a–z 0–9 . _ : - /, first a letter or digit")),
    }
}

/// Anything, but nothing that looks withheld: of signals nothing is.
fn data(value: &Value<'_>) -> Result<(), Fault> {
    match value {
        Value::Object(_) if contains_commitment(value) => Err(FaultReason::Reserved.into()),
        Value::Object(_) => Ok(()),
        _ => Err(Fault::expected("an object")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by a panic")]
mod tests {
    use super::*;
    use crate::evidence::canonical;

    fn parsed(text: &str) -> Result<Signal, RecordError> {
        Signal::parse(canonical::parse(text.as_bytes(), 1 << 20).unwrap())
    }

    #[test]
    fn a_signal_is_told_with_its_members_and_has_no_id() {
        let source = Source {
            run_id: "r".into(),
            evidence_id: "e".into(),
            project: "p".into(),
            withholds_logs: false,
        };
        let told = |text: &str| {
            let frame =
                parsed(text).unwrap().frame(&source.clone().into(), Timestamp::from_unix_ms(0), "s".into());
            assert_eq!(frame.id(), None);
            (frame.name().to_owned(), frame.data().to_owned())
        };
        let (name, data) = told(r#"{"type":"progress","fraction":0.5,"message":"half","step_id":"a/b"}"#);
        let around = r#""at":"1970-01-01T00:00:00.000Z","evidence_id":"e""#;
        let rest = r#""project":"p","run_id":"r","signal_id":"s","step_id":"a/b","type":"progress""#;
        assert_eq!(
            (name.as_str(), data),
            ("progress", format!("{{{around},\"fraction\":0.5,\"message\":\"half\",{rest}}}"))
        );
        for (text, name) in [
            (r#"{"type":"progress"}"#, "progress"),
            (r#"{"type":"token","text":""}"#, "token"),
            (r#"{"type":"heartbeat"}"#, "heartbeat"),
            (r#"{"type":"custom:x","data":{"a":[1,null]}}"#, "custom:x"),
            (r#"{"type":"custom:x"}"#, "custom:x"),
        ] {
            assert_eq!(told(text).0, name);
        }
    }

    #[test]
    fn what_is_no_signal_is_refused_at_the_member() {
        let long = "x".repeat(MAX_TEXT_BYTES.saturating_add(1));
        for (text, at) in [
            ("[]", ""),
            ("{}", "/type"),
            (r#"{"type":"log"}"#, "/type"),
            (r#"{"type":"step_finished"}"#, "/type"),
            (r#"{"type":"custom:"}"#, "/type"),
            (r#"{"type":"custom:a b"}"#, "/type"),
            (r#"{"type":"custom:a\nevent: x"}"#, "/type"),
            (r#"{"type":"heartbeat","text":"a"}"#, "/text"),
            (r#"{"type":"token"}"#, "/text"),
            (r#"{"type":"token","text":1}"#, "/text"),
            (r#"{"type":"token","text":"a","signal_id":"a"}"#, "/signal_id"),
            (r#"{"type":"token","text":"a","replayed":true}"#, "/replayed"),
            (r#"{"type":"progress","fraction":1.01}"#, "/fraction"),
            (r#"{"type":"progress","fraction":-0.1}"#, "/fraction"),
            (r#"{"type":"progress","fraction":"0.5"}"#, "/fraction"),
            (r#"{"type":"progress","step_id":"../x"}"#, "/step_id"),
            (r#"{"type":"custom:x","data":[]}"#, "/data"),
            (r#"{"type":"custom:x","data":{"a":{"$withheld":"sha256:00"}}}"#, "/data"),
            (&format!(r#"{{"type":"token","text":"{long}"}}"#), "/text"),
        ] {
            assert!(matches!(parsed(text), Err(RecordError::Element(fault)) if fault.at == at), "{text}");
        }
        let large = format!(r#"{{"type":"custom:x","data":{{"a":["{long}","{long}","{long}","{long}"]}}}}"#);
        assert!(matches!(parsed(&large), Err(RecordError::ElementTooLarge { .. })));
    }
}
