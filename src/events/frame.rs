//! An event as it goes over the wire: encoded once, shared by all who get it.

use std::sync::Arc;

use bytes::Bytes;

use super::vocabulary::EventKind;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::time::Timestamp;

/// What an event is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The producer's name of the run.
    pub run_id: String,
    /// The service's name of it.
    pub evidence_id: String,
    /// Whose it is.
    pub project: String,
    /// Its log lines are for those only who may see what is withheld.
    pub(crate) withholds_logs: bool,
}

/// One event: a block of an event stream, and what has to be known of it to choose among them.
#[derive(Clone, Debug)]
pub struct Frame {
    kind: EventKind,
    at: Timestamp,
    source: Option<Arc<Source>>,
    /// `id: …\nevent: …\ndata: {…}\n\n`; without the first line if it has no id.
    bytes: Bytes,
    /// Where `event:` begins.
    block_at: usize,
    /// Where the object of the data begins.
    data_at: usize,
}

const EVENT: &str = "event: ";
const DATA: &str = "\ndata: ";

impl Frame {
    /// An event of that name. `name` has no line break: it is an id of ENVELOPE.md section 8. `type`, `at`, and what the source is
    /// called, are added to the data.
    pub(super) fn new(
        id: Option<&str>,
        name: &str,
        at: Timestamp,
        source: Option<Arc<Source>>,
        mut data: Object<'_>,
    ) -> Self {
        data.insert("type", name.to_owned());
        data.insert("at", at);
        if let Some(source) = &source {
            data.insert("run_id", source.run_id.clone());
            data.insert("evidence_id", source.evidence_id.clone());
            data.insert("project", source.project.clone());
        }
        let data = data.canonical();
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        // Canonical JSON has no line breaks: it is one line of data.
        let bytes = [id.as_str(), EVENT, name, DATA, &data, "\n\n"].concat();
        let block_at = id.len();
        let data_at = [EVENT, name, DATA].iter().fold(block_at, |at, part| at.saturating_add(part.len()));
        Self { kind: EventKind::of(name), at, source, bytes: bytes.into(), block_at, data_at }
    }

    /// The same event under another id.
    pub(super) fn with_id(&self, id: &str) -> Self {
        let block = self.bytes.get(self.block_at..).unwrap_or_default();
        let head = format!("id: {id}\n");
        let data_at = self.data_at.saturating_sub(self.block_at).saturating_add(head.len());
        Self {
            bytes: [head.as_bytes(), block].concat().into(),
            block_at: head.len(),
            data_at,
            ..self.clone()
        }
    }

    /// The same event with another member, which stands first in its data.
    pub(crate) fn with_member(&self, name: &str, value: impl Into<Value<'static>>) -> Bytes {
        let member = Object::from_iter([(name, value.into())]).canonical().into_owned();
        let member = member.strip_suffix('}').unwrap_or_default();
        let (head, rest) = self.bytes.split_at_checked(self.data_at).unwrap_or_default();
        // Every event has a type: what follows is never the end of the object.
        [head, member.as_bytes(), b",", rest.get(1..).unwrap_or_default()].concat().into()
    }

    /// What it tells of.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// When that was.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// What it is of.
    pub fn source(&self) -> Option<&Source> {
        self.source.as_deref()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.part(self.block_at.saturating_add(EVENT.len()), self.data_at.saturating_sub(DATA.len()))
    }

    /// Whether it can be resumed from.
    pub(super) fn has_id(&self) -> bool {
        self.block_at > 0
    }

    /// Its id, if it can be resumed from.
    pub fn id(&self) -> Option<&str> {
        self.part(0, self.block_at).strip_prefix("id: ")?.strip_suffix('\n')
    }

    /// Its data: a JSON object.
    pub fn data(&self) -> &str {
        self.part(self.data_at, self.bytes.len().saturating_sub(2))
    }

    /// The block of an event stream that it is.
    pub fn block(&self) -> &Bytes {
        &self.bytes
    }

    fn part(&self, from: usize, to: usize) -> &str {
        self.bytes.get(from..to).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_block_and_knows_its_parts() {
        let source = Source {
            run_id: "r".into(),
            evidence_id: "e".into(),
            project: "p".into(),
            withholds_logs: false,
        };
        let data = Object::from_iter([("text", Value::from("a\r\nb\u{0}\u{2028}é"))]);
        let frame = Frame::new(Some("7"), "custom:x", Timestamp::from_unix_ms(0), Some(source.into()), data);
        let data = r#"{"at":"1970-01-01T00:00:00.000Z","evidence_id":"e","project":"p","run_id":"r","text":"a\r\nb\u0000 é","type":"custom:x"}"#
            .replace("b\\u0000 ", "b\\u0000\u{2028}");
        assert_eq!(frame.block(), &format!("id: 7\nevent: custom:x\ndata: {data}\n\n"));
        assert_eq!((frame.id(), frame.name(), frame.data()), (Some("7"), "custom:x", data.as_str()));
        let other = frame.with_id("e-12");
        assert_eq!((other.id(), other.name(), other.data()), (Some("e-12"), "custom:x", data.as_str()));
        let with = frame.with_member("line", Value::count(3));
        assert_eq!(with, format!("id: 7\nevent: custom:x\ndata: {{\"line\":3,{}\n\n", &data[1..]));
    }
}
