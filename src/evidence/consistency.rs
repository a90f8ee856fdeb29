//! What may follow what in one run, so that whatever is recorded seals into a file that verifies (ENVELOPE.md sections 3 and 8).

use std::fmt;

use super::canonical::{Object, Value};
use super::envelope::Kind;
use super::revertible::RevertibleMap;

/// What of a run's elements later ones are held against.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    steps: RevertibleMap<String, LastAttempt>,
    artifact_ids: RevertibleMap<String, ()>,
    observation_ids: RevertibleMap<String, ()>,
    gate_ids: RevertibleMap<String, ()>,
    plan: Vec<String>,
    unapproved_gate: Option<String>,
}

/// A place in the order of recording, to go back to.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    places: [usize; 4],
    unapproved_gate: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct LastAttempt {
    attempt: u64,
    contradicts_success: bool,
}

/// Why an element cannot be recorded after those that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The attempt is not above the step's last one.
    AttemptOrder {
        /// The step.
        step_id: String,
        /// Its last attempt.
        last: u64,
    },
    /// `succeeded`, and a planned step has no element.
    PlanStepMissing {
        /// The step.
        step_id: String,
    },
    /// `succeeded`, and this step or gate says otherwise.
    ResultContradicted {
        /// The `step_id` or `gate_id`.
        by: String,
    },
    /// An artifact is cited before it is recorded.
    UnknownArtifact {
        /// The artifact.
        artifact_id: String,
    },
    /// The id is taken in this run.
    UsedId {
        /// The member, like `artifact_id`.
        member: &'static str,
        /// The id.
        id: String,
    },
}

impl Conflict {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Conflict::AttemptOrder { .. } => "attempt_order",
            Conflict::PlanStepMissing { .. } | Conflict::ResultContradicted { .. } => "result_contradicted",
            Conflict::UnknownArtifact { .. } => "artifact_unknown",
            Conflict::UsedId { member: "artifact_id", .. } => "artifact_exists",
            Conflict::UsedId { member: "observation_id", .. } => "observation_exists",
            Conflict::UsedId { .. } => "gate_exists",
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Conflict::AttemptOrder { step_id, last } => {
                write!(f, "step {step_id:?} has attempt {last} already; give a higher `attempt`")
            }
            Conflict::PlanStepMissing { step_id } => {
                write!(f, "the run cannot have succeeded: step {step_id:?} of its plan was not recorded")
            }
            Conflict::ResultContradicted { by } => {
                write!(f, "the run cannot have succeeded: {by:?} failed, is incomplete or was not approved")
            }
            Conflict::UnknownArtifact { artifact_id } => {
                write!(f, "artifact {artifact_id:?} is not recorded; record it before it is cited")
            }
            Conflict::UsedId { member, id } => {
                write!(f, "{member} {id:?} is used already in this run; choose another")
            }
        }
    }
}

impl std::error::Error for Conflict {}

impl Recorded {
    /// Whether the element may follow. It has passed the model.
    pub fn check(&self, kind: Kind, element: &Object<'_>) -> Result<(), Conflict> {
        let unused = |ids: &RevertibleMap<String, ()>, member| match element.text(member) {
            Some(id) if ids.get(id).is_some() => Err(Conflict::UsedId { member, id: id.to_owned() }),
            _ => Ok(()),
        };
        match kind {
            Kind::Step => self.check_attempt(element).and_then(|()| self.check_citations_of(kind, element)),
            Kind::Artifact => unused(&self.artifact_ids, "artifact_id"),
            Kind::Observation => {
                unused(&self.observation_ids, "observation_id")?;
                self.check_citations_of(kind, element)
            }
            Kind::Gate => unused(&self.gate_ids, "gate_id"),
            Kind::Outcome if element.text("result") == Some("succeeded") => self.check_success(),
            Kind::Event | Kind::Outcome | Kind::Redaction | Kind::Run => Ok(()),
        }
    }

