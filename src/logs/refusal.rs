//! Why bytes are not appended to a log.

use std::fmt;

/// Why an append is refused. Nothing of it is stored, then.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LogRefusal {
    /// The step is finished, and the digest of its log recorded.
    Ended { step_id: String, attempt: u64 },
    /// No such attempt of a step has begun.
    NotStarted { step_id: String, attempt: u64 },
    /// The bytes do not go where the log ends.
    OffsetMismatch { offset: u64 },
    /// The run's logs would have too many bytes.
    TooLarge { max_bytes: u64 },
    /// The run would have too many logs.
    TooMany { max: usize },
}

impl LogRefusal {
    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            LogRefusal::Ended { .. } => "log_ended",
            LogRefusal::NotStarted { .. } => "step_not_started",
            LogRefusal::OffsetMismatch { .. } => "log_offset_mismatch",
            LogRefusal::TooLarge { .. } => "log_too_large",
            LogRefusal::TooMany { .. } => "log_count",
        }
    }
}

impl fmt::Display for LogRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogRefusal::Ended { step_id, attempt } => write!(
                f,
                "attempt {attempt} of step {step_id:?} is finished, and the digest of its log recorded; write before you finish it"
            ),
            LogRefusal::NotStarted { step_id, attempt } => {
                write!(
                    f,
                    "attempt {attempt} of step {step_id:?} has not begun; record its step_started first"
                )
            }
            LogRefusal::OffsetMismatch { offset } => {
                write!(f, "the log ends at {offset}; send what comes from there on")
            }
            LogRefusal::TooLarge { max_bytes } => {
                write!(
                    f,
                    "the logs of a run may have {max_bytes} bytes in all; write less, or keep the log elsewhere as an artifact"
                )
            }
            LogRefusal::TooMany { max } => write!(f, "a run may have {max} logs; write to fewer"),
        }
    }
}
