//! A keyring on disk that is changed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::evidence::keyring::Keyring;
use crate::files::{directory_of, write_durably};

/// A keyring that nobody else changes until this is dropped.
pub(super) struct KeyringFile {
    path: PathBuf,
    /// What is in it, and will be once it is saved.
    pub(super) keyring: Keyring,
    _lock: File,
}

impl KeyringFile {
    /// Waits for who changes it now. One that is not there is empty.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Its directory stays the same one when the file is replaced. Where the file system has no locks, nobody waits.
        let lock = File::open(directory_of(path))?;
        let _ = lock.lock();
        let mut keyring = Keyring::new();
        match fs::read(path) {
            Ok(bytes) => {
                let refused = |error| io::Error::other(format!("{}: {error}", path.display()));
                keyring.add_file(&bytes).map_err(refused)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self { path: path.to_owned(), keyring, _lock: lock })
    }

    /// Durable once it returns.
    pub(super) fn save(&self) -> io::Result<()> {
        write_durably(&self.path, (self.keyring.to_jwks() + "\n").as_bytes())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}
