//! Stage 3: is each id used once, and does each reference lead somewhere?

use std::collections::{HashMap, HashSet};

use super::code::Code;
use super::report::{Findings, brief};
use super::stage1_schema::{Element, Sealed};
use crate::evidence::envelope::Kind;

pub(super) fn check(sealed: &Sealed<'_>, findings: &mut Findings) {
    findings.checked(&[Code::ReferenceDuplicateId, Code::ReferenceUnknownArtifact]);
    check_attempts(sealed, findings);
    let artifacts = check_unique(sealed, Kind::Artifact, "artifact_id", findings);
    check_unique(sealed, Kind::Observation, "observation_id", findings);
    check_unique(sealed, Kind::Gate, "gate_id", findings);
    check_citations(sealed, Kind::Step, "artifact_ids", &artifacts, findings);
    check_citations(sealed, Kind::Observation, "basis_artifact_ids", &artifacts, findings);
}

/// Absent is the first attempt.
pub(super) fn attempt(step: &Element<'_>) -> u64 {
    step.members.count("attempt").unwrap_or(1)
}

fn check_attempts(sealed: &Sealed<'_>, findings: &mut Findings) {
    let mut last: HashMap<&str, u64> = HashMap::new();
    for step in sealed.of_kind(Kind::Step) {
        let step_id = step.members.text("step_id").unwrap_or_default();
        let attempt = attempt(step);
        if last.insert(step_id, attempt).is_some_and(|before| before >= attempt) {
            let detail = || format!("attempt {attempt} of step {:?} does not ascend", brief(step_id));
            findings.fail(Code::ReferenceDuplicateId, || step.at(), detail);
        }
    }
}

fn check_unique<'v>(
    sealed: &Sealed<'v>,
    kind: Kind,
    member: &str,
    findings: &mut Findings,
) -> HashSet<&'v str> {
    let mut ids = HashSet::new();
    for element in sealed.of_kind(kind) {
        let id = element.members.text(member).unwrap_or_default();
        if !ids.insert(id) {
            findings.fail(
                Code::ReferenceDuplicateId,
                || element.at(),
                || format!("{member} {:?} is used twice", brief(id)),
            );
        }
    }
    ids
}

fn check_citations(
    sealed: &Sealed<'_>,
    kind: Kind,
    member: &str,
    artifacts: &HashSet<&str>,
    findings: &mut Findings,
) {
    for element in sealed.of_kind(kind) {
        let cited = element.members.list(member).unwrap_or_default().iter().filter_map(|id| id.as_text());
        for id in cited.filter(|id| !artifacts.contains(id)) {
            let detail = || format!("{member} names {:?}, which is not recorded", brief(id));
            findings.fail(Code::ReferenceUnknownArtifact, || element.at(), detail);
        }
    }
}
