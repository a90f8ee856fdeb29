//! Requests in, records out: what a run answers to each.
//!
//! Each method takes a request whole or not at all; what it gives is in the state already, and becomes final with
//! [`Run::settle`] once it is durable.

use super::body::{Body, JournalRecord, KeyUse, Notice, NoticeKind, Receipt};
use super::entry::{Entry, EntryKind, request_digest};
use super::refusal::Refusal;
use super::request::{Answer, Append, Around, Close, NewGate, Resolution};
use super::run::{GateState, Id, Run, incomplete, unanswered};
use crate::evidence::canonical::Object;
use crate::evidence::consistency::Conflict;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Kind;
use crate::evidence::record::{Circumstances, Size};
use crate::evidence::time::Timestamp;

/// What one request has gathered.
#[derive(Default)]
struct Gathered {
    receipts: Vec<Receipt>,
    records: Vec<JournalRecord>,
}

impl Run {
    /// Records entries. A refusal names the entry it is about by its index.
    pub fn append(&mut self, request: Append, around: &mut Around<'_>) -> Result<Answer, (Refusal, usize)> {
        let digests: Vec<u8> = request.entries.iter().flat_map(|entry| *entry.request.as_bytes()).collect();
        let digest = Digest::of(digests);
        let Append { entries, if_match, key } = request;
        if let Some(answer) = self.answered(key.as_deref(), digest).map_err(|refusal| (refusal, 0))? {
            return Ok(answer);
        }
        // A repeat finds the head moved on by what it repeats, and is answered all the same (RFC 9110, section 13.1.1).
        if if_match.is_some() && entries.iter().any(|entry| !matches!(self.repeated(entry), Ok(Some(_)))) {
            self.check_head(if_match).map_err(|refusal| (refusal, 0))?;
        }
        self.whole(key, digest, |run, gathered| {
            for (index, entry) in entries.into_iter().enumerate() {
                run.append_entry(entry, gathered, around).map_err(|refusal| (refusal, index))?;
            }
            Ok(())
        })
    }

    /// Opens a gate: the run needs input.
    pub fn open_gate(&mut self, gate: NewGate, around: &mut Around<'_>) -> Result<Answer, Refusal> {
        let request = request_digest("gate_opened", &gate.members);
        if let Some(answer) = self.answered(gate.key.as_deref(), request)? {
            return Ok(answer);
        }
        let mut members = gate.members;
        if members.get("gate_id").is_none() {
            members.insert("gate_id", self.free_gate_id());
        }
        let id = members.text("gate_id").unwrap_or_default().to_owned();
        if let Some(receipt) = self.given(&Id::GateOpened(id.clone()), request, "gate", &id)? {
            return Ok(self.unchanged(vec![receipt]));
        }
        self.check_open()?;
        members.insert("opened_at", self.moment(around.now));
        let size = self.tally.size_of(Kind::Gate, &unanswered(&members), &self.private)?;
        self.check_room(size, around)?;
        self.whole(gate.key, request, |run, gathered| {
            run.notify(NoticeKind::GateOpened, members, request, gathered, around);
            Ok(())
        })
    }

    /// Resolves a gate. The same again is a repeat.
    pub fn resolve_gate(
        &mut self,
        resolution: Resolution,
        around: &mut Around<'_>,
    ) -> Result<Answer, Refusal> {
        let Resolution { gate_id, decision, comment, seen_head, key } = resolution;
        let mut decided = Object::from_iter([("decision", decision.as_str())]);
        if let Some(comment) = comment {
            decided.insert("comment", comment);
        }
        if let Some(seen_head) = seen_head {
            decided.insert("seen_head", seen_head);
        }
        let request = request_digest(&format!("gate {gate_id}"), &decided);
        if let Some(answer) = self.answered(key.as_deref(), request)? {
            return Ok(answer);
        }
        let (mut members, size) = match self.gates.get(&gate_id) {
            None => return Err(Refusal::GateUnknown { gate_id }),
            Some(GateState::Resolved(_)) => return self.resolved_before(gate_id, request),
            Some(GateState::Open(gate)) => (gate.members.clone(), gate.size),
        };
        if seen_head.is_some_and(|seen| !self.links.iter().any(|link| link.entry_hash == seen)) {
            return Err(Refusal::HeadUnknown);
        }
        for (name, value) in decided.iter() {
            members.insert(name.to_owned(), value.clone());
        }
        members.insert("resolved_at", self.moment(around.now));
        self.whole(key, request, |run, gathered| {
            run.record(Kind::Gate, members, request, size, gathered, around).map(|receipt| {
                gathered.receipts.push(receipt);
            })
        })
    }

