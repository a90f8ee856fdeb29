//! What makes a spool unreadable to who has no key: AES-256-GCM under a key derived for each file (RFC 5869).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use crate::files::{directory_of, fresh_name};

const INFO: &[u8] = b"sealstone.spool.v1";
const MACHINE_KEY_BYTES: usize = 32;

/// Where the key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// A file of this machine.
    Machine,
    /// The token of the service.
    Token,
}

impl KeySource {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            KeySource::Machine => "machine",
            KeySource::Token => "token",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [KeySource::Machine, KeySource::Token].into_iter().find(|source| source.as_str() == name)
    }
}

/// What the key of each file is made of.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SpoolKey {
    source: KeySource,
    material: Zeroizing<Vec<u8>>,
}

impl SpoolKey {
    /// Of the token: whoever may report with it may read what could not be reported.
    pub(crate) fn of_token(token: &str) -> Self {
        Self { source: KeySource::Token, material: Zeroizing::new(token.as_bytes().to_vec()) }
    }

    /// Of a file that only its owner reads, made if there is none.
    pub(crate) fn of_machine(path: &Path, random: &dyn Fn() -> [u8; 16]) -> io::Result<Self> {
        if !path.exists() {
            let directory = directory_of(path);
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            let draft = directory.join(format!(".sealstone-{}.tmp", fresh_name()?));
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            let fresh = Zeroizing::new([random(), random()].concat());
            let written = file.write_all(&fresh).and_then(|()| file.sync_all());
            // Linked, so that of two who make one at once one wins.
            let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            });
            fs::remove_file(&draft)?;
            linked?;
            // What is written with it is of no use without it.
            File::open(directory)?.sync_all()?;
        }
        Self::read(path)
    }

    /// Of that file, which is there.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let material = Zeroizing::new(fs::read(path)?);
        match material.len() {
            MACHINE_KEY_BYTES => Ok(Self { source: KeySource::Machine, material }),
            _ => Err(io::Error::other("not a key of a spool")),
        }
    }

    pub(crate) fn source(&self) -> KeySource {
        self.source
    }
}

/// What files are written with, and what else those that wait may have been written with.
#[derive(Clone)]
pub(crate) struct SpoolKeys {
    writing: SpoolKey,
    others: Vec<SpoolKey>,
}

impl SpoolKeys {
    /// Reads what was written with that key too.
    pub(crate) fn and(mut self, other: SpoolKey) -> Self {
        self.others.push(other);
        self
    }

    pub(super) fn writing(&self) -> &SpoolKey {
        &self.writing
    }

    /// The key for a file that says where its own comes from.
    pub(super) fn of(&self, source: KeySource) -> Option<&SpoolKey> {
        std::iter::once(&self.writing).chain(&self.others).find(|key| key.source == source)
    }
}

impl From<SpoolKey> for SpoolKeys {
    fn from(writing: SpoolKey) -> Self {
        Self { writing, others: Vec::new() }
    }
}

/// Seals and opens the frames of one file.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    /// `None` never happens: the length that is asked for is that of the algorithm.
    pub(super) fn new(key: &SpoolKey, salt: &[u8]) -> Option<Self> {
        let derived = Salt::new(HKDF_SHA256, salt).extract(&key.material);
        let derived = derived.expand(&[INFO], &AES_256_GCM).ok()?;
        Some(Self(LessSafeKey::new(UnboundKey::from(derived))))
    }

    /// Nonce, ciphertext and tag. `about` is what the frame is bound to: the file's header, and its number in it.
    pub(super) fn seal(&self, nonce: [u8; 16], about: &[u8], mut plain: Vec<u8>) -> Option<Vec<u8>> {
        let mut sealed = nonce.get(..NONCE_LEN)?.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(&sealed).ok()?;
        self.0.seal_in_place_append_tag(nonce, Aad::from(about), &mut plain).ok()?;
        sealed.append(&mut plain);
        Some(sealed)
    }

    /// What was sealed under this key as this frame; `None` for anything else.
    pub(super) fn open(&self, about: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let length = self.0.open_in_place(nonce, Aad::from(about), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}
