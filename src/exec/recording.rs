//! One command as a step of a run: its artifacts, what came of it, and, where it is all of the run, the run and its outcome.

use std::ffi::OsString;
use std::path::PathBuf;

use super::artifact::ArtifactFile;
use super::child::{AskedBy, Ended, Execution};
use super::described::{Reach, described};
use super::detect::Detected;
use super::junit::read_reports;
use super::log::Log;
use super::names::path_id;
use crate::client::report::{Again, LogPlace, Reporter};
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
    /// What of it the user named.
    pub(crate) private_named: Vec<String>,
}

impl Command {
    fn step_id(&self) -> String {
        let program = self.command.first().map(std::path::Path::new).and_then(|program| program.file_name());
        let program = program.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.step_id.clone().unwrap_or_else(|| path_id(&program, "command"))
    }

    fn run_members(&self, surroundings: &Surroundings<'_>) -> Object<'static> {
        let (id, detected) = (&surroundings.evidence_id, surroundings.detected);
        let mut run = Object::from_iter([
            ("evidence_id", id.clone()),
            ("run_id", self.run_id.clone().unwrap_or_else(|| id.clone())),
            ("project", self.project.clone().unwrap_or_else(|| detected.project.clone())),
        ]);
        let told = described(detected, Reach::Job, self.intent.as_deref(), &self.labels);
        for (name, value) in told.iter() {
            run.insert(name.to_owned(), value.clone());
        }
        run
    }
}

/// Where elements go.
enum Destination {
    /// Into a record on this machine, to be sealed here.
    Here(Box<Record>),
    /// To a service, what the step made at once; the run is of this command alone, or one that others report to as well.
    Service { reporter: Reporter, is_ours: bool, made: Vec<Object<'static>> },
}

/// A command that is being recorded.
pub(crate) struct Recording<'s> {
    destination: Destination,
    /// What the run says of itself.
    run: Object<'static>,
    command: Command,
    surroundings: &'s Surroundings<'s>,
    artifacts: Vec<Object<'static>>,
    missing: Vec<String>,
    unread_reports: Vec<String>,
}

impl<'s> Recording<'s> {
    /// Of a command that has not begun. An error says which of what the user gave cannot be recorded: now, and not after an hour.
    pub(crate) fn open(command: Command, surroundings: &'s Surroundings<'s>) -> Result<Self, RecordError> {
        let run = command.run_members(surroundings);
        let mut recording = Self {
            destination: Destination::Here(Box::default()),
            run,
            command,
            surroundings,
            artifacts: Vec::new(),
            missing: Vec::new(),
            unread_reports: Vec::new(),
        };
        let mut rehearsal = Record::new();
        for (kind, members) in [(Kind::Run, &recording.run), (Kind::Step, &recording.step_names())] {
            let (now, private) = ((surroundings.now)(), &recording.command.private);
            rehearsal.push(kind, members.clone(), now, private, &mut || [0; 16])?;
        }
        recording.push(Kind::Run, recording.run.clone())?;
        Ok(recording)
    }

    /// The run as a service calls it, `PROJECT/RUN_ID`.
    pub(crate) fn run_name(&self) -> String {
        let part = |name| self.run.text(name).unwrap_or_default();
        format!("{}/{}", part("project"), part("run_id"))
    }

    /// From now on it is told to a service: a run of this command alone, or with `joined` a step of a run that is there.
    pub(crate) fn report_to(&mut self, reporter: Reporter, joined: bool) {
        if !joined {
            let mut run = self.run.clone();
            run.remove("evidence_id");
            if !self.command.private_named.is_empty() {
                run.insert("private", self.command.private_named.clone());
            }
            reporter.open(run, false);
        }
        self.destination = Destination::Service { reporter, is_ours: !joined, made: Vec::new() };
    }

    /// The command begins: who watches is told.
    pub(crate) fn begin(&mut self) {
        let mut step = self.step_names();
        let Destination::Service { reporter, .. } = &self.destination else { return };
        // A name that somebody gave is meant: the same again is its next attempt.
        let again = if self.command.step_id.is_some() { Again::Attempt } else { Again::Step };
        step.remove("status");
        step.insert("type", "step_started");
        step.insert("started_at", (self.surroundings.now)());
        // Two that begin the same command at once are two.
        let invocation = Object::from_iter([("invocation", self.surroundings.evidence_id.clone())]);
        step.insert("data", invocation);
        reporter.record(step, Some(again));
    }

    /// Whose log it is, where there is somebody to tell it to.
    pub(crate) fn log_place(&self) -> LogPlace {
        LogPlace { step_id: self.command.step_id(), attempt: 1 }
    }

    /// Records a file that the step made. One that cannot be recorded is told in the step's message.
    pub(crate) fn artifact(&mut self, file: &ArtifactFile) -> Result<(), String> {
        let members = file.members(Some(&self.command.step_id())).map_err(|error| error.to_string());
        let recorded =
            members.and_then(|members| self.push_artifact(members).map_err(|error| error.to_string()));
        if recorded.is_err() {
            self.missing.push(file.artifact_id());
        }
        recorded
    }

