//! How the record is written: lanes decide, one committer makes durable, then it is answered.
//!
//! A run has one lane. What arrives for it while a batch is being written is the next batch; nothing gets a place before the
//! batch ahead is decided. The committer takes what has gathered from all lanes and writes it in one go.

mod committer;
mod drive;
mod lane;
mod ledger;
mod opens;
mod rejection;
mod signals;
mod told;

pub(crate) use committer::{Committer, DiskGuard};
pub(crate) use lane::{Ask, Done, Lanes};
pub(crate) use opens::{OpenRun, Opens};
pub(crate) use rejection::Rejection;
pub(crate) use told::{chunk_at, line_beginning, line_frame};

use crate::evidence::envelope::limits::Limits;
use crate::evidence::time::Timestamp;
use crate::journal::Periods;

/// From this size on work is told to the scheduler.
const LARGE_BYTES: usize = 16 << 10;

/// Does work on about so many bytes; while it is much, other tasks go on in other threads.
pub(crate) fn work_on<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes > LARGE_BYTES { tokio::task::block_in_place(work) } else { work() }
}

/// Fills what it is given.
pub(crate) type Fill = Box<dyn Fn(&mut [u8]) + Send + Sync>;

/// Time, randomness and limits, given by who starts all this.
pub(crate) struct Surroundings {
    pub(crate) now: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// Fills with fresh random bytes.
    pub(crate) random: Fill,
    pub(crate) limits: Limits,
    pub(crate) periods: Periods,
    /// How many bytes the logs of a run may have.
    pub(crate) max_log_bytes: u64,
    /// How many may follow streams at once.
    pub(crate) max_subscribers: usize,
    /// When the service started.
    pub(crate) started_at: Timestamp,
}

impl Surroundings {
    pub(crate) fn salt(&self) -> [u8; 16] {
        let mut salt = [0; 16];
        (self.random)(&mut salt);
        salt
    }

    /// A UUID of version 7 (RFC 9562) for that moment.
    pub(crate) fn uuid_v7(&self, at: Timestamp) -> String {
        let mut random = [0; 10];
        (self.random)(&mut random);
        let ms = u64::try_from(at.unix_ms()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid().to_string()
    }
}
