//! `sealstone keys`: what is in keyrings, another signing key, and until when keys count.

mod list;
mod rotate;
mod terms;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exit::Failure;
use super::local_key;

#[derive(Args)]
pub(super) struct KeysArguments {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// List the keys of keyrings and PEM files, each with its terms
    List(list::ListArguments),
    /// Replace a signing key by a new one; the keyring beside it has both
    Rotate(rotate::RotateArguments),
    /// Say until when a key counts that nothing seals with any more
    Retire(terms::RetireArguments),
    /// Say that a key counts for nothing, whatever it sealed and when
    Revoke(terms::RevokeArguments),
}

/// A signing key, and so the keyring beside it.
#[derive(Args)]
struct WhichKey {
    /// Signing key; its keyring is keyring.json beside it (default: $SEALSTONE_KEY, else ~/.local/share/sealstone/key.pem)
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    key: Option<PathBuf>,
    /// The key of the service in this data directory, key.pem
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl WhichKey {
    fn path(&self) -> Result<PathBuf, Failure> {
        let environment =
            || std::env::var_os("SEALSTONE_KEY").filter(|key| !key.is_empty()).map(PathBuf::from);
        match (&self.key, &self.data_dir) {
            (Some(key), _) => Ok(key.clone()),
            (None, Some(data_dir)) => Ok(data_dir.join("key.pem")),
            (None, None) => environment().map_or_else(local_key::default_path, Ok),
        }
    }
}

pub(super) fn run(arguments: &KeysArguments) -> Result<u8, Failure> {
    match &arguments.command {
        KeysCommand::List(arguments) => list::run(arguments),
        KeysCommand::Rotate(arguments) => rotate::run(arguments),
        KeysCommand::Retire(arguments) => terms::retire(arguments),
        KeysCommand::Revoke(arguments) => terms::revoke(arguments),
    }
}
