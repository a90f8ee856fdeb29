//! A run's state: the fold of its records.

use std::sync::Arc;

use super::body::{Body, JournalRecord, KeyUse, Notice, NoticeKind, Pos, Receipt};
use super::entry::attempt;
use super::masks::Masks;
use super::redacted::{Masked, Redacted, room_for_outcome};
use super::settings::SettingsFault;
use super::standing::{Counts, Overview, Standing, State};
use crate::evidence::canonical::{self, Object, Value};
use crate::evidence::chain::{Head, Link};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::Limits;
use crate::evidence::envelope::{Kind, PrivateMembers};
use crate::evidence::record::{self, Size, Tally};
use crate::evidence::revertible::RevertibleMap;
use crate::evidence::time::Timestamp;

/// Everything that decides what may be recorded next in a run.
#[derive(Clone, Debug)]
pub struct Run {
    pub(super) overview: Overview,
    pub(super) private: PrivateMembers,
    pub(super) masks: Arc<Masks>,
    pub(super) tally: Tally,
    /// By seq.
    pub(super) links: Vec<Link>,
    /// The element at each pos; a notice has none.
    pub(super) positions: Vec<Option<u64>>,
    pub(super) answers: RevertibleMap<Id, Given>,
    pub(super) keys: RevertibleMap<String, KeyUse>,
    /// By step and attempt.
    pub(super) pending: RevertibleMap<(String, u64), PendingStep>,
    pub(super) gates: RevertibleMap<String, GateState>,
    pub(super) flags: Flags,
}

/// What is small enough to be copied.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    /// Room for what pending steps and open gates become at the close, and for the redactions of all that.
    pub(super) reserve: Size,
    pub(super) open_gates: usize,
    /// The number that was last tried for a gate without a name.
    pub(super) gate_number: usize,
    pub(super) active_at: Option<Timestamp>,
    pub(super) abort_requested_at: Option<Timestamp>,
    pub(super) result: Option<String>,
    pub(super) closed_at: Option<Timestamp>,
    pub(super) envelope_digest: Option<Digest>,
}

/// What a request can be about, so that the same again is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Id {
    Artifact(String),
    Gate(String),
    GateOpened(String),
    Observation(String),
    Step(String, u64),
    StepStarted(String, u64),
}

/// What was asked, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub(super) request: Digest,
    pub(super) pos: Pos,
}

/// A step that began.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingStep {
    /// Where its notice stands.
    pub pos: Pos,
    /// When it began, as the service saw it.
    pub at: Timestamp,
    /// What is known of it.
    pub members: Object<'static>,
    pub(super) redacted: Vec<Redacted>,
    pub(super) size: Size,
}

impl PendingStep {
    /// What it becomes if nobody finishes it.
    pub(super) fn at_close(&self) -> Masked {
        Masked::of(&incomplete(&self.members), &self.redacted)
    }
}

/// A gate.
#[derive(Clone, Debug, PartialEq)]
pub enum GateState {
    /// It waits for somebody.
    Open(OpenGate),
    /// As it was recorded.
    Resolved(Object<'static>),
}

/// A gate that waits for somebody.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenGate {
    /// Where its notice stands.
    pub pos: Pos,
    /// `gate_id`, `reason`, `opened_at` and perhaps `step_id`.
    pub members: Object<'static>,
    pub(super) redacted: Vec<Redacted>,
    pub(super) size: Size,
}

impl OpenGate {
    /// What it becomes if nobody answers it.
    pub(super) fn at_close(&self) -> Masked {
        Masked::of(&unanswered(&self.members), &self.redacted)
    }
}

/// A run as it was, to go back to.
pub(super) struct Savepoint {
    tally: record::Savepoint,
    links: usize,
    positions: usize,
    marks: [usize; 4],
    flags: Flags,
}

impl Run {
    pub(super) fn new(overview: Overview, private: PrivateMembers, masks: Arc<Masks>) -> Self {
        let of_the_outcome = room_for_outcome(&masks);
        Self {
            overview,
            private,
            masks,
            tally: Tally::default(),
            links: Vec::new(),
            positions: Vec::new(),
            answers: RevertibleMap::default(),
            keys: RevertibleMap::default(),
            pending: RevertibleMap::default(),
            gates: RevertibleMap::default(),
            flags: Flags { reserve: of_the_outcome, ..Flags::default() },
        }
    }

