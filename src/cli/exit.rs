//! Exit statuses, and the one line that comes with a failure.

use std::fmt::Display;
use std::process::ExitCode;

use super::style;

/// The service refused what was asked, or some of it.
#[cfg(feature = "client")]
pub(super) const REFUSED: u8 = 1;
/// Not a sealed envelope, or a keyring that is refused.
pub(super) const UNREADABLE: u8 = 2;
/// Wrong arguments (sysexits EX_USAGE).
pub(super) const USAGE: u8 = 64;
/// A file that cannot be read (EX_NOINPUT).
pub(super) const NO_INPUT: u8 = 66;
/// The service is away, or an address is taken (EX_UNAVAILABLE).
#[cfg(any(feature = "client", feature = "service"))]
pub(super) const UNAVAILABLE: u8 = 69;
/// A file that cannot be written (EX_CANTCREAT).
pub(super) const CANNOT_WRITE: u8 = 73;

/// Why a command stops, and with which status.
#[derive(Debug)]
pub(super) struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    pub(super) fn new(status: u8, message: impl Display) -> Self {
        Self { status, message: message.to_string() }
    }

    pub(super) fn usage(message: impl Display) -> Self {
        Self::new(USAGE, message)
    }

    pub(super) fn no_input(message: impl Display) -> Self {
        Self::new(NO_INPUT, message)
    }

    pub(super) fn status(&self) -> u8 {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Says why on standard error.
    pub(super) fn tell(self) -> ExitCode {
        style::say(format_args!(
            "{}sealstone:{} {}",
            style::BAD,
            style::RESET,
            style::printable(&self.message)
        ));
        self.status.into()
    }
}

/// Writes an answer for a person: colours only on a terminal. A reader that went away is no failure.
pub(super) fn answer(text: &str) -> Result<(), Failure> {
    write(anstream::stdout().lock(), text)
}

/// Writes an answer for a program, byte for byte.
pub(super) fn answer_exactly(text: &str) -> Result<(), Failure> {
    write(std::io::stdout().lock(), text)
}

/// Writes JSON that a person may look at too: the control characters that JSON leaves as they are become escapes.
pub(super) fn answer_json(text: &str) -> Result<(), Failure> {
    let escaped = text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if ('\u{7f}'..='\u{9f}').contains(&c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
        out
    });
    answer_exactly(&escaped)
}

fn write(mut out: impl std::io::Write, text: &str) -> Result<(), Failure> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(CANNOT_WRITE, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
