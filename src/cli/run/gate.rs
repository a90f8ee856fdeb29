//! `run gate`: a question to a person, or the answer.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::super::exit::{Failure, UNAVAILABLE};
use super::super::quantity::Period;
use super::super::style::{DOUBT, RESET, printable, say};
use super::{Target, line};
use crate::client::{Client, ClientError, Gate};
use crate::evidence::canonical::Object;

/// The gate was rejected, or not answered in time.
const NOT_APPROVED: u8 = 2;

/// Opens a gate with --reason and waits for its answer, or answers the gate ID with --approve or --reject.
/// Exit status: 0 approved (or answered), 1 refused by the service, 2 rejected or not answered in time.
#[derive(Args)]
pub(super) struct GateArguments {
    /// Name of the gate (default for a new one: gate-1, gate-2 …)
    #[arg(value_name = "ID")]
    gate_id: Option<String>,
    /// Why somebody is asked: opens the gate
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["approve", "reject"])]
    reason: Option<String>,
    /// The step that waits for it
    #[arg(long, value_name = "STEP_ID", requires = "reason")]
    step: Option<String>,
    /// How long to wait for the answer; 0s does not wait
    #[arg(long, value_name = "PERIOD", default_value = "1h")]
    wait: Period,
    /// Answer it: approved
    #[arg(long, conflicts_with_all = ["reason", "reject"], requires = "gate_id")]
    approve: bool,
    /// Answer it: rejected
    #[arg(long, conflicts_with = "reason", requires = "gate_id")]
    reject: bool,
    /// What there is to say about the answer
    #[arg(long, value_name = "TEXT", conflicts_with = "reason")]
    comment: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(arguments: &GateArguments) -> Result<u8, Failure> {
    match (&arguments.reason, &arguments.gate_id) {
        (Some(reason), _) => open(arguments, reason),
        (None, Some(gate_id)) => resolve(arguments, gate_id),
        (None, None) => Err(Failure::usage("name the gate to answer")),
    }
}

fn open(arguments: &GateArguments, reason: &str) -> Result<u8, Failure> {
    let mut members = Object::from_iter([("reason", reason.to_owned())]);
    if let Some(gate_id) = &arguments.gate_id {
        members.insert("gate_id", gate_id.clone());
    }
    if let Some(step) = &arguments.step {
        members.insert("step_id", step.clone());
    }
    let run = arguments.target.run.clone();
    let wait = Duration::from_millis(u64::try_from(arguments.wait.ms).unwrap_or_default());
    let (shown_run, shown_reason) = (printable(&run), printable(reason));
    // What waits of the run comes first.
    arguments.target.report(|_| ())?;
    if let Some(path) = arguments.target.reporting.waits(&run)? {
        let why = format!(
            "nobody is asked before the service has what was reported of run {shown_run} before, which waits in {}; see sealstone spool flush",
            path.display()
        );
        return Err(Failure::new(UNAVAILABLE, why));
    }
    let gate = arguments.target.reporting.server.ask(|client| async move {
        let gate = client.open_gate(&run, &members).await?;
        let gate_id = printable(&gate.gate_id);
        say(format_args!("{DOUBT}waiting for an answer:{RESET} {shown_reason}"));
        say(format_args!("  sealstone run gate {gate_id} --run {shown_run} --approve   (or --reject)"));
        wait_for(&client, &run, gate, wait).await
    })?;
    let decision = gate.decision.clone().unwrap_or_else(|| gate.state.clone());
    let json = serde_json::json!({ "gate_id": gate.gate_id, "decision": gate.decision });
    arguments.target.answer(&json, &line(&format!("{} {decision}", gate.gate_id)))?;
    let approved = gate.decision.as_deref() == Some("approved") || arguments.wait.ms == 0;
    Ok(if approved { 0 } else { NOT_APPROVED })
}

fn waited_for(started: Instant, wait: Duration) -> bool {
    started.elapsed() >= wait
}

async fn wait_for(client: &Client, run: &str, opened: Gate, wait: Duration) -> Result<Gate, ClientError> {
    let started = Instant::now();
    let spinner = spinner();
    let mut gate = opened;
    while gate.state == "open" {
        let left = wait.saturating_sub(started.elapsed());
        if left.is_zero() {
            break;
        }
        let seconds = u8::try_from(left.as_secs().clamp(1, 30)).unwrap_or(30);
        gate = match client.gate(run, &gate.gate_id, seconds).await {
            // It comes back, and the gate with it.
            Err(ClientError::Away { why, .. }) if !waited_for(started, wait) => {
                let why = printable(&why);
                spinner.suspend(|| {
                    say(format_args!("{DOUBT}still waiting:{RESET} the service does not answer ({why})"));
                });
                gate
            }
            answered => answered?,
        };
    }
    spinner.finish_and_clear();
    Ok(gate)
}

/// On a terminal: for how long it is waited.
fn spinner() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner();
    spinner.enable_steady_tick(Duration::from_millis(100));
    match ProgressStyle::with_template("{spinner} {elapsed}") {
        Ok(style) => spinner.with_style(style),
        Err(_) => spinner,
    }
}

fn resolve(arguments: &GateArguments, gate_id: &str) -> Result<u8, Failure> {
    let decision = if arguments.approve { "approved" } else { "rejected" };
    let mut members = Object::from_iter([("decision", decision.to_owned())]);
    if let Some(comment) = &arguments.comment {
        members.insert("comment", comment.clone());
    }
    let (run, id) = (arguments.target.run.clone(), gate_id.to_owned());
    let resolved = arguments
        .target
        .reporting
        .server
        .ask(|client| async move { client.resolve_gate(&run, &id, &members).await });
    let gate = resolved?;
    let json = serde_json::json!({ "gate_id": gate.gate_id, "decision": gate.decision });
    arguments.target.answer(&json, &line(&format!("{} {decision}", gate.gate_id)))
}
