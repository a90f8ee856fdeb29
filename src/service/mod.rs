//! What the service does, a file for each thing that can be asked of it. HTTP is thin above it.

mod access;
mod backup;
mod closing;
mod entries;
mod envelopes;
mod erasure;
mod error;
mod figures;
pub(crate) mod fill;
mod gates;
mod keys;
mod lists;
pub(crate) mod log_check;
mod logs;
mod projects;
mod runs;
mod sealer;
mod sessions;
mod sweeper;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::panic,
    reason = "a test fails by a panic"
)]
mod tests;
mod tokens;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

pub(crate) use crate::append::Done;
pub(crate) use crate::logs::{LogAppend, LogReceipt, MAX_CHUNK_BYTES, Stream};
pub(crate) use crate::store::layout::is_evidence_id;
pub(crate) use crate::store::list::{Page, Place};
pub(crate) use access::{
    Action, Caller, Gatekeeper, Held, Role, Scope, Secret, Session, SessionSecret, Token,
};
pub(crate) use envelopes::StoredEnvelope;
pub(crate) use error::ServiceError;
pub(crate) use gates::GateView;
pub(crate) use keys::{KeyRefused, Signing};
pub(crate) use lists::RunFilter;
pub(crate) use logs::{FoundLog, LinePage};

use tokio::sync::Semaphore;

use self::keys::Keys;
use self::sealer::Sealer;
use crate::append::{Committer, DiskGuard, Lanes, Opens, Surroundings};
use crate::store::{Store, StoreError};

/// How many whole envelopes are read and sent at once: each may have tens of megabytes.
const WHOLE_AT_ONCE: usize = 16;
/// How many files are judged at once: each may take gigabytes.
const JUDGED_AT_ONCE: usize = 2;

/// The service over one store.
pub(crate) struct Service {
    store: Arc<dyn Store>,
    lanes: Arc<Lanes>,
    opens: Arc<Opens>,
    sealer: Arc<Sealer>,
    gatekeeper: Gatekeeper,
    committer: Arc<Committer>,
    /// For whole envelopes that are read, until they are sent.
    whole: Arc<Semaphore>,
    /// Some run that is there.
    another: Arc<OnceLock<String>>,
    /// For files that are posted to be judged.
    judging: Arc<Semaphore>,
    surroundings: Arc<Surroundings>,
    keys: Arc<Keys>,
}

impl Service {
    /// Starts on a store, and registers the key. What was closing when the service before it ended is sealed by [`sweep`](Self::sweep).
    pub(crate) fn start(
        store: Arc<dyn Store>,
        signing: Signing,
        surroundings: Surroundings,
        disk: Option<(PathBuf, u64)>,
        rate_limit: Option<u32>,
    ) -> Result<Arc<Self>, KeyRefused> {
        let surroundings = Arc::new(surroundings);
        let keys = Keys::open(store.clone(), signing, (surroundings.now)())?;
        let guard = disk.map(|(path, min_free_bytes)| DiskGuard { path, min_free_bytes });
        let committer = Committer::start(store.clone(), guard, Arc::default());
        let committer = Arc::new(committer.map_err(|error| StoreError::Engine(error.to_string()))?);
        let lanes = Lanes::new(store.clone(), committer.clone(), surroundings.clone());
        let opens = Opens::new(store.clone(), committer.clone(), lanes.clone(), surroundings.clone());
        let sealer =
            Sealer::new(store.clone(), lanes.clone(), committer.clone(), surroundings.clone(), keys.clone());
        let gatekeeper = Gatekeeper::open(store.clone(), rate_limit)?;
        let (whole, judging) =
            (Arc::new(Semaphore::new(WHOLE_AT_ONCE)), Arc::new(Semaphore::new(JUDGED_AT_ONCE)));
        Ok(Arc::new(Self {
            store,
            lanes,
            opens,
            sealer,
            gatekeeper,
            committer,
            whole,
            judging,
            another: Arc::default(),
            surroundings,
            keys,
        }))
    }

    /// Reads from the store without holding up other tasks.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || read(&*store)).await {
            Ok(read) => Ok(read?),
            Err(error) => Err(ServiceError::unavailable(error)),
        }
    }
}
