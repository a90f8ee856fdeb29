//! `sealstone keys list`: what is in keyrings.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

#[cfg(feature = "client")]
use super::super::exit::UNREADABLE;
use super::super::exit::{Failure, answer, answer_json};
use super::super::input::read_keyring;
use super::super::local_key;
use super::super::style::{BAD, RESET, STRONG, printable};
use crate::evidence::keyring::{Keyring, Terms};

#[derive(Args)]
pub(super) struct ListArguments {
    /// Keyrings or PEM files (default: the keyring beside your own key)
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one keyring of them all, as JSON
    #[arg(long, conflicts_with = "pem")]
    json: bool,
    /// Print the keys as PEM (SPKI); terms are lost, and revoked keys left out
    #[arg(long)]
    pem: bool,
    /// List what a service says its keys are, too; compare them with those that you got on another way
    #[cfg(feature = "client")]
    #[arg(long)]
    from_server: bool,
    #[cfg(feature = "client")]
    #[command(flatten)]
    server: super::super::server::ServerArguments,
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

pub(super) fn run(arguments: &ListArguments) -> Result<u8, Failure> {
    let keyring = arguments.keyring()?;
    match (arguments.json, arguments.pem) {
        (true, _) => answer_json(&(keyring.to_jwks() + "\n"))?,
        (_, true) => answer(&keyring.to_pem())?,
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
