//! The bytes of a report → what it says. Nothing is expanded, what is kept is bounded, and no input makes it panic.

use quick_xml::Reader;
use quick_xml::errors::{Error, SyntaxError};
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};

use super::attributes::Attributes;
use super::report::{Counts, FailedTest, Failure, FailureKind, Report, ReportError, Stated, Suite};
use super::text::{Kept, Text};

/// How many elements may stand in one another. Nested suites take a handful.
const MAX_DEPTH: usize = 64;
/// How many failures of one test are kept.
const MAX_FAILURES: usize = 4;
/// How much of the message and of the text of a test's first failure is kept, in bytes; then of each other.
const LONGEST: [(usize, usize); 2] = [(2 << 10, 4 << 10), (512, 512)];

/// How much is told one by one; the rest is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    pub(super) suites: usize,
    pub(super) failed_tests: usize,
}

/// Reads a report.
pub(super) fn parse(bytes: &[u8], allowed: Allowed) -> Result<Report, ReportError> {
    let text = decode(bytes)?;
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut reading = Reading::new(text, allowed);
    loop {
        reading.at = reader.buffer_position();
        match reader.read_event() {
            Ok(Event::Eof) => return reading.finish(),
            Ok(event) => reading.take(&event)?,
            Err(Error::Syntax(syntax)) if syntax != SyntaxError::InvalidBangMarkup => {
                return Err(ReportError::EndsEarly { line: reading.line() });
            }
            Err(_) => {
                reading.at = reader.error_position();
                return Err(reading.malformed());
            }
        }
    }
}

/// The text without a byte order mark.
fn decode(bytes: &[u8]) -> Result<&str, ReportError> {
    if matches!(bytes, [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0, b'<', ..] | [b'<', 0, ..]) {
        return Err(ReportError::Utf16);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => Err(ReportError::NotUtf8 { line: line_of(bytes, error.valid_up_to()) }),
    }
}

fn line_of(bytes: &[u8], at: usize) -> u64 {
    let before = bytes.get(..at).unwrap_or(bytes);
    (before.iter().filter(|byte| **byte == b'\n').count() as u64).saturating_add(1)
}

/// An element that is open.
#[derive(Clone, Copy)]
enum Open {
    /// The root of several suites.
    Suites,
    /// A suite, and its place if it is told by itself.
    Suite(Option<usize>),
    Case,
    /// A failure whose text is kept.
    Failure,
    /// Anything that says nothing to us.
    Other,
}

/// A test whose element is open; or a suite's own failure.
#[derive(Default)]
struct Case {
    test: FailedTest,
    /// 1, or 0 for a suite's own failure.
    tests: u64,
    text: Option<Kept>,
    skipped: bool,
    flaky: bool,
}

struct Reading<'t> {
    text: &'t str,
    /// Where the event begins that is being looked at, in bytes.
    at: u64,
    allowed: Allowed,
    rooted: bool,
    open: Vec<Open>,
    case: Option<Case>,
    report: Report,
}

impl<'t> Reading<'t> {
    fn new(text: &'t str, allowed: Allowed) -> Self {
        let report = Report::default();
        Self { text, at: 0, allowed, rooted: false, open: Vec::new(), case: None, report }
    }

