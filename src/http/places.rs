//! How many connections may be open: each is a file, and the records need some too.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::figures::Figures;

/// Places for connections.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    figures: Arc<Figures>,
}

/// The place of one open connection; free again once this is dropped.
pub(super) struct Place {
    figures: Arc<Figures>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    pub(crate) fn new(connections: usize, figures: Arc<Figures>) -> Self {
        let connections = connections.min(Semaphore::MAX_PERMITS);
        figures.max_connections.set(connections);
        Self { free: Arc::new(Semaphore::new(connections)), figures }
    }

    /// Waits until another connection may be accepted.
    pub(super) async fn one_free(&self) -> OwnedSemaphorePermit {
        self.free.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// The place of a connection that was accepted.
    pub(super) fn take(&self, permit: OwnedSemaphorePermit) -> Place {
        self.figures.connections.up();
        Place { figures: self.figures.clone(), _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.figures.connections.down();
    }
}
