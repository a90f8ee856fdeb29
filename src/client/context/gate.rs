//! Gates: a run that waits for somebody's decision.

use super::RunContext;
use super::error::ContextError;
use crate::evidence::canonical::Object;

/// How a gate is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may go on.
    Approved,
    /// It may not. A run with this in it cannot succeed.
    Rejected,
}

impl Decision {
    /// What is recorded where nobody decided.
    pub(super) const UNANSWERED: &str = "unanswered";

    /// The word of the format.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Approved => "approved",
            Decision::Rejected => "rejected",
        }
    }
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The decision.
    pub decision: Decision,
    /// What was said about it.
    pub comment: Option<String>,
}

impl RunContext {
    /// Opens a gate, and waits until somebody decides: with [`Queue::answer`](super::Queue::answer) in this process, or at the
    /// service, which is tried for as long as it is away. `gate_id` is an id
    /// that no other gate of the run has, `reason` what is asked, at most 64 KiB.
    ///
    /// It waits as long as that takes (`tokio::time::timeout` bounds it), but not beyond the close of the run ([`ContextError::Closed`]), nor once the run is asked to stop
    /// ([`ContextError::AbortRequested`]). Who does not wait any more leaves the gate open: it can be answered until the close, and is
    /// recorded as unanswered then.
    pub async fn needs_input(&self, gate_id: &str, reason: &str) -> Result<Answer, ContextError> {
        self.ask(Object::from_iter([("gate_id", gate_id.to_owned()), ("reason", reason.to_owned())])).await
    }

    pub(super) async fn ask(&self, members: Object<'static>) -> Result<Answer, ContextError> {
        let core = self.core();
        if core.is_aborting() {
            return Err(ContextError::AbortRequested);
        }
        let gate_id = members.text("gate_id").unwrap_or_default().to_owned();
        let answer = core.ledger().open_gate(members.clone())?;
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| ContextError::Closed),
            answered = self.ask_service(&gate_id, &members) => {
                let answer = answered?;
                core.ledger().answer(&gate_id, answer.clone())?;
                Ok(answer)
            }
            () = core.aborting() => Err(ContextError::AbortRequested),
        }
    }

    /// What is answered at the service; nothing, ever, without one.
    async fn ask_service(&self, gate_id: &str, members: &Object<'static>) -> Result<Answer, ContextError> {
        let Some(service) = &self.core().service else { return std::future::pending().await };
        if let Err(refused) = service.open_gate(members).await {
            self.core().ledger().withdraw_gate(gate_id);
            return Err(refused);
        }
        service.answer(gate_id).await
    }
}
