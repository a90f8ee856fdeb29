//! Time and randomness, given by who starts a run.

use std::sync::Arc;

use crate::evidence::time::Timestamp;

/// A clock, and a source of randomness.
#[derive(Clone)]
pub struct Surroundings {
    pub(super) now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub(super) random: Arc<dyn Fn() -> [u8; 16] + Send + Sync>,
}

impl Surroundings {
    /// `now` is the time, which need not be steady; `random` gives 16 fresh bytes at each call, of which the names of runs and the
    /// salts of what is withheld are made. Both are called while the run is locked: they return at once, and call nothing of it.
    pub fn new(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        random: impl Fn() -> [u8; 16] + Send + Sync + 'static,
    ) -> Self {
        Self { now: Arc::new(now), random: Arc::new(random) }
    }

    pub(super) fn uuid_v7(&self) -> String {
        let ms = u64::try_from((self.now)().unix_ms()).unwrap_or_default();
        let random = (self.random)().first_chunk().copied().unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid().to_string()
    }
}
