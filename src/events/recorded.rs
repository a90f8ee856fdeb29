//! Events of what is recorded: a journal's records as frames.

use std::sync::Arc;

use super::frame::{Frame, Source};
use super::vocabulary::EventKind;
use crate::evidence::canonical::{self, Object, Value};
use crate::evidence::envelope::{Kind, PrivateMembers, pointer};
use crate::journal::{Body, JournalRecord, Notice, NoticeKind, Overview};

/// A member that is larger is left out, and named.
const MAX_MEMBER_BYTES: usize = 16 << 10;

/// A run whose records are told.
#[derive(Clone, Debug)]
pub(crate) struct ToldRun {
    source: Arc<Source>,
    /// A notice has what will be withheld: it is left out.
    private: PrivateMembers,
}

impl From<&Overview> for Source {
    fn from(overview: &Overview) -> Self {
        Self {
            run_id: overview.run_id.clone(),
            evidence_id: overview.evidence_id.clone(),
            project: overview.project.clone(),
            withholds_logs: overview.settings.withholds_logs(),
        }
    }
}

impl ToldRun {
    pub(crate) fn of(overview: &Overview) -> Self {
        // What cannot be read withholds all that it may.
        let private = overview.settings.private_members().or_else(|_| PrivateMembers::parse(["*"]));
        Self { source: Arc::new(overview.into()), private: private.unwrap_or_default() }
    }

    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The event that a record is: every member as recorded, commitments where private, but for those that are too large.
    pub(crate) fn frame(&self, record: &JournalRecord) -> Frame {
        let (name, members) = match &record.body {
            Body::Element(element) => {
                let members = parse(&element.text);
                (name_of(element.kind, &members).to_owned(), members)
            }
            Body::Notice(notice) => {
                (name_of_notice(notice.kind).name().to_owned(), self.open_members(notice))
            }
            Body::Sealed { envelope_digest } => {
                let digest = Value::from(envelope_digest.to_string());
                (EventKind::RunFinalized.name().to_owned(), Object::from_iter([("envelope_digest", digest)]))
            }
        };
        let mut data = without_large(members);
        data.insert("pos", Value::count(record.pos));
        if let Some(element) = record.element() {
            data.insert("seq", Value::count(element.seq));
            data.insert("entry_hash", element.link.entry_hash.to_string());
        }
        Frame::new(Some(&record.pos.to_string()), &name, record.at, Some(self.source.clone()), data)
    }

    /// Of a notice what anybody may see.
    fn open_members(&self, notice: &Notice) -> Object<'static> {
        let mut members = parse(&notice.members).into_owned();
        let kind = match notice.kind {
            NoticeKind::AbortRequested => Kind::Outcome,
            NoticeKind::GateOpened => Kind::Gate,
            NoticeKind::StepStarted => Kind::Step,
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

fn name_of_notice(kind: NoticeKind) -> EventKind {
    match kind {
        NoticeKind::AbortRequested => EventKind::AbortRequested,
        NoticeKind::GateOpened => EventKind::NeedsInput,
        NoticeKind::StepStarted => EventKind::StepStarted,
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
