//! Signals: told to who watches, and not recorded.

use super::{Caller, Service, ServiceError};
use crate::append::Ask;
use crate::events::Signal;
use crate::journal::Pos;

/// What became of signals that were sent.
pub(crate) struct Signaled {
    pub(crate) taken: usize,
    /// The project does not take them.
    pub(crate) dropped: usize,
    /// No later record of the run stands before this place.
    pub(crate) next: Pos,
}

impl Service {
    /// Tells of signals, of all that the run takes or of none.
    pub(crate) async fn signal(
        &self,
        evidence_id: &str,
        signals: Vec<Signal>,
        bytes: usize,
        caller: &Caller,
    ) -> Result<Signaled, ServiceError> {
        let sent = signals.len();
        let done = self.lanes.ask(evidence_id, Ask::Signal(signals), bytes, caller.name()).await?;
        let (taken, dropped) = (done.signals, sent.saturating_sub(done.signals));
        self.figures().signals.add("taken", taken);
        self.figures().signals.add("dropped", dropped);
        Ok(Signaled { taken, dropped, next: done.standing.pos.saturating_add(1) })
    }
}
