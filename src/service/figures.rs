//! What the operator asks of the service itself: its figures, and whether it can do its work.

use std::sync::Arc;

use super::Service;
use crate::figures::{Figures, Levels};

impl Service {
    /// What was counted so far, by all layers.
    pub(crate) fn figures(&self) -> &Arc<Figures> {
        self.committer.figures()
    }

    /// All figures, in the text form of Prometheus.
    pub(crate) async fn metrics(&self) -> String {
        let closing = self.read(|store| store.closing()).await;
        self.figures().text(&Levels {
            ready: self.readiness().is_empty(),
            started_at_seconds: self.surroundings.started_at.unix_ms() / 1_000,
            commits_waiting: self.committer.waiting(),
            runs_closing: closing.ok().map(|runs| runs.len()),
            seals_failing: self.sealer.failures().len(),
            disk: self.committer.disk(),
            subscribers: self.hub.subscribers(),
        })
    }

    /// Whether everything answers that a run needs from opening to seal; what does not, in words.
    pub(crate) fn readiness(&self) -> Vec<String> {
        let mut reasons: Vec<String> = self.store.health().err().into_iter().collect();
        if !self.committer.is_alive() {
            reasons.push("the writer has died; restart the service".into());
        }
        if let Some((free, kept)) = self.committer.disk().filter(|(free, kept)| free < kept) {
            reasons.push(format!(
                "{free} bytes are left on the disk, {kept} are kept free (--min-free); make room"
            ));
        }
        reasons.extend(self.sealer.failures());
        reasons
    }

    /// A name for a request that came without one.
    pub(crate) fn new_request_id(&self) -> String {
        self.surroundings.uuid_v7((self.surroundings.now)())
    }
}
