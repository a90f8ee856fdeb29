//! What a report says, in our terms, and why one is not read.

use std::fmt;

use super::text::Text;

/// One report.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Report {
    /// The whole of it.
    pub(super) whole: Suite,
    /// Suites in the order in which they begin, as many as were allowed.
    pub(super) suites: Vec<Suite>,
    pub(super) suites_left_out: u64,
    /// Failed tests in the order in which they end, as many as were allowed.
    pub(super) failed: Vec<FailedTest>,
    pub(super) failed_left_out: u64,
}

/// A suite with all that is in it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Suite {
    pub(super) name: Text,
    pub(super) file: Text,
    /// The suite around it, by its place.
    pub(super) within: Option<usize>,
    pub(super) counts: Counts,
    pub(super) stated: Stated,
    pub(super) duration_ms: Option<u64>,
}

/// What was counted. A test counts once: as what it failed of first, else as skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) tests: u64,
    pub(super) failures: u64,
    pub(super) errors: u64,
    pub(super) skipped: u64,
    /// Passed in the end, after a failure.
    pub(super) flaky: u64,
}

/// What the file says was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) tests: Option<u64>,
    pub(super) failures: Option<u64>,
    pub(super) errors: Option<u64>,
    pub(super) skipped: Option<u64>,
}

/// A test with at least one failure; or a suite's own failure, which has no name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct FailedTest {
    pub(super) name: Text,
    pub(super) classname: Text,
    pub(super) file: Text,
    /// The innermost suite that it is in, by its place.
    pub(super) within: Option<usize>,
    pub(super) duration_ms: Option<u64>,
    /// In their order, as many as are kept.
    pub(super) failures: Vec<Failure>,
    pub(super) failures_left_out: u64,
}

#[derive(Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) message: Text,
    pub(super) of_type: Text,
    pub(super) text: Text,
}

/// Whether something was not as expected, or went wrong otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    Error,
    Failure,
}

/// Why a report is not read. Of its content no more is told than a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReportError {
    DocumentType,
    Empty,
    EndsEarly { line: u64 },
    Malformed { line: u64 },
    NotAReport { root: String },
    NotUtf8 { line: u64 },
    OtherEncoding { encoding: String },
    TooDeep { line: u64, most: usize },
    Utf16,
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReportError::DocumentType => f.write_str("it has a DOCTYPE, which no report needs; not read"),
            ReportError::Empty => f.write_str("there is no XML element in it"),
            ReportError::EndsEarly { line } => {
                write!(f, "it ends early: what line {line} opens is not closed; was its writer stopped?")
            }
            ReportError::Malformed { line } => write!(f, "line {line} is not well-formed XML"),
            ReportError::NotAReport { root } => {
                write!(f, "it is no JUnit report: its root is {root}, and neither testsuites nor testsuite")
            }
            ReportError::NotUtf8 { line } => write!(f, "line {line} is not UTF-8; have it written in UTF-8"),
            ReportError::OtherEncoding { encoding } => {
                write!(f, "it is written in {encoding}; have it written in UTF-8")
            }
            ReportError::TooDeep { line, most } => {
                write!(f, "at line {line} more than {most} elements stand in one another")
            }
            ReportError::Utf16 => f.write_str("it is written in UTF-16; have it written in UTF-8"),
        }
    }
}

impl Counts {
    /// Both together.
    pub(super) fn add(&mut self, other: Counts) {
        for (sum, n) in [
            (&mut self.tests, other.tests),
            (&mut self.failures, other.failures),
            (&mut self.errors, other.errors),
            (&mut self.skipped, other.skipped),
            (&mut self.flaky, other.flaky),
        ] {
            *sum = sum.saturating_add(n);
        }
    }
}