    /// Closes the run: what is pending is recorded as incomplete or unanswered, then the outcome.
    pub fn close(&mut self, close: Close, around: &mut Around<'_>) -> Result<Answer, Refusal> {
        let Close { result, reason, if_match, key } = close;
        let mut outcome = Object::from_iter([("result", result.clone())]);
        if let Some(reason) = reason {
            outcome.insert("reason", reason);
        }
        let request = request_digest("finalize", &outcome);
        if let Some(answer) = self.answered(key.as_deref(), request)? {
            return Ok(answer);
        }
        match &self.flags.result {
            Some(recorded) if *recorded == result => return Ok(self.unchanged(Vec::new())),
            Some(recorded) => return Err(Refusal::RunClosed { result: recorded.clone() }),
            None => {}
        }
        self.check_head(if_match)?;
        let steps: Vec<_> =
            self.pending_steps().into_iter().map(|s| (incomplete(&s.members), s.size)).collect();
        let gates: Vec<_> = self.open_gates().into_iter().map(|g| (unanswered(&g.members), g.size)).collect();
        self.whole(key, request, |run, gathered| {
            for (members, size) in steps {
                run.record(Kind::Step, members, request, size, gathered, around)?;
            }
            for (members, size) in gates {
                run.record(Kind::Gate, members, request, size, gathered, around)?;
            }
            let receipt = run.record(Kind::Outcome, outcome, request, Size::default(), gathered, around)?;
            gathered.receipts.push(receipt);
            Ok(())
        })
    }

    /// Asks the producer to stop. Asked before, nothing is added.
    pub fn request_abort(
        &mut self,
        reason: Option<String>,
        around: &mut Around<'_>,
    ) -> Result<Answer, Refusal> {
        self.check_open()?;
        if self.flags.abort_requested_at.is_some() {
            return Ok(self.unchanged(Vec::new()));
        }
        let mut members = Object::new();
        if let Some(reason) = reason {
            members.insert("reason", reason);
        }
        let request = request_digest("abort", &members);
        self.whole(None, request, |run, gathered| {
            run.notify(NoticeKind::AbortRequested, members, request, gathered, around);
            Ok(())
        })
    }

    /// Takes the seal of a closed run. The first one stays: later ones add nothing.
    pub fn record_seal(&mut self, envelope_digest: Digest, now: Timestamp) -> Option<JournalRecord> {
        if self.flags.result.is_none() || self.flags.envelope_digest.is_some() {
            return None;
        }
        let record = JournalRecord {
            pos: self.next_pos(),
            at: self.moment(now),
            request: request_digest("seal", &Object::new()),
            body: Body::Sealed { envelope_digest },
        };
        self.fold(&record, &Object::new());
        Some(record)
    }

