//! `sealstone keys`: what is in a keyring.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};

#[cfg(feature = "client")]
use super::exit::UNREADABLE;
use super::exit::{Failure, answer, answer_json};
use super::input::read_keyring;
use super::local_key;
use super::style::{BAD, RESET, STRONG, printable};
use crate::evidence::keyring::{Keyring, Terms};

#[derive(Args)]
pub(super) struct KeysArguments {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    /// List the keys of keyrings and PEM files, each with its terms
    List(ListArguments),
}

#[derive(Args)]
struct ListArguments {
    /// Keyrings or PEM files (default: the keyring beside your own key)
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one keyring of them all, as JSON
    #[arg(long, conflicts_with = "pem")]
    json: bool,
    /// Print the keys as PEM (SPKI); terms are lost
    #[arg(long)]
    pem: bool,
    /// List what a service says its keys are, too; compare them with those that you got on another way
    #[cfg(feature = "client")]
    #[arg(long)]
    from_server: bool,
    #[cfg(feature = "client")]
    #[command(flatten)]
    server: super::server::ServerArguments,
}

impl ListArguments {
    fn keyring(&self) -> Result<Keyring, Failure> {
        #[cfg(feature = "client")]
        if self.from_server {
            let bytes = self.server.ask(|client| async move { client.keys().await })?;
            let mut keyring = read_keyring(&self.files)?.unwrap_or_default();
            keyring.add_file(&bytes).map_err(|error| Failure::new(UNREADABLE, error))?;
            return Ok(keyring);
        }
        let files = match self.files.as_slice() {
            [] => vec![local_key::keyring_path(&local_key::default_path()?)],
            files => files.to_vec(),
        };
        Ok(read_keyring(&files)?.unwrap_or_default())
    }
}

pub(super) fn run(arguments: &KeysArguments) -> Result<u8, Failure> {
    let KeysCommand::List(arguments) = &arguments.command;
    let keyring = arguments.keyring()?;
    match (arguments.json, arguments.pem) {
        (true, _) => answer_json(&(keyring.to_jwks() + "\n"))?,
        (_, true) => {
            answer(&keyring.iter().map(|(_, trusted)| trusted.key.to_spki_pem()).collect::<String>())?
        }
        _ => answer(&for_a_person(&keyring))?,
    }
    Ok(0)
}

fn for_a_person(keyring: &Keyring) -> String {
    if keyring.iter().next().is_none() {
        return "no keys: with this keyring every signature is by an unknown key\n".to_owned();
    }
    let mut out = String::new();
    for (keyid, trusted) in keyring.iter() {
        let _ = writeln!(out, "{STRONG}{keyid}{RESET}  {}", terms(&trusted.terms));
    }
    out
}

fn terms(terms: &Terms) -> String {
    if terms.revoked {
        return format!("{BAD}revoked{RESET}: counts for nothing");
    }
    let from = terms.not_before.map(|time| format!("from {time}"));
    let to = terms.not_after.map(|time| format!("until {time}"));
    let projects = terms.projects.as_ref().map(|projects| format!("for {}", printable(&projects.join(", "))));
    let told: Vec<String> = [from, to, projects].into_iter().flatten().collect();
    if told.is_empty() { "always, for every project".to_owned() } else { told.join(", ") }
}