    /// Takes an element that was recorded.
    pub fn record(&mut self, kind: Kind, element: &Object<'_>) {
        let id = |member| element.text(member).unwrap_or_default().to_owned();
        match kind {
            Kind::Run => {
                let plan = element.list("plan").unwrap_or_default().iter().filter_map(Value::as_text);
                self.plan = plan.map(str::to_owned).collect();
            }
            Kind::Step => {
                let failed = matches!(element.text("status"), Some("failed" | "canceled" | "incomplete"));
                let allowed = element.get("allowed_to_fail") == Some(&Value::Bool(true));
                let last = LastAttempt { attempt: attempt(element), contradicts_success: failed && !allowed };
                self.steps.insert(id("step_id"), last);
            }
            Kind::Artifact => self.artifact_ids.insert(id("artifact_id"), ()),
            Kind::Observation => self.observation_ids.insert(id("observation_id"), ()),
            Kind::Gate => {
                if element.text("decision") != Some("approved") {
                    self.unapproved_gate.get_or_insert_with(|| id("gate_id"));
                }
                self.gate_ids.insert(id("gate_id"), ());
            }
            Kind::Event | Kind::Outcome | Kind::Redaction => {}
        }
    }

    /// The last recorded attempt of a step.
    pub fn last_attempt(&self, step_id: &str) -> Option<u64> {
        self.steps.get(step_id).map(|last| last.attempt)
    }

    /// Whether what the element cites is recorded.
    pub fn check_citations_of(&self, kind: Kind, element: &Object<'_>) -> Result<(), Conflict> {
        match kind {
            Kind::Step => self.check_citations(element, "artifact_ids"),
            Kind::Observation => self.check_citations(element, "basis_artifact_ids"),
            _ => Ok(()),
        }
    }

    /// Remembers how things are.
    pub(super) fn mark(&self) -> Mark {
        let places =
            [self.steps.mark(), self.artifact_ids.mark(), self.observation_ids.mark(), self.gate_ids.mark()];
        Mark { places, unapproved_gate: self.unapproved_gate.clone() }
    }

    /// Makes things as they were. The run itself cannot be taken back.
    pub(super) fn revert(&mut self, to: Mark) {
        let [steps, artifacts, observations, gates] = to.places;
        self.steps.revert(steps);
        self.artifact_ids.revert(artifacts);
        self.observation_ids.revert(observations);
        self.gate_ids.revert(gates);
        self.unapproved_gate = to.unapproved_gate;
    }

    /// Forgets all marks.
    pub(super) fn settle(&mut self) {
        self.steps.settle();
        self.artifact_ids.settle();
        self.observation_ids.settle();
        self.gate_ids.settle();
    }

    fn check_attempt(&self, step: &Object<'_>) -> Result<(), Conflict> {
        let step_id = step.text("step_id").unwrap_or_default();
        match self.steps.get(step_id) {
            Some(last) if last.attempt >= attempt(step) => {
                Err(Conflict::AttemptOrder { step_id: step_id.to_owned(), last: last.attempt })
            }
            _ => Ok(()),
        }
    }

    fn check_citations(&self, element: &Object<'_>, member: &str) -> Result<(), Conflict> {
        let mut cited = element.list(member).unwrap_or_default().iter().filter_map(Value::as_text);
        match cited.find(|id| self.artifact_ids.get(*id).is_none()) {
            Some(unknown) => Err(Conflict::UnknownArtifact { artifact_id: unknown.to_owned() }),
            None => Ok(()),
        }
    }

    fn check_success(&self) -> Result<(), Conflict> {
        if let Some(missing) = self.plan.iter().find(|step_id| self.steps.get(*step_id).is_none()) {
            return Err(Conflict::PlanStepMissing { step_id: missing.clone() });
        }
        // The least, so that the same record always gives the same answer.
        let failed =
            self.steps.iter().filter(|(_, last)| last.contradicts_success).map(|(step_id, _)| step_id).min();
        match failed.or(self.unapproved_gate.as_ref()) {
            Some(by) => Err(Conflict::ResultContradicted { by: by.clone() }),
            None => Ok(()),
        }
    }
}

/// Absent is the first attempt.
fn attempt(step: &Object<'_>) -> u64 {
    step.count("attempt").unwrap_or(1)
}
