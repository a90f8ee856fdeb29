//! The key to sign with, made at first use.

use std::fs::File;
#[cfg(any(feature = "client", feature = "service"))]
use std::io;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::exit::{Failure, UNREADABLE};
use super::input::cannot_read;
#[cfg(feature = "service")]
use super::input::read_keyring;
#[cfg(any(feature = "client", feature = "service"))]
use super::local_key;
use crate::evidence::key::SigningKey;
#[cfg(feature = "service")]
use crate::evidence::keyring::Keyring;

/// Far more than a PKCS#8 text of an Ed25519 key has.
const MAX_KEY_BYTES: usize = 16 << 10;

/// The key at that path, made if there is none; true if it was made.
#[cfg(any(feature = "client", feature = "service"))]
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

/// The key at that path.
pub(super) fn read(path: &Path) -> Result<SigningKey, Failure> {
    // Room for all of it from the start: a buffer that grows leaves copies behind that nobody wipes.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_KEY_BYTES));
    let file = File::open(path).map_err(|error| cannot_read(path, &error))?;
    file.take(MAX_KEY_BYTES as u64).read_to_end(&mut bytes).map_err(|error| cannot_read(path, &error))?;
    let pem = std::str::from_utf8(&bytes).unwrap_or_default();
    SigningKey::from_pkcs8_pem(pem)
        .map_err(|error| Failure::new(UNREADABLE, format!("{}: {error}", path.display())))
}

/// The keyring beside a key; an empty one where there is none.
#[cfg(feature = "service")]
pub(super) fn keyring_beside(key: &Path) -> Result<Keyring, Failure> {
    let path = local_key::keyring_path(key);
    let there: Vec<_> = path.exists().then_some(path).into_iter().collect();
    Ok(read_keyring(&there)?.unwrap_or_default())
}
