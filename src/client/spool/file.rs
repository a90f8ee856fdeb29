//! One spool file: a header that anybody reads, then frames that only who has the key does.
//!
//! `{"format":"sealstone.spool.v1", …}` and a line feed; then for each frame its length (four bytes, little-endian), nonce, ciphertext
//! and tag. A frame holds a report, or a mark: how far the reports before it were acknowledged. Who has the file open holds its lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cipher::{Cipher, KeySource, SpoolKey};
use super::header::Header;
use crate::client::report::Keyed;
use crate::evidence::canonical::{self, Object, Value};
use crate::files::directory_of;

/// A batch of entries is the largest that a frame holds.
const MAX_FRAME_BYTES: u32 = 16 << 20;
const LENGTH_BYTES: u64 = 4;

/// Fresh random bytes.
pub(crate) type Random = Arc<dyn Fn() -> [u8; 16] + Send + Sync>;

/// Why a spool file cannot be used.
#[derive(Debug)]
pub(crate) enum SpoolError {
    /// A frame is not what was written.
    Damaged { frame: u64 },
    /// The header is not what was written.
    DamagedHeader,
    /// Another process has it open.
    InUse,
    /// The disk says no.
    Io(io::Error),
    /// No spool file, or one of a later version.
    NotASpool,
    /// The key is not the one that it was written with.
    WrongKey { source: KeySource },
}

impl std::fmt::Display for SpoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SpoolError::Damaged { frame } => {
                write!(f, "frame {frame} is damaged; nothing behind it can be read")
            }
            SpoolError::DamagedHeader => f.write_str("its header is damaged; nothing in it can be read"),
            SpoolError::InUse => f.write_str("another process is at it"),
            SpoolError::Io(error) => write!(f, "{error}"),
            SpoolError::NotASpool => f.write_str("no spool file of this version"),
            SpoolError::WrongKey { source: KeySource::Token } => {
                f.write_str("it was written with another token; give that one")
            }
            SpoolError::WrongKey { source: KeySource::Machine } => f.write_str(
                "it was written with the spool key of another machine or user, and can be sent there",
            ),
        }
    }
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Where a report is.
#[derive(Clone, Copy)]
struct At {
    frame: u64,
    offset: u64,
    length: u32,
}

/// A spool file, locked.
pub(crate) struct SpoolFile {
    path: PathBuf,
    file: File,
    header: Header,
    about: Vec<u8>,
    cipher: Cipher,
    random: Random,
    frames: u64,
    end: u64,
    reports: Vec<At>,
    /// How many of them were acknowledged.
    acknowledged: usize,
    /// What was known besides when that was marked.
    state: Option<Object<'static>>,
    /// What of it cannot be read.
    unread: Option<Unread>,
}

/// What of a file cannot be read: its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// From this frame on: it is not what was written.
    Damaged { frame: u64 },
    /// What its last writer did not finish, and told nobody that it is there; or a length that is damaged.
    Unfinished,
}

