//! Why the service does not do what was asked. The error owns its code and its status.

use std::fmt;

use super::access::Action;
use crate::append::Rejection;
use crate::events::Full;
use crate::journal::{Refusal, State};
use crate::logs::LogRefusal;
use crate::store::StoreError;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ServiceError {
    /// With the first token nobody is let in without: it has to be one that makes others.
    FirstToken,
    /// The token is the last that can make others.
    LastAdmin,
    /// The engine can be compacted only while nothing is served from it.
    CompactionOffline,
    /// The caller's token was deleted, or ended, while they asked.
    TokenGone,
    /// The caller's role may not do that.
    Forbidden { action: Action },
    /// The caller's token is not for that project.
    ProjectForbidden { project: String },
    /// There is no such project for the caller.
    ProjectUnknown,
    /// Nothing is withheld at that place, or nothing that is still kept.
    DisclosureNotFound,
    /// The bytes of the log are not kept any more.
    LogDeleted,
    /// The attempt of the step has no log.
    LogNotFound,
    /// There is no token yet that a session could stand for.
    NoTokens,
    /// The run is not sealed yet.
    NotSealed { state: State },
    /// The run goes on, and what is asked for is for those that are sealed.
    NotYet { state: State },
    /// It was not recorded.
    Rejected(Rejection),
    /// A run_id is in several projects.
    RunAmbiguous { projects: Vec<String> },
    /// The caller's session ended, or its token, while they asked.
    SessionGone,
    /// There is no session that could end: the caller was let in without.
    SessionNone,
    /// The run is closed, and could not be sealed yet.
    SealPending { why: String },
    /// As many follow streams as may.
    SubscribersFull { max: usize },
}

impl ServiceError {
    pub(super) fn unavailable(why: impl fmt::Display) -> Self {
        ServiceError::Rejected(Rejection::Unavailable(why.to_string()))
    }

    pub(super) fn not_found() -> Self {
        ServiceError::Rejected(Rejection::NotFound)
    }

    /// The stable code, and the HTTP status that goes with it.
    pub(crate) fn code(&self) -> (&'static str, u16) {
        match self {
            ServiceError::FirstToken => ("first_token", 409),
            ServiceError::LastAdmin => ("last_admin", 409),
            ServiceError::CompactionOffline => ("compaction_offline", 409),
            ServiceError::TokenGone => ("token_invalid", 401),
            ServiceError::Forbidden { .. } => ("forbidden", 403),
            ServiceError::ProjectForbidden { .. } => ("project_forbidden", 403),
            ServiceError::ProjectUnknown => ("project_not_found", 404),
            ServiceError::DisclosureNotFound => ("disclosure_not_found", 404),
            ServiceError::LogDeleted => ("log_deleted", 410),
            ServiceError::LogNotFound => ("log_not_found", 404),
            ServiceError::NoTokens => ("no_tokens", 409),
            ServiceError::NotSealed { .. } => ("envelope_not_found", 404),
            ServiceError::NotYet { .. } => ("run_not_sealed", 409),
            ServiceError::RunAmbiguous { .. } => ("run_ambiguous", 409),
            ServiceError::SessionGone => ("session_invalid", 401),
            ServiceError::SessionNone => ("session_not_found", 404),
            ServiceError::SealPending { .. } => ("seal_pending", 503),
            ServiceError::SubscribersFull { .. } => ("subscribers_full", 503),
            ServiceError::Rejected(Rejection::Busy) => ("busy", 503),
            ServiceError::Rejected(Rejection::DiskFull { .. }) => ("disk_full", 507),
            ServiceError::Rejected(Rejection::Log(refusal @ LogRefusal::TooLarge { .. })) => {
                (refusal.code(), 413)
            }
            ServiceError::Rejected(Rejection::Log(refusal @ LogRefusal::TooMany { .. })) => {
                (refusal.code(), 422)
            }
            ServiceError::Rejected(Rejection::Log(refusal)) => (refusal.code(), 409),
            ServiceError::Rejected(Rejection::NotFound) => ("run_not_found", 404),
            ServiceError::Rejected(Rejection::RunExists { .. }) => ("run_exists", 409),
            ServiceError::Rejected(Rejection::Unavailable(_) | Rejection::Unknown(_)) => {
                ("store_unavailable", 503)
            }
            ServiceError::Rejected(Rejection::Refused { refusal, .. }) => (refusal.code(), status(refusal)),
        }
    }

    /// Where a log ends, if it was sent to another place.
    pub(crate) fn log_offset(&self) -> Option<u64> {
        match self {
            ServiceError::Rejected(Rejection::Log(LogRefusal::OffsetMismatch { offset })) => Some(*offset),
            _ => None,
        }
    }

    /// A pointer into what was sent.
    pub(crate) fn pointer(&self) -> Option<String> {
        match self {
            ServiceError::Rejected(Rejection::Refused { refusal, .. }) => refusal.pointer(),
            _ => None,
        }
    }

