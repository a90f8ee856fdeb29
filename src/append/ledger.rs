//! What became of what was to be written: counted, and told where the operator has to know.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use crate::figures::Figures;
use crate::journal::{Body, JournalRecord};
use crate::store::{Batch, Outcome};

/// Counts each commit, and tells a change for the worse once.
pub(super) struct Ledger {
    figures: Arc<Figures>,
    full: bool,
    poisoned: bool,
}

impl Ledger {
    pub(super) fn new(figures: Arc<Figures>) -> Self {
        Self { figures, full: false, poisoned: false }
    }

    /// Enters a commit that took so long.
    pub(super) fn enter(&mut self, batches: &[Batch], outcomes: &[Outcome], took: Duration) {
        let (mut written, mut bytes) = (0_usize, 0_usize);
        for (batch, outcome) in batches.iter().zip(outcomes) {
            match refused(outcome) {
                Some(reason) => self.figures.batches_refused.add(reason, 1),
                None => {
                    self.count(batch);
                    written = written.saturating_add(1);
                    bytes = bytes.saturating_add(batch.bytes());
                }
            }
            self.tell(outcome);
        }
        if written > 0 {
            self.figures.commit_batches.observe(written);
            self.figures.commit_bytes.observe(bytes);
            self.figures.commit_seconds.took(took);
            self.figures.written_bytes.add(bytes);
            debug!(batches = written, bytes, "committed");
        }
    }

    fn count(&self, batch: &Batch) {
        if batch.opened.is_some() {
            self.figures.runs_opened.add(1);
        }
        for record in &batch.records {
            self.figures.records.add(type_of(record), 1);
        }
    }

    fn tell(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Done if self.full => {
                self.full = false;
                info!("there is room on the disk again");
            }
            Outcome::DiskFull { free_bytes, min_free_bytes } if !self.full => {
                self.full = true;
                error!(
                    free_bytes,
                    min_free_bytes, "the disk is full: nothing is recorded until there is room"
                );
            }
            Outcome::Poisoned(reason) if !self.poisoned => {
                self.poisoned = true;
                error!(reason, "the store failed: nothing is recorded until a restart");
            }
            Outcome::Unavailable(reason) => warn!(reason, "a batch was not written"),
            _ => {}
        }
    }
}

fn refused(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Done => None,
        Outcome::Lost => Some("lost"),
        Outcome::Unavailable(_) => Some("unavailable"),
        Outcome::DiskFull { .. } => Some("disk_full"),
        Outcome::Poisoned(_) => Some("poisoned"),
    }
}

fn type_of(record: &JournalRecord) -> &'static str {
    match &record.body {
        Body::Element(element) => element.kind.as_str(),
        Body::Notice(_) => "notice",
        Body::Sealed { .. } => "sealed",
    }
}
