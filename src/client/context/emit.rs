//! What a program tells while it runs: hints, and what is recorded.

use super::RunContext;
use super::error::ContextError;
use super::step::Step;
use crate::evidence::canonical::{Number, Object, Value};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::{Fault, Kind};

/// Hints. One that the filter does not let through is checked, and dropped.
impl RunContext {
    /// How far the run is, from 0 to 1; `message` may be empty, and is at most 64 KiB.
    pub fn emit_progress(&self, fraction: f64, message: &str) -> Result<(), ContextError> {
        self.emit(progress(fraction, message)?)
    }

    /// A piece of text that is being written, at most 64 KiB.
    pub fn emit_token(&self, text: &str) -> Result<(), ContextError> {
        self.emit(token(text))
    }

    /// A hint of a sort of the program's own, `custom:` and that name, 1–121 of `A–Z a–z 0–9 . _ : -`; with `data` it is at most 256 KiB.
    pub fn emit_custom(&self, name: &str, data: Object<'static>) -> Result<(), ContextError> {
        self.emit(Object::from_iter([
            ("type", Value::from(format!("custom:{name}"))),
            ("data", Value::Object(data)),
        ]))
    }

    pub(super) fn emit(&self, signal: Object<'static>) -> Result<(), ContextError> {
        let is_taken = signal.text("type").is_some_and(|name| self.is_allowed(name));
        self.core().ledger().signal(signal, is_taken)
    }
}

/// What is recorded. `more` are other members of the element (`schemas/ENVELOPE.md`, section 3); what is named by an argument is that. An
/// element is at most 256 KiB, a text in it 64 KiB.
impl RunContext {
    /// Begins a step of that kind: command, lint, test, build, deploy or another word. `step_id` is 1–128 of `A–Z a–z 0–9 . _ : - /`.
    pub fn step(&self, step_id: &str, kind: &str) -> Result<Step, ContextError> {
        self.step_with(step_id, kind, Object::new())
    }

    /// Begins a step with other members: a `name`, a `command`, an `attempt` higher than the last one, `allowed_to_fail`.
    pub fn step_with(
        &self,
        step_id: &str,
        kind: &str,
        mut more: Object<'static>,
    ) -> Result<Step, ContextError> {
        more.insert("step_id", step_id.to_owned());
        more.insert("kind", kind.to_owned());
        let key = self.core().ledger().start_step(more)?;
        Ok(Step::new(self.clone(), key))
    }

    /// Records that the run reached a place it can go back to.
    pub fn checkpoint(&self, message: &str, data: Object<'static>) -> Result<(), ContextError> {
        let more = [("message", Value::from(message.to_owned())), ("data", Value::Object(data))];
        self.event("checkpoint", Object::from_iter(more))
    }

    /// Records an event: `phase_started`, `retry`, `custom:` and a name, or another name that nothing else has.
    pub fn event(&self, name: &str, mut more: Object<'static>) -> Result<(), ContextError> {
        more.insert("name", name.to_owned());
        self.core().ledger().record(Kind::Event, more)
    }

    /// Records something that was made, by the digest of its bytes: they stay where they are.
    pub fn artifact(
        &self,
        artifact_id: &str,
        digest: Digest,
        mut more: Object<'static>,
    ) -> Result<(), ContextError> {
        more.insert("artifact_id", artifact_id.to_owned());
        more.insert("digest", digest);
        self.core().ledger().record(Kind::Artifact, more)
    }

    /// Records something that was seen, any JSON; `basis_artifact_ids` are the artifacts that it was seen in, recorded before. It has its
    /// id as its `name` unless `more` has another.
    pub fn observation(
        &self,
        observation_id: &str,
        value: Value<'static>,
        basis_artifact_ids: &[&str],
        mut more: Object<'static>,
    ) -> Result<(), ContextError> {
        if more.get("name").is_none() {
            more.insert("name", observation_id.to_owned());
        }
        more.insert("observation_id", observation_id.to_owned());
        more.insert("value", value);
        let basis: Vec<String> = basis_artifact_ids.iter().map(|id| (*id).to_owned()).collect();
        more.insert("basis_artifact_ids", basis);
        self.core().ledger().record(Kind::Observation, more)
    }
}

pub(super) fn progress(fraction: f64, message: &str) -> Result<Object<'static>, ContextError> {
    let Some(fraction) = Number::new(fraction) else {
        return Err(Fault::expected("a number from 0 to 1").under("fraction").into());
    };
    let mut signal =
        Object::from_iter([("type", Value::from("progress")), ("fraction", Value::Number(fraction))]);
    if !message.is_empty() {
        signal.insert("message", message.to_owned());
    }
    Ok(signal)
}

pub(super) fn token(text: &str) -> Object<'static> {
    Object::from_iter([("type", "token".to_owned()), ("text", text.to_owned())])
}
