//! Where this user's signing key is, and how one is made.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::exit::{CANNOT_WRITE, Failure};
use crate::evidence::key::SigningKey;
use crate::evidence::keyring::{Keyring, Terms};

/// `$XDG_DATA_HOME/sealstone/key.pem`, by default `~/.local/share/sealstone/key.pem`.
pub(super) fn default_path() -> Result<PathBuf, Failure> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().map(|home| home.join(".local/share"));
    let data =
        data.or_else(home).ok_or_else(|| Failure::usage("no home directory; name a key with --key FILE"))?;
    Ok(data.join("sealstone/key.pem"))
}

/// The keyring with the public half, beside the key.
pub(super) fn keyring_path(key: &Path) -> PathBuf {
    key.with_file_name("keyring.json")
}

/// Makes a key at a path where nothing is yet, and the keyring beside it. The key is durable once this returns.
pub(super) fn make(path: &Path) -> io::Result<SigningKey> {
    let directory =
        path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(io::Error::other)?;
    let key = SigningKey::from_seed(&seed);
    // Written beside and linked into place, so that two who make it at once agree, and nobody reads half a key.
    let mut draft = tempfile_in(directory)?;
    draft.1.write_all(key.to_pkcs8_pem().as_bytes())?;
    draft.1.sync_all()?;
    let linked = fs::hard_link(&draft.0, path);
    fs::remove_file(&draft.0)?;
    linked?;
    fs::File::open(directory)?.sync_all()?;
    let mut keyring = Keyring::new();
    keyring.add(key.public(), Terms::default()).map_err(io::Error::other)?;
    write_beside(&keyring_path(path), &keyring)?;
    Ok(key)
}

/// Writes the keyring unless one is there: it may hold older keys too.
fn write_beside(path: &Path, keyring: &Keyring) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all((keyring.to_jwks() + "\n").as_bytes()).and_then(|()| file.sync_all()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn tempfile_in(directory: &Path) -> io::Result<(PathBuf, fs::File)> {
    let path = directory.join(format!(".key-{}.tmp", std::process::id()));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    Ok((path, file))
}

/// The failure to make a key that was asked for.
pub(super) fn cannot_make(path: &Path, error: &io::Error) -> Failure {
    let advice = if error.kind() == io::ErrorKind::AlreadyExists { "; it is never written over" } else { "" };
    Failure::new(CANNOT_WRITE, format!("cannot make the key {}: {error}{advice}", path.display()))
}
