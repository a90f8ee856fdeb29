//! Why something was not recorded, whoever is to blame.

use crate::journal::Refusal;
use crate::logs::LogRefusal;
use crate::store::{Outcome, StoreError};

/// Why a request was not answered with what it asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rejection {
    /// Too much is waiting for this run, or for what is done one at a time.
    Busy,
    /// There is too little disk.
    DiskFull { free_bytes: u64, min_free_bytes: u64 },
    /// It may not be appended to a log.
    Log(LogRefusal),
    /// There is no such run.
    NotFound,
    /// It may not be recorded; with the index of the entry that it is about.
    Refused { refusal: Refusal, entry: Option<usize> },
    /// The project has a run of that name, which was opened otherwise.
    RunExists { run_id: String, evidence_id: String },
    /// The store took nothing: why. It may later.
    Unavailable(String),
    /// Nobody knows whether it was recorded: why.
    Unknown(String),
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Rejection::Refused { refusal, entry: None }
    }
}

impl From<LogRefusal> for Rejection {
    fn from(refusal: LogRefusal) -> Self {
        Rejection::Log(refusal)
    }
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Rejection::Busy,
            // Of which run is for the operator to find out, and for nobody else to know.
            StoreError::Corrupt { what, .. } => Rejection::Unavailable(format!(
                "a stored {what} cannot be read; whoever runs the service should run `sealstone store check`"
            )),
            error => Rejection::Unavailable(error.to_string()),
        }
    }
}

impl Rejection {
    /// `None` for what was done.
    pub(super) fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Done => None,
            Outcome::Lost => Some(Rejection::Unavailable("another writer was first; try again".into())),
            Outcome::Unavailable(why) => Some(Rejection::Unavailable(why)),
            Outcome::Poisoned(why) => Some(Rejection::Unknown(why)),
            Outcome::DiskFull { free_bytes, min_free_bytes } => {
                Some(Rejection::DiskFull { free_bytes, min_free_bytes })
            }
        }
    }
}
