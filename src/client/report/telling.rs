//! What a producer tells the service: one report after another, each under its own key.

use crate::evidence::canonical::{self, Object, Value};

/// What is told at once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Report {
    /// The run, opened; `join` if one that others opened under this name is as good.
    Opening { members: Object<'static>, join: bool },
    /// Entries, all or none. `again` says how a step is named whose name is taken.
    Entries { entries: Vec<Object<'static>>, again: Option<Again> },
    /// Bytes of the log of a step's attempt; `offset` counts from the first that this producer told.
    Log { place: LogPlace, stream: Stream, offset: u64, bytes: Vec<u8> },
    /// The end.
    Finalize(Object<'static>),
}

/// What a step becomes whose name is taken in its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// The next attempt of that step: its producer named it.
    Attempt,
    /// Another step, with a number behind its name: the name was made up.
    Step,
}

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogPlace {
    pub(crate) step_id: String,
    pub(crate) attempt: u64,
}

/// Where a line came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// A report with its idempotency key, the same however often it is sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Keyed {
    pub(crate) key: String,
    pub(crate) report: Report,
}

impl Keyed {
    /// A JSON object, then a line feed and the bytes of a log.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut told = Object::from_iter([("key", self.key.clone())]);
        let mut log: &[u8] = &[];
        match &self.report {
            Report::Opening { members, join } => {
                told.insert("opening", members.clone());
                told.insert("join", *join);
            }
            Report::Entries { entries, again } => {
                told.insert("entries", entries.clone());
                match again {
                    Some(Again::Attempt) => told.insert("again", "attempt"),
                    Some(Again::Step) => told.insert("again", "step"),
                    None => {}
                }
            }
            Report::Log { place, stream, offset, bytes } => {
                told.insert("step_id", place.step_id.clone());
                told.insert("attempt", Value::count(place.attempt));
                told.insert("stream", stream.as_str());
                told.insert("offset", Value::count(*offset));
                log = bytes;
            }
            Report::Finalize(members) => told.insert("finalize", members.clone()),
        }
        [told.canonical().as_bytes(), b"\n", log].concat()
    }

    /// What [`encode`](Self::encode) made; `None` for anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        // Canonical JSON has no line feed.
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (json, log) = (bytes.get(..end)?, bytes.get(end.saturating_add(1)..)?);
        let Value::Object(mut told) = canonical::parse(json, json.len()).ok()?.into_owned() else {
            return None;
        };
        let key = told.text("key")?.to_owned();
        let report = if let Some(Value::Object(members)) = told.remove("opening") {
            Report::Opening { members, join: told.get("join") == Some(&Value::from(true)) }
        } else if let Some(Value::Object(members)) = told.remove("finalize") {
            Report::Finalize(members)
        } else if let Some(entries) = told.list("entries") {
            let entries = entries.iter().map(|entry| entry.as_object().cloned()).collect::<Option<_>>()?;
            let again = match told.text("again") {
                Some("attempt") => Some(Again::Attempt),
                Some("step") => Some(Again::Step),
                _ => None,
            };
            Report::Entries { entries, again }
        } else {
            let place =
                LogPlace { step_id: told.text("step_id")?.to_owned(), attempt: told.count("attempt")? };
            let stream = if told.text("stream")? == "stderr" { Stream::Stderr } else { Stream::Stdout };
            Report::Log { place, stream, offset: told.count("offset")?, bytes: log.to_vec() }
        };
        Some(Self { key, report })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by a panic")]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_back_as_it_was() {
        let members = || Object::from_iter([("project", "acme/widget")]);
        let place = LogPlace { step_id: "a/b".into(), attempt: 2 };
        for report in [
            Report::Opening { members: members(), join: true },
            Report::Entries { entries: vec![members(), Object::new()], again: Some(Again::Step) },
            Report::Entries { entries: vec![], again: None },
            Report::Log { place, stream: Stream::Stderr, offset: 7, bytes: b"a\n\xff\0b".to_vec() },
            Report::Finalize(members()),
        ] {
            let keyed = Keyed { key: "k".into(), report };
            assert_eq!(Keyed::decode(&keyed.encode()), Some(keyed));
        }
        for bytes in [&b""[..], b"{}", b"{}\n", b"{\"key\":1}\n", b"[]\n", b"\xff\n"] {
            assert_eq!(Keyed::decode(bytes), None);
        }
    }
}
