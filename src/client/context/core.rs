//! What all contexts of one run share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::ledger::Ledger;
use super::service::Service;

/// A run, and whether it is asked to stop.
pub(super) struct Core {
    ledger: Mutex<Ledger>,
    aborting: watch::Sender<bool>,
    /// Where it is reported, if it is.
    pub(super) service: Option<Service>,
}

impl Core {
    pub(super) fn new(ledger: Ledger, service: Option<Service>) -> Arc<Self> {
        Arc::new(Self { ledger: Mutex::new(ledger), aborting: watch::Sender::new(false), service })
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells all who wait that the run is to stop.
    pub(super) fn abort(&self) {
        self.aborting.send_replace(true);
    }

    pub(super) fn is_aborting(&self) -> bool {
        match &self.service {
            Some(service) => service.reporter.is_abort_requested(),
            None => *self.aborting.borrow(),
        }
    }

    /// Returns once the run is to stop.
    pub(super) async fn aborting(&self) {
        if let Some(service) = &self.service {
            return service.reporter.abort_requested().await;
        }
        // The sender is there as long as this is.
        let _ = self.aborting.subscribe().wait_for(|aborting| *aborting).await;
    }
}

/// Held by every context of a run and by every step of it: the last one to go closes the run, if nobody has.
pub(super) struct LastOneOut(pub(super) Arc<Core>);

impl Drop for LastOneOut {
    fn drop(&mut self) {
        let reason = if std::thread::panicking() {
            "a panic ended what ran"
        } else {
            "what ran let go of the run without closing it"
        };
        // One that is closed stays as it is.
        let _ = self.0.ledger().close("failed", Some(reason), None);
    }
}
