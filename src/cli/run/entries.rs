//! `run step`, `artifact`, `observe` and `event`.

use std::path::PathBuf;

use clap::Args;

use super::super::exit::Failure;
use super::super::input::cannot_read;
use super::{Target, value_of};
use crate::evidence::canonical::{Object, Value};
use crate::exec::{ArtifactFile, path_id};

#[derive(Args)]
pub(super) struct StepArguments {
    /// Name of the step
    #[arg(value_name = "STEP_ID")]
    step_id: String,
    /// command, lint, test, build, deploy … (default: what it started with, else command)
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// How it ended: passed, failed, skipped, canceled; without, the step starts
    #[arg(long, value_parser = ["passed", "failed", "skipped", "canceled"])]
    status: Option<String>,
    /// Its exit status
    #[arg(long, value_name = "N", requires = "status", allow_hyphen_values = true)]
    exit_code: Option<i32>,
    /// Which attempt it is
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Its failure is no failure of the run
    #[arg(long)]
    allowed_to_fail: bool,
    /// What people call it
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What there is to say
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// An artifact that it made, recorded before; repeatable
    #[arg(long, value_name = "ID")]
    artifact_id: Vec<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) fn step(arguments: &StepArguments) -> Result<u8, Failure> {
    let started = arguments.status.is_none();
    let mut entry = Object::from_iter([
        ("type", if started { "step_started" } else { "step" }.into()),
        ("step_id", Value::from(arguments.step_id.clone())),
    ]);
    if let Some(status) = &arguments.status {
        entry.insert("status", status.clone());
    }
    match &arguments.kind {
        Some(kind) => entry.insert("kind", kind.clone()),
        None if started => entry.insert("kind", "command"),
        // The service has what it started with.
        None => {}
    }
    if let Some(exit_code) = arguments.exit_code {
        entry.insert("exit_code", exit_code);
    }
    if let Some(attempt) = arguments.attempt {
        entry.insert("attempt", Value::count(attempt.into()));
    }
    if arguments.allowed_to_fail {
        entry.insert("allowed_to_fail", true);
    }
    put(&mut entry, "name", arguments.name.as_ref());
    put(&mut entry, "message", arguments.message.as_ref());
    if !arguments.artifact_id.is_empty() {
        entry.insert("artifact_ids", arguments.artifact_id.clone());
    }
    arguments.target.append(entry)
}

#[derive(Args)]
pub(super) struct ArtifactArguments {
    /// The file; it stays where it is
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Its name in the run (default: made of its path)
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// binary, report, image …
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Like application/gzip
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,
    /// The step that made it
    #[arg(long, value_name = "STEP_ID")]
    step: Option<String>,
    /// Where it can be had; repeatable
    #[arg(long, value_name = "URL")]
    location: Vec<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) fn artifact(arguments: &ArtifactArguments) -> Result<u8, Failure> {
    let file = ArtifactFile { artifact_id: arguments.id.clone(), path: arguments.file.clone() };
    let mut entry =
        file.members(arguments.step.as_deref()).map_err(|error| cannot_read(&arguments.file, &error))?;
    entry.insert("type", "artifact");
    put(&mut entry, "kind", arguments.kind.as_ref());
    put(&mut entry, "media_type", arguments.media_type.as_ref());
    if !arguments.location.is_empty() {
        entry.insert("location_hints", arguments.location.clone());
    }
    arguments.target.append(entry)
}

#[derive(Args)]
pub(super) struct ObserveArguments {
    /// What is observed
    #[arg(value_name = "NAME")]
    name: String,
    /// The value: JSON, or text
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
    /// Its name in the run (default: made of NAME)
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// An artifact that it rests on, recorded before; repeatable; without, it is information and no evidence
    #[arg(long, value_name = "ARTIFACT_ID")]
    basis: Vec<String>,
    /// The step that it is of
    #[arg(long, value_name = "STEP_ID")]
    step: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) fn observe(arguments: &ObserveArguments) -> Result<u8, Failure> {
    let made = || path_id(&arguments.name, "observation").replace('/', "-");
    let mut entry = Object::from_iter([
        ("type", "observation".into()),
        ("observation_id", arguments.id.clone().unwrap_or_else(made).into()),
        ("name", arguments.name.clone().into()),
        ("value", value_of(&arguments.value)),
        ("basis_artifact_ids", Value::from(arguments.basis.clone())),
    ]);
    put(&mut entry, "step_id", arguments.step.as_ref());
    arguments.target.append(entry)
}

#[derive(Args)]
pub(super) struct EventArguments {
    /// phase_started, phase_finished, checkpoint, retry, custom:NAME …
    #[arg(value_name = "NAME")]
    name: String,
    /// What there is to say
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// A JSON object
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// The phase that it is of
    #[arg(long, value_name = "NAME")]
    phase: Option<String>,
    /// The step that it is of
    #[arg(long, value_name = "STEP_ID")]
    step: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) fn event(arguments: &EventArguments) -> Result<u8, Failure> {
    let mut entry =
        Object::from_iter([("type", Value::from("event")), ("name", arguments.name.clone().into())]);
    put(&mut entry, "message", arguments.message.as_ref());
    put(&mut entry, "phase", arguments.phase.as_ref());
    put(&mut entry, "step_id", arguments.step.as_ref());
    if let Some(data) = &arguments.data {
        let value = value_of(data);
        if value.as_object().is_none() {
            return Err(Failure::usage("--data is a JSON object, like '{\"shard\": 3}'"));
        }
        entry.insert("data", value);
    }
    arguments.target.append(entry)
}

fn put(entry: &mut Object<'static>, member: &'static str, value: Option<&String>) {
    if let Some(value) = value {
        entry.insert(member, value.clone());
    }
}
