//! What was asked before, and how it was answered.

use super::body::{KeyUse, Receipt};
use super::entry::{Entry, EntryKind};
use super::refusal::Refusal;
use super::request::Answer;
use super::run::{GateState, Id, Run};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Kind;

impl Run {
    /// An answer to what adds nothing.
    pub(crate) fn unchanged(&self, receipts: Vec<Receipt>) -> Answer {
        Answer { receipts, head: self.head(), records: Vec::new(), key: None, gate_id: None }
    }

    /// The answer to what was asked before; a new key stands for it too.
    pub(super) fn again(&mut self, key: Option<String>, request: Digest, receipts: Vec<Receipt>) -> Answer {
        let key = self.bind(key, request, &receipts);
        Answer { key, ..self.unchanged(receipts) }
    }

    /// Lets a key stand for a request and its answer.
    pub(super) fn bind(
        &mut self,
        key: Option<String>,
        request: Digest,
        receipts: &[Receipt],
    ) -> Option<(String, KeyUse)> {
        let (key, used) = (key?, KeyUse::new(request, receipts, self.head()));
        self.keys.insert(key.clone(), used.clone());
        Some((key, used))
    }

    /// What a key was answered, if it was.
    pub(super) fn answered(&self, key: Option<&str>, request: Digest) -> Result<Option<Answer>, Refusal> {
        let Some(used) = key.and_then(|key| self.keys.get(key)) else { return Ok(None) };
        if used.request != request {
            return Err(Refusal::KeyReused);
        }
        let receipts = used.positions().map(|pos| self.receipt(pos)).collect();
        Ok(Some(Answer { head: used.head, ..self.unchanged(receipts) }))
    }

    /// What was answered for this entry, if it is there already.
    pub(super) fn repeated(&self, entry: &Entry) -> Result<Option<Receipt>, Refusal> {
        let own = |member| entry.members.text(member).unwrap_or_default().to_owned();
        let (id, what) = match entry.kind {
            EntryKind::StepStarted => (Id::StepStarted(own("step_id"), entry.attempt()), "step"),
            EntryKind::Element(Kind::Step) => (Id::Step(own("step_id"), entry.attempt()), "step"),
            EntryKind::Element(Kind::Artifact) => (Id::Artifact(own("artifact_id")), "artifact"),
            EntryKind::Element(Kind::Observation) => (Id::Observation(own("observation_id")), "observation"),
            EntryKind::Element(_) => return Ok(None),
        };
        let name = match &id {
            Id::Artifact(name) | Id::Observation(name) | Id::Step(name, _) | Id::StepStarted(name, _) => name,
            Id::Gate(name) | Id::GateOpened(name) => name,
        };
        self.given(&id, entry.request, what, name)
    }

    pub(super) fn given(
        &self,
        id: &Id,
        request: Digest,
        what: &'static str,
        name: &str,
    ) -> Result<Option<Receipt>, Refusal> {
        match self.answers.get(id) {
            None => Ok(None),
            Some(given) if given.request == request => Ok(Some(self.receipt(given.pos))),
            Some(_) => {
                self.check_open()?;
                Err(Refusal::Exists { what, id: name.to_owned() })
            }
        }
    }

    pub(super) fn resolved_before(
        &mut self,
        gate_id: String,
        key: Option<String>,
        request: Digest,
    ) -> Result<Answer, Refusal> {
        let given = self.answers.get(&Id::Gate(gate_id.clone())).copied();
        match (given, self.gates.get(&gate_id)) {
            (Some(given), _) if given.request == request => {
                let receipt = self.receipt(given.pos);
                Ok(self.again(key, request, vec![receipt]))
            }
            (_, Some(GateState::Resolved(gate))) if gate.text("decision") != Some("unanswered") => {
                let decision = gate.text("decision").unwrap_or_default().to_owned();
                Err(Refusal::GateResolved { gate_id, decision })
            }
            _ => Err(Refusal::RunClosed { result: self.flags.result.clone().unwrap_or_default() }),
        }
    }
}
