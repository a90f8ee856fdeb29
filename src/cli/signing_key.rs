//! The key to sign with, made at first use, and what is said of it.

use std::io;
use std::path::Path;

use super::exit::Failure;
use super::input::read_keyring;
use super::key_file::read;
use super::local_key;
use crate::evidence::key::SigningKey;
use crate::evidence::keyring::Keyring;

/// The key at that path, made if there is none; true if it was made.
pub(super) fn read_or_make(path: &Path) -> Result<(SigningKey, bool), Failure> {
    if path.exists() {
        return read(path).map(|key| (key, false));
    }
    match local_key::make(path) {
        Ok(key) => Ok((key, true)),
        // Somebody else was making it at the same time.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path).map(|key| (key, false)),
        Err(error) => Err(local_key::cannot_make(path, &error)),
    }
}

/// The keyring beside a key; an empty one where there is none.
pub(super) fn keyring_beside(key: &Path) -> Result<Keyring, Failure> {
    let path = local_key::keyring_path(key);
    let there: Vec<_> = path.exists().then_some(path).into_iter().collect();
    Ok(read_keyring(&there)?.unwrap_or_default())
}

/// Refuses a key of which the keyring beside it says that nobody would count what it seals now.
#[cfg(feature = "client")]
pub(super) fn check_counts(
    key: &SigningKey,
    path: &Path,
    now: crate::evidence::time::Timestamp,
) -> Result<(), Failure> {
    let keyid = key.public().keyid();
    // A keyring that cannot be read says nothing; who verifies with it is told.
    let keyring = keyring_beside(path).unwrap_or_default();
    let terms = keyring.get(&keyid).map(|trusted| &trusted.terms);
    match terms.is_some_and(|terms| terms.revoked || terms.not_after.is_some_and(|last| last < now)) {
        true => Err(Failure::new(
            super::exit::UNREADABLE,
            format!(
                "the signing key {keyid} is revoked or retired; make another with `sealstone keys rotate`"
            ),
        )),
        false => Ok(()),
    }
}
