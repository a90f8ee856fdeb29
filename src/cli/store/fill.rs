//! `sealstone store fill`: runs that nobody reported, to measure with.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::failed;
use crate::cli::exit::{Failure, answer};
use crate::cli::style::{GOOD, RESET};
use crate::cli::{machine, signing_key};
use crate::service::fill::fill;
use crate::store::directory::{DataDirectory, EngineName};

/// Writes sealed runs that nobody reported into a new data directory, to measure how a service does with many: ten projects, a step
/// and an artifact each, a second apart. Made and sealed as the service would, but for the verification before each is stored.
#[derive(Args)]
pub(super) struct FillArguments {
    /// How many runs
    runs: u64,
    /// A directory without records
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// What keeps the records: fjall or sled
    #[arg(long, value_name = "ENGINE", default_value = "fjall")]
    engine: EngineName,
}

pub(super) fn run(arguments: &FillArguments) -> Result<u8, Failure> {
    let directory = DataDirectory::open(&arguments.data_dir).map_err(failed)?;
    let store = directory.store(arguments.engine).map_err(failed)?;
    let (key, _) = signing_key::read_or_make(&arguments.data_dir.join("key.pem"))?;
    // Drawn on a terminal only.
    let bar = ProgressBar::new(arguments.runs);
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} runs, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or(ProgressStyle::default_bar()));
    fill(&store, &key, arguments.runs, machine::now(), &|runs| bar.set_position(runs)).map_err(failed)?;
    bar.finish_and_clear();
    answer(&format!("{GOOD}filled{RESET}: {} sealed runs\n", arguments.runs))?;
    Ok(0)
}
