//! Judges a sealed envelope by what the auditor holds, and by nothing else (ENVELOPE.md section 7).
//!
//! The stages stand in the order of the format's table; all checks of a stage are made. Pure: the same input gives
//! the same report. Nothing here knows how a seal is made.

mod code;
mod held;
mod report;
mod stage1_schema;
mod stage2_chain;
mod stage3_references;
mod stage4_seal;
mod stage5_signatures;
mod stage6_completeness;
mod stage7_expectations;
mod stage8_disclosures;
mod stage9_artifacts;

pub use code::Code;
pub use held::{Expected, GivenArtifact, Held, log_artifact_id};
pub use report::{Axes, Axis, AxisStatus, Check, REPORT_FORMAT, Report, Status, Verdict};

use self::report::Findings;
use self::stage1_schema::{Reading, Sealed};
use super::canonical::{self, Object, Value};
use super::digest::Digest;
use super::envelope::limits::MAX_FILE_BYTES;

/// The text of a sealed envelope, judged.
#[derive(Debug)]
pub struct Judged<'a> {
    report: Report,
    /// The document, if it is a sealed envelope (the schema held).
    document: Option<Value<'a>>,
}

/// A sealed envelope that passed with the verdict `verified`. Only [`verify`] makes one:
///
/// ```compile_fail
/// # use sealstone::evidence::verify::{Held, Verdict, verify};
/// let mut judged = verify(b"{}", &Held::default());
/// judged.report.verdict = Verdict::Verified;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Verified<'j, 'a> {
    document: &'j Object<'a>,
    envelope_digest: Digest,
}

impl<'a> Judged<'a> {
    /// What was found.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What was found, alone.
    pub fn into_report(self) -> Report {
        self.report
    }

    /// The sealed envelope, if the schema held. Everything in it is a claim, unless the verdict says more.
    pub fn claimed(&self) -> Option<&Object<'a>> {
        self.document.as_ref().and_then(Value::as_object)
    }

    /// The sealed envelope, if the verdict is `verified`.
    pub fn verified(&self) -> Option<Verified<'_, 'a>> {
        let document = self.claimed().filter(|_| self.report.verdict == Verdict::Verified)?;
        Some(Verified { document, envelope_digest: self.report.envelope_digest? })
    }
}

impl<'j, 'a> Verified<'j, 'a> {
    /// The sealed envelope.
    pub fn document(&self) -> &'j Object<'a> {
        self.document
    }

    /// SHA-256 of the envelope's canonical form.
    pub fn envelope_digest(&self) -> Digest {
        self.envelope_digest
    }
}

/// Judges the text of a sealed envelope.
pub fn verify<'a>(file: &'a [u8], held: &Held) -> Judged<'a> {
    let document = match canonical::parse(file, MAX_FILE_BYTES) {
        Ok(document) => document,
        Err(error) => {
            return Judged { report: unreadable(error.code.into(), None, error.to_string()), document: None };
        }
    };
    let (report, readable) = match stage1_schema::read(&document) {
        Reading::Unreadable { code, at, detail } => (unreadable(code, at, detail), false),
        Reading::Invalid { at, detail } => (schema_invalid(at, detail), false),
        Reading::Sealed(sealed) => (judge(&sealed, held), true),
        Reading::TooLarge { sealed, at, detail } => {
            let mut report = unreadable(Code::JsonTooLarge, at, detail);
            name(&mut report, &sealed);
            (report, true)
        }
    };
    Judged { report, document: Some(document).filter(|_| readable) }
}

