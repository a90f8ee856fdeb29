//! `sealstone run`: a run reported piece by piece, for scripts.

mod close;
mod entries;
mod gate;
mod open;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exit::{Failure, REFUSED, UNAVAILABLE, answer, answer_json};
use super::server::ServerArguments;
use super::spooling::{SpoolArguments, tell, tell_aside};
use super::style::printable;
use crate::client::Retry;
use crate::client::report::{Delivery, Reporter, Unsent};
use crate::client::spool::{SpoolError, Waiting};
use crate::evidence::canonical::Object;

/// Reports a run to the service, piece by piece. `open` prints the run's evidence_id; the others take it from --run or
/// $SEALSTONE_RUN. What a command acknowledges is durable: with the service, or, while that is away, in the spool.
#[derive(Args)]
#[command(after_help = RUN_HELP)]
pub(super) struct RunArguments {
    #[command(subcommand)]
    command: RunCommand,
}

const RUN_HELP: &str = "\
Example:
  export SEALSTONE_RUN=$(sealstone run open --project acme/widget)
  sealstone run step unit --kind test --status passed --exit-code 0
  sealstone run artifact dist/widget.tar.gz --id widget
  sealstone run observe coverage 0.93 --basis widget
  sealstone run finalize succeeded

Exit status: 0 recorded, or spooled because the service is away or lets nobody in (standard error says so, and with
--require-evidence the status); 1 the service refused; 64 wrong
arguments; 66 cannot read; 69 neither the service nor the spool took it. `gate` and `abort` need the service.";

#[derive(Subcommand)]
enum RunCommand {
    /// Open a run; prints its evidence_id
    Open(open::OpenArguments),
    /// Record a step: that it started, or how it ended
    Step(entries::StepArguments),
    /// Record a file by its digest
    Artifact(entries::ArtifactArguments),
    /// Record a fact, and the artifacts that it rests on
    Observe(entries::ObserveArguments),
    /// Record anything else worth recording
    Event(entries::EventArguments),
    /// Open a gate and wait for somebody to answer it, or answer one
    Gate(gate::GateArguments),
    /// Close the run and have it sealed
    Finalize(close::FinalizeArguments),
    /// Ask the run's producer to stop
    Abort(close::AbortArguments),
}

/// Which run, and where.
#[derive(Args)]
struct Target {
    /// evidence_id, run_id or PROJECT/RUN_ID
    #[arg(long, value_name = "ID", env = "SEALSTONE_RUN")]
    run: String,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reporting: ReportingArguments,
}

/// How the service is told, and whether it is waited for.
#[derive(Args)]
struct ReportingArguments {
    /// Fail where the service does not have it at once: 1 if it lets nobody in, 69 if it is away. It is spooled all the same
    #[arg(long)]
    require_evidence: bool,
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    spool: SpoolArguments,
}

pub(super) fn run(arguments: &RunArguments) -> Result<u8, Failure> {
    match &arguments.command {
        RunCommand::Open(arguments) => open::run(arguments),
        RunCommand::Step(arguments) => entries::step(arguments),
        RunCommand::Artifact(arguments) => entries::artifact(arguments),
        RunCommand::Observe(arguments) => entries::observe(arguments),
        RunCommand::Event(arguments) => entries::event(arguments),
        RunCommand::Gate(arguments) => gate::run(arguments),
        RunCommand::Finalize(arguments) => close::finalize(arguments),
        RunCommand::Abort(arguments) => close::abort(arguments),
    }
}

impl Target {
    /// Records one entry, and says where it stands now.
    fn append(&self, entry: Object<'static>) -> Result<u8, Failure> {
        let Some(told) = self.report(|reporter| reporter.record(entry, None))?.told.appended else {
            return Ok(0);
        };
        let Some(receipt) = told.entries.first() else { return Ok(0) };
        let text = match (receipt.seq, receipt.entry_hash) {
            (Some(seq), Some(entry_hash)) => format!("{seq}:{entry_hash}\n"),
            _ => format!("noted at {}\n", receipt.pos),
        };
        let json = serde_json::json!({
            "pos": receipt.pos, "seq": receipt.seq, "entry_hash": receipt.entry_hash, "head": told.head,
        });
        self.answer(&json, &text)
    }

    /// Tells the service something, behind all that waits of the run.
    fn report(&self, tell: impl FnOnce(&Reporter)) -> Result<Delivery, Failure> {
        if self.run.is_empty() {
            return Err(Failure::usage(
                "no run is named: --run and $SEALSTONE_RUN are empty, as after a `run open` that failed",
            ));
        }
        self.reporting.report(&self.run, tell)
    }

    fn answer(&self, json: &serde_json::Value, text: &str) -> Result<u8, Failure> {
        match self.json {
            true => answer_json(&format!("{json}\n"))?,
            false => answer(text)?,
        }
        Ok(0)
    }
}

impl ReportingArguments {
    /// Tells the service something of a run, behind all that waits of it. What was told is with the service, or in the spool.
    fn report(&self, run: &str, told: impl FnOnce(&Reporter)) -> Result<Delivery, Failure> {
        let reporter = self.spool.reporter(&self.server, run)?;
        told(&reporter);
        let delivery = self.spool.finish(&reporter)?;
        if !delivery.told.refused.is_empty() {
            tell_aside(&delivery, false);
            return Err(Failure::new(REFUSED, delivery.told.refused.join("; ")));
        }
        if let Some(Unsent { lost: 1.., why, .. }) = &delivery.unsent {
            tell_aside(&delivery, false);
            let lost = format!("neither the service nor the spool took it: {why}");
            return Err(Failure::new(UNAVAILABLE, lost));
        }
        tell(&delivery, run, false);
        match &delivery.unsent {
            Some(unsent) if self.require_evidence => {
                let status = if unsent.is_held { REFUSED } else { UNAVAILABLE };
                Err(Failure::new(status, "--require-evidence was given, and the service does not have it"))
            }
            _ => Ok(delivery),
        }
    }
}

impl ReportingArguments {
    /// What others left of a run for this service, and could not be sent; not what somebody still writes.
    fn waits(&self, run: &str) -> Result<Option<PathBuf>, Failure> {
        let client = self.server.client(Retry::default())?;
        let Ok(spool) = self.spool.spool(self.server.token()) else { return Ok(None) };
        let is_before = |waiting: &Waiting| {
            (waiting.header.server.as_str(), waiting.header.run.as_str()) == (client.server(), run)
                && !(waiting.is_growing && matches!(spool.open(&waiting.path), Err(SpoolError::InUse)))
        };
        Ok(spool.waiting().into_iter().find(is_before).map(|waiting| waiting.path))
    }
}

/// JSON if it is some, else the text itself.
fn value_of(text: &str) -> crate::evidence::canonical::Value<'static> {
    match crate::evidence::canonical::parse(text.as_bytes(), text.len()) {
        Ok(value) => value.into_owned(),
        Err(_) => text.to_owned().into(),
    }
}

/// Text for a person, with nothing in it that a terminal would act on.
fn line(text: &str) -> String {
    format!("{}\n", printable(text))
}
