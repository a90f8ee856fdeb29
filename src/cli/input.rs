//! Files in, never more than their limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::exit::{Failure, UNREADABLE};
#[cfg(feature = "client")]
use super::server::ServerArguments;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::MAX_FILE_BYTES;
#[cfg(feature = "client")]
use crate::evidence::envelope::limits::is_id;
use crate::evidence::keyring::{Keyring, KeyringError, MAX_KEYRING_BYTES};
use crate::files;

/// The bytes of a file, or of standard input for `-`. One byte over the limit is read at the most, so that what takes
/// the bytes can tell that there are too many.
pub(super) fn read_bounded(path: &Path, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let read = |source: &mut dyn Read| {
        let mut bytes = Vec::new();
        source.take((max_bytes as u64).saturating_add(1)).read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes = if path == Path::new("-") {
        read(&mut io::stdin().lock())
    } else {
        File::open(path).and_then(|mut file| read(&mut file))
    };
    bytes.map_err(|error| cannot_read(path, &error))
}

/// That of a file that is read before a command starts: not of a FIFO that lies about, whose writer would be waited for. What the caller
/// has open itself, like `/dev/stdin`, is as good.
#[cfg(any(feature = "client", feature = "service"))]
pub(super) fn read_regular(path: &Path, max_bytes: usize) -> Result<Vec<u8>, Failure> {
    let is_open = path == Path::new("-") || path.starts_with("/dev");
    if !is_open && path.metadata().is_ok_and(|file| !file.is_file()) {
        return Err(cannot_read(path, &io::Error::other("not a regular file")));
    }
    read_bounded(path, max_bytes)
}

/// A sealed envelope's bytes.
pub(super) fn read_envelope(path: &Path) -> Result<Vec<u8>, Failure> {
    read_bounded(path, MAX_FILE_BYTES)
}

/// A sealed envelope's bytes: those of a file, or, where none is of that name, what the service has under it.
#[cfg(feature = "client")]
pub(super) fn read_or_fetch(path: &Path, server: &ServerArguments) -> Result<Vec<u8>, Failure> {
    let id = path.to_str().filter(|id| is_id(id) && (server.is_named() || is_uuid(id)));
    match id {
        Some(id) if !path.exists() => server.ask(|client| async move { client.envelope(id).await }),
        _ => read_envelope(path),
    }
}

/// The form of an evidence_id, which is hardly ever that of a file's name.
#[cfg(feature = "client")]
fn is_uuid(text: &str) -> bool {
    uuid::Uuid::parse_str(text).is_ok()
}

/// The keyring of these files; `None` without any.
pub(super) fn read_keyring(paths: &[impl AsRef<Path>]) -> Result<Option<Keyring>, Failure> {
    let mut keyring = Keyring::new();
    for path in paths {
        let path = path.as_ref();
        let bytes = read_bounded(path, MAX_KEYRING_BYTES)?;
        let refused = |error: KeyringError| {
            Failure::new(UNREADABLE, format!("{}: {}: {error}", KeyringError::CODE, path.display()))
        };
        keyring.add_file(&bytes).map_err(refused)?;
    }
    Ok(if paths.is_empty() { None } else { Some(keyring) })
}

/// The digest and the size of a file of any size.
pub(super) fn digest_file(path: &Path) -> Result<(Digest, u64), Failure> {
    files::digest_file(path).map_err(|error| cannot_read(path, &error))
}

pub(super) fn cannot_read(path: &Path, error: &io::Error) -> Failure {
    Failure::no_input(format!("cannot read {}: {error}", path.display()))
}