impl SpoolFile {
    /// A new one. Durable once this returns.
    pub(crate) fn create(
        path: PathBuf,
        header: Header,
        key: &SpoolKey,
        random: Random,
    ) -> Result<Self, SpoolError> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        lock(&file)?;
        let about = header.line();
        let written = file.write_all_at(&about, 0).and_then(|()| file.sync_all());
        let written = written.and_then(|()| File::open(directory_of(&path))?.sync_all());
        if let Err(error) = written {
            // A disk that is full is not littered as well.
            let _ = fs::remove_file(&path);
            return Err(error.into());
        }
        let cipher = header.checked(key)?;
        Ok(Self::new(path, file, (header, about), cipher, random))
    }

    /// One that is there, whoever left it. What cannot be read at its end is [told](Self::unread).
    pub(crate) fn open(path: &Path, key: &SpoolKey, random: Random) -> Result<Self, SpoolError> {
        let (header, about) = Header::read(path)?;
        let cipher = header.checked(key)?;
        if about != header.line() {
            return Err(SpoolError::DamagedHeader);
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        lock(&file)?;
        // Renamed or removed since it was found.
        if !path.exists() {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        let mut spool = Self::new(path.to_owned(), file, (header, about), cipher, random);
        spool.scan()?;
        Ok(spool)
    }

    fn new(
        path: PathBuf,
        file: File,
        (header, about): (Header, Vec<u8>),
        cipher: Cipher,
        random: Random,
    ) -> Self {
        let end = about.len() as u64;
        Self {
            path,
            file,
            header,
            about,
            cipher,
            random,
            frames: 0,
            end,
            reports: Vec::new(),
            acknowledged: 0,
            state: None,
            unread: None,
        }
    }

    fn scan(&mut self) -> Result<(), SpoolError> {
        let size = self.file.metadata()?.len();
        while self.end < size {
            let mut length = [0; LENGTH_BYTES as usize];
            let offset = self.end.saturating_add(LENGTH_BYTES);
            if offset > size {
                self.unread = Some(Unread::Unfinished);
                break;
            }
            self.file.read_exact_at(&mut length, self.end)?;
            let at = At { frame: self.frames, offset, length: u32::from_le_bytes(length) };
            let next = offset.saturating_add(at.length.into());
            if at.length <= MAX_FRAME_BYTES && next > size {
                self.unread = Some(Unread::Unfinished);
                break;
            }
            let plain = if at.length > MAX_FRAME_BYTES { None } else { self.read(at)? };
            let Some(plain) = plain else {
                self.unread = Some(Unread::Damaged { frame: self.frames });
                break;
            };
            match mark(&plain) {
                Some((acknowledged, state)) => (self.acknowledged, self.state) = (acknowledged, Some(state)),
                None => self.reports.push(at),
            }
            (self.frames, self.end) = (self.frames.saturating_add(1), next);
        }
        Ok(())
    }

    fn read(&self, at: At) -> io::Result<Option<Vec<u8>>> {
        let mut sealed = vec![0; at.length as usize];
        self.file.read_exact_at(&mut sealed, at.offset)?;
        Ok(self.cipher.open(&self.bound_to(at.frame), &sealed))
    }

    fn bound_to(&self, frame: u64) -> Vec<u8> {
        [self.about.as_slice(), &frame.to_le_bytes()].concat()
    }

    /// Puts a report at the end. Durable once it is [synced](Self::sync).
    pub(crate) fn push(&mut self, report: &Keyed) -> io::Result<()> {
        let at = self.put(report.encode())?;
        self.reports.push(at);
        Ok(())
    }

    /// All that was put in is durable once this returns.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// A frame counts once it is whole: what fails in the middle of it is cut off. Behind what cannot be read nothing is put: it would
    /// be read no more, and what is there may be of use to somebody.
    fn put(&mut self, plain: Vec<u8>) -> io::Result<At> {
        let sealed = self.cipher.seal((self.random)(), &self.bound_to(self.frames), plain);
        let sealed = sealed.ok_or_else(|| io::Error::other("it cannot be sealed"))?;
        let length = u32::try_from(sealed.len()).ok().filter(|length| *length <= MAX_FRAME_BYTES);
        let length = length.ok_or_else(|| io::Error::other("too large for a spool"))?;
        if self.unread.is_some() {
            return Err(io::Error::other("not all of the file can be read"));
        }
        let frame = [&length.to_le_bytes(), sealed.as_slice()].concat();
        let written = self.file.write_all_at(&frame, self.end);
        if written.is_err() {
            // Nothing of it is behind what is put there next, which may be shorter.
            self.file.set_len(self.end)?;
        }
        written?;
        let at = At { frame: self.frames, offset: self.end.saturating_add(LENGTH_BYTES), length };
        self.end = at.offset.saturating_add(length.into());
        self.frames = self.frames.saturating_add(1);
        Ok(at)
    }

    /// The first report that was not acknowledged.
    pub(crate) fn front(&self) -> Result<Option<Keyed>, SpoolError> {
        match self.reports.get(self.acknowledged) {
            Some(at) => self.report(*at).map(Some),
            None => Ok(None),
        }
    }

    fn report(&self, at: At) -> Result<Keyed, SpoolError> {
        let plain = self.read(at)?.as_deref().and_then(Keyed::decode);
        plain.ok_or(SpoolError::Damaged { frame: at.frame })
    }

    /// The first one is acknowledged.
    pub(crate) fn acknowledge(&mut self) {
        self.acknowledged = self.acknowledged.saturating_add(1).min(self.reports.len());
    }

    /// Remembers how far it was acknowledged, and what is known besides. Durable once this returns.
    pub(crate) fn mark(&mut self, state: Object<'static>) -> io::Result<()> {
        let acknowledged = Value::count(self.acknowledged as u64);
        let mark = Object::from_iter([("acknowledged", acknowledged), ("state", state.into())]);
        self.put(mark.canonical().into_owned().into_bytes())?;
        self.file.sync_data()
    }

    /// What was known at the last mark.
    pub(crate) fn state(&self) -> Option<&Object<'static>> {
        self.state.as_ref()
    }

    /// What of it cannot be read.
    pub(crate) fn unread(&self) -> Option<Unread> {
        self.unread
    }

    /// How many reports wait.
    pub(crate) fn waiting(&self) -> usize {
        self.reports.len().saturating_sub(self.acknowledged)
    }

    /// How large it is.
    pub(crate) fn bytes(&self) -> u64 {
        self.end
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it another name; durable once this returns.
    pub(crate) fn rename(&mut self, path: PathBuf) -> io::Result<()> {
        fs::rename(&self.path, &path)?;
        self.path = path;
        File::open(directory_of(&self.path))?.sync_all()
    }

    /// All is acknowledged.
    pub(crate) fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }
}

fn mark(plain: &[u8]) -> Option<(usize, Object<'static>)> {
    let Value::Object(mut mark) = canonical::parse(plain, plain.len()).ok()?.into_owned() else {
        return None;
    };
    let acknowledged = usize::try_from(mark.count("acknowledged")?).ok()?;
    match mark.remove("state") {
        Some(Value::Object(state)) => Some((acknowledged, state)),
        _ => None,
    }
}

fn lock(file: &File) -> Result<(), SpoolError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => SpoolError::InUse,
        TryLockError::Error(error) => SpoolError::Io(error),
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test fails by a panic"
)]
mod tests;
