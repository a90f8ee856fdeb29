//! The key to sign with, made at first use.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::exit::{Failure, UNREADABLE};
use super::input::read_bounded;
use super::local_key;
use crate::evidence::key::SigningKey;

const MAX_KEY_BYTES: usize = 16 << 10;

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

fn read(path: &Path) -> Result<SigningKey, Failure> {
    let bytes = Zeroizing::new(read_bounded(path, MAX_KEY_BYTES)?);
    let pem = std::str::from_utf8(&bytes).unwrap_or_default();
    SigningKey::from_pkcs8_pem(pem)
        .map_err(|error| Failure::new(UNREADABLE, format!("{}: {error}", path.display())))
}