    /// The state of a run whose records and keys were read back.
    pub fn load(
        overview: Overview,
        records: impl IntoIterator<Item = JournalRecord>,
        keys: impl IntoIterator<Item = (String, KeyUse)>,
    ) -> Result<Self, SettingsFault> {
        let (private, masks) = overview.settings.in_force()?;
        let mut run = Self::new(overview, private, masks);
        records.into_iter().for_each(|record| run.take(&record));
        keys.into_iter().for_each(|(key, used)| run.keys.insert(key, used));
        run.settle();
        Ok(run)
    }

    /// Takes one more record, whoever made it.
    pub fn take(&mut self, record: &JournalRecord) {
        let text = match &record.body {
            Body::Element(element) => element.text.as_str(),
            Body::Notice(notice) => notice.members.as_str(),
            Body::Sealed { .. } => "{}",
        };
        // What was recorded is canonical text of an object; anything else has no members.
        let members = match canonical::parse(text.as_bytes(), text.len()) {
            Ok(Value::Object(members)) => members,
            _ => Object::new(),
        };
        self.fold(record, &members);
    }

    /// `members` are those of the record's text.
    pub(super) fn fold(&mut self, record: &JournalRecord, members: &Object<'_>) {
        self.flags.active_at = Some(record.at);
        self.positions.push(record.element().map(|element| element.seq));
        match &record.body {
            Body::Element(element) => {
                self.links.push(element.link);
                self.tally.record(element, members);
                self.fold_element(element.kind, record, members);
            }
            Body::Notice(notice) => self.fold_notice(notice, record, members),
            Body::Sealed { envelope_digest } => self.flags.envelope_digest = Some(*envelope_digest),
        }
    }

    fn fold_element(&mut self, kind: Kind, record: &JournalRecord, members: &Object<'_>) {
        let given = Given { request: record.request, pos: record.pos };
        let own = |member| members.text(member).unwrap_or_default().to_owned();
        match kind {
            Kind::Step => {
                let key = (own("step_id"), attempt(members));
                if let Some(pending) = self.pending.get(&key) {
                    self.flags.reserve = self.flags.reserve.minus(pending.size);
                    self.pending.remove(&key);
                }
                self.answers.insert(Id::Step(key.0, key.1), given);
            }
            Kind::Artifact => self.answers.insert(Id::Artifact(own("artifact_id")), given),
            Kind::Observation => self.answers.insert(Id::Observation(own("observation_id")), given),
            Kind::Gate => {
                let gate_id = own("gate_id");
                if let Some(GateState::Open(gate)) = self.gates.get(&gate_id) {
                    self.flags.reserve = self.flags.reserve.minus(gate.size);
                    self.flags.open_gates = self.flags.open_gates.saturating_sub(1);
                }
                self.gates.insert(gate_id.clone(), GateState::Resolved(members.clone().into_owned()));
                self.answers.insert(Id::Gate(gate_id), given);
            }
            Kind::Outcome => {
                self.flags.result = Some(own("result"));
                self.flags.closed_at = Some(record.at);
            }
            Kind::Event | Kind::Redaction | Kind::Run => {}
        }
    }

    fn fold_notice(&mut self, notice: &Notice, record: &JournalRecord, members: &Object<'_>) {
        let given = Given { request: record.request, pos: record.pos };
        let own = |member| members.text(member).unwrap_or_default().to_owned();
        match notice.kind {
            NoticeKind::AbortRequested => self.flags.abort_requested_at = Some(record.at),
            NoticeKind::StepStarted => {
                let members = members.clone().into_owned();
                let redacted = notice.redacted.clone();
                let size = self.known_size(Kind::Step, &incomplete(&members), &redacted);
                let key = (own("step_id"), attempt(&members));
                self.flags.reserve = self.flags.reserve.plus(size);
                let step = PendingStep { pos: record.pos, at: record.at, members, redacted, size };
                self.pending.insert(key.clone(), step);
                self.answers.insert(Id::StepStarted(key.0, key.1), given);
            }
            NoticeKind::GateOpened => {
                let members = members.clone().into_owned();
                let redacted = notice.redacted.clone();
                let size = self.known_size(Kind::Gate, &unanswered(&members), &redacted);
                self.flags.reserve = self.flags.reserve.plus(size);
                self.flags.open_gates = self.flags.open_gates.saturating_add(1);
                let gate_id = own("gate_id");
                let gate = OpenGate { pos: record.pos, members, redacted, size };
                self.gates.insert(gate_id.clone(), GateState::Open(gate));
                self.answers.insert(Id::GateOpened(gate_id), given);
            }
        }
    }

    /// What was accepted has a size: it was measured before.
    fn known_size(&self, kind: Kind, members: &Object<'static>, redacted: &[Redacted]) -> Size {
        self.size_at_close(kind, members, redacted, &Limits::default()).unwrap_or_default()
    }