fn judge(sealed: &Sealed<'_>, held: &Held) -> Report {
    let findings = &mut Findings::default();
    findings.checked(&[Code::SchemaInvalid]);
    stage2_chain::check(sealed, findings);
    stage3_references::check(sealed, findings);
    let statement = stage4_seal::check(sealed, findings);
    let authenticity = stage5_signatures::check(sealed, statement.as_ref(), held, findings);
    stage6_completeness::check(sealed, findings);
    let shown = stage8_disclosures::check(sealed, findings);
    stage7_expectations::check(sealed, &shown, held, findings);
    let all_given = stage9_artifacts::check(sealed, held, findings);
    note_receipts(sealed, findings);

    let prefix = sealed.seal.is_none() && sealed.outcome().is_none();
    let axis = |axis: Axis, checked: bool| match (findings.any_failed(axis), checked) {
        (true, _) => AxisStatus::Fail,
        (false, true) => AxisStatus::Pass,
        (false, false) => AxisStatus::NotChecked,
    };
    let axes = Axes {
        integrity: axis(Axis::Integrity, true),
        authenticity: axis(Axis::Authenticity, authenticity),
        completeness: axis(Axis::Completeness, !prefix),
        expectations: axis(Axis::Expectations, !held.heads.is_empty() || !held.expected.is_empty()),
        disclosure: axis(Axis::Disclosure, !sealed.disclosures.is_empty()),
        artifacts: axis(Axis::Artifacts, all_given),
    };
    let verdict = match (findings.nothing_failed(), prefix, held.keyring.is_some()) {
        (false, _, _) => Verdict::Rejected,
        (true, true, _) => Verdict::Prefix,
        (true, false, false) => Verdict::IntegrityOnly,
        (true, false, true) => Verdict::Verified,
    };
    let mut report = report(verdict, axes, std::mem::take(findings), does_not_prove(prefix, shown.withheld));
    report.withheld = shown.withheld;
    name(&mut report, sealed);
    report
}

fn note_receipts(sealed: &Sealed<'_>, findings: &mut Findings) {
    for (i, kind) in sealed.receipts.iter().enumerate() {
        findings.note(
            Code::ReceiptUnknown,
            || Some(format!("/receipts/{i}")),
            || format!("type {:?}", report::brief(kind)),
        );
    }
}

fn unreadable(code: Code, at: Option<String>, detail: String) -> Report {
    let mut findings = Findings::default();
    findings.fail(code, || at, || detail);
    report(Verdict::Unreadable, NOTHING_CHECKED, findings, Vec::new())
}

fn schema_invalid(at: String, detail: String) -> Report {
    let mut findings = Findings::default();
    findings.fail(Code::SchemaInvalid, || Some(at), || detail);
    report(Verdict::Rejected, Axes { integrity: AxisStatus::Fail, ..NOTHING_CHECKED }, findings, Vec::new())
}

const NOTHING_CHECKED: Axes = Axes {
    integrity: AxisStatus::NotChecked,
    authenticity: AxisStatus::NotChecked,
    completeness: AxisStatus::NotChecked,
    expectations: AxisStatus::NotChecked,
    disclosure: AxisStatus::NotChecked,
    artifacts: AxisStatus::NotChecked,
};

fn report(verdict: Verdict, axes: Axes, findings: Findings, more_unproven: Vec<String>) -> Report {
    let checks = findings.into_checks();
    let unproven = [
        "that what was reported is true: a producer can lie",
        "that sealed_at is the time of sealing: it is the key holder's claim",
        "that no other run exists",
    ];
    Report {
        format: REPORT_FORMAT,
        verdict,
        envelope_digest: None,
        evidence_id: None,
        run_id: None,
        project: None,
        result: None,
        axes,
        first_failure: checks.iter().find(|check| check.status == Status::Fail).cloned(),
        checks,
        withheld: 0,
        does_not_prove: unproven.into_iter().map(str::to_owned).chain(more_unproven).collect(),
    }
}

fn does_not_prove(prefix: bool, withheld: u64) -> Vec<String> {
    let mut unproven = Vec::new();
    if prefix {
        unproven.push(
            "that the service recorded it: anyone can write a prefix; hold it against a head that you kept"
                .into(),
        );
    }
    if withheld > 0 {
        unproven.push(format!("what the {withheld} withheld value(s) are"));
    }
    unproven
}

fn name(report: &mut Report, sealed: &Sealed<'_>) {
    let own = |text: Option<&str>| text.map(str::to_owned);
    report.envelope_digest = Some(sealed.envelope_digest);
    report.evidence_id = own(Some(sealed.evidence_id));
    report.run_id = own(sealed.run().text("run_id"));
    report.project = own(sealed.run().text("project"));
    report.result = own(sealed.outcome().and_then(|outcome| outcome.text("result")));
}
