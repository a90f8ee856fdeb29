//! `sealstone store`: the records themselves.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::{CANNOT_WRITE, Failure, answer, answer_json};
use super::style::{BAD, GOOD, RESET, printable};
use crate::store::check::{Checked, check};
use crate::store::directory::DataDirectory;

/// Something that is stored does not hold.
const DAMAGED: u8 = 1;

/// Looks after the records of a service that does not run.
#[derive(Args)]
pub(super) struct StoreArguments {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Subcommand)]
enum StoreCommand {
    /// Check every journal, chain, index and seal; exit status 1 if something does not hold
    Check(CheckArguments),
}

#[derive(Args)]
struct CheckArguments {
    /// Where records and key are
    #[arg(long, value_name = "DIR", default_value = "./sealstone-data", env = "SEALSTONE_DATA_DIR")]
    data_dir: PathBuf,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &StoreArguments) -> Result<u8, Failure> {
    let StoreCommand::Check(arguments) = &arguments.command;
    let failed = |why: &dyn std::fmt::Display| Failure::new(CANNOT_WRITE, why);
    let directory = DataDirectory::open_existing(&arguments.data_dir).map_err(|error| failed(&error))?;
    let store = directory.store_as_it_is().map_err(|error| failed(&error))?;
    // Drawn on a terminal only.
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{spinner} {pos} runs checked, {per_sec}")
            .unwrap_or(ProgressStyle::default_spinner()),
    );
    let checked = check(&store, &|runs| bar.set_position(runs)).map_err(|error| failed(&error))?;
    bar.finish_and_clear();
    tell(arguments, &checked)?;
    Ok(if checked.faults.is_empty() { 0 } else { DAMAGED })
}

fn tell(arguments: &CheckArguments, checked: &Checked) -> Result<(), Failure> {
    let Checked { runs, records, sealed, faults, .. } = checked;
    if arguments.json {
        let faults: Vec<_> =
            faults.iter().map(|fault| serde_json::json!({ "of": fault.of, "what": fault.what })).collect();
        let told =
            serde_json::json!({ "runs": runs, "records": records, "sealed": sealed, "faults": faults });
        return answer_json(&format!("{told}\n"));
    }
    let mut out = String::new();
    for fault in faults {
        out += &format!("{BAD}does not hold{RESET} {}\n", printable(&fault.to_string()));
    }
    let verdict = match faults.len() {
        0 => format!("{GOOD}holds{RESET}"),
        n => format!("{BAD}{n} fault(s){RESET}"),
    };
    answer(&format!("{out}{verdict}: {runs} runs, {records} records, {sealed} sealed envelopes\n"))
}
