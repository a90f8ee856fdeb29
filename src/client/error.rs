//! Why a call was not answered with what it asked for.

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

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

impl Error for ClientError {}

/// Whether it is the certificate of who answers. What reads and writes hands it on as an error of its own.
pub(super) fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    });
    causes.any(|error| matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// An address as it may be told: without name and password.
pub(super) fn without_user(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            let scheme = if scheme.contains(['@', ':']) { "" } else { scheme };
            format!("{scheme}://…@{host}")
        }
        None => url.to_owned(),
    }
}

/// An error with all its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::client::{Client, Retry};

    #[test]
    fn no_name_and_no_password_of_an_address_is_told() {
        for url in ["htps://me:pw@h", "http://me:pw@h:port", "https://me:pw@h", "me:pw@h", "//me:p@w@h"] {
            let made = Client::new(url, None, &[], Retry::default(), || [0; 16]);
            let told = made.err().map(|error| format!("{error} {error:?}")).unwrap_or_default();
            assert!(told.contains("@h") && !told.contains("pw") && !told.contains("p@w"), "{told}");
        }
    }
}