    /// Forgets how things were: what was recorded is durable.
    pub fn settle(&mut self) {
        self.tally.settle();
        self.answers.settle();
        self.keys.settle();
        self.pending.settle();
        self.gates.settle();
    }

    pub(super) fn savepoint(&self) -> Savepoint {
        Savepoint {
            tally: self.tally.savepoint(),
            links: self.links.len(),
            positions: self.positions.len(),
            marks: [self.answers.mark(), self.keys.mark(), self.pending.mark(), self.gates.mark()],
            flags: self.flags.clone(),
        }
    }

    pub(super) fn revert(&mut self, to: Savepoint) {
        let [answers, keys, pending, gates] = to.marks;
        self.tally.revert(to.tally);
        self.links.truncate(to.links);
        self.positions.truncate(to.positions);
        self.answers.revert(answers);
        self.keys.revert(keys);
        self.pending.revert(pending);
        self.gates.revert(gates);
        self.flags = to.flags;
    }

    /// What is known of it from its opening.
    pub fn overview(&self) -> &Overview {
        &self.overview
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let flags = &self.flags;
        let state = match (&flags.envelope_digest, &flags.result) {
            (Some(_), _) => State::Sealed,
            (None, Some(_)) => State::Closing,
            (None, None) => State::Open,
        };
        let count = |kind| self.tally.count(kind);
        Standing {
            state,
            open_gates: flags.open_gates,
            abort_requested_at: flags.abort_requested_at,
            result: flags.result.clone(),
            closed_at: flags.closed_at,
            head: self.head(),
            pos: self.next_pos().saturating_sub(1),
            active_at: flags.active_at.unwrap_or(self.overview.opened_at),
            counts: Counts {
                steps: count(Kind::Step),
                artifacts: count(Kind::Artifact),
                observations: count(Kind::Observation),
                gates: count(Kind::Gate),
                events: count(Kind::Event),
                redactions: count(Kind::Redaction),
            },
            envelope_digest: flags.envelope_digest,
        }
    }

    /// The last element. Every run has one: itself.
    pub fn head(&self) -> Head {
        self.tally.head().unwrap_or(Head { seq: 0, entry_hash: crate::evidence::chain::GENESIS })
    }

    /// The place that the next record gets.
    pub fn next_pos(&self) -> Pos {
        self.positions.len() as u64
    }

    /// Steps that began and are not finished, in the order in which they began.
    pub fn pending_steps(&self) -> Vec<&PendingStep> {
        let mut pending: Vec<&PendingStep> = self.pending.iter().map(|(_, step)| step).collect();
        pending.sort_by_key(|step| step.pos);
        pending
    }

    /// Gates that wait for somebody, in the order in which they were opened.
    pub fn open_gates(&self) -> Vec<&OpenGate> {
        let mut gates = Vec::new();
        for (_, gate) in self.gates.iter() {
            if let GateState::Open(gate) = gate {
                gates.push(gate);
            }
        }
        gates.sort_by_key(|gate| gate.pos);
        gates
    }

    /// A gate.
    pub fn gate(&self, gate_id: &str) -> Option<&GateState> {
        self.gates.get(gate_id)
    }

    /// How many bytes a close of it would record at the most, but for the outcome.
    pub fn reserved_bytes(&self) -> usize {
        self.flags.reserve.open
    }

    /// An open gate as anybody may see it: without what will be withheld.
    pub fn shown_gate(&self, opened: &Object<'static>) -> Object<'static> {
        let mut shown = opened.clone();
        // Which place it will have is not known yet.
        let withheld = self.private.withhold(Kind::Gate, None, &mut opened.clone(), &mut || [0; 16]);
        if !withheld.is_empty() {
            shown.remove("reason");
        }
        shown
    }

    /// What was answered for the record at that place.
    pub(super) fn receipt(&self, pos: Pos) -> Receipt {
        let seq = usize::try_from(pos).ok().and_then(|pos| self.positions.get(pos).copied().flatten());
        let link = seq.and_then(|seq| Some((seq, self.links.get(usize::try_from(seq).ok()?)?)));
        Receipt { pos, head: link.map(|(seq, link)| Head { seq, entry_hash: link.entry_hash }) }
    }
}

/// What a step that began becomes if nobody finishes it.
pub(super) fn incomplete(started: &Object<'static>) -> Object<'static> {
    let mut members = started.clone();
    members.insert("status", "incomplete");
    members
}

/// What a gate becomes if nobody answers it.
pub(super) fn unanswered(opened: &Object<'static>) -> Object<'static> {
    let mut members = opened.clone();
    members.insert("decision", "unanswered");
    members
}
