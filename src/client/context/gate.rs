//! Gates: a run that waits for somebody's decision.

use std::sync::Arc;

use super::RunContext;
use super::error::ContextError;
use super::ledger::Deciding;
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
    /// service, which is told once it has all that was recorded before, and tried for as long as it is away. `gate_id` is an id that no
    /// other gate of the run has, `reason` what is asked, at most 64 KiB.
    ///
    /// It waits as long as that takes (`tokio::time::timeout` bounds it), but not beyond the close of the run
    /// ([`ContextError::Closed`]), nor once the run is asked to stop ([`ContextError::AbortRequested`]). Who does not wait any more
    /// leaves the gate open: the answer is recorded whenever it comes, and who asks again with the same words gets it. What nobody
    /// answered until the close is recorded as unanswered.
    pub async fn needs_input(&self, gate_id: &str, reason: &str) -> Result<Answer, ContextError> {
        self.ask(Object::from_iter([("gate_id", gate_id.to_owned()), ("reason", reason.to_owned())])).await
    }

    pub(super) async fn ask(&self, members: Object<'static>) -> Result<Answer, ContextError> {
        let core = &self.held.0;
        if core.is_aborting() {
            return Err(ContextError::AbortRequested);
        }
        let (deciding, is_to_ask) = core.ledger().open_gate(members.clone())?;
        if is_to_ask && let Some(service) = &core.service {
            service.ask(members, Arc::downgrade(core), deciding.clone());
        }
        tokio::select! {
            biased;
            answer = decided(deciding) => answer,
            () = core.aborting() => Err(ContextError::AbortRequested),
        }
    }
}

async fn decided(mut deciding: Deciding) -> Result<Answer, ContextError> {
    let decided = deciding.wait_for(Option::is_some).await.ok().and_then(|decided| (*decided).clone());
    decided.unwrap_or(Err(ContextError::Closed))
}
