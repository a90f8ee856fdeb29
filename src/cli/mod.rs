//! The commands: thin, a file each. Nothing but the answer goes to standard output.

#[cfg(any(feature = "client", feature = "service"))]
mod config;
mod exit;
mod held;
mod input;
mod key_file;
mod keygen;
mod keyring_file;
mod keys;
mod local_key;
mod machine;
mod observed;
mod pack;
mod show;
mod style;
mod verify;

#[cfg(feature = "client")]
mod detected;
#[cfg(feature = "client")]
mod exec;
#[cfg(feature = "client")]
mod export;
#[cfg(feature = "client")]
mod fetch;
#[cfg(feature = "service")]
mod hangup;
#[cfg(feature = "service")]
mod log;
#[cfg(any(feature = "client", feature = "service"))]
mod quantity;
#[cfg(feature = "client")]
mod run;
#[cfg(feature = "service")]
mod serve;
#[cfg(feature = "client")]
mod server;
#[cfg(any(feature = "client", feature = "service"))]
mod signing_key;
#[cfg(feature = "client")]
mod spool;
#[cfg(feature = "client")]
mod spooling;
#[cfg(feature = "service")]
mod store;
#[cfg(feature = "service")]
mod token;
#[cfg(feature = "client")]
mod watch;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

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
  sealstone serve                              record runs, seal them, show them
  sealstone exec -- cargo test                 run, record, seal
  sealstone verify FILE --keys keyring.json    judge what was sealed
  sealstone show FILE                          read it

exec, run, watch, fetch and serve take options from flags, then SEALSTONE_… variables, then the file sealstone.toml.";

#[derive(Subcommand)]
enum Command {
    /// Run a command as a step, and seal what it did
    #[cfg(feature = "client")]
    Exec(Box<exec::ExecArguments>),
    /// Report a run to a service, piece by piece
    #[cfg(feature = "client")]
    Run(run::RunArguments),
    /// List and send what a service did not acknowledge
    #[cfg(feature = "client")]
    Spool(spool::SpoolCommandArguments),
    /// Serve on this machine: record runs, seal them, show them
    #[cfg(feature = "service")]
    Serve(serve::ServeArguments),
    /// Check, back up, restore and compact the records of a service
    #[cfg(feature = "service")]
    Store(store::StoreArguments),
    /// Make, list and forget the tokens of a service
    #[cfg(feature = "service")]
    Token(token::TokenArguments),
    /// Judge sealed envelopes by what you hold: keys, heads, expectations, files
    Verify(verify::VerifyArguments),
    /// Show a run as a person reads it
    Show(show::ShowArguments),
    /// Follow a run until it is sealed, and judge it
    #[cfg(feature = "client")]
    Watch(Box<watch::WatchArguments>),
    /// Fetch a sealed envelope from a service
    #[cfg(feature = "client")]
    Fetch(fetch::FetchArguments),
    /// Export the sealed envelopes of a service, with its keyring, in one tar
    #[cfg(feature = "client")]
    Export(export::ExportArguments),
    /// Drop disclosures: the same seal, with less to read
    Pack(pack::PackArguments),
    /// Make a signing key
    Keygen(keygen::KeygenArguments),
    /// Look at keyrings; replace a signing key, say until when keys count
    Keys(keys::KeysArguments),
    /// Run a command as a step (not in this build)
    #[cfg(not(feature = "client"))]
    #[command(hide = true)]
    Exec(NotBuilt),
    /// Report a run to a service (not in this build)
    #[cfg(not(feature = "client"))]
    #[command(hide = true)]
    Run(NotBuilt),
    /// What a service did not acknowledge (not in this build)
    #[cfg(not(feature = "client"))]
    #[command(hide = true)]
    Spool(NotBuilt),
    /// Follow a run (not in this build)
    #[cfg(not(feature = "client"))]
    #[command(hide = true)]
    Watch(NotBuilt),
    /// Fetch a sealed envelope from a service (not in this build)
    #[cfg(not(feature = "client"))]
    #[command(hide = true)]
    Fetch(NotBuilt),
    /// Export sealed envelopes (not in this build)
    #[cfg(not(feature = "client"))]
    #[command(hide = true)]
    Export(NotBuilt),
    /// The records (not in this build)
    #[cfg(not(feature = "service"))]
    #[command(hide = true)]
    Store(NotBuilt),
    /// Tokens (not in this build)
    #[cfg(not(feature = "service"))]
    #[command(hide = true)]
    Token(NotBuilt),
    /// Serve (not in this build)
    #[cfg(not(feature = "service"))]
    #[command(hide = true)]
    Serve(NotBuilt),
}

