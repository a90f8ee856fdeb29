//! Signals in a service: those that a project takes, with what its rules match masked.

use super::filter::{Filter, FilterUnknown};
use super::signal::Signal;
use crate::evidence::canonical::Value;
use crate::journal::{Masks, Refusal, TakenSignals};

impl Signal {
    /// Masks its free text, each by itself. Names are not masked: one that a rule matches is refused.
    pub fn mask(&mut self, masks: &Masks) -> Result<(), Refusal> {
        if masks.is_empty() {
            return Ok(());
        }
        let mut free = self.members.iter_mut().filter(|(name, _)| *name != "step_id");
        free.try_for_each(|(name, value)| mask(value, masks, name))
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
#[allow(
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]
mod tests {
    use super::*;
    use crate::events::EventKind;
    use crate::evidence::canonical::{self, Object};
    use crate::journal::{Entry, Rule};

    fn parsed(text: &str) -> Signal {
        Signal::parse(canonical::parse(text.as_bytes(), 1 << 20).unwrap()).unwrap()
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
            let mut signal = parsed(text);
            signal.mask(&masks).unwrap();
            let masked = signal.members.canonical();
            assert!(masked.contains("***") && !masked.contains("key-"), "{masked}");
        }
        let mut named = parsed(r#"{"type":"custom:x","data":{"a":{"key-1":0}}}"#);
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
        let refused = |name: &str| {
            let members = [("type", "event".to_owned()), ("name", name.to_owned())];
            match Entry::parse(Value::Object(Object::from_iter(members))) {
                Ok(_) => false,
                Err(Refusal::EventNameReserved { name: refused }) => refused == name,
                Err(other) => panic!("{name}: {other}"),
            }
        };
        let mut own = 0;
        for kind in EventKind::NAMED.iter().filter(|kind| !kind.is_open()) {
            for name in kind.aliases().iter().copied().chain([kind.name()]) {
                assert_eq!(refused(name), EventKind::is_reserved(name), "{name}");
                own += u32::from(!refused(name));
            }
        }
        assert_eq!(own, 7);
        for name in ["open", "message", "error", "deployed", "custom:x", "tokens"] {
            assert_eq!(refused(name), EventKind::is_reserved(name), "{name}");
        }
    }
}
