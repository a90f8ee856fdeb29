//! `sealstone store`: the records themselves.

mod backup;
mod check;
mod compact;
mod fill;
mod restore;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::{CANNOT_WRITE, Failure};
use crate::store::backup::Amount;
use crate::store::directory::DataDirectory;

/// Looks after the records of a service: checks, backs up, restores, compacts them.
#[derive(Args)]
pub(super) struct StoreArguments {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Subcommand)]
enum StoreCommand {
    /// Back up all records, from a running service or one that does not run
    Backup(backup::BackupArguments),
    /// Check every journal, chain, index and seal; exit status 1 if something does not hold
    Check(check::CheckArguments),
    /// Write the records anew, without what was deleted, overwritten or erased
    Compact(compact::CompactArguments),
    /// Fill a new data directory with runs that nobody reported, to measure with
    #[command(hide = true)]
    Fill(fill::FillArguments),
    /// Restore a backup into a new data directory
    Restore(restore::RestoreArguments),
}

/// The directory of a service that does not run.
#[derive(Args)]
struct DataDirArguments {
    /// Where records and key are
    #[arg(long, value_name = "DIR", default_value = "./sealstone-data", env = "SEALSTONE_DATA_DIR")]
    data_dir: PathBuf,
}

impl DataDirArguments {
    fn open(&self) -> Result<DataDirectory, Failure> {
        DataDirectory::open_existing(&self.data_dir).map_err(failed)
    }
}

pub(super) fn run(arguments: &StoreArguments) -> Result<u8, Failure> {
    match &arguments.command {
        StoreCommand::Backup(arguments) => backup::run(arguments),
        StoreCommand::Check(arguments) => check::run(arguments),
        StoreCommand::Compact(arguments) => compact::run(arguments),
        StoreCommand::Fill(arguments) => fill::run(arguments),
        StoreCommand::Restore(arguments) => restore::run(arguments),
    }
}

fn failed(why: impl std::fmt::Display) -> Failure {
    Failure::new(CANNOT_WRITE, why)
}

/// Bytes and pairs, drawn on a terminal only.
struct Progress(ProgressBar);

impl Progress {
    fn new(doing: &str, total_bytes: Option<u64>) -> Self {
        let bar = total_bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let of_all = if total_bytes.is_some() { " of {total_bytes}, {eta} left" } else { "" };
        let template = format!("{{spinner}} {doing} {{bytes}}{of_all}, {{bytes_per_sec}}{{msg}}");
        bar.set_style(ProgressStyle::with_template(&template).unwrap_or(ProgressStyle::default_spinner()));
        Self(bar)
    }

    /// Told of now and then, so that telling costs nothing.
    fn show(&self, amount: Amount) {
        if amount.pairs.is_multiple_of(1_024) {
            self.0.set_position(amount.bytes);
            self.0.set_message(format!(", {} pairs", amount.pairs));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
