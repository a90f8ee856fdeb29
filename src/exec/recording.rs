//! One command as a whole run: run, artifacts, step, outcome.

use std::ffi::OsString;

use super::artifact::ArtifactFile;
use super::child::{Ended, Execution};
use super::described::{Reach, described};
use super::detect::Detected;
use super::log::Log;
use super::names::path_id;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::envelope::limits::MAX_TEXT_BYTES;
use crate::evidence::envelope::{Kind, PrivateMembers};
use crate::evidence::key::SigningKey;
use crate::evidence::record::{Record, RecordError};
use crate::evidence::seal::{SealError, Sealed};
use crate::evidence::time::Timestamp;

/// Time, randomness and place, given by who starts all this.
pub(crate) struct Surroundings<'s> {
    pub(crate) now: &'s dyn Fn() -> Timestamp,
    pub(crate) salt: &'s dyn Fn() -> [u8; 16],
    pub(crate) detected: &'s Detected,
    /// A fresh UUIDv7.
    pub(crate) evidence_id: String,
}

/// What is to be run, and what it is to be called.
#[derive(Debug, Default)]
pub(crate) struct Command {
    pub(crate) command: Vec<OsString>,
    pub(crate) step_id: Option<String>,
    pub(crate) kind: String,
    pub(crate) project: Option<String>,
    pub(crate) run_id: Option<String>,
    pub(crate) intent: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) private: PrivateMembers,
}

impl Command {
    fn step_id(&self) -> String {
        let program = self.command.first().map(std::path::Path::new).and_then(|program| program.file_name());
        let program = program.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.step_id.clone().unwrap_or_else(|| path_id(&program, "command"))
    }
}

/// A run that is being recorded.
pub(crate) struct Recording<'s> {
    record: Record,
    command: Command,
    surroundings: &'s Surroundings<'s>,
    artifact_ids: Vec<String>,
    missing: Vec<String>,
}

impl<'s> Recording<'s> {
    /// Opens the run. An error says which of what the user gave cannot be recorded.
    pub(crate) fn open(command: Command, surroundings: &'s Surroundings<'s>) -> Result<Self, RecordError> {
        let mut recording = Self {
            record: Record::new(),
            command,
            surroundings,
            artifact_ids: Vec::new(),
            missing: Vec::new(),
        };
        // A dry run of the step shows now, and not after an hour, that its names cannot be recorded.
        let mut rehearsal = Record::new();
        let run = recording.run_members();
        for (kind, members) in [(Kind::Run, run.clone()), (Kind::Step, recording.step_names())] {
            rehearsal
                .push(kind, members, (surroundings.now)(), &recording.command.private, &mut || [0; 16])?;
        }
        recording.push(Kind::Run, run)?;
        Ok(recording)
    }

    /// Records a file that the step made. One that cannot be recorded is told in the step's message.
    pub(crate) fn artifact(&mut self, file: &ArtifactFile) -> Result<(), String> {
        let members = file.members(Some(&self.command.step_id())).map_err(|error| error.to_string());
        let recorded =
            members.and_then(|members| self.push(Kind::Artifact, members).map_err(|error| error.to_string()));
        match &recorded {
            Ok(()) => self.artifact_ids.push(file.artifact_id()),
            Err(_) => self.missing.push(file.artifact_id()),
        }
        recorded
    }

