//! Why something is not recorded.

use std::fmt;

use crate::evidence::chain::Head;
use crate::evidence::consistency::Conflict;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Fault;
use crate::evidence::record::RecordError;

/// Why a request is not recorded. Nothing of it is, then.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// It contradicts what is recorded.
    Conflict(Conflict),
    /// An event is named like something the service itself says.
    EventNameReserved {
        /// The name.
        name: String,
    },
    /// The id was recorded with other members.
    Exists {
        /// `step`, `artifact`, `observation` or `gate`.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// A member breaks the model or its limits.
    Fault(Fault),
    /// The gate was resolved otherwise.
    GateResolved {
        /// The gate.
        gate_id: String,
        /// How.
        decision: String,
    },
    /// There is no such gate.
    GateUnknown {
        /// The gate.
        gate_id: String,
    },
    /// The chain has moved on.
    HeadMismatch {
        /// Where it is.
        head: Option<Head>,
    },
    /// The `seen_head` is none of this run.
    HeadUnknown,
    /// The idempotency key was used for another request.
    KeyReused,
    /// The digest that was sent is not that of the step's log.
    LogDigestMismatch {
        /// Of the log; `None` without one.
        digest: Option<Digest>,
    },
    /// A member that the service alone sets.
    MemberReserved {
        /// The member.
        member: String,
    },
    /// A name that a redaction rule matches.
    NameRedacted {
        /// A pointer to what has it.
        at: String,
        /// The rule.
        rule_id: String,
    },
    /// The run is closed.
    RunClosed {
        /// How it ended.
        result: String,
    },
    /// The run is full.
    RunFull {
        /// How many elements there may be.
        max_elements: usize,
        /// How many bytes the envelope may have.
        max_bytes: usize,
    },
    /// An element is too large.
    TooLarge {
        /// Its size in canonical form.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// No `type` that can be appended.
    TypeUnknown,
}

impl Refusal {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::Conflict(conflict) => conflict.code(),
            Refusal::EventNameReserved { .. } => "event_name_reserved",
            Refusal::Exists { what: "artifact", .. } => "artifact_exists",
            Refusal::Exists { what: "gate", .. } => "gate_exists",
            Refusal::Exists { what: "observation", .. } => "observation_exists",
            Refusal::Exists { .. } => "step_exists",
            Refusal::Fault(_) => "member_invalid",
            Refusal::GateResolved { .. } => "gate_resolved",
            Refusal::GateUnknown { .. } => "gate_not_found",
            Refusal::HeadMismatch { .. } => "head_mismatch",
            Refusal::HeadUnknown => "head_unknown",
            Refusal::KeyReused => "idempotency_key_reused",
            Refusal::LogDigestMismatch { .. } => "log_digest_mismatch",
            Refusal::MemberReserved { .. } => "member_reserved",
            Refusal::NameRedacted { .. } => "name_redacted",
            Refusal::RunClosed { .. } => "run_closed",
            Refusal::RunFull { .. } => "run_full",
            Refusal::TooLarge { .. } => "element_too_large",
            Refusal::TypeUnknown => "type_unknown",
        }
    }

    /// A pointer to the member that is wrong, into what was sent.
    pub fn pointer(&self) -> Option<String> {
        match self {
            Refusal::EventNameReserved { .. } => Some("/name".into()),
            Refusal::Fault(fault) => Some(fault.at.clone()),
            Refusal::HeadUnknown => Some("/seen_head".into()),
            Refusal::LogDigestMismatch { .. } => Some("/log/digest".into()),
            Refusal::MemberReserved { member } => Some(format!("/{member}")),
            Refusal::NameRedacted { at, .. } => Some(at.clone()),
            Refusal::TypeUnknown => Some("/type".into()),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Conflict(conflict) => write!(f, "{conflict}"),
            Refusal::EventNameReserved { name } => {
                write!(f, "events of the service are called {name:?}; name yours custom:… or otherwise")
            }
            Refusal::Exists { what, id } => write!(
                f,
                "{what} {id:?} is recorded already, with other members; what is recorded does not change"
            ),
            Refusal::Fault(fault) => write!(f, "{fault}"),
            Refusal::GateResolved { gate_id, decision } => {
                write!(f, "gate {gate_id:?} is {decision} already")
            }
            Refusal::GateUnknown { gate_id } => write!(f, "no gate {gate_id:?} in this run"),
            Refusal::HeadMismatch { head: Some(head) } => write!(
                f,
                "the chain has moved on: its head is {} (seq {}); read what came, and try again with that",
                head.entry_hash, head.seq
            ),
            Refusal::HeadMismatch { head: None } => f.write_str("the chain has no head yet"),
            Refusal::HeadUnknown => f.write_str("`seen_head` is no entry_hash of this run"),
            Refusal::KeyReused => {
                f.write_str("this Idempotency-Key was used for another request; take a fresh one for each request")
            }
            Refusal::LogDigestMismatch { digest: Some(digest) } => write!(
                f,
                "the log that arrived has {digest}; send the rest of it, or leave `log` out"
            ),
            Refusal::LogDigestMismatch { digest: None } => {
                f.write_str("no log arrived for this attempt of the step; send it first, or leave `log` out")
            }
            Refusal::MemberReserved { member } => {
                write!(f, "the service alone sets `{member}`; leave it out")
            }
            Refusal::NameRedacted { at, rule_id } => write!(
                f,
                "a member's name at {at} is what the redaction rule {rule_id:?} of the project matches; values are masked, \
                 names are not: send it as a value, or not at all"
            ),
            Refusal::RunClosed { result } => {
                write!(f, "the run is closed ({result}); nothing is recorded in it any more")
            }
            Refusal::RunFull { max_elements, max_bytes } => write!(
                f,
                "{}",
                RecordError::RunFull { max_elements: *max_elements, max_bytes: *max_bytes }
            ),
            Refusal::TooLarge { bytes, max } => {
                write!(f, "{}", RecordError::ElementTooLarge { bytes: *bytes, max: *max })
            }
            Refusal::TypeUnknown => f.write_str(
                "`type` is one of step_started, step (or step_finished), artifact, observation, event, redaction",
            ),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Refusal::Fault(fault)
    }
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Conflict(conflict) => Refusal::Conflict(conflict),
            RecordError::Element(fault) => Refusal::Fault(fault),
            RecordError::ElementTooLarge { bytes, max } => Refusal::TooLarge { bytes, max },
            RecordError::RunFull { max_elements, max_bytes } => Refusal::RunFull { max_elements, max_bytes },
            // Neither can come of a request: the run is recorded at opening, and closed runs are told before.
            RecordError::AfterOutcome | RecordError::Order => Refusal::RunClosed { result: String::new() },
        }
    }
}
