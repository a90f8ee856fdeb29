//! `sealstone run`: a run reported piece by piece, for scripts.

mod close;
mod entries;
mod gate;
mod open;

use clap::{Args, Subcommand};

use super::exit::{Failure, answer, answer_json};
use super::server::ServerArguments;
use super::style::printable;
use crate::client::{Appended, ClientError};
use crate::evidence::canonical::Object;

/// Reports a run to the service, piece by piece. `open` prints the run's evidence_id; the others take it from --run or
/// $SEALSTONE_RUN. What a command acknowledges is durable.
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

Exit status: 0 recorded, 1 the service refused, 64 wrong arguments, 66 cannot read, 69 the service is away.";

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
    /// evidence_id or run_id
    #[arg(long, value_name = "ID", env = "SEALSTONE_RUN")]
    run: String,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArguments,
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
        let run = self.run.clone();
        self.told(self.server.ask(|client| async move { client.append(&run, &[entry], None).await }))
    }

    /// The same; if only that member is missing, with it.
    fn append_or(&self, entry: Object<'static>, member: (&'static str, &'static str)) -> Result<u8, Failure> {
        let run = self.run.clone();
        let appended = self.server.ask(|client| async move {
            let (name, value) = member;
            let missing = format!("/{name}");
            match client.append(&run, std::slice::from_ref(&entry), None).await {
                Err(ClientError::Refused { pointer: Some(pointer), .. })
                    if pointer == missing && entry.get(name).is_none() =>
                {
                    let mut entry = entry;
                    entry.insert(name, value);
                    client.append(&run, &[entry], None).await
                }
                appended => appended,
            }
        });
        self.told(appended)
    }

    fn told(&self, appended: Result<Appended, Failure>) -> Result<u8, Failure> {
        let Appended { entries, head } = appended?;
        let receipt = entries.first().ok_or_else(|| {
            Failure::new(super::exit::UNAVAILABLE, ClientError::Answer { why: "no entry in it".into() })
        })?;
        let told = match (receipt.seq, receipt.entry_hash) {
            (Some(seq), Some(entry_hash)) => format!("{seq}:{entry_hash}\n"),
            _ => format!("noted at {}\n", receipt.pos),
        };
        self.answer(&serde_json::json!({ "pos": receipt.pos, "seq": receipt.seq, "entry_hash": receipt.entry_hash, "head": head }), &told)
    }

    fn answer(&self, json: &serde_json::Value, text: &str) -> Result<u8, Failure> {
        match self.json {
            true => answer_json(&format!("{json}\n"))?,
            false => answer(text)?,
        }
        Ok(0)
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
