//! Events of what is recorded: elements and notices as frames, whoever recorded them.

use std::sync::Arc;

use super::frame::{Frame, Source};
use super::vocabulary::EventKind;
use crate::evidence::canonical::{self, Object, Value};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::{Kind, PrivateMembers, pointer};
use crate::evidence::record::Element;
use crate::evidence::time::Timestamp;

/// A member that is larger is left out, and named.
const MAX_MEMBER_BYTES: usize = 16 << 10;

/// A run whose records are told.
#[derive(Clone, Debug)]
pub(crate) struct ToldRun {
    source: Arc<Source>,
    /// A notice has what will be withheld: it is left out.
    private: PrivateMembers,
}

impl ToldRun {
    pub(crate) fn new(source: Source, private: PrivateMembers) -> Self {
        Self { source: Arc::new(source), private }
    }

    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The event that an element at that position is: every member as recorded, commitments where private, but for those that are
    /// too large.
    pub(crate) fn element_frame(&self, pos: u64, element: &Element) -> Frame {
        let members = parse(&element.text);
        let name = name_of(element.kind, &members).to_owned();
        let mut data = without_large(members);
        data.insert("seq", Value::count(element.seq));
        data.insert("entry_hash", element.link.entry_hash.to_string());
        self.told(pos, &name, element.recorded_at, data)
    }

    /// The event that a notice is: of its members what anybody may see.
    pub(crate) fn notice_frame(&self, pos: u64, kind: EventKind, at: Timestamp, members: &str) -> Frame {
        let members = self.open_members(kind, parse(members).into_owned());
        self.told(pos, kind.name(), at, without_large(members))
    }

    /// The event that the run is sealed.
    pub(crate) fn sealed_frame(&self, pos: u64, at: Timestamp, envelope_digest: Digest) -> Frame {
        let data = Object::from_iter([("envelope_digest", envelope_digest.to_string())]);
        self.told(pos, EventKind::RunFinalized.name(), at, data)
    }

    fn told(&self, pos: u64, name: &str, at: Timestamp, mut data: Object<'_>) -> Frame {
        data.insert("pos", Value::count(pos));
        Frame::new(Some(&pos.to_string()), name, at, Some(self.source.clone()), data)
    }

    /// Without what will be withheld of the element that the notice is about.
    fn open_members(&self, notice: EventKind, mut members: Object<'static>) -> Object<'static> {
        let kind = match notice {
            EventKind::NeedsInput => Kind::Gate,
            EventKind::StepStarted => Kind::Step,
            _ => Kind::Outcome,
        };
        let withheld = self.private.withhold(kind, None, &mut members.clone(), &mut || [0; 16]);
        let below = kind.pointer(0).split('/').count();
        for disclosure in withheld {
            let member = pointer::tokens(&disclosure.at)
                .and_then(|tokens| tokens.get(below.saturating_sub(1)).cloned());
            match member {
                Some(member) => drop(members.remove(&member)),
                None => members = Object::new(),
            }
        }
        members
    }
}

/// What was recorded is canonical text of an object; anything else has no members.
fn parse(text: &str) -> Object<'_> {
    match canonical::parse(text.as_bytes(), text.len()) {
        Ok(Value::Object(members)) => members,
        _ => Object::new(),
    }
}

fn name_of<'m>(kind: Kind, members: &'m Object<'_>) -> &'m str {
    match kind {
        Kind::Run => EventKind::RunStarted.name(),
        Kind::Step => EventKind::StepFinished.name(),
        Kind::Artifact => EventKind::ArtifactWritten.name(),
        Kind::Observation => EventKind::ObservationRecorded.name(),
        Kind::Gate => EventKind::InputRecorded.name(),
        Kind::Redaction => EventKind::RedactionRecorded.name(),
        Kind::Event => members.text("name").unwrap_or_default(),
        Kind::Outcome => match members.text("result") {
            Some("succeeded") => EventKind::RunCompleted.name(),
            Some("failed") => EventKind::RunFailed.name(),
            Some("aborted") => EventKind::RunAborted.name(),
            _ => EventKind::RunExpired.name(),
        },
    }
}

fn without_large(mut members: Object<'_>) -> Object<'_> {
    let large = |(_, value): &(&str, &Value<'_>)| value.canonical().len() > MAX_MEMBER_BYTES;
    let omitted: Vec<String> = match members.canonical_source() {
        // Of what is short as a whole no part is large.
        Some(text) if text.len() <= MAX_MEMBER_BYTES => return members,
        _ => members.iter().filter(large).map(|(name, _)| name.to_owned()).collect(),
    };
    if omitted.is_empty() {
        return members;
    }
    for name in &omitted {
        members.remove(name);
    }
    members.insert("omitted", Value::from(omitted.into_iter().map(Value::from).collect::<Vec<_>>()));
    members
}
