//! Events of what a journal has: its records as frames.

use super::frame::{Frame, Source};
use super::told::ToldRun;
use super::vocabulary::EventKind;
use crate::evidence::envelope::PrivateMembers;
use crate::journal::{Body, JournalRecord, NoticeKind, Overview};

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
        Self::new(overview.into(), private.unwrap_or_default())
    }

    /// The event that a record is.
    pub(crate) fn frame(&self, record: &JournalRecord) -> Frame {
        match &record.body {
            Body::Element(element) => self.element_frame(record.pos, element),
            Body::Notice(notice) => {
                self.notice_frame(record.pos, name_of_notice(notice.kind), record.at, &notice.members)
            }
            Body::Sealed { envelope_digest } => self.sealed_frame(record.pos, record.at, *envelope_digest),
        }
    }
}

fn name_of_notice(kind: NoticeKind) -> EventKind {
    match kind {
        NoticeKind::AbortRequested => EventKind::AbortRequested,
        NoticeKind::GateOpened => EventKind::NeedsInput,
        NoticeKind::StepStarted => EventKind::StepStarted,
    }
}
