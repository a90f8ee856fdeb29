//! The first line of a spool file: which service and run it is for, and what tells a wrong key from damage.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cipher::{Cipher, KeySource, SpoolKey};
use super::file::{Random, SpoolError};
use crate::evidence::canonical::{self, Object};
use crate::evidence::digest::Digest;

const FORMAT: &str = "sealstone.spool.v1";
const MAX_HEADER_BYTES: usize = 4 << 10;

/// What anybody may know of a spool file. Who [opens](SpoolFile::open) it knows that it is what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Address of the service.
    pub(crate) server: String,
    /// `evidence_id`, `run_id` or `PROJECT/RUN_ID`.
    pub(crate) run: String,
    /// What the key is made of.
    pub(crate) keyed_by: KeySource,
    salt: String,
    /// Nothing, sealed with the key and bound to all that is before: who has the key can tell that nobody changed it.
    check: String,
    /// Of all that is before: who has another key can tell that from damage.
    pub(super) digest: String,
}

impl Header {
    pub(crate) fn new(server: &str, run: &str, key: &SpoolKey, random: &Random) -> io::Result<Self> {
        let salt = URL_SAFE_NO_PAD.encode([random(), random()].concat());
        let (server, run) = (server.to_owned(), run.to_owned());
        let (check, digest) = Default::default();
        let mut header = Self { server, run, keyed_by: key.source(), salt, check, digest };
        let about = header.members().canonical().into_owned();
        let sealed =
            header.cipher(key).and_then(|cipher| cipher.seal(random(), about.as_bytes(), Vec::new()));
        header.check = URL_SAFE_NO_PAD.encode(sealed.ok_or_else(|| io::Error::other("it cannot be sealed"))?);
        header.digest = header.digest_of_all().to_string();
        Ok(header)
    }

    /// That of a file, with the bytes that it is.
    pub(crate) fn read(path: &Path) -> Result<(Self, Vec<u8>), SpoolError> {
        let mut start = Vec::new();
        // Asked first: opening a FIFO waits for a writer.
        if !fs::metadata(path)?.is_file() {
            return Err(SpoolError::NotASpool);
        }
        File::open(path)?.take(MAX_HEADER_BYTES as u64).read_to_end(&mut start)?;
        let end = start.iter().position(|byte| *byte == b'\n').ok_or(SpoolError::NotASpool)?;
        start.truncate(end.saturating_add(1));
        Ok((Self::parse(start.get(..end).unwrap_or_default()).ok_or(SpoolError::NotASpool)?, start))
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let value = canonical::parse(line, line.len()).ok()?;
        let members = value.as_object().filter(|members| members.text("format") == Some(FORMAT))?;
        let text = |name| members.text(name).map(str::to_owned);
        Some(Self {
            server: text("server")?,
            run: text("run")?,
            keyed_by: KeySource::named(members.text("keyed_by")?)?,
            salt: text("salt")?,
            check: text("check")?,
            digest: text("digest")?,
        })
    }

    /// What opens the frames, if that key is the one, and the header what was written.
    pub(super) fn checked(&self, key: &SpoolKey) -> Result<Cipher, SpoolError> {
        if self.digest != self.digest_of_all().to_string() {
            return Err(SpoolError::DamagedHeader);
        }
        let wrong_key = || SpoolError::WrongKey { source: self.keyed_by };
        let cipher = self.cipher(key).filter(|_| self.keyed_by == key.source()).ok_or_else(wrong_key)?;
        let check = URL_SAFE_NO_PAD.decode(&self.check).unwrap_or_default();
        cipher.open(self.members().canonical().as_bytes(), &check).ok_or_else(wrong_key)?;
        Ok(cipher)
    }

    fn cipher(&self, key: &SpoolKey) -> Option<Cipher> {
        Cipher::new(key, &URL_SAFE_NO_PAD.decode(&self.salt).ok()?)
    }

    pub(super) fn digest_of_all(&self) -> Digest {
        Digest::of([self.members().canonical().as_bytes(), self.check.as_bytes()].concat())
    }

    /// All but what guards them.
    fn members(&self) -> Object<'_> {
        Object::from_iter([
            ("format", FORMAT),
            ("server", &self.server),
            ("run", &self.run),
            ("keyed_by", self.keyed_by.as_str()),
            ("salt", &self.salt),
        ])
    }

    pub(super) fn line(&self) -> Vec<u8> {
        let mut members = self.members();
        members.insert("check", self.check.as_str());
        members.insert("digest", self.digest.as_str());
        [members.canonical().as_bytes(), b"\n"].concat()
    }
}
