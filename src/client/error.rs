//! Why a call was not answered with what it asked for.

use std::fmt;
use std::time::Duration;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientError {
    /// What came back is not what the service answers.
    Answer {
        /// What is wrong with it.
        why: String,
    },
    /// The service was not reached, or took nothing, until we gave up. What was asked may have been recorded all the same.
    /// The same again is recorded once if it has a name: a run with a `run_id`, a step, an artifact, an observation, a gate with a
    /// `gate_id`, a finalize.
    Away {
        /// The last failure.
        why: String,
        /// How long it was tried.
        tried: Duration,
    },
    /// What came could not be kept where it should go.
    Kept {
        /// Why.
        why: String,
    },
    /// The service said no (RFC 9457).
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code.
        code: String,
        /// What to do about it.
        detail: String,
        /// The member that it is about.
        pointer: Option<String>,
        /// Where the next bytes of a log go, where that was not said right.
        upload_offset: Option<u64>,
    },
    /// The token has characters that no token has.
    Token,
    /// Who answers there cannot be trusted to be the service.
    Untrusted {
        /// What is wrong with its certificate.
        why: String,
    },
    /// Not an address of a service.
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Answer { why } => write!(f, "the answer is not one of a Sealstone service: {why}"),
            ClientError::Away { why, tried } => write!(
                f,
                "the service does not answer ({why}; tried for {:.1} s); is it running, and is --server right?",
                tried.as_secs_f64()
            ),
            ClientError::Kept { why } => write!(f, "what the service sent cannot be kept: {why}"),
            ClientError::Refused { status, code, detail, .. } => write!(f, "{code} ({status}): {detail}"),
            ClientError::Token => f.write_str("the token has characters that no token has"),
            ClientError::Untrusted { why } => {
                write!(f, "the service is not trusted ({why}); is its authority missing (--ca FILE)?")
            }
            ClientError::Url { url, why } => write!(f, "{url:?} is no address of a service: {why}"),
        }
    }
}

impl std::error::Error for ClientError {}
