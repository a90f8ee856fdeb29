//! Gates: opened, looked at, waited for, resolved.

use std::time::Duration;

use super::{Caller, Service, ServiceError};
use crate::append::{Ask, Done};
use crate::evidence::canonical::Object;
use crate::journal::{GateState, NewGate, Refusal, Resolution, Run};

/// A gate as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct GateView {
    /// Its members; with `decision` once it is resolved.
    pub(crate) members: Object<'static>,
    pub(crate) resolved: bool,
}

impl Service {
    /// Opens a gate. Durable once it returns.
    pub(crate) async fn open_gate(
        &self,
        evidence_id: &str,
        gate: NewGate,
        bytes: usize,
        caller: &Caller,
    ) -> Result<(Done, GateView), ServiceError> {
        let done = self.lanes.ask(evidence_id, Ask::OpenGate(gate), bytes, caller.name()).await?;
        let view = self.gate(evidence_id, done.answer.gate_id.as_deref().unwrap_or_default()).await?;
        Ok((done, view))
    }

    /// Resolves a gate. Durable once it returns.
    pub(crate) async fn resolve_gate(
        &self,
        evidence_id: &str,
        resolution: Resolution,
        bytes: usize,
        caller: &Caller,
    ) -> Result<(Done, GateView), ServiceError> {
        let gate_id = resolution.gate_id.clone();
        let done = self.lanes.ask(evidence_id, Ask::Resolve(resolution), bytes, caller.name()).await?;
        Ok((done, self.gate(evidence_id, &gate_id).await?))
    }

    /// A gate as it is.
    pub(crate) async fn gate(&self, evidence_id: &str, gate_id: &str) -> Result<GateView, ServiceError> {
        let wanted = gate_id.to_owned();
        let found = self.lanes.view(evidence_id, move |run| view(run, &wanted)).await?;
        found.ok_or_else(|| {
            let refusal = Refusal::GateUnknown { gate_id: gate_id.to_owned() };
            ServiceError::Rejected(refusal.into())
        })
    }

    /// A gate once it is resolved, or as it is when the time is over.
    pub(crate) async fn wait_for_gate(
        &self,
        evidence_id: &str,
        gate_id: &str,
        wait: Duration,
    ) -> Result<GateView, ServiceError> {
        let mut recorded = self.lanes.watch_gates(evidence_id);
        let resolved = async {
            loop {
                recorded.borrow_and_update();
                let gate = self.gate(evidence_id, gate_id).await?;
                if gate.resolved || recorded.changed().await.is_err() {
                    return Ok(gate);
                }
            }
        };
        tokio::select! {
            gate = resolved => gate,
            () = tokio::time::sleep(wait) => self.gate(evidence_id, gate_id).await,
            // Who waits is told how it is, and asks the next start of the service.
            () = self.hub.until_shut() => self.gate(evidence_id, gate_id).await,
        }
    }
}

fn view(run: &Run, gate_id: &str) -> Option<GateView> {
    Some(match run.gate(gate_id)? {
        GateState::Open(gate) => GateView { members: run.shown_gate(&gate.members), resolved: false },
        GateState::Resolved(members) => GateView { members: members.clone(), resolved: true },
    })
}