    /// The index of the entry that it is about.
    pub(crate) fn entry(&self) -> Option<usize> {
        match self {
            ServiceError::Rejected(Rejection::Refused { entry, .. }) => *entry,
            _ => None,
        }
    }
}

fn status(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::Conflict(conflict) if conflict.code() == "artifact_unknown" => 422,
        Refusal::Conflict(_)
        | Refusal::Exists { .. }
        | Refusal::GateResolved { .. }
        | Refusal::LogDigestMismatch { .. }
        | Refusal::RunClosed { .. } => 409,
        Refusal::EventNameReserved { .. }
        | Refusal::Fault(_)
        | Refusal::HeadUnknown
        | Refusal::KeyReused
        | Refusal::MemberReserved { .. }
        | Refusal::NameRedacted { .. }
        | Refusal::RunFull { .. }
        | Refusal::TypeUnknown => 422,
        Refusal::GateUnknown { .. } => 404,
        Refusal::HeadMismatch { .. } => 412,
        Refusal::TooLarge { .. } => 413,
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceError::FirstToken => f.write_str(
                "the first token has to be an admin's for all projects: with it nobody is let in without one",
            ),
            ServiceError::LastAdmin => f.write_str(
                "no other token for good is an admin's for all projects; make one before this is deleted",
            ),
            ServiceError::CompactionOffline => f.write_str(
                "this engine is compacted while the service does not run: sealstone store compact --data-dir DIR",
            ),
            ServiceError::TokenGone => f.write_str("this token does not count any more"),
            ServiceError::Forbidden { action } => {
                write!(f, "the role of this token may not {}; ask for one that may", action.in_words())
            }
            ServiceError::ProjectForbidden { project } => {
                write!(f, "this token is not for the project {project:?}")
            }
            ServiceError::ProjectUnknown => f.write_str("there is no such project"),
            ServiceError::DisclosureNotFound => f.write_str(
                "no value is kept that is withheld at this place; `at` is the pointer of a disclosure, like /execution/steps/0/command",
            ),
            ServiceError::LogDeleted => {
                f.write_str("the logs of this run were deleted; their digests stay in its envelope")
            }
            ServiceError::LogNotFound => f.write_str("this attempt of the step has no log"),
            ServiceError::NotYet { state } => {
                write!(f, "the run is {}; this can be asked for once it is sealed", state.as_str())
            }
            ServiceError::NoTokens => f.write_str(
                "there are no tokens yet: whoever is on this machine is admin, and needs no session",
            ),
            ServiceError::NotSealed { state } => write!(
                f,
                "the run is {}; its envelope is there once it is finalized and sealed",
                state.as_str()
            ),
            ServiceError::RunAmbiguous { projects } => {
                write!(f, "several projects have a run of that name ({}); add ?project=", projects.join(", "))
            }
            ServiceError::SessionGone => f.write_str("this session is over; sign in again"),
            ServiceError::SessionNone => f.write_str(
                "this request came without a session; a token is ended with DELETE /v1/tokens/{id}",
            ),
            ServiceError::SealPending { why } => write!(
                f,
                "the run is closed and its record safe, but it cannot be sealed now: {why}; it is tried again, ask later"
            ),
            ServiceError::SubscribersFull { max } => write!(
                f,
                "{max} streams are followed already (--max-subscribers); try again later, or follow several runs in one stream: /v1/events?run=A&run=B"
            ),
            ServiceError::Rejected(rejection) => match rejection {
                Rejection::Busy => f.write_str("too many requests wait; try again"),
                Rejection::DiskFull { free_bytes, min_free_bytes } => write!(
                    f,
                    "{free_bytes} bytes are left on the disk, {min_free_bytes} are kept free (--min-free); make room and try again"
                ),
                Rejection::Log(refusal) => write!(f, "{refusal}"),
                Rejection::NotFound => f.write_str("there is no such run"),
                Rejection::Refused { refusal, .. } => write!(f, "{refusal}"),
                Rejection::RunExists { run_id, evidence_id } => write!(
                    f,
                    "the project has a run {run_id:?} already, opened with another body ({evidence_id}); choose another run_id"
                ),
                Rejection::Unavailable(why) => write!(f, "{why}; try again later"),
                Rejection::Unknown(why) => write!(
                    f,
                    "the store failed: {why}; what was sent may be recorded or not: send the same again, with the same Idempotency-Key"
                ),
            },
        }
    }
}

impl std::error::Error for ServiceError {}

impl From<Rejection> for ServiceError {
    fn from(rejection: Rejection) -> Self {
        ServiceError::Rejected(rejection)
    }
}

impl From<Full> for ServiceError {
    fn from(full: Full) -> Self {
        ServiceError::SubscribersFull { max: full.max_subscribers }
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        ServiceError::Rejected(error.into())
    }
}