    fn append_entry(
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
                self.record(kind, entry.members, entry.request, Size::default(), gathered, around)?
            }
        };
        gathered.receipts.push(receipt);
        Ok(())
    }

    fn start_step(
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
        let size = self.tally.size_of(Kind::Step, &incomplete(&entry.members), &self.private)?;
        self.check_room(size, around)?;
        Ok(self.notify(NoticeKind::StepStarted, entry.members, entry.request, gathered, around))
    }

    /// A finished step has what it began with, but for what it says itself. Lower attempts that still go on are over
    /// with it: after it they could not be recorded any more.
    fn finish_step(
        &mut self,
        entry: Entry,
        gathered: &mut Gathered,
        around: &mut Around<'_>,
    ) -> Result<Receipt, Refusal> {
        let (step_id, attempt) =
            (entry.members.text("step_id").unwrap_or_default().to_owned(), entry.attempt());
        let lower = self.pending.range((step_id.clone(), 0)..(step_id.clone(), attempt));
        let lower: Vec<_> = lower.map(|(_, step)| (incomplete(&step.members), step.size)).collect();
        for (members, size) in lower {
            self.record(Kind::Step, members, entry.request, size, gathered, around)?;
        }
        let (mut members, size) = match self.pending.get(&(step_id, attempt)) {
            Some(started) => (started.members.clone(), started.size),
            None => (Object::new(), Size::default()),
        };
        for (name, value) in entry.members.iter() {
            members.insert(name.to_owned(), value.clone());
        }
        self.record(Kind::Step, members, entry.request, size, gathered, around)
    }

    /// Records an element. `freed` is what was reserved for it.
    fn record(
        &mut self,
        kind: Kind,
        members: Object<'static>,
        request: Digest,
        freed: Size,
        gathered: &mut Gathered,
        around: &mut Around<'_>,
    ) -> Result<Receipt, Refusal> {
        let told = members.clone();
        let mut circumstances = Circumstances {
            now: self.moment(around.now),
            private: &self.private,
            salt: around.salt,
            limits: around.limits,
            reserve: self.flags.reserve.minus(freed),
        };
        let element = self.tally.next(kind, members, &mut circumstances)?;
        let record = JournalRecord {
            pos: self.next_pos(),
            at: element.recorded_at,
            request,
            body: Body::Element(element),
        };
        // A resolved gate is shown as it was recorded.
        if kind == Kind::Gate {
            self.take(&record)
        } else {
            self.fold(&record, &told)
        }
        let receipt = record.receipt();
        gathered.records.push(record);
        Ok(receipt)
    }

    fn notify(
        &mut self,
        kind: NoticeKind,
        members: Object<'static>,
        request: Digest,
        gathered: &mut Gathered,
        around: &Around<'_>,
    ) -> Receipt {
        let notice = Notice { kind, members: members.canonical().into_owned() };
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
    fn whole<E>(
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
        let head = self.head();
        // What added nothing is answered alike the next time, key or not.
        let key = key.filter(|_| !gathered.records.is_empty());
        let key = key.map(|key| (key, KeyUse::new(request, &gathered.receipts, head)));
        if let Some((key, used)) = &key {
            self.keys.insert(key.clone(), used.clone());
        }
        Ok(Answer { receipts: gathered.receipts, head, records: gathered.records, key })
    }

    pub(super) fn check_open(&self) -> Result<(), Refusal> {
        match &self.flags.result {
            Some(result) => Err(Refusal::RunClosed { result: result.clone() }),
            None => Ok(()),
        }
    }

    fn check_head(&self, if_match: Option<Digest>) -> Result<(), Refusal> {
        let head = self.tally.head();
        match if_match {
            Some(wanted) if head.map(|head| head.entry_hash) != Some(wanted) => {
                Err(Refusal::HeadMismatch { head })
            }
            _ => Ok(()),
        }
    }

    /// Room for what will be recorded at the close at the latest.
    fn check_room(&self, size: Size, around: &Around<'_>) -> Result<(), Refusal> {
        let reserve = self.flags.reserve.plus(size);
        self.tally.check_reserve(reserve, around.limits).map_err(Refusal::from)
    }

    fn free_gate_id(&self) -> String {
        let opened = self.gates.iter().count();
        let names = (opened.saturating_add(1)..).map(|n| format!("gate-{n}"));
        names.into_iter().find(|name| self.gates.get(name).is_none()).unwrap_or_default()
    }

    /// `now`, but never before what was recorded last.
    fn moment(&self, now: Timestamp) -> Timestamp {
        self.flags.active_at.map_or(now, |last| last.max(now))
    }
}
