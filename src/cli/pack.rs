//! `sealstone pack`: the same seal, with fewer disclosures.

use std::path::PathBuf;

use clap::Args;

use super::exit::{CANNOT_WRITE, Failure, UNREADABLE, answer_exactly};
use super::input::read_envelope;
use super::style::{DOUBT, RESET, say};
use crate::evidence::envelope::PrivateMembers;
use crate::evidence::seal::with_disclosures;
use crate::evidence::verify::{Held, verify};
use crate::files::write_durably;

/// Drops disclosures from a sealed envelope. What was sealed stays as it is, to the byte, and verifies as before.
#[derive(Args)]
pub(super) struct PackArguments {
    /// A sealed envelope, or - for standard input
    file: PathBuf,
    /// Keep disclosures under this pointer, like /execution/steps/*/command; repeatable. Without it all are dropped
    #[arg(long, value_name = "POINTER")]
    keep: Vec<String>,
    /// Where to write the pack (default: standard output)
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &PackArguments) -> Result<u8, Failure> {
    let keep = PrivateMembers::parse(arguments.keep.iter().map(String::as_str)).map_err(Failure::usage)?;
    let bytes = read_envelope(&arguments.file)?;
    let judged = verify(&bytes, &Held::default());
    if let Some(first) = judged.report().first_failure.as_ref().filter(|_| judged.claimed().is_some()) {
        say(format_args!(
            "{DOUBT}sealstone:{RESET} {}: {}; the pack will be rejected too",
            first.code,
            first.code.meaning()
        ));
    }
    let pack = judged.claimed().and_then(|document| with_disclosures(document, |at| keep.covers(at)));
    let Some(pack) = pack else {
        let why = judged.report().first_failure.as_ref().map_or_else(
            || "seal.missing: there is no seal to keep; only a sealed run can be packed".to_owned(),
            |first| format!("{}: {}", first.code, first.detail.as_deref().unwrap_or(first.code.meaning())),
        );
        return Err(Failure::new(UNREADABLE, format!("{}: {why}", arguments.file.display())));
    };
    match &arguments.out {
        None => answer_exactly(&pack)?,
        Some(path) => write_durably(path, pack.as_bytes()).map_err(|error| {
            Failure::new(CANNOT_WRITE, format!("cannot write {}: {error}", path.display()))
        })?,
    }
    Ok(0)
}
