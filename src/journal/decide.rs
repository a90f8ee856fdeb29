//! Requests in, records out: what a run answers to each.
//!
//! Each method takes a request whole or not at all; what it gives is in the state already, and becomes final with
//! [`Run::settle`] once it is durable.

use super::body::{Body, JournalRecord, NoticeKind, Pos};
use super::entry::request_digest;
use super::redacted::{Masked, Redacted};
use super::refusal::Refusal;
use super::request::{Abort, Answer, Append, Around, Close, NewGate, Resolution};
use super::run::{GateState, Given, Id, PendingStep, Run, unanswered};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::consistency::Conflict;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Kind;
use crate::evidence::time::Timestamp;

impl Run {
    /// Records entries. A refusal names the entry that it is about by its index.
    pub fn append(
        &mut self,
        request: Append,
        around: &mut Around<'_>,
    ) -> Result<Answer, (Refusal, Option<usize>)> {
        let Append { entries, if_match, key } = request;
        let entries = self.mask_entries(entries, around.limits)?;
        let digests: Vec<u8> = entries.iter().flat_map(|entry| *entry.request.as_bytes()).collect();
        let digest = Digest::of(digests);
        if let Some(answer) = self.answered(key.as_deref(), digest).map_err(|refusal| (refusal, None))? {
            return Ok(answer);
        }
        // A repeat finds the head moved on by what it repeats, and is answered all the same (RFC 9110, section 13.1.1).
        if if_match.is_some() && entries.iter().any(|entry| !matches!(self.repeated(entry), Ok(Some(_)))) {
            self.check_head(if_match).map_err(|refusal| (refusal, None))?;
        }
        self.whole(key, digest, |run, gathered| {
            for (index, entry) in entries.into_iter().enumerate() {
                run.append_entry(entry, gathered, around).map_err(|refusal| (refusal, Some(index)))?;
            }
            Ok(())
        })
    }

    /// Opens a gate: the run needs input.
    pub fn open_gate(&mut self, gate: NewGate, around: &mut Around<'_>) -> Result<Answer, Refusal> {
        let mut masked = self.masks.mask(Kind::Gate, gate.members)?;
        let members = &mut masked.members;
        let request = request_digest("gate_opened", members);
        if let Some(answer) = self.answered(gate.key.as_deref(), request)? {
            let gate_id = answer.receipts.first().and_then(|receipt| self.gate_opened_at(receipt.pos));
            return Ok(Answer { gate_id, ..answer });
        }
        if members.get("gate_id").is_none() {
            let gate_id = self.free_gate_id();
            members.insert("gate_id", gate_id);
        }
        let id = members.text("gate_id").unwrap_or_default().to_owned();
        let gate_id = Some(id.clone());
        if let Some(receipt) = self.given(&Id::GateOpened(id.clone()), request, "gate", &id)? {
            return Ok(Answer { gate_id, ..self.again(gate.key, request, vec![receipt]) });
        }
        self.check_open()?;
        members.insert("opened_at", self.moment(around.now));
        self.check_room(Kind::Gate, &unanswered(members), &masked.redacted, around)?;
        let answer = self.whole(gate.key, request, |run, gathered| {
            run.notify(NoticeKind::GateOpened, masked, request, gathered, around);
            Ok::<(), Refusal>(())
        })?;
        Ok(Answer { gate_id, ..answer })
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
        let decided = self.masks.mask(Kind::Gate, decided)?;
        let request = request_digest(&format!("gate {gate_id}"), &decided.members);
        if let Some(answer) = self.answered(key.as_deref(), request)? {
            return Ok(answer);
        }
        let (mut masked, size) = match self.gates.get(&gate_id) {
            None => return Err(Refusal::GateUnknown { gate_id }),
            Some(GateState::Resolved(_)) => return self.resolved_before(gate_id, key, request),
            Some(GateState::Open(gate)) => (Masked::of(&gate.members, &gate.redacted), gate.size),
        };
        if seen_head.is_some_and(|seen| !self.links.iter().rev().any(|link| link.entry_hash == seen)) {
            return Err(Refusal::HeadUnknown);
        }
        masked.put(&decided.members, decided.redacted);
        if let Some(actor) = around.by {
            masked.members.insert("actor", actor.to_owned());
        }
        masked.members.insert("resolved_at", self.moment(around.now));
        self.whole(key, request, |run, gathered| {
            run.record_masked(Kind::Gate, masked, request, size, gathered, around).map(|receipt| {
                gathered.receipts.push(receipt);
            })
        })
    }

