//! Stage 6: is everything there that was planned, and does the result agree with it?

use std::collections::{HashMap, HashSet};

use super::code::Code;
use super::report::Findings;
use super::stage1_schema::{Element, Sealed};
use crate::evidence::canonical::Value;
use crate::evidence::envelope::Kind;

pub(super) fn check(sealed: &Sealed<'_>, findings: &mut Findings) {
    let Some(outcome) = sealed.outcome() else { return };
    let succeeded = outcome.text("result") == Some("succeeded");
    let last = last_attempts(sealed);
    if succeeded {
        findings.checked(&[Code::PlanStepMissing, Code::OutcomeContradicted]);
        check_contradictions(sealed, &last, findings);
    }
    check_plan(sealed, succeeded, &last, findings);
    note_approvals(sealed, findings);
}

/// The element that stands last in its section, for each step.
fn last_attempts<'s, 'v>(sealed: &'s Sealed<'v>) -> HashMap<&'v str, &'s Element<'v>> {
    sealed.of_kind(Kind::Step).filter_map(|step| Some((step.members.text("step_id")?, step))).collect()
}

fn check_plan(
    sealed: &Sealed<'_>,
    succeeded: bool,
    last: &HashMap<&str, &Element<'_>>,
    findings: &mut Findings,
) {
    let plan = sealed.run().list("plan").unwrap_or_default();
    let mut told = HashSet::new();
    for (i, step_id) in plan.iter().enumerate() {
        let step_id = step_id.as_text().unwrap_or_default();
        let at = || Some(format!("/envelope/run/plan/{i}"));
        match last.get(step_id) {
            _ if !told.insert(step_id) => {}
            None if succeeded => {
                findings.fail(Code::PlanStepMissing, at, || {
                    format!("{step_id:?} was planned, and is not recorded")
                });
            }
            None => findings
                .note(Code::PlanStepMissing, at, || format!("{step_id:?} was planned, and is not recorded")),
            Some(step) if step.members.text("status") == Some("skipped") => {
                findings.note(
                    Code::PlanStepSkipped,
                    || step.at(),
                    || format!("{step_id:?} was planned, and skipped"),
                );
            }
            Some(_) => {}
        }
    }
}

fn check_contradictions(sealed: &Sealed<'_>, last: &HashMap<&str, &Element<'_>>, findings: &mut Findings) {
    // In the order of the section, so that the same envelope always gives the same report.
    for step in sealed.of_kind(Kind::Step) {
        let step_id = step.members.text("step_id").unwrap_or_default();
        let status = step.members.text("status").unwrap_or_default();
        let is_last = last.get(step_id).is_some_and(|last| last.index == step.index);
        let allowed = step.members.get("allowed_to_fail") == Some(&Value::Bool(true));
        if is_last && !allowed && matches!(status, "failed" | "canceled" | "incomplete") {
            findings.fail(
                Code::OutcomeContradicted,
                || step.at(),
                || format!("step {step_id:?} is {status}"),
            );
        }
    }
    for gate in sealed.of_kind(Kind::Gate) {
        let decision = gate.members.text("decision").unwrap_or_default();
        if decision != "approved" {
            findings.fail(Code::OutcomeContradicted, || gate.at(), || format!("a gate is {decision}"));
        }
    }
}

fn note_approvals(sealed: &Sealed<'_>, findings: &mut Findings) {
    // Of which steps gates approved; None is a gate that names no step, and answers for any.
    let approved =
        sealed.of_kind(Kind::Gate).filter(|gate| gate.members.text("decision") == Some("approved"));
    let approved: HashSet<Option<&str>> = approved.map(|gate| gate.members.text("step_id")).collect();
    for step in sealed.of_kind(Kind::Step).filter(|step| step.members.text("kind") == Some("human_approval"))
    {
        let step_id = step.members.text("step_id");
        let passed = step.members.text("status") == Some("passed");
        if passed && !approved.contains(&step_id) && !approved.contains(&None) {
            findings.note(Code::StepApprovalWithoutGate, || step.at(), String::new);
        }
    }
}