    /// Tells that an artifact is not recorded.
    pub(crate) fn leave_out(&mut self, file: &ArtifactFile) {
        self.missing.push(file.artifact_id());
    }

    /// Records the JUnit reports of the step that began then, and what they say. What is not recorded is given back, and told in the
    /// step's message.
    pub(crate) fn junit(&mut self, paths: &[PathBuf], began: Timestamp) -> Vec<String> {
        let (reports, mut told) = read_reports(paths, &self.command.step_id(), began);
        for report in reports {
            let id = report.artifact.text("artifact_id").unwrap_or_default().to_owned();
            // One that was named as an artifact too is recorded already.
            let known = self.artifacts.contains(&report.artifact);
            let recorded = if known { Ok(()) } else { self.push_artifact(report.artifact) };
            let mut observations = report.observations.into_iter();
            let recorded = recorded
                .and_then(|()| observations.try_for_each(|members| self.push(Kind::Observation, members)));
            match recorded {
                Ok(()) => {}
                Err(error @ RecordError::RunFull { .. }) => {
                    told.push(format!("{id}, and what follows: {error}"));
                    break;
                }
                Err(error) => told.push(format!("{id}: {error}")),
            }
        }
        self.unread_reports.clone_from(&told);
        told
    }

    /// Records what came of the command, and closes the run.
    pub(crate) fn close(&mut self, execution: &Execution, log: &Log) -> Result<(), RecordError> {
        let (status, result) = match (execution.aborted, &execution.ended) {
            (Some(_), _) => ("canceled", "aborted"),
            (None, Ended::Exited(0)) => ("passed", "succeeded"),
            (None, _) => ("failed", "failed"),
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
        let lost = match &self.destination {
            Destination::Here(_) => {
                step.insert("log", log.member());
                0
            }
            // The service digests what arrives.
            Destination::Service { reporter, .. } => reporter.lost_log_bytes(),
        };
        let ids: Vec<String> =
            self.artifacts.iter().filter_map(|file| file.text("artifact_id")).map(str::to_owned).collect();
        if !ids.is_empty() {
            step.insert("artifact_ids", ids);
        }
        let reason = reason(execution);
        let missing = (!self.missing.is_empty())
            .then(|| format!("artifacts not recorded: {}", self.missing.join(", ")));
        let unread = (!self.unread_reports.is_empty())
            .then(|| format!("JUnit reports: {}", self.unread_reports.join("; ")));
        let lost = (lost > 0)
            .then(|| format!("log not complete: {lost} bytes had no room while the service was away"));
        let told = [step.text("message").map(str::to_owned), reason.clone(), missing, unread, lost];
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

    /// Seals the closed run, on this machine.
    pub(crate) fn seal(&self, key: &SigningKey) -> Result<Sealed, SealError> {
        match &self.destination {
            Destination::Here(record) => record.seal((self.surroundings.now)(), &[key]),
            Destination::Service { .. } => Err(SealError::NotClosed),
        }
    }

    fn push_artifact(&mut self, members: Object<'static>) -> Result<(), RecordError> {
        self.push(Kind::Artifact, members.clone())?;
        self.artifacts.push(members);
        Ok(())
    }

    fn push(&mut self, kind: Kind, mut members: Object<'static>) -> Result<(), RecordError> {
        match &mut self.destination {
            Destination::Here(record) => {
                let now = (self.surroundings.now)();
                let salt = &mut || (self.surroundings.salt)();
                record.push(kind, members, now, &self.command.private, salt).map(drop)
            }
            Destination::Service { reporter, is_ours, made } => {
                members.insert("type", kind.as_str());
                match kind {
                    Kind::Outcome if *is_ours => {
                        members.remove("type");
                        reporter.finalize(members);
                    }
                    Kind::Outcome | Kind::Run => {}
                    Kind::Step => {
                        reporter.record_all(std::mem::take(made));
                        reporter.record(members, None);
                    }
                    _ => made.push(members),
                }
                Ok(())
            }
        }
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
        Ended::Exited(0) if execution.aborted.is_none() => String::new(),
        Ended::Exited(code) => format!("exit status {code}"),
    };
    let asked = execution.aborted.map(|by| match by {
        AskedBy::Abort => "asked to end by who watches",
        AskedBy::Signal => "asked to end by a signal",
    });
    let open = execution
        .output_left_open
        .then_some("something it left behind held its output open; the log ends before");
    let failed = execution.output_failed.as_ref();
    let failed = failed.map(|error| format!("its output could not all be passed on: {error}"));
    let told: Vec<&str> = [asked, Some(reason.as_str()), open, failed.as_deref()]
        .into_iter()
        .flatten()
        .filter(|t| !t.is_empty())
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}
