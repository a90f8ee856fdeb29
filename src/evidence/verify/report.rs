//! The verdict and what it rests on (ENVELOPE.md section 7).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::code::Code;
use crate::evidence::digest::Digest;

/// `format` of a report.
pub const REPORT_FORMAT: &str = "sealstone.verification.v1";

/// What the verifier says of a sealed envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Integrity, authenticity and completeness pass, and nothing fails.
    Verified,
    /// Nothing fails, and no keyring was given.
    IntegrityOnly,
    /// Nothing fails, and there is neither seal nor outcome: the run was still open.
    Prefix,
    /// Not a sealed envelope at all.
    Unreadable,
    /// Some check failed.
    Rejected,
}

impl Verdict {
    /// The text in a report.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Verified => "verified",
            Verdict::IntegrityOnly => "integrity_only",
            Verdict::Prefix => "prefix",
            Verdict::Unreadable => "unreadable",
            Verdict::Rejected => "rejected",
        }
    }

    /// The exit status of the command.
    pub fn exit_status(self) -> u8 {
        match self {
            Verdict::Verified => 0,
            Verdict::Rejected => 1,
            Verdict::Unreadable => 2,
            Verdict::IntegrityOnly => 3,
            Verdict::Prefix => 4,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What can be told of a sealed envelope, each apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// It is what was sealed.
    Integrity,
    /// A trusted key sealed it.
    Authenticity,
    /// It is whole, and does not contradict itself.
    Completeness,
    /// It is what the auditor expects.
    Expectations,
    /// What is disclosed is what was withheld.
    Disclosure,
    /// The files are those that were recorded.
    Artifacts,
}

/// What came of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AxisStatus {
    /// Something of it was checked, and nothing failed.
    Pass,
    /// Something failed.
    Fail,
    /// There was nothing to check, or nothing to check it against.
    NotChecked,
}

/// All axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "named after the variants of Axis")]
pub struct Axes {
    pub integrity: AxisStatus,
    pub authenticity: AxisStatus,
    pub completeness: AxisStatus,
    pub expectations: AxisStatus,
    pub disclosure: AxisStatus,
    pub artifacts: AxisStatus,
}

/// What came of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It held.
    Pass,
    /// It did not.
    Fail,
    /// Worth knowing, and no failure.
    Note,
}

/// One check, told once however often it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Which.
    pub code: Code,
    /// What a failure of it fails.
    pub axis: Option<Axis>,
    /// What came of it.
    pub status: Status,
    /// Where first: a pointer into the sealed envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The whole report. Its names are claims unless the verdict is `verified`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`REPORT_FORMAT`]
    pub format: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// SHA-256 of the envelope's canonical form; `None`, like all names, unless the schema held.
    pub envelope_digest: Option<Digest>,
    /// Of the run.
    pub evidence_id: Option<String>,
    /// Of the run.
    pub run_id: Option<String>,
    /// Of the run.
    pub project: Option<String>,
    /// Of the outcome.
    pub result: Option<String>,
    /// What came of each axis.
    pub axes: Axes,
    /// All checks that were made, in order.
    pub checks: Vec<Check>,
    /// The first failure in the order of ENVELOPE.md's table.
    pub first_failure: Option<Check>,
    /// How many commitments have no disclosure.
    pub withheld: u64,
    /// What nobody should read into it.
    pub does_not_prove: Vec<String>,
}

impl Report {
    /// The codes that failed, in order.
    pub fn failed(&self) -> impl Iterator<Item = Code> {
        self.checks.iter().filter(|check| check.status == Status::Fail).map(|check| check.code)
    }
}

/// As much of a text as a report quotes: what is quoted was chosen by whoever made the file.
pub(super) fn brief(text: &str) -> &str {
    text.char_indices().nth(200).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// Checks as they are made: per code one finding, and how many more there were like it.
#[derive(Default)]
pub(super) struct Findings {
    failed: BTreeMap<Code, Finding>,
    noted: BTreeMap<Code, Finding>,
    passed: BTreeSet<Code>,
}

struct Finding {
    at: Option<String>,
    detail: Option<String>,
    more: u64,
}

impl Findings {
    /// Tells that the check was made. It passes unless it fails.
    pub(super) fn checked(&mut self, codes: &[Code]) {
        self.passed.extend(codes);
    }

    /// A failure; `at` and `detail` are asked for at the first of its code only.
    pub(super) fn fail(
        &mut self,
        code: Code,
        at: impl FnOnce() -> Option<String>,
        detail: impl FnOnce() -> String,
    ) {
        add(&mut self.failed, code, at, detail);
    }

    /// Something worth knowing.
    pub(super) fn note(
        &mut self,
        code: Code,
        at: impl FnOnce() -> Option<String>,
        detail: impl FnOnce() -> String,
    ) {
        add(&mut self.noted, code, at, detail);
    }

    pub(super) fn any_failed(&self, axis: Axis) -> bool {
        self.failed.keys().any(|code| code.axis() == Some(axis))
    }

    pub(super) fn nothing_failed(&self) -> bool {
        self.failed.is_empty()
    }

    /// All checks in the order of their codes, failures before notes.
    pub(super) fn into_checks(mut self) -> Vec<Check> {
        let check = |code: Code, status, finding: Option<Finding>| {
            let (at, detail) = finding.map_or((None, None), Finding::told);
            Check { code, axis: code.axis(), status, at, detail }
        };
        let mut checks = Vec::new();
        for code in Code::ALL.iter().copied() {
            let (failed, noted) = (self.failed.remove(&code), self.noted.remove(&code));
            if failed.is_none() && noted.is_none() && self.passed.contains(&code) {
                checks.push(check(code, Status::Pass, None));
            }
            checks.extend(failed.map(|finding| check(code, Status::Fail, Some(finding))));
            checks.extend(noted.map(|finding| check(code, Status::Note, Some(finding))));
        }
        checks
    }
}

impl Finding {
    fn told(self) -> (Option<String>, Option<String>) {
        let detail = match (self.detail, self.more) {
            (detail, 0) => detail,
            (Some(detail), more) => Some(format!("{detail}, and {more} more like it")),
            (None, more) => Some(format!("and {more} more like it")),
        };
        (self.at, detail)
    }
}

fn add(
    findings: &mut BTreeMap<Code, Finding>,
    code: Code,
    at: impl FnOnce() -> Option<String>,
    detail: impl FnOnce() -> String,
) {
    match findings.get_mut(&code) {
        Some(first) => first.more = first.more.saturating_add(1),
        None => {
            let told = |text: String| if text.len() > 1_000 { format!("{}…", brief(&text)) } else { text };
            let detail = Some(detail()).filter(|detail| !detail.is_empty()).map(told);
            findings.insert(code, Finding { at: at().map(told), detail, more: 0 });
        }
    }
}
