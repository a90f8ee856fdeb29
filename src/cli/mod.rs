//! The commands: thin, a file each. Nothing but the answer goes to standard output.

mod exit;
mod input;
mod keygen;
mod keys;
mod local_key;
mod pack;
mod show;
mod style;
mod verify;

#[cfg(feature = "client")]
mod exec;
#[cfg(feature = "client")]
mod signing_key;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::exit::Failure;

/// Records what a run did, seals it into one signed file, and verifies such files offline.
#[derive(Parser)]
#[command(name = "sealstone", version, max_term_width = 100, disable_help_subcommand = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sealstone exec -- cargo test                 run, record, seal
  sealstone verify FILE --keys keyring.json    judge what was sealed
  sealstone show FILE                          read it";

#[derive(Subcommand)]
enum Command {
    /// Run a command as a step, and seal what it did
    #[cfg(feature = "client")]
    Exec(exec::ExecArguments),
    /// Run a command as a step (not in this build)
    #[cfg(not(feature = "client"))]
    #[command(hide = true)]
    Exec(NotBuilt),
    /// Judge sealed envelopes by what you hold: keys, heads, expectations, files
    Verify(verify::VerifyArguments),
    /// Show a run as a person reads it
    Show(show::ShowArguments),
    /// Drop disclosures: the same seal, with less to read
    Pack(pack::PackArguments),
    /// Make a signing key
    Keygen(keygen::KeygenArguments),
    /// Look at keyrings
    Keys(keys::KeysArguments),
}

/// Takes whatever arguments there are.
#[cfg(not(feature = "client"))]
#[derive(clap::Args)]
struct NotBuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<std::ffi::OsString>,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let asked_for = !error.use_stderr();
            // A closed pipe is no reason to say more.
            let _ = error.print();
            return if asked_for { ExitCode::SUCCESS } else { exit::USAGE.into() };
        }
    };
    let done = match arguments.command {
        #[cfg(feature = "client")]
        Command::Exec(arguments) => exec::run(arguments),
        #[cfg(not(feature = "client"))]
        Command::Exec(_) => Err(Failure::usage(
            "`exec` is not in this build; build with the feature `client` (it is on by default)",
        )),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Pack(arguments) => pack::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
    };
    done.map_or_else(Failure::tell, ExitCode::from)
}
