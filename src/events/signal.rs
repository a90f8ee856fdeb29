//! Signals: what a producer tells who watches, and nobody keeps.

use std::sync::Arc;

use super::filter::{Filter, FilterUnknown};
use super::frame::{Frame, Source};
use super::vocabulary::EventKind;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::envelope::limits::{MAX_ELEMENT_BYTES, MAX_TEXT_BYTES, is_id, is_path_id};
use crate::evidence::envelope::{Fault, FaultReason, contains_commitment};
use crate::evidence::time::Timestamp;
use crate::journal::{Masks, Refusal, TakenSignals};

/// One signal, of the form that it must have.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    name: String,
    /// Without `type`.
    members: Object<'static>,
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
    pub fn parse(sent: Value<'_>) -> Result<Self, Refusal> {
        let Value::Object(sent) = sent else { return Err(Fault::expected("an object").into()) };
        let Some(name) = sent.text("type").filter(|name| Self::is_type(name)).map(str::to_owned) else {
            let types = "progress, token, heartbeat, or custom: with a name";
            return Err(Fault::expected(types).under("type").into());
        };
        check(EventKind::of(&name), &sent)?;
        let bytes = sent.canonical().len();
        if bytes > MAX_ELEMENT_BYTES {
            return Err(Refusal::TooLarge { bytes, max: MAX_ELEMENT_BYTES });
        }
        let mut members = sent.into_owned();
        members.remove("type");
        Ok(Self { name, members })
    }

    /// Its `type`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Masks its free text, each by itself. Names are not masked: one that a rule matches is refused.
    pub fn mask(&mut self, masks: &Masks) -> Result<(), Refusal> {
        if masks.is_empty() {
            return Ok(());
        }
        let mut free = self.members.iter_mut().filter(|(name, _)| *name != "step_id");
        free.try_for_each(|(name, value)| mask(value, masks, name))
    }

    /// The event that it is.
    pub(crate) fn frame(mut self, source: &Arc<Source>, at: Timestamp, signal_id: String) -> Frame {
        self.members.insert("signal_id", signal_id);
        Frame::new(None, &self.name, at, Some(source.clone()), self.members)
    }
}

impl Filter {
    /// The signals that a run takes, by what its project has settled: all, where it has not.
    pub fn of_signals(settled: Option<&TakenSignals>) -> Result<Self, FilterUnknown> {
        match settled {
            None => Ok(Self::default()),
            Some(TakenSignals::Preset(name)) => Self::preset(name),
            Some(TakenSignals::Types(names)) => match names.iter().find(|name| !Signal::is_type(name)) {
                Some(name) => Err(FilterUnknown { name: name.clone() }),
                None => Self::types(names.iter().map(String::as_str)),
            },
        }
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

/// `member` is the one in which it stands.
fn mask(value: &mut Value<'static>, masks: &Masks, member: &str) -> Result<(), Refusal> {
    match value {
        Value::Text(text) => {
            if let (std::borrow::Cow::Owned(masked), _) = masks.text(text) {
                *text = masked.into();
            }
            Ok(())
        }
        Value::List(items) => items.iter_mut().try_for_each(|item| mask(item, masks, member)),
        Value::Object(object) => object.iter_mut().try_for_each(|(name, value)| match masks.matched(name) {
            Some(rule_id) => {
                Err(Refusal::NameRedacted { at: format!("/{member}"), rule_id: rule_id.to_owned() })
            }
            None => mask(value, masks, member),
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by a panic")]
mod tests {
    use super::*;
    use crate::evidence::canonical;
    use crate::journal::{Entry, Rule};

    fn parsed(text: &str) -> Result<Signal, Refusal> {
        Signal::parse(canonical::parse(text.as_bytes(), 1 << 20).unwrap())
    }

    #[test]
    fn a_signal_is_told_with_its_members_and_has_no_id() {
        let source = Source { run_id: "r".into(), evidence_id: "e".into(), project: "p".into() };
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
            assert_eq!(parsed(text).unwrap_err().pointer().as_deref(), Some(at), "{text}");
        }
        let large = format!(r#"{{"type":"custom:x","data":{{"a":["{long}","{long}","{long}","{long}"]}}}}"#);
        assert_eq!(parsed(&large).unwrap_err().code(), "element_too_large");
    }

    #[test]
    fn what_a_rule_matches_is_masked_wherever_it_stands() {
        let rule =
            Rule { rule_id: "k".into(), pattern: "key-[0-9]+".into(), replacement: Rule::REPLACEMENT.into() };
        let masks = Masks::parse(&[rule]).unwrap();
        for text in [
            r#"{"type":"token","text":"a key-1 b"}"#,
            r#"{"type":"progress","message":"key-22"}"#,
            r#"{"type":"custom:x","data":{"a":[{"b":"key-3"}]}}"#,
        ] {
            let mut signal = parsed(text).unwrap();
            signal.mask(&masks).unwrap();
            let masked = signal.members.canonical();
            assert!(masked.contains("***") && !masked.contains("key-"), "{masked}");
        }
        let mut named = parsed(r#"{"type":"custom:x","data":{"a":{"key-1":0}}}"#).unwrap();
        assert_eq!(named.mask(&masks).unwrap_err().code(), "name_redacted");
    }

    #[test]
    fn what_is_settled_takes_signals_and_names_nothing_else() {
        let types = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            Filter::of_signals(Some(&TakenSignals::Types(names)))
        };
        assert!(Filter::of_signals(None).unwrap().is_allowed("custom:x"));
        assert!(!types(&[]).unwrap().is_allowed("token"));
        let some = types(&["token", "custom:x"]).unwrap();
        let taken = ["token", "custom:x", "custom:y", "heartbeat"].map(|name| some.is_allowed(name));
        assert_eq!(taken, [true, true, false, false]);
        let chat = Filter::of_signals(Some(&TakenSignals::Preset("chat".into()))).unwrap();
        assert!(chat.is_allowed("token") && !chat.is_allowed("progress"));
        for name in ["step_finished", "tokens", "custom:", "chat", "log", ""] {
            assert_eq!(types(&["token", name]), Err(FilterUnknown { name: name.into() }));
        }
        assert!(Filter::of_signals(Some(&TakenSignals::Preset("token".into()))).is_err());
    }

    /// What is recorded is told under its name: no producer may call an event like one of the service's.
    #[test]
    fn every_name_that_is_not_the_producers_own_is_refused_for_entries() {
        use EventKind::{
            Checkpoint, PhaseFinished, PhaseStarted, Retry, ValidationFailed, ValidationPassed,
            ValidationStarted,
        };
        let own = [
            PhaseStarted,
            PhaseFinished,
            ValidationStarted,
            ValidationPassed,
            ValidationFailed,
            Checkpoint,
            Retry,
        ];
        let entry = |name: &str| {
            let members = [("type", "event".to_owned()), ("name", name.to_owned())];
            Entry::parse(Value::Object(Object::from_iter(members)))
        };
        for kind in EventKind::NAMED.iter().filter(|kind| !kind.is_open()) {
            let of_the_producer = own.contains(kind);
            assert_eq!(entry(kind.name()).is_ok(), of_the_producer, "{kind}");
            let own_name = (!of_the_producer).then(|| kind.name());
            for name in kind.aliases().iter().copied().chain(own_name) {
                assert_eq!(entry(name), Err(Refusal::EventNameReserved { name: name.into() }));
            }
        }
    }
}
