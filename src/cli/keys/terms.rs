//! `sealstone keys retire` and `revoke`: the terms of keys, in the keyring beside a signing key.

use clap::Args;

use super::super::exit::{Failure, answer};
use super::super::keyring_file::KeyringFile;
use super::super::local_key;
use super::super::style::{BAD, FAINT, RESET, printable, say};
use super::super::{key_file, machine};
use super::WhichKey;
use super::rotate::{cannot_write, open_keyring};
use crate::evidence::key::PublicKey;
use crate::evidence::keyring::{Terms, TrustedKey};
use crate::evidence::time::Timestamp;

/// How much of a keyid may stand for it.
const SHORTEST: usize = 8;

#[derive(Args)]
pub(super) struct RetireArguments {
    #[command(flatten)]
    of: Of,
    /// The last moment whose seals count, like 2026-11-21T08:00:00.000Z (default: now)
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

#[derive(Args)]
pub(super) struct RevokeArguments {
    #[command(flatten)]
    of: Of,
}

/// A key of a keyring.
#[derive(Args)]
struct Of {
    /// The key, as `keys list` shows it; its first 8 digits or more will do
    #[arg(value_name = "KEYID")]
    keyid: String,
    #[command(flatten)]
    which: WhichKey,
    /// Print {keyring, keyid, not_before, not_after, revoked} as JSON
    #[arg(long)]
    json: bool,
}

/// A keyring that is about to be changed, and the key that it is about.
struct Change {
    file: KeyringFile,
    keyid: String,
    found: TrustedKey,
    /// The key that is in the key file.
    current: Option<PublicKey>,
}

impl Of {
    fn find(&self) -> Result<Change, Failure> {
        let path = self.which.path()?;
        let keyring_path = local_key::keyring_path(&path);
        if !keyring_path.exists() {
            return Err(Failure::no_input(format!(
                "there is no keyring {}; name its key with --key, or --data-dir",
                keyring_path.display()
            )));
        }
        let file = open_keyring(&path)?;
        let (keyid, found) = self.look_up(&file)?;
        let current = key_file::read(&path).ok().map(|key| key.public());
        Ok(Change { file, keyid, found, current })
    }

    fn look_up(&self, file: &KeyringFile) -> Result<(String, TrustedKey), Failure> {
        let wanted = self.keyid.as_str();
        let (path, shown) = (file.path().display(), printable(wanted));
        let mut fit = file
            .keyring
            .iter()
            .filter(|(keyid, _)| *keyid == wanted || (wanted.len() >= SHORTEST && keyid.starts_with(wanted)));
        match (fit.next(), fit.next()) {
            (Some((keyid, found)), None) => Ok((keyid.to_owned(), found.clone())),
            (None, _) => {
                Err(Failure::usage(format!("{path} has no key {shown}; see: sealstone keys list {path}")))
            }
            (Some(_), Some(_)) => {
                Err(Failure::usage(format!("{path} has several keys {shown}…; give all of it")))
            }
        }
    }

    fn tell(&self, change: &Change, told: &str) -> Result<u8, Failure> {
        let Terms { not_before, not_after, revoked, .. } = &change.found.terms;
        let keyring = change.file.path().display().to_string();
        if self.json {
            let told = serde_json::json!({
                "keyring": keyring, "keyid": change.keyid, "not_before": not_before, "not_after": not_after, "revoked": revoked,
            });
            answer(&format!("{told}\n"))?;
            return Ok(0);
        }
        answer(&format!("{} {told}\n", change.keyid))?;
        say(format_args!(
            "{FAINT}written to {}: a running `serve` takes it on SIGHUP; give it to auditors{RESET}",
            printable(&keyring)
        ));
        Ok(0)
    }
}

impl Change {
    fn is_current(&self) -> bool {
        self.current == Some(self.found.key)
    }

    /// Durable once it returns.
    fn save(&mut self) -> Result<(), Failure> {
        self.file.keyring.replace(self.found.key, self.found.terms.clone());
        self.file.save().map_err(|error| cannot_write(self.file.path(), &error))
    }
}

pub(super) fn retire(arguments: &RetireArguments) -> Result<u8, Failure> {
    let (now, mut change) = (machine::now(), arguments.of.find()?);
    // Said again without a time, it stays at the one that was said first.
    let ended = change.found.terms.not_after.filter(|last| *last <= now);
    let last = arguments.at.or(ended).unwrap_or(now);
    if change.is_current() && last <= now {
        return Err(Failure::usage(format!(
            "{} is the key that seals: make another first, with `sealstone keys rotate`, or name a time to come with --at",
            change.keyid
        )));
    }
    if let Some(first) = change.found.terms.not_before.filter(|first| last < *first) {
        return Err(Failure::usage(format!(
            "{} counts from {first} on: {last} is before, and nothing that it sealed would count; is it to be revoked?",
            change.keyid
        )));
    }
    change.found.terms.not_after = Some(last);
    change.save()?;
    arguments.of.tell(&change, &format!("counts until {last}"))
}

pub(super) fn revoke(arguments: &RevokeArguments) -> Result<u8, Failure> {
    let mut change = arguments.of.find()?;
    change.found.terms.revoked = true;
    change.save()?;
    if change.is_current() {
        say(format_args!(
            "{BAD}it is the key that seals:{RESET} nothing is sealed with it any more; make another with `sealstone keys rotate`"
        ));
    }
    arguments.of.tell(&change, "is revoked: nothing that it sealed counts")
}
