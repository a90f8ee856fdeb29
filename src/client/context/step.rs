//! A step that goes on.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::RunContext;
use super::emit::{progress, token};
use super::error::ContextError;
use super::gate::Answer;
use super::ledger::{MAX_MESSAGE_BYTES, StepKey};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::Digest;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the format")]
pub enum StepStatus {
    Passed,
    Failed,
    Skipped,
    Canceled,
}

impl StepStatus {
    /// The word of the format.
    pub fn as_str(self) -> &'static str {
        match self {
            StepStatus::Passed => "passed",
            StepStatus::Failed => "failed",
            StepStatus::Skipped => "skipped",
            StepStatus::Canceled => "canceled",
        }
    }
}

/// A step that goes on. It is to be finished: nothing but that says that it passed.
///
/// Dropped by a panic it is recorded as `failed`. Dropped otherwise – by an early return, or with a future that nobody polls any more –
/// it is recorded as `incomplete`: nobody said how it ended. Both have a message that says so, and a run with them does not succeed,
/// unless the step is allowed to fail.
#[must_use = "a step that is dropped at once is recorded as incomplete"]
pub struct Step {
    context: RunContext,
    key: StepKey,
    /// What it made.
    artifact_ids: Mutex<Vec<String>>,
    /// It began while something was unwound: that is not its own panic.
    began_in_panic: bool,
    is_over: bool,
}

impl Step {
    pub(super) fn new(context: RunContext, key: StepKey) -> Self {
        Self {
            context,
            key,
            artifact_ids: Mutex::default(),
            began_in_panic: std::thread::panicking(),
            is_over: false,
        }
    }

    /// Its name.
    pub fn step_id(&self) -> &str {
        &self.key.0
    }

    /// The run that it is of.
    pub fn context(&self) -> &RunContext {
        &self.context
    }

    /// How far it is; see [`RunContext::emit_progress`].
    pub fn emit_progress(&self, fraction: f64, message: &str) -> Result<(), ContextError> {
        self.context.emit(self.own(progress(fraction, message)?))
    }

    /// A piece of text that it writes; see [`RunContext::emit_token`].
    pub fn emit_token(&self, text: &str) -> Result<(), ContextError> {
        self.context.emit(self.own(token(text)))
    }

    /// Records an event in it; see [`RunContext::event`].
    pub fn event(&self, name: &str, more: Object<'static>) -> Result<(), ContextError> {
        self.context.event(name, self.own(more))
    }

    /// Records something that it made, among its `artifact_ids` too; see [`RunContext::artifact`].
    pub fn artifact(
        &self,
        artifact_id: &str,
        digest: Digest,
        more: Object<'static>,
    ) -> Result<(), ContextError> {
        self.context.artifact(artifact_id, digest, self.own(more))?;
        self.artifact_ids.lock().unwrap_or_else(PoisonError::into_inner).push(artifact_id.to_owned());
        Ok(())
    }

    /// Records something that it saw; see [`RunContext::observation`].
    pub fn observation(
        &self,
        observation_id: &str,
        value: Value<'static>,
        basis_artifact_ids: &[&str],
        more: Object<'static>,
    ) -> Result<(), ContextError> {
        self.context.observation(observation_id, value, basis_artifact_ids, self.own(more))
    }

    /// Waits for somebody's decision; see [`RunContext::needs_input`].
    pub async fn needs_input(&self, gate_id: &str, reason: &str) -> Result<Answer, ContextError> {
        let members = [("gate_id", gate_id.to_owned()), ("reason", reason.to_owned())];
        self.context.ask(self.own(Object::from_iter(members))).await
    }

    /// Records that it ended so; `more` are other members of it: a `message`, an `exit_code`, `data`. If that is refused, it is
    /// recorded as incomplete.
    pub fn finish(mut self, status: StepStatus, more: Object<'static>) -> Result<(), ContextError> {
        self.end(status.as_str(), more)
    }

    /// Records that it passed if there is a result, else that it failed, with the first 1,000 bytes of the error as its message. Gives
    /// the result back: `let answer = step.conclude(ask().await)?;`
    pub fn conclude<T, E: fmt::Display>(mut self, result: Result<T, E>) -> Result<T, E> {
        let (status, more) = match &result {
            Ok(_) => (StepStatus::Passed, Object::new()),
            Err(error) => (StepStatus::Failed, message(&error.to_string())),
        };
        // There is room for that, but in a run that is closed; then the step is recorded already.
        let _ = self.end(status.as_str(), more);
        result
    }

    fn end(&mut self, status: &'static str, mut more: Object<'static>) -> Result<(), ContextError> {
        let made = std::mem::take(&mut *self.artifact_ids.lock().unwrap_or_else(PoisonError::into_inner));
        if !made.is_empty() && more.get("artifact_ids").is_none() {
            more.insert("artifact_ids", made);
        }
        let mut ledger = self.context.core().ledger();
        let ended = ledger.finish_step(&self.key, status, &more);
        if let Err(why) = &ended {
            let why = format!("its end could not be recorded: {why}");
            // Not in a run that is closed: there it is recorded already.
            let _ = ledger.finish_step(&self.key, "incomplete", &message(&why));
        }
        drop(ledger);
        self.is_over = true;
        ended
    }

    fn own(&self, mut members: Object<'static>) -> Object<'static> {
        members.insert("step_id", self.key.0.clone());
        members
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (status, why) = match std::thread::panicking() && !self.began_in_panic {
            true => (StepStatus::Failed.as_str(), "ended by a panic"),
            false => ("incomplete", "dropped before it was finished"),
        };
        // In a run that is closed it is recorded already.
        let _ = self.end(status, message(why));
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("key", &self.key).finish_non_exhaustive()
    }
}

/// A message of a length for which there is always room.
fn message(text: &str) -> Object<'static> {
    let end = text.floor_char_boundary(MAX_MESSAGE_BYTES);
    Object::from_iter([("message", text.get(..end).unwrap_or_default().to_owned())])
}
