//! `sealstone keys rotate`: another signing key in the place of the one that was there.
//!
//! The old key goes on counting: a service seals with it until it has taken the new one, and what it sealed stays sealed. When
//! nothing seals with it any more, `keys retire` says so. The steps are in such an order that wherever they break off there is a
//! key, and the keyring has its public half.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::exit::{CANNOT_WRITE, Failure, answer};
use super::super::keyring_file::KeyringFile;
use super::super::style::{FAINT, RESET, printable, say};
use super::super::{key_file, local_key, machine};
use super::WhichKey;
use crate::evidence::key::SigningKey;
use crate::evidence::keyring::Terms;
use crate::evidence::time::Timestamp;
use crate::files::write_privately;

#[derive(Args)]
#[command(after_help = ROTATE_HELP)]
pub(super) struct RotateArguments {
    #[command(flatten)]
    which: WhichKey,
    /// Keep the old private key, as FILE.<first 8 digits of its keyid>.old, readable by you alone
    #[arg(long)]
    keep_old: bool,
    /// Print {key, keyring, keyid, old_keyid, kept} as JSON
    #[arg(long)]
    json: bool,
}

const ROTATE_HELP: &str = "\
Then: send a running `serve` SIGHUP, so that it seals with the new key; give auditors the keyring; and once nothing seals with the old
key any more, say so: sealstone keys retire OLD_KEYID. A key that came into wrong hands: sealstone keys revoke OLD_KEYID.";

/// One key in the place of another.
struct Rotation {
    path: PathBuf,
    old: SigningKey,
    new: SigningKey,
    /// Where the old private key is kept.
    kept: Option<PathBuf>,
    /// With both public keys.
    keyring: KeyringFile,
}

impl Rotation {
    /// Each durable before the next: the keyring knows the new key before anything can be sealed with it, and the old private key is
    /// kept before it is replaced.
    const STEPS: [fn(&Rotation) -> io::Result<()>; 3] = [Self::save_keyring, Self::keep_old, Self::swap];

    fn new(path: &Path, keep_old: bool, now: Timestamp) -> Result<Self, Failure> {
        // Opened first: who rotates at the same time waits here, and then finds the new key.
        let mut keyring = open_keyring(path)?;
        let old = key_file::read(path)?;
        let new = local_key::fresh().map_err(|error| cannot_write(path, &error))?;
        if keyring.keyring.get(&old.public().keyid()).is_none() {
            keyring.keyring.replace(old.public(), Terms::default());
        }
        keyring.keyring.replace(new.public(), Terms { not_before: Some(now), ..Terms::default() });
        let kept = keep_old.then(|| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{}.old", old.public().keyid().get(..8).unwrap_or_default()));
            PathBuf::from(name)
        });
        Ok(Self { path: path.to_owned(), old, new, kept, keyring })
    }

    fn save_keyring(&self) -> io::Result<()> {
        self.keyring.save()
    }

    fn keep_old(&self) -> io::Result<()> {
        self.kept.as_ref().map_or(Ok(()), |kept| write_privately(kept, self.old.to_pkcs8_pem().as_bytes()))
    }

    fn swap(&self) -> io::Result<()> {
        write_privately(&self.path, self.new.to_pkcs8_pem().as_bytes())
    }
}

/// The keyring beside a key, for us alone to change.
pub(super) fn open_keyring(key: &Path) -> Result<KeyringFile, Failure> {
    let path = local_key::keyring_path(key);
    KeyringFile::open(&path).map_err(|error| cannot_write(&path, &error))
}

pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(CANNOT_WRITE, format!("cannot change {}: {error}", path.display()))
}

pub(super) fn run(arguments: &RotateArguments) -> Result<u8, Failure> {
    let path = arguments.which.path()?;
    let rotation = Rotation::new(&path, arguments.keep_old, machine::now())?;
    for step in Rotation::STEPS {
        step(&rotation).map_err(|error| cannot_write(&path, &error))?;
    }
    let (keyid, old_keyid) = (rotation.new.public().keyid(), rotation.old.public().keyid());
    let shown = |path: &Path| path.display().to_string();
    let (key, keyring) = (shown(&path), shown(rotation.keyring.path()));
    let kept = rotation.kept.as_deref().map(shown);
    if arguments.json {
        let told = serde_json::json!({
            "key": key, "keyring": keyring, "keyid": keyid, "old_keyid": old_keyid, "kept": kept,
        });
        answer(&format!("{told}\n"))?;
        return Ok(0);
    }
    let old =
        kept.map_or("its private half is gone".to_owned(), |kept| format!("kept in {}", printable(&kept)));
    answer(&format!(
        "key      {}   keep it secret\nkeyring  {}   give it to auditors\nkeyid    {keyid}\nold      {old_keyid}   {old}\n",
        printable(&key),
        printable(&keyring),
    ))?;
    say(format_args!(
        "{FAINT}a running `serve` takes them on SIGHUP; once nothing seals with the old key: sealstone keys retire {old_keyid}{RESET}"
    ));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wherever_a_rotation_breaks_off_there_is_a_key_and_the_keyring_has_it() {
        let now = Timestamp::from_unix_ms(1_800_000_000_000);
        for steps in 0..=Rotation::STEPS.len() {
            let place = tempfile::TempDir::new().unwrap();
            let path = place.path().join("key.pem");
            let before = local_key::make(&path).unwrap().public();
            let rotation = Rotation::new(&path, true, now).unwrap();
            Rotation::STEPS.iter().take(steps).for_each(|step| step(&rotation).unwrap());
            drop(rotation);
            let holds = |now: Timestamp| {
                let key = key_file::read(&path).unwrap().public();
                let keyring = open_keyring(&path).unwrap().keyring;
                let trusted = keyring.get(&key.keyid()).expect("the keyring has the key");
                assert!(trusted.terms.covers_time(now) && !trusted.terms.revoked, "after {steps} steps");
                assert!(keyring.get(&before.keyid()).is_some_and(|old| old.terms == Terms::default()));
                key
            };
            assert_eq!(holds(now) == before, steps < Rotation::STEPS.len());
            // The next one goes through.
            let again = Rotation::new(&path, true, now).unwrap();
            Rotation::STEPS.iter().for_each(|step| step(&again).unwrap());
            let next = again.new.public();
            drop(again);
            assert_eq!(holds(now), next);
        }
    }
}
