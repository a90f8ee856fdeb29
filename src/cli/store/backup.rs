//! `sealstone store backup`: all records in one file.

use std::io::{BufReader, BufWriter, Seek as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Progress, failed};
use crate::cli::exit::{CANNOT_WRITE, Failure, answer, answer_json};
use crate::cli::machine;
#[cfg(feature = "client")]
use crate::cli::server::ServerArguments;
use crate::cli::style::{FAINT, GOOD, RESET, bytes, say};
use crate::files::Draft;
use crate::store::backup::{check, write};
use crate::store::copies::Copies as _;
use crate::store::directory::DataDirectory;

/// Backs up all records as of one moment: from a running service (--server, with the token of an admin of all projects), which goes
/// on recording meanwhile, or from the data directory of one that does not run (--data-dir). The file appears under its name once it
/// is whole. The signing key is not in it: keep that elsewhere. What is withheld is in it: keep it like the data directory.
#[derive(Args)]
pub(super) struct BackupArguments {
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// The data directory of a service that does not run
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
    #[cfg(feature = "client")]
    #[command(flatten)]
    server: ServerArguments,
    /// Address of the service (not in this build)
    #[cfg(not(feature = "client"))]
    #[arg(long, value_name = "URL", hide = true)]
    server: Option<String>,
}

pub(super) fn run(arguments: &BackupArguments) -> Result<u8, Failure> {
    let cannot_write =
        |error| Failure::new(CANNOT_WRITE, format!("cannot write {}: {error}", arguments.out.display()));
    // For its owner alone: what is withheld is in it.
    let mut draft = Draft::new(&arguments.out, 0o600).map_err(cannot_write)?;
    match &arguments.data_dir {
        Some(data_dir) => from_directory(data_dir, &mut draft)?,
        None => from_service(arguments, &mut draft)?,
    }
    draft.file.rewind().map_err(cannot_write)?;
    let progress = Progress::new("checking", draft.file.metadata().ok().map(|found| found.len()));
    let checked = check(BufReader::with_capacity(1 << 20, &draft.file), &|amount| progress.show(amount));
    drop(progress);
    let (head, amount) = checked.map_err(|error| failed(format!("what came is no whole backup: {error}")))?;
    draft.keep().map_err(cannot_write)?;
    if arguments.json {
        let told = serde_json::json!({
            "layout": head.layout, "created_at": head.created_at, "pairs": amount.pairs, "bytes": amount.bytes,
        });
        answer_json(&format!("{told}\n"))?;
    } else {
        let (size, pairs, at) = (bytes(amount.bytes), amount.pairs, head.created_at);
        answer(&format!("{GOOD}backed up{RESET}: {size}, {pairs} pairs, as of {at}\n"))?;
        say(format_args!("{FAINT}the signing key is not in it; keep that elsewhere{RESET}"));
    }
    Ok(0)
}

fn from_directory(data_dir: &Path, draft: &mut Draft) -> Result<(), Failure> {
    let directory = DataDirectory::open_existing(data_dir).map_err(failed)?;
    let store = directory.store_as_it_is().map_err(failed)?;
    let (_, layout) = directory.described().map_err(failed)?;
    let mut frozen = store.freeze().map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, &mut draft.file);
    let progress = Progress::new("reading", None);
    let written = write(&mut *frozen, layout, machine::now(), &mut out, &|amount| progress.show(amount));
    written.map(drop).map_err(failed)
}

#[cfg(feature = "client")]
fn from_service(arguments: &BackupArguments, draft: &mut Draft) -> Result<(), Failure> {
    use std::io::Write as _;

    use crate::store::backup::Amount;

    let progress = Progress::new("fetching", None);
    let mut came = Amount::default();
    let out = &mut draft.file;
    arguments.server.ask(|client| async move {
        let keep = |piece: &[u8]| {
            came.bytes = came.bytes.saturating_add(piece.len() as u64);
            progress.show(came);
            out.write_all(piece)
        };
        client.backup(keep).await
    })
}

#[cfg(not(feature = "client"))]
fn from_service(arguments: &BackupArguments, _: &mut Draft) -> Result<(), Failure> {
    Err(Failure::usage(match &arguments.server {
        Some(_) => "`--server` is not in this build; build with the feature `client` (it is on by default)",
        None => "name the --data-dir of a service that does not run",
    }))
}
