//! `sealstone store restore`: a backup made a data directory again.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;

use super::{Progress, failed};
use crate::cli::exit::{Failure, UNREADABLE, answer, answer_json};
use crate::cli::input::cannot_read;
use crate::cli::style::{FAINT, GOOD, RESET, bytes, printable, say};
use crate::store::copies::{CopyError, restore};
use crate::store::directory::EngineName;

/// Restores a backup into a data directory that has no records yet; in another engine than before, if you like. Nothing is taken
/// for records before all of it was read and is what was written.
#[derive(Args)]
pub(super) struct RestoreArguments {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The data directory to make
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// What shall keep the records: fjall or sled
    #[arg(long, value_name = "ENGINE", default_value = "fjall")]
    engine: EngineName,
    /// Print what was restored as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &RestoreArguments) -> Result<u8, Failure> {
    let RestoreArguments { file: path, data_dir, engine, .. } = arguments;
    if *engine == EngineName::Memory {
        return Err(Failure::usage("memory keeps nothing; --engine fjall or sled expected"));
    }
    let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
    let progress = Progress::new("restoring", file.metadata().ok().map(|found| found.len()));
    let source = BufReader::with_capacity(1 << 20, file);
    let restored = restore(source, data_dir, *engine, &|amount| progress.show(amount));
    drop(progress);
    let amount = restored.map_err(|error| match error {
        CopyError::Backup(error) => Failure::new(UNREADABLE, format!("{}: {error}", path.display())),
        error => failed(error),
    })?;
    if arguments.json {
        let told =
            serde_json::json!({ "engine": engine.as_str(), "pairs": amount.pairs, "bytes": amount.bytes });
        answer_json(&format!("{told}\n"))?;
    } else {
        let (size, pairs) = (bytes(amount.bytes), amount.pairs);
        let directory = printable(&data_dir.display().to_string());
        answer(&format!("{GOOD}restored{RESET}: {size}, {pairs} pairs, in {directory}\n"))?;
        say(format_args!(
            "{FAINT}next: sealstone store check --data-dir {directory}; then put the key (key.pem, keyring.json) into it, and serve with --engine {}{RESET}",
            engine.as_str()
        ));
    }
    Ok(0)
}