    fn take(&mut self, event: &Event<'_>) -> Result<(), ReportError> {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(_) => {
                self.end();
                Ok(())
            }
            Event::Text(text) => self.character_data(text),
            Event::CData(text) => self.character_data(text),
            Event::GeneralRef(reference) => self.reference(reference),
            Event::Decl(declaration) => self.declaration(declaration),
            Event::DocType(_) => Err(ReportError::DocumentType),
            Event::Empty(_) | Event::Comment(_) | Event::PI(_) | Event::Eof => Ok(()),
        }
    }

    fn finish(self) -> Result<Report, ReportError> {
        match (self.rooted, self.open.is_empty()) {
            (false, _) => Err(ReportError::Empty),
            (true, false) => Err(ReportError::EndsEarly { line: self.line() }),
            (true, true) => Ok(self.report),
        }
    }

    fn start(&mut self, tag: &BytesStart<'_>) -> Result<(), ReportError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(ReportError::TooDeep { line: self.line(), most: MAX_DEPTH });
        }
        let name = tag.local_name();
        let open = match (self.open.last(), name.as_ref()) {
            (None, _) if self.rooted => return Err(self.malformed()),
            (None, "testsuites") => {
                self.report.whole = self.suite(tag)?;
                Open::Suites
            }
            (None | Some(Open::Suites | Open::Suite(_)), "testsuite") => self.open_suite(tag)?,
            (None, root) => return Err(ReportError::NotAReport { root: Text::of(root, 64).text }),
            (Some(Open::Suites | Open::Suite(_)), "testcase") => self.open_case(tag)?,
            (Some(Open::Suites | Open::Suite(_) | Open::Case), "failure") => {
                self.open_failure(FailureKind::Failure, tag)?
            }
            (Some(Open::Suites | Open::Suite(_) | Open::Case), "error") => {
                self.open_failure(FailureKind::Error, tag)?
            }
            (Some(Open::Case), name) => {
                if let Some(case) = &mut self.case {
                    case.skipped |= name == "skipped";
                    // Of `rerunFailure` nothing follows: where all runs failed, a `failure` stands beside it.
                    case.flaky |= matches!(name, "flakyFailure" | "flakyError");
                }
                Open::Other
            }
            _ => Open::Other,
        };
        self.rooted = true;
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) {
        match self.open.pop() {
            Some(Open::Failure) => self.close_failure(),
            Some(Open::Case) => self.close_case(),
            Some(Open::Suites | Open::Suite(_) | Open::Other) | None => {}
        }
    }

    fn open_suite(&mut self, tag: &BytesStart<'_>) -> Result<Open, ReportError> {
        if self.report.suites.len() >= self.allowed.suites {
            self.report.suites_left_out = self.report.suites_left_out.saturating_add(1);
            return Ok(Open::Suite(None));
        }
        let suite = self.suite(tag)?;
        let place = self.report.suites.len();
        self.report.suites.push(suite);
        Ok(Open::Suite(Some(place)))
    }

    fn suite(&self, tag: &BytesStart<'_>) -> Result<Suite, ReportError> {
        let attributes = self.attributes(tag)?;
        let count = |name| attributes.get(name).and_then(|text| text.trim().parse::<u64>().ok());
        // Some tell tests that are switched off apart, with no element in them that would.
        let skipped = [count("skipped"), count("skips"), count("disabled")];
        let stated = Stated {
            tests: count("tests"),
            failures: count("failures"),
            errors: count("errors"),
            skipped: skipped.into_iter().flatten().reduce(u64::saturating_add),
        };
        Ok(Suite {
            name: attributes.name("name"),
            file: attributes.name("file"),
            within: self.innermost_suite(),
            counts: Counts::default(),
            stated,
            duration_ms: attributes.duration_ms(),
        })
    }

    fn open_case(&mut self, tag: &BytesStart<'_>) -> Result<Open, ReportError> {
        let attributes = self.attributes(tag)?;
        let test = FailedTest {
            name: attributes.name("name"),
            classname: attributes.name("classname"),
            file: attributes.name("file"),
            within: self.innermost_suite(),
            duration_ms: attributes.duration_ms(),
            ..FailedTest::default()
        };
        let skipped = attributes.get("status").is_some_and(|status| matches!(status, "notrun" | "disabled"));
        self.case = Some(Case { test, tests: 1, skipped, ..Case::default() });
        Ok(Open::Case)
    }

    /// A suite's own failure is a failed test without a name.
    fn open_failure(&mut self, kind: FailureKind, tag: &BytesStart<'_>) -> Result<Open, ReportError> {
        let attributes = self.attributes(tag)?;
        let within = self.innermost_suite();
        let case = self.case.get_or_insert_with(|| Case {
            test: FailedTest { within, ..FailedTest::default() },
            ..Case::default()
        });
        if case.test.failures.len() >= MAX_FAILURES {
            case.test.failures_left_out = case.test.failures_left_out.saturating_add(1);
            return Ok(Open::Other);
        }
        let [first, other] = LONGEST;
        let (longest_message, longest_text) = if case.test.failures.is_empty() { first } else { other };
        case.test.failures.push(Failure {
            kind,
            message: Text::of(attributes.get("message").unwrap_or_default(), longest_message),
            of_type: attributes.name("type"),
            text: Text::default(),
        });
        case.text = Some(Kept::new(longest_text));
        Ok(Open::Failure)
    }

    fn close_failure(&mut self) {
        let Some(case) = &mut self.case else { return };
        let text = case.text.take().map(Kept::finish).unwrap_or_default();
        if let Some(failure) = case.test.failures.last_mut() {
            failure.text = text;
        }
        if case.tests == 0 {
            self.close_case();
        }
    }

    fn close_case(&mut self) {
        let Some(case) = self.case.take() else { return };
        let kind = case.test.failures.first().map(|failure| failure.kind);
        let counts = Counts {
            tests: case.tests,
            failures: u64::from(kind == Some(FailureKind::Failure)),
            errors: u64::from(kind == Some(FailureKind::Error)),
            skipped: u64::from(kind.is_none() && case.skipped),
            flaky: u64::from(kind.is_none() && case.flaky),
        };
        self.report.whole.counts.add(counts);
        for open in &self.open {
            if let Open::Suite(Some(place)) = open
                && let Some(suite) = self.report.suites.get_mut(*place)
            {
                suite.counts.add(counts);
            }
        }
        match kind {
            None => {}
            Some(_) if self.report.failed.len() < self.allowed.failed_tests => {
                self.report.failed.push(case.test)
            }
            Some(_) => self.report.failed_left_out = self.report.failed_left_out.saturating_add(1),
        }
    }

    fn character_data(&mut self, text: &str) -> Result<(), ReportError> {
        if self.open.is_empty() && !text.trim_ascii().is_empty() {
            return Err(if self.rooted { self.malformed() } else { ReportError::Empty });
        }
        if let (Some(Open::Failure), Some(case)) = (self.open.last(), &mut self.case)
            && let Some(kept) = &mut case.text
        {
            kept.push(text);
        }
        Ok(())
    }

    /// Characters by their number, and the five that XML names; nothing else is an entity here.
    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), ReportError> {
        match reference.resolve_char_ref() {
            Ok(Some(c)) => self.character_data(c.encode_utf8(&mut [0; 4])),
            Ok(None) => {
                let text = resolve_predefined_entity(reference).ok_or_else(|| self.malformed())?;
                self.character_data(text)
            }
            Err(_) => Err(self.malformed()),
        }
    }

    /// What is ASCII alone is the same in nearly every encoding.
    fn declaration(&self, declaration: &BytesDecl<'_>) -> Result<(), ReportError> {
        let Some(encoding) = declaration.encoding() else { return Ok(()) };
        let encoding = encoding.map_err(|_| self.malformed())?;
        let named: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
        if ["utf8", "usascii", "ascii"].contains(&named.to_ascii_lowercase().as_str()) || self.text.is_ascii()
        {
            return Ok(());
        }
        Err(ReportError::OtherEncoding { encoding: Text::of(&encoding, 40).text })
    }

    fn attributes<'a>(&self, tag: &'a BytesStart<'_>) -> Result<Attributes<'a>, ReportError> {
        Attributes::of(tag).ok_or_else(|| self.malformed())
    }

    fn innermost_suite(&self) -> Option<usize> {
        self.open.iter().rev().find_map(|open| match open {
            Open::Suite(place) => *place,
            _ => None,
        })
    }

    fn malformed(&self) -> ReportError {
        ReportError::Malformed { line: self.line() }
    }

    fn line(&self) -> u64 {
        line_of(self.text.as_bytes(), usize::try_from(self.at).unwrap_or(usize::MAX))
    }
}
