//! What the service does, a file for each thing that can be asked of it. HTTP is thin above it.

mod access;
mod backup;
mod closing;
mod entries;
mod envelopes;
mod erasure;
mod error;
mod event_page;
mod figures;
pub(crate) mod fill;
mod gates;
mod keys;
mod lines;
mod lists;
pub(crate) mod log_check;
mod log_streams;
mod logs;
mod projects;
mod runs;
mod sealer;
mod sessions;
mod signals;
mod streams;
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

pub(crate) use crate::append::{Done, work_on};
pub(crate) use crate::logs::{LogAppend, LogReceipt, MAX_CHUNK_BYTES, Stream};
pub(crate) use crate::store::layout::is_evidence_id;
pub(crate) use crate::store::list::{Page, Place};
pub(crate) use access::{
    Action, Caller, Gatekeeper, Held, Role, Scope, Secret, Session, SessionSecret, Token,
};
pub(crate) use envelopes::StoredEnvelope;
pub(crate) use error::ServiceError;
pub(crate) use event_page::EventPage;
pub(crate) use gates::GateView;
pub(crate) use keys::{KeyRefused, Signing};
pub(crate) use lines::{SentLines, What};
pub(crate) use lists::RunFilter;
pub(crate) use logs::{FoundLog, LinePage};
pub(crate) use streams::{Among, Begin, Followed};

use tokio::sync::Semaphore;

use self::keys::Keys;
use self::sealer::Sealer;
use crate::append::{Committer, DiskGuard, Lanes, Opens, Surroundings};
use crate::events::Hub;
use crate::evidence::time::Timestamp;
use crate::store::{Store, StoreError};

/// How many whole envelopes are read and sent at once: each may have tens of megabytes.
const WHOLE_AT_ONCE: usize = 16;
/// How many stretches of journals and logs are read at once for who watches: each may have some megabytes.
const LOADS_AT_ONCE: usize = 4;
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
    hub: Arc<Hub>,
    /// For journals and logs that are read for who watches.
    loads: Arc<Semaphore>,
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
        let hub = new_hub(&surroundings);
        let lanes = Lanes::new(store.clone(), committer.clone(), surroundings.clone(), hub.clone());
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
            hub,
            loads: Arc::new(Semaphore::new(LOADS_AT_ONCE)),
            whole,
            judging,
            another: Arc::default(),
            surroundings,
            keys,
        }))
    }

    /// Ends all streams, and every one that is asked for later.
    pub(crate) fn end_streams(&self) {
        self.hub.shut();
    }

    /// Whether all streams were ended.
    pub(crate) fn is_ending(&self) -> bool {
        self.hub.is_shut()
    }

    /// The time, as the service sees it.
    pub(crate) fn now(&self) -> Timestamp {
        (self.surroundings.now)()
    }

    /// A random number below that one.
    pub(crate) fn random_below(&self, end: u64) -> u64 {
        let mut random = [0; 8];
        (self.surroundings.random)(&mut random);
        u64::from_be_bytes(random).checked_rem(end).unwrap_or_default()
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

/// The streams of this start of the service: ids of another one are of no use.
fn new_hub(surroundings: &Surroundings) -> Arc<Hub> {
    let mut epoch = [0; 4];
    (surroundings.random)(&mut epoch);
    Hub::new(&format!("{:x}", u32::from_be_bytes(epoch)), surroundings.max_subscribers)
}
