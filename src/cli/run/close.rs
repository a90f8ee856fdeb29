//! `run finalize` and `run abort`.

use clap::Args;

use super::super::exit::Failure;
use super::{Target, line};
use crate::evidence::canonical::{Object, Value};

#[derive(Args)]
pub(super) struct FinalizeArguments {
    /// How it ended: succeeded, failed or aborted; what CI systems say for it: success, failure, unstable, cancelled …; or the exit
    /// status of a script, like $?
    #[arg(value_parser = parse_result)]
    result: &'static str,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) fn finalize(arguments: &FinalizeArguments) -> Result<u8, Failure> {
    let mut members = Object::from_iter([("result", arguments.result)]);
    if let Some(reason) = &arguments.reason {
        members.insert("reason", reason.clone());
    }
    let members = members.into_owned();
    let delivery = arguments.target.report(|reporter| reporter.finalize(members))?;
    let Some(finalized) = delivery.told.sealed else { return Ok(0) };
    let json = serde_json::json!({
        "evidence_id": finalized.evidence_id, "envelope_digest": finalized.envelope_digest, "head": finalized.head,
    });
    arguments.target.answer(&json, &line(&format!("sealed {}", finalized.envelope_digest)))
}

fn parse_result(text: &str) -> Result<&'static str, String> {
    match text.to_ascii_lowercase().as_str() {
        "succeeded" | "success" | "passed" => Ok("succeeded"),
        "failed" | "failure" | "unstable" => Ok("failed"),
        "aborted" | "cancelled" | "canceled" => Ok("aborted"),
        status => match status.parse::<u8>() {
            Ok(0) => Ok("succeeded"),
            // As shells tell SIGHUP, SIGINT and SIGTERM.
            Ok(129 | 130 | 143) => Ok("aborted"),
            Ok(_) => Ok("failed"),
            Err(_) => Err("succeeded, failed or aborted expected".to_owned()),
        },
    }
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
    arguments.target.reporting.server.ask(|client| async move { client.abort(&run, &members).await })?;
    let told = if arguments.force { "aborted" } else { "abort requested" };
    arguments.target.answer(&serde_json::json!({ "abort_requested": true }), &line(told))
}
