//! `run finalize` and `run abort`.

use clap::Args;

use super::super::exit::Failure;
use super::{Target, line};
use crate::evidence::canonical::{Object, Value};

#[derive(Args)]
pub(super) struct FinalizeArguments {
    /// How it ended
    #[arg(value_parser = ["succeeded", "failed", "aborted"])]
    result: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) fn finalize(arguments: &FinalizeArguments) -> Result<u8, Failure> {
    let mut members = Object::from_iter([("result", arguments.result.clone())]);
    if let Some(reason) = &arguments.reason {
        members.insert("reason", reason.clone());
    }
    let run = arguments.target.run.clone();
    let finalized =
        arguments.target.server.ask(|client| async move { client.finalize(&run, &members).await })?;
    let json = serde_json::json!({
        "evidence_id": finalized.evidence_id, "envelope_digest": finalized.envelope_digest, "head": finalized.head,
    });
    arguments.target.answer(&json, &line(&format!("sealed {}", finalized.envelope_digest)))
}

#[derive(Args)]
pub(super) struct AbortArguments {
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Close the run at once, whatever its producer does
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn abort(arguments: &AbortArguments) -> Result<u8, Failure> {
    let mut members = Object::from_iter([("force", Value::from(arguments.force))]);
    if let Some(reason) = &arguments.reason {
        members.insert("reason", reason.clone());
    }
    let run = arguments.target.run.clone();
    arguments.target.server.ask(|client| async move { client.abort(&run, &members).await })?;
    let told = if arguments.force { "aborted" } else { "abort requested" };
    arguments.target.answer(&serde_json::json!({ "abort_requested": true }), &line(told))
}
