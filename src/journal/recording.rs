//! How what a request adds is recorded: element by element, all or nothing.

use super::body::{Body, JournalRecord, Notice, NoticeKind, Receipt};
use super::entry::{Entry, EntryKind, attempt};
use super::redacted::{Masked, redactions};
use super::refusal::Refusal;
use super::request::{Answer, Around};
use super::run::{Run, incomplete};
use crate::evidence::canonical::Object;
use crate::evidence::consistency::Conflict;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Kind;
use crate::evidence::record::{Circumstances, Size};

/// What one request has gathered.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) receipts: Vec<Receipt>,
    pub(super) records: Vec<JournalRecord>,
}

impl Run {
    pub(super) fn append_entry(
        &mut self,
        entry: Entry,
        gathered: &mut Gathered,
        around: &mut Around<'_>,
    ) -> Result<(), Refusal> {
        if let Some(receipt) = self.repeated(&entry)? {
            gathered.receipts.push(receipt);
            return Ok(());
        }
        self.check_open()?;
        let receipt = match entry.kind {
            EntryKind::StepStarted => self.start_step(entry, gathered, around)?,
            EntryKind::Element(Kind::Step) => self.finish_step(entry, gathered, around)?,
            EntryKind::Element(kind) => {
                let masked = Masked { members: entry.members, redacted: entry.redacted, bytes: 0 };
                self.record_masked(kind, masked, entry.request, Size::default(), gathered, around)?
            }
        };
        gathered.receipts.push(receipt);
        Ok(())
    }

    pub(super) fn start_step(
        &mut self,
        entry: Entry,
        gathered: &mut Gathered,
        around: &mut Around<'_>,
    ) -> Result<Receipt, Refusal> {
        let step_id = entry.members.text("step_id").unwrap_or_default().to_owned();
        let higher = self.pending.range((step_id.clone(), entry.attempt())..=(step_id.clone(), u64::MAX));
        let higher = higher.last().map(|((_, attempt), _)| *attempt);
        let last = self.tally.recorded().last_attempt(&step_id).max(higher);
        if let Some(last) = last.filter(|last| *last >= entry.attempt()) {
            return Err(Refusal::Conflict(Conflict::AttemptOrder { step_id, last }));
        }
        self.check_room(Kind::Step, &incomplete(&entry.members), &entry.redacted, around)?;
        let masked = Masked { members: entry.members, redacted: entry.redacted, bytes: 0 };
        Ok(self.notify(NoticeKind::StepStarted, masked, entry.request, gathered, around))
    }

    /// A finished step has what it began with, but for what it says itself. Lower attempts that still go on are over
    /// with it: after it they could not be recorded any more.
    pub(super) fn finish_step(
        &mut self,
        entry: Entry,
        gathered: &mut Gathered,
        around: &mut Around<'_>,
    ) -> Result<Receipt, Refusal> {
        let (step_id, attempt) =
            (entry.members.text("step_id").unwrap_or_default().to_owned(), entry.attempt());
        let digest = (around.logs)(&step_id, attempt).map(|log| log.digest);
        if entry.log_digest.is_some_and(|sent| digest != Some(sent)) {
            return Err(Refusal::LogDigestMismatch { digest });
        }
        let (mut masked, size) = match self.pending.get(&(step_id.clone(), attempt)) {
            Some(started) => (Masked::of(&started.members, &started.redacted), started.size),
            None => (Masked::default(), Size::default()),
        };
        masked.put(&entry.members, entry.redacted);
        let lower = self.pending.range((step_id.clone(), 0)..(step_id, attempt));
        let lower: Vec<_> = lower.map(|(_, step)| (step.at_close(), step.size)).collect();
        if !lower.is_empty() {
            // What will be refused is refused before all those are recorded for nothing.
            self.tally.size_of(Kind::Step, &masked.members, &self.private, around.limits)?;
        }
        for (masked, size) in lower {
            self.record_masked(Kind::Step, masked, entry.request, size, gathered, around)?;
        }
        self.record_masked(Kind::Step, masked, entry.request, size, gathered, around)
    }

