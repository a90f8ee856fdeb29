//! `sealstone store compact`: the records without what was.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Progress, failed};
use crate::cli::exit::{Failure, answer, answer_json};
#[cfg(feature = "client")]
use crate::cli::server::ServerArguments;
use crate::cli::style::{GOOD, RESET, bytes};
use crate::store::copies::compact;
use crate::store::directory::DataDirectory;

/// Writes the records anew beside the old ones, puts them in their place, and removes the old: afterwards no file of the data
/// directory has anything of what was deleted, overwritten or erased. (What the disk itself keeps of removed files is the disk's
/// matter.) A running service does it on --server, with the token of an admin of all projects, and goes on recording; one on sled
/// can not. Needs room for a second copy. Killed at any moment, it is finished or dropped at the next start.
#[derive(Args)]
pub(super) struct CompactArguments {
    /// The data directory of a service that does not run
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
    #[cfg(feature = "client")]
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) fn run(arguments: &CompactArguments) -> Result<u8, Failure> {
    #[cfg(feature = "client")]
    if arguments.data_dir.is_none() {
        let progress = Progress::new("the service is compacting", None);
        arguments.server.ask(|client| async move { client.compact().await })?;
        drop(progress);
        let told =
            if arguments.json { answer_json("{}\n") } else { answer(&format!("{GOOD}compacted{RESET}\n")) };
        return told.map(|()| 0);
    }
    let data_dir = arguments.data_dir.as_deref();
    let data_dir =
        data_dir.ok_or_else(|| Failure::usage("name the --data-dir of a service that does not run"))?;
    compact_directory(data_dir, arguments.json)
}

fn compact_directory(data_dir: &Path, json: bool) -> Result<u8, Failure> {
    let directory = DataDirectory::open_existing(data_dir).map_err(failed)?;
    let progress = Progress::new("writing", None);
    let compacted = compact(&directory, &|amount| progress.show(amount));
    drop(progress);
    let amount = compacted.map_err(failed)?;
    if json {
        let told = serde_json::json!({ "pairs": amount.pairs, "bytes": amount.bytes });
        answer_json(&format!("{told}\n"))?;
    } else {
        answer(&format!("{GOOD}compacted{RESET}: {}, {} pairs\n", bytes(amount.bytes), amount.pairs))?;
    }
    Ok(0)
}