    /// Records what came of the command, and closes the run.
    pub(crate) fn close(&mut self, execution: &Execution, log: &Log) -> Result<(), RecordError> {
        let succeeded = matches!(execution.ended, Ended::Exited(0));
        let (status, result) = match (execution.aborted, succeeded) {
            (true, _) => ("canceled", "aborted"),
            (false, true) => ("passed", "succeeded"),
            (false, false) => ("failed", "failed"),
        };
        let mut step = self.step_names();
        step.insert("status", status);
        step.insert(
            "exit_code",
            match execution.ended {
                Ended::Killed(_) => Value::Null,
                Ended::Exited(code) => Value::from(code),
                Ended::NotStarted(_) => i32::from(execution.ended.status()).into(),
            },
        );
        step.insert("started_at", execution.started_at);
        step.insert("finished_at", execution.finished_at.max(execution.started_at));
        let ms = execution.finished_at.unix_ms().saturating_sub(execution.started_at.unix_ms());
        step.insert("duration_ms", Value::count(u64::try_from(ms).unwrap_or_default()));
        step.insert("log", log.member());
        if !self.artifact_ids.is_empty() {
            step.insert("artifact_ids", std::mem::take(&mut self.artifact_ids));
        }
        let reason = reason(execution);
        let missing = (!self.missing.is_empty())
            .then(|| format!("artifacts not recorded: {}", self.missing.join(", ")));
        let told = [step.text("message").map(str::to_owned), reason.clone(), missing];
        let told: Vec<String> = told.into_iter().flatten().collect();
        if !told.is_empty() {
            step.insert("message", told.join("; "));
        }
        self.push(Kind::Step, step)?;
        let mut outcome = Object::from_iter([("result", result)]);
        if let Some(reason) = reason {
            outcome.insert("reason", reason);
        }
        self.push(Kind::Outcome, outcome)
    }

    /// Seals the closed run.
    pub(crate) fn seal(&self, key: &SigningKey) -> Result<Sealed, SealError> {
        self.record.seal((self.surroundings.now)(), &[key])
    }

    fn push(&mut self, kind: Kind, members: Object<'static>) -> Result<(), RecordError> {
        let now = (self.surroundings.now)();
        let salt = &mut || (self.surroundings.salt)();
        self.record.push(kind, members, now, &self.command.private, salt).map(drop)
    }

    fn run_members(&self) -> Object<'static> {
        let (id, detected) = (&self.surroundings.evidence_id, self.surroundings.detected);
        let project = self.command.project.clone();
        let mut run = Object::from_iter([
            ("evidence_id", id.clone()),
            ("run_id", self.command.run_id.clone().unwrap_or_else(|| id.clone())),
            ("project", project.unwrap_or_else(|| detected.project.clone())),
        ]);
        let told = described(detected, Reach::Job, self.command.intent.as_deref(), &self.command.labels);
        for (name, value) in told.iter() {
            run.insert(name.to_owned(), value.clone());
        }
        run
    }

    fn step_names(&self) -> Object<'static> {
        let (command, all) = command_member(&self.command.command);
        let mut step =
            Object::from_iter([("step_id", self.command.step_id()), ("kind", self.command.kind.clone())]);
        step.insert("status", "incomplete");
        step.insert("command", command);
        if !all {
            step.insert("message", "command shortened: it is too long to be recorded");
        }
        step
    }
}

/// The command as text, as much of it as one element can well hold; false if that is not all.
fn command_member(command: &[OsString]) -> (Vec<String>, bool) {
    let mut left = MAX_TEXT_BYTES;
    let mut member = Vec::new();
    for argument in command {
        let argument = argument.to_string_lossy();
        // As it stands in JSON, where a control character takes six bytes, and with its comma.
        let bytes = Value::from(&*argument).canonical().len().saturating_add(1);
        if bytes > left {
            return (member, false);
        }
        left = left.saturating_sub(bytes);
        member.push(argument.into_owned());
    }
    (member, true)
}

fn reason(execution: &Execution) -> Option<String> {
    let reason = match &execution.ended {
        Ended::NotStarted(error) => format!("not started: {error}"),
        Ended::Killed(signal) => format!("ended by signal {signal}"),
        Ended::Exited(0) if !execution.aborted => String::new(),
        Ended::Exited(code) => format!("exit status {code}"),
    };
    let asked = execution.aborted.then_some("asked to end by a signal");
    let open = execution
        .output_left_open
        .then_some("something it left behind held its output open; the log ends before");
    let told: Vec<&str> =
        [asked, Some(reason.as_str()), open].into_iter().flatten().filter(|t| !t.is_empty()).collect();
    (!told.is_empty()).then(|| told.join("; "))
}
