//! `sealstone fetch`: a sealed envelope from the service, byte for byte.

use std::path::PathBuf;

use clap::Args;

use super::exit::{CANNOT_WRITE, Failure, answer_exactly};
use super::server::ServerArguments;
use crate::files::write_durably;

/// Fetches the sealed envelope of a run. It is written as it came: `verify` says what it is worth.
#[derive(Args)]
pub(super) struct FetchArguments {
    /// evidence_id or run_id (default: $SEALSTONE_RUN)
    #[arg(value_name = "ID", env = "SEALSTONE_RUN")]
    run: String,
    /// The file to write (default: standard output)
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) fn run(arguments: &FetchArguments) -> Result<u8, Failure> {
    let run = arguments.run.clone();
    let file = arguments.server.ask(|client| async move { client.envelope(&run).await })?;
    match &arguments.out {
        None => answer_exactly(&String::from_utf8_lossy(&file))?,
        Some(out) => write_durably(out, &file).map_err(|error| {
            Failure::new(CANNOT_WRITE, format!("cannot write {}: {error}", out.display()))
        })?,
    }
    Ok(0)
}