    /// What is pending as incomplete, what waits as unanswered, and the outcome.
    pub(super) fn record_close(
        &mut self,
        outcome: Masked,
        request: Digest,
        gathered: &mut Gathered,
        around: &mut Around<'_>,
    ) -> Result<(), Refusal> {
        let steps: Vec<_> = self.pending_steps().into_iter().map(|s| (s.at_close(), s.size)).collect();
        let gates: Vec<_> = self.open_gates().into_iter().map(|g| (g.at_close(), g.size)).collect();
        for (masked, size) in steps {
            self.record_masked(Kind::Step, masked, request, size, gathered, around)?;
        }
        for (masked, size) in gates {
            self.record_masked(Kind::Gate, masked, request, size, gathered, around)?;
        }
        // Nothing follows an outcome: its redactions stand before it, where room was left for them.
        for redaction in redactions(Kind::Outcome, 0, &outcome.redacted, &[]) {
            let freed = self.flags.reserve;
            self.record(Kind::Redaction, redaction, request, freed, gathered, around)?;
        }
        let receipt =
            self.record(Kind::Outcome, outcome.members, request, Size::default(), gathered, around)?;
        gathered.receipts.push(receipt);
        Ok(())
    }

    /// Records an element, and after it what was masked in it. `freed` is what was reserved for all that.
    pub(super) fn record_masked(
        &mut self,
        kind: Kind,
        mut masked: Masked,
        request: Digest,
        freed: Size,
        gathered: &mut Gathered,
        around: &mut Around<'_>,
    ) -> Result<Receipt, Refusal> {
        let members = &masked.members;
        if kind == Kind::Step
            && let Some(log) = (around.logs)(members.text("step_id").unwrap_or_default(), attempt(members))
        {
            masked.members.insert("log", log.member());
            masked.redacted.extend(log.redacted);
        }
        let index = self.tally.count(kind);
        let receipt = self.record(kind, masked.members, request, freed, gathered, around)?;
        if masked.redacted.is_empty() {
            return Ok(receipt);
        }
        let element = gathered.records.last().and_then(JournalRecord::element);
        let withheld = element.map_or(&[][..], |element| &element.disclosures);
        for redaction in redactions(kind, index, &masked.redacted, withheld) {
            self.record(Kind::Redaction, redaction, request, Size::default(), gathered, around)?;
        }
        Ok(receipt)
    }

    /// Records an element. `freed` is what was reserved for it.
    pub(super) fn record(
        &mut self,
        kind: Kind,
        mut members: Object<'static>,
        request: Digest,
        freed: Size,
        gathered: &mut Gathered,
        around: &mut Around<'_>,
    ) -> Result<Receipt, Refusal> {
        if let Some(name) = around.by {
            members.insert("reported_by", Object::from_iter([("name", name.to_owned())]));
        }
        let mut circumstances = Circumstances {
            now: self.moment(around.now),
            private: &self.private,
            salt: around.salt,
            limits: around.limits,
            reserve: self.flags.reserve.minus(freed),
        };
        let (element, members) = self.tally.next(kind, members, &mut circumstances)?;
        let record = JournalRecord {
            pos: self.next_pos(),
            at: element.recorded_at,
            request,
            body: Body::Element(element),
        };
        self.fold(&record, &members);
        let receipt = record.receipt();
        gathered.records.push(record);
        Ok(receipt)
    }

    pub(super) fn notify(
        &mut self,
        kind: NoticeKind,
        masked: Masked,
        request: Digest,
        gathered: &mut Gathered,
        around: &Around<'_>,
    ) -> Receipt {
        let Masked { members, redacted, .. } = masked;
        let notice = Notice { kind, members: members.canonical().into_owned(), redacted };
        let record = JournalRecord {
            pos: self.next_pos(),
            at: self.moment(around.now),
            request,
            body: Body::Notice(notice),
        };
        self.fold(&record, &members);
        let receipt = record.receipt();
        gathered.records.push(record);
        receipt
    }

    /// Runs `decide`; on an error all is as it was.
    pub(super) fn whole<E>(
        &mut self,
        key: Option<String>,
        request: Digest,
        decide: impl FnOnce(&mut Self, &mut Gathered) -> Result<(), E>,
    ) -> Result<Answer, E> {
        let before = self.savepoint();
        let mut gathered = Gathered::default();
        if let Err(refused) = decide(self, &mut gathered) {
            self.revert(before);
            return Err(refused);
        }
        if gathered.receipts.is_empty() {
            gathered.receipts.extend(gathered.records.last().map(JournalRecord::receipt));
        }
        let key = self.bind(key, request, &gathered.receipts);
        Ok(Answer { records: gathered.records, key, ..self.unchanged(gathered.receipts) })
    }
}
