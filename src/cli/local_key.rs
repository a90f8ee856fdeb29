//! Where this user's signing key is, and how one is made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::exit::{CANNOT_WRITE, Failure};
use super::keyring_file::KeyringFile;
use crate::evidence::key::SigningKey;
use crate::evidence::keyring::Terms;
use crate::files::{directory_of, fresh_name};

/// `$XDG_DATA_HOME/sealstone/key.pem`, by default `~/.local/share/sealstone/key.pem`.
pub(super) fn default_path() -> Result<PathBuf, Failure> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home =
        || std::env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".local/share"));
    let data =
        data.or_else(home).ok_or_else(|| Failure::usage("no home directory; name a key with --key FILE"))?;
    Ok(data.join("sealstone/key.pem"))
}

/// The keyring with the public half, beside the key.
pub(super) fn keyring_path(key: &Path) -> PathBuf {
    key.with_file_name("keyring.json")
}

/// A key of fresh randomness.
pub(super) fn fresh() -> io::Result<SigningKey> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(io::Error::other)?;
    Ok(SigningKey::from_seed(&seed))
}

/// Makes a key at a path where nothing is yet, and adds it to the keyring beside it. Both are durable once this returns.
pub(super) fn make(path: &Path) -> io::Result<SigningKey> {
    let directory = directory_of(path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let key = fresh()?;
    // Written beside and linked into place, so that two who make it at once agree, and nobody reads half a key.
    let draft = directory.join(format!(".sealstone-{}.tmp", fresh_name()?));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(key.to_pkcs8_pem().as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    linked?;
    File::open(directory)?.sync_all()?;
    add_to_keyring(&keyring_path(path), &key)?;
    Ok(key)
}

/// The keyring may hold older keys too: they stay.
fn add_to_keyring(path: &Path, key: &SigningKey) -> io::Result<()> {
    let mut file = KeyringFile::open(path)?;
    file.keyring.add(key.public(), Terms::default()).map_err(io::Error::other)?;
    file.save()
}

/// The failure to make a key that was asked for.
pub(super) fn cannot_make(path: &Path, error: &io::Error) -> Failure {
    let advice = if error.kind() == io::ErrorKind::AlreadyExists { "; it is never written over" } else { "" };
    Failure::new(CANNOT_WRITE, format!("cannot make the key {}: {error}{advice}", path.display()))
}