    /// Closes the run: what is pending is recorded as incomplete or unanswered, then the outcome.
    pub fn close(&mut self, close: Close, around: &mut Around<'_>) -> Result<Answer, Refusal> {
        let Close { result, reason, if_match, key } = close;
        let outcome = self.masks.mask(Kind::Outcome, outcome(&result, reason))?;
        let request = request_digest("finalize", &outcome.members);
        if let Some(answer) = self.answered(key.as_deref(), request)? {
            return Ok(answer);
        }
        match &self.flags.result {
            Some(recorded) if *recorded == result => return Ok(self.again(key, request, Vec::new())),
            Some(recorded) => return Err(Refusal::RunClosed { result: recorded.clone() }),
            None => {}
        }
        self.check_head(if_match)?;
        self.check_outcome(&outcome.members, around)?;
        self.whole(key, request, |run, gathered| run.record_close(outcome, request, gathered, around))
    }

    /// Asks the producer to stop; with `force` the run is closed as aborted in the same step. Asked before, no notice is added.
    pub fn abort(&mut self, abort: Abort, around: &mut Around<'_>) -> Result<Answer, Refusal> {
        let Abort { reason, force, key } = abort;
        let outcome = self.masks.mask(Kind::Outcome, outcome("aborted", reason))?;
        let request = request_digest(if force { "abort by force" } else { "abort" }, &outcome.members);
        if let Some(answer) = self.answered(key.as_deref(), request)? {
            return Ok(answer);
        }
        self.check_open()?;
        self.check_outcome(&outcome.members, around)?;
        let asked_before = self.flags.abort_requested_at.is_some();
        self.whole(key, request, |run, gathered| {
            if !asked_before {
                let reason = outcome.members.get("reason").cloned();
                let members = reason.into_iter().map(|reason| ("reason", reason)).collect();
                let told = Masked { members, ..Masked::default() };
                run.notify(NoticeKind::AbortRequested, told, request, gathered, around);
            }
            if force { run.record_close(outcome, request, gathered, around) } else { Ok(()) }
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

    /// Something was accepted under it that is no record.
    pub fn touch(&mut self, at: Timestamp) {
        self.flags.active_at = self.flags.active_at.max(Some(at));
    }

    /// Whether that attempt of a step has begun and is not recorded yet.
    pub fn goes_on(&self, step_id: &str, attempt: u64) -> bool {
        self.pending.get(&(step_id.to_owned(), attempt)).is_some()
    }

    /// Whether that attempt of a step is recorded, or a higher one: its log has ended.
    pub fn has_ended(&self, step_id: &str, attempt: u64) -> bool {
        self.tally.recorded().last_attempt(step_id) >= Some(attempt)
    }

    /// Refuses what comes after the close.
    pub fn check_open(&self) -> Result<(), Refusal> {
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
    pub(super) fn check_room(
        &self,
        kind: Kind,
        at_close: &Object<'static>,
        redacted: &[Redacted],
        around: &Around<'_>,
    ) -> Result<(), Refusal> {
        let size = self.size_at_close(kind, at_close, redacted, around.limits)?;
        let reserve = self.flags.reserve.plus(size);
        self.tally.check_reserve(reserve, around.limits).map_err(Refusal::from)
    }

    /// Whether the run can end so, told before all that is pending is recorded for it.
    fn check_outcome(&self, outcome: &Object<'static>, around: &Around<'_>) -> Result<(), Refusal> {
        self.tally.size_of(Kind::Outcome, outcome, &self.private, around.limits)?;
        if outcome.text("result") != Some("succeeded") {
            return Ok(());
        }
        let fails = |step: &PendingStep| step.members.get("allowed_to_fail") != Some(&Value::Bool(true));
        let step = self.pending.iter().find(|(_, step)| fails(step)).map(|((step_id, _), _)| step_id.clone());
        let gate =
            || self.open_gates().first().and_then(|gate| Some(gate.members.text("gate_id")?.to_owned()));
        match step.or_else(gate) {
            Some(by) => Err(Refusal::Conflict(Conflict::ResultContradicted { by })),
            None => Ok(()),
        }
    }

    fn gate_opened_at(&self, pos: Pos) -> Option<String> {
        let opened = |(id, given): (&Id, &Given)| match id {
            Id::GateOpened(gate_id) if given.pos == pos => Some(gate_id.clone()),
            _ => None,
        };
        self.answers.range(Id::GateOpened(String::new())..Id::Observation(String::new())).find_map(opened)
    }

    /// Each number is tried once, however many are taken.
    fn free_gate_id(&mut self) -> String {
        loop {
            self.flags.gate_number = self.flags.gate_number.saturating_add(1);
            let gate_id = format!("gate-{}", self.flags.gate_number);
            if self.gates.get(&gate_id).is_none() {
                return gate_id;
            }
        }
    }

    /// `now`, but never before what was recorded last.
    pub(super) fn moment(&self, now: Timestamp) -> Timestamp {
        self.flags.active_at.map_or(now, |last| last.max(now))
    }
}

fn outcome(result: &str, reason: Option<String>) -> Object<'static> {
    let mut outcome = Object::from_iter([("result", result.to_owned())]);
    if let Some(reason) = reason {
        outcome.insert("reason", reason);
    }
    outcome
}
