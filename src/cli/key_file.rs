//! A private key on disk.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::exit::{Failure, UNREADABLE};
use super::input::cannot_read;
use crate::evidence::key::SigningKey;

/// Far more than a PKCS#8 text of an Ed25519 key has.
const MAX_KEY_BYTES: usize = 16 << 10;

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
