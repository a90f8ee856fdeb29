//! `sealstone store check`: everything that is stored, read anew.

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{DataDirArguments, failed};
use crate::cli::exit::{Failure, answer, answer_json};
use crate::cli::style::{BAD, GOOD, RESET, printable};
use crate::service::log_check::check_logs;
use crate::store::check::{Checked, check};

/// Something that is stored does not hold.
const DAMAGED: u8 = 1;

#[derive(Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    directory: DataDirArguments,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &CheckArguments) -> Result<u8, Failure> {
    let directory = arguments.directory.open()?;
    let store = directory.store_as_it_is().map_err(failed)?;
    // Drawn on a terminal only.
    let bar = ProgressBar::new_spinner();
    bar.set_style(
        ProgressStyle::with_template("{spinner} {pos} runs checked, {per_sec}")
            .unwrap_or(ProgressStyle::default_spinner()),
    );
    let mut checked = check(&store, &|runs| bar.set_position(runs)).map_err(failed)?;
    checked.faults.extend(check_logs(&store, &|runs| bar.set_position(runs)).map_err(failed)?);
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
