//! Why a context does not take something.

use std::fmt;

use crate::evidence::consistency::Conflict;
use crate::evidence::envelope::Fault;
use crate::evidence::record::RecordError;

/// Why something is not taken. Nothing of it is recorded or told, and the run goes on as it was.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ContextError {
    /// Somebody asked the run to stop: nobody waits for input any more.
    AbortRequested,
    /// The run is closed.
    Closed,
    /// An event is named like something that the record itself says.
    EventNameReserved {
        /// The name.
        name: String,
    },
    /// There is no room for it, counting what the close of the run needs.
    Full {
        /// How many elements there may be.
        max_elements: usize,
        /// How many bytes the envelope may have.
        max_bytes: usize,
    },
    /// The service did not open the gate, or does not tell of it.
    GateRefused {
        /// The service's code.
        code: String,
        /// What to do about it.
        detail: String,
    },
    /// No gate of that name is open.
    GateUnknown {
        /// The name.
        gate_id: String,
    },
    /// A member that is set for the producer.
    MemberReserved {
        /// The member.
        member: String,
    },
    /// [`Report::finish`](super::Report::finish) was called before: nothing is reported any more.
    ReportFinished,
    /// It breaks the model or its limits, or contradicts what is recorded.
    Refused(RecordError),
    /// The step is over: a higher attempt of it was recorded.
    StepOver {
        /// The step.
        step_id: String,
        /// The attempt.
        attempt: u64,
    },
}

impl ContextError {
    /// The stable code; the service's own where it has one.
    pub fn code(&self) -> &'static str {
        match self {
            ContextError::AbortRequested => "abort_requested",
            ContextError::Closed => "run_closed",
            ContextError::EventNameReserved { .. } => "event_name_reserved",
            ContextError::Full { .. } => "run_full",
            ContextError::GateRefused { .. } => "gate_refused",
            ContextError::GateUnknown { .. } => "gate_not_found",
            ContextError::MemberReserved { .. } => "member_reserved",
            ContextError::ReportFinished => "report_finished",
            ContextError::Refused(RecordError::Conflict(conflict)) => conflict.code(),
            ContextError::Refused(RecordError::ElementTooLarge { .. }) => "element_too_large",
            ContextError::Refused(_) => "member_invalid",
            ContextError::StepOver { .. } => "step_over",
        }
    }
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContextError::AbortRequested => f.write_str("the run is asked to stop; close it as aborted"),
            ContextError::Closed => f.write_str("the run is closed; nothing is taken any more"),
            ContextError::EventNameReserved { name } => {
                write!(f, "something else is called {name:?}; name the event custom:… or otherwise")
            }
            ContextError::Full { max_elements, max_bytes } => {
                let (max_elements, max_bytes) = (*max_elements, *max_bytes);
                write!(f, "{}", RecordError::RunFull { max_elements, max_bytes })
            }
            ContextError::GateRefused { code, detail } => {
                write!(f, "the service does not open the gate: {code}: {detail}")
            }
            ContextError::GateUnknown { gate_id } => write!(f, "no gate {gate_id:?} is open in this run"),
            ContextError::MemberReserved { member } => write!(f, "`{member}` is set for you; leave it out"),
            ContextError::ReportFinished => {
                f.write_str("the report is finished, so nothing is taken any more; close the run before")
            }
            ContextError::Refused(why) => write!(f, "{why}"),
            ContextError::StepOver { step_id, attempt } => {
                write!(f, "attempt {attempt} of step {step_id:?} is over: a higher one is recorded")
            }
        }
    }
}

impl std::error::Error for ContextError {}

impl From<RecordError> for ContextError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::AfterOutcome => ContextError::Closed,
            RecordError::RunFull { max_elements, max_bytes } => {
                ContextError::Full { max_elements, max_bytes }
            }
            other => ContextError::Refused(other),
        }
    }
}

impl From<Fault> for ContextError {
    fn from(fault: Fault) -> Self {
        ContextError::Refused(fault.into())
    }
}

impl From<Conflict> for ContextError {
    fn from(conflict: Conflict) -> Self {
        ContextError::Refused(conflict.into())
    }
}