/// Takes whatever arguments there are.
#[cfg(not(all(feature = "client", feature = "service")))]
#[derive(clap::Args)]
struct NotBuilt {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _rest: Vec<std::ffi::OsString>,
}

#[cfg(not(all(feature = "client", feature = "service")))]
impl NotBuilt {
    fn refuse(command: &str, feature: &str) -> Result<u8, Failure> {
        Err(Failure::usage(format!(
            "`{command}` is not in this build; build with the feature `{feature}` (it is on by default)"
        )))
    }
}

/// Why there are no arguments.
enum Unread {
    Arguments(clap::Error),
    #[cfg(any(feature = "client", feature = "service"))]
    File(Failure),
}

/// What was given as flags, in variables and in a file, in this order.
fn read(given: Vec<std::ffi::OsString>) -> Result<Arguments, Unread> {
    let command = Arguments::command();
    #[cfg(any(feature = "client", feature = "service"))]
    let (command, given) = {
        let command = without_empty_variables(config::command(command));
        let given = config::with_file(&command, given).map_err(Unread::File)?;
        (command, given)
    };
    let mut matches = command.try_get_matches_from(given).map_err(Unread::Arguments)?;
    Arguments::from_arg_matches_mut(&mut matches).map_err(Unread::Arguments)
}

/// An empty variable, as CI systems like to set them, is none.
#[cfg(any(feature = "client", feature = "service"))]
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|arg| match arg.get_env().is_some_and(is_empty) {
        true => arg.env(None::<&str>),
        false => arg,
    });
    command.mut_subcommands(without_empty_variables)
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let given = std::env::args_os().collect();
    let arguments = match read(given) {
        Ok(arguments) => arguments,
        #[cfg(any(feature = "client", feature = "service"))]
        Err(Unread::File(failure)) => return failure.tell(),
        Err(Unread::Arguments(error)) => {
            let asked_for = !error.use_stderr();
            // A closed pipe is no reason to say more.
            let _ = error.print();
            return if asked_for { ExitCode::SUCCESS } else { exit::USAGE.into() };
        }
    };
    let done = match arguments.command {
        #[cfg(feature = "client")]
        Command::Exec(arguments) => exec::run(*arguments),
        #[cfg(feature = "client")]
        Command::Run(arguments) => run::run(&arguments),
        #[cfg(feature = "client")]
        Command::Spool(arguments) => spool::run(&arguments),
        #[cfg(feature = "client")]
        Command::Watch(arguments) => watch::run(&arguments),
        #[cfg(feature = "client")]
        Command::Fetch(arguments) => fetch::run(&arguments),
        #[cfg(feature = "client")]
        Command::Export(arguments) => export::run(&arguments),
        #[cfg(feature = "service")]
        Command::Serve(arguments) => serve::run(&arguments),
        #[cfg(feature = "service")]
        Command::Store(arguments) => store::run(&arguments),
        #[cfg(not(feature = "service"))]
        Command::Store(_) => NotBuilt::refuse("store", "service"),
        #[cfg(feature = "service")]
        Command::Token(arguments) => token::run(&arguments),
        #[cfg(not(feature = "service"))]
        Command::Token(_) => NotBuilt::refuse("token", "service"),
        #[cfg(not(feature = "client"))]
        Command::Exec(_) => NotBuilt::refuse("exec", "client"),
        #[cfg(not(feature = "client"))]
        Command::Run(_) => NotBuilt::refuse("run", "client"),
        #[cfg(not(feature = "client"))]
        Command::Spool(_) => NotBuilt::refuse("spool", "client"),
        #[cfg(not(feature = "client"))]
        Command::Watch(_) => NotBuilt::refuse("watch", "client"),
        #[cfg(not(feature = "client"))]
        Command::Fetch(_) => NotBuilt::refuse("fetch", "client"),
        #[cfg(not(feature = "client"))]
        Command::Export(_) => NotBuilt::refuse("export", "client"),
        #[cfg(not(feature = "service"))]
        Command::Serve(_) => NotBuilt::refuse("serve", "service"),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Pack(arguments) => pack::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
    };
    done.map_or_else(Failure::tell, ExitCode::from)
}
