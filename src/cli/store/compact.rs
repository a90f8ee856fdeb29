//! `sealstone store compact`: the records without what was.

use clap::Args;

use super::{DataDirArguments, Progress, failed};
use crate::cli::exit::{Failure, answer, answer_json};
use crate::cli::style::{GOOD, RESET, bytes};
use crate::store::copies::compact;

/// Writes the records anew beside the old ones, puts them in their place, and removes the old: afterwards no file of the data
/// directory has anything of what was deleted or overwritten. (What the disk itself keeps of removed files is the disk's matter.)
/// Needs room for a second copy. Killed at any moment, it is finished or dropped at the next start.
#[derive(Args)]
pub(super) struct CompactArguments {
    #[command(flatten)]
    directory: DataDirArguments,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &CompactArguments) -> Result<u8, Failure> {
    let directory = arguments.directory.open()?;
    let progress = Progress::new("writing", None);
    let compacted = compact(&directory, &|amount| progress.show(amount));
    drop(progress);
    let amount = compacted.map_err(failed)?;
    if arguments.json {
        let told = serde_json::json!({ "pairs": amount.pairs, "bytes": amount.bytes });
        answer_json(&format!("{told}\n"))?;
    } else {
        answer(&format!("{GOOD}compacted{RESET}: {}, {} pairs\n", bytes(amount.bytes), amount.pairs))?;
    }
    Ok(0)
}
