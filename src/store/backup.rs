//! A backup: all keys and values of a store as of one moment, in one stream that tells when it is cut or changed.
//!
//! | part | bytes |
//! | --- | --- |
//! | head | a line of JSON: `{"format":"sealstone.backup.v1","layout":1,"created_at":"2026-11-21T08:00:00.000Z"}` |
//! | each pair | the length of the key, that of the value, 4 bytes each, big-endian; the key; the value |
//! | end | 4 zero bytes, the number of pairs in 8, the SHA-256 over all bytes before it in 32, and nothing after |
//!
//! Keys ascend, and are of that layout ([`layout`](super::layout)) whatever engine they were in. The signing key is no part of the
//! store, and not in it. All that was recorded is, withheld values and their salts included: keep it like the data directory. The
//! digest tells damage; it is no signature: whoever can write the file can write its end.

use std::fmt;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::embedded::Frozen;
use super::layout::LAYOUT;
use crate::evidence::digest::{Digest, Hasher};
use crate::evidence::time::Timestamp;

const FORMAT: &str = "sealstone.backup.v1";
const MAX_HEAD_BYTES: usize = 1 << 10;
const MAX_KEY_BYTES: usize = u16::MAX as usize;
/// Far more than anything that is stored under one key.
const MAX_VALUE_BYTES: usize = 64 << 20;
const DIGEST_BYTES: usize = 32;

/// What a backup says of itself before all else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    format: String,
    pub(crate) layout: u32,
    pub(crate) created_at: Timestamp,
}

/// How much there was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Amount {
    pub(crate) pairs: u64,
    pub(crate) bytes: u64,
}

/// What is not a whole backup that this program can read, and why.
#[derive(Debug)]
pub(crate) enum BackupError {
    /// Its bytes are not those that were written.
    Changed,
    /// It ends before its end.
    Cut,
    /// It, or what it is made of, cannot be read or written.
    Io(io::Error),
    /// What is in it is not what a backup has.
    Malformed(&'static str),
    /// A newer program made it.
    NewerLayout(u32),
    /// It is something else.
    NotABackup,
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupError::Changed => {
                f.write_str("it is not as it was written: its digest is another; use another copy")
            }
            BackupError::Cut => f.write_str("it ends too early; make it again, or use another copy"),
            BackupError::Io(error) => write!(f, "{error}"),
            BackupError::Malformed(what) => write!(f, "it is damaged: {what}; use another copy"),
            BackupError::NewerLayout(layout) => {
                write!(
                    f,
                    "it has layout {layout}, and this program knows {LAYOUT}; use the newer program that made it"
                )
            }
            BackupError::NotABackup => write!(f, "it is no backup of Sealstone ({FORMAT})"),
        }
    }
}

impl std::error::Error for BackupError {}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::Cut,
            _ => BackupError::Io(error),
        }
    }
}

/// Writes a backup. `progress` hears how much there is so far.
pub(crate) fn write(
    frozen: &mut dyn Frozen,
    layout: u32,
    created_at: Timestamp,
    out: &mut dyn Write,
    progress: &dyn Fn(Amount),
) -> Result<Amount, BackupError> {
    let mut out = Hashed { inner: out, hasher: Hasher::default(), bytes: 0 };
    let head = serde_json::to_string(&Head { format: FORMAT.into(), layout, created_at });
    out.put(head.expect("three plain members").as_bytes())?;
    out.put(b"\n")?;
    let (mut pairs, mut written) = (0_u64, Ok(()));
    let read = frozen.each(&mut |key, value| {
        written = out.pair(key, value);
        pairs = pairs.saturating_add(1);
        progress(Amount { pairs, bytes: out.bytes });
        written.is_ok()
    });
    written?;
    read.map_err(io::Error::other)?;
    out.put(&[0; 4])?;
    out.put(&pairs.to_be_bytes())?;
    let digest = out.hasher.clone().finish();
    out.put(digest.as_bytes())?;
    out.inner.flush()?;
    Ok(Amount { pairs, bytes: out.bytes })
}

/// What passes, and the digest of it.
struct Hashed<T> {
    inner: T,
    hasher: Hasher,
    bytes: u64,
}

impl Hashed<&mut dyn Write> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.inner.write_all(bytes)
    }

    fn pair(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let length = |bytes: &[u8], max: usize| {
            let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= max);
            length
                .map(u32::to_be_bytes)
                .ok_or_else(|| io::Error::other("a stored value is too long for a backup"))
        };
        self.put(&length(key, MAX_KEY_BYTES)?)?;
        self.put(&length(value, MAX_VALUE_BYTES)?)?;
        self.put(key)?;
        self.put(value)
    }
}

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// Reads a backup strictly. What it gives counts once [`next`](Self::next) has given `None`.
pub(crate) struct Reader<R> {
    source: Hashed<R>,
    head: Head,
    last_key: Vec<u8>,
    pairs: u64,
}

impl<R: Read> Reader<R> {
    /// Reads the head.
    pub(crate) fn open(source: R) -> Result<Self, BackupError> {
        let mut source = Hashed { inner: source, hasher: Hasher::default(), bytes: 0 };
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let [byte] = source.array().map_err(|_| BackupError::NotABackup)?;
            line.push(byte);
            if line.len() > MAX_HEAD_BYTES || !FORMAT_BEGINS.iter().zip(&line).all(|(a, b)| a == b) {
                return Err(BackupError::NotABackup);
            }
        }
        let head: Head = serde_json::from_slice(&line).map_err(|_| BackupError::NotABackup)?;
        match head.layout {
            _ if head.format != FORMAT => Err(BackupError::NotABackup),
            0 => Err(BackupError::Malformed("there is no layout 0")),
            layout if layout > LAYOUT => Err(BackupError::NewerLayout(layout)),
            _ => Ok(Self { source, head, last_key: Vec::new(), pairs: 0 }),
        }
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// How much was read so far.
    pub(crate) fn amount(&self) -> Amount {
        Amount { pairs: self.pairs, bytes: self.source.bytes }
    }

    /// The next key and value; `None` at the end of a backup that is whole and unchanged.
    pub(crate) fn next(&mut self) -> Result<Option<Pair>, BackupError> {
        let length = u32::from_be_bytes(self.source.array()?) as usize;
        if length == 0 {
            return self.end().map(|()| None);
        }
        let value_length = u32::from_be_bytes(self.source.array()?) as usize;
        if length > MAX_KEY_BYTES || value_length > MAX_VALUE_BYTES {
            return Err(BackupError::Malformed("a length is beyond all bounds"));
        }
        let key = self.source.take(length)?;
        let value = self.source.take(value_length)?;
        if key <= self.last_key {
            return Err(BackupError::Malformed("the keys do not ascend"));
        }
        self.last_key.clone_from(&key);
        self.pairs = self.pairs.saturating_add(1);
        Ok(Some((key, value)))
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let pairs = u64::from_be_bytes(self.source.array()?);
        let digest = self.source.hasher.clone().finish();
        let told: [u8; DIGEST_BYTES] = self.source.array()?;
        if digest != Digest::from_bytes(told) || pairs != self.pairs {
            return Err(BackupError::Changed);
        }
        match self.source.array::<1>() {
            Err(BackupError::Cut) => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(BackupError::Malformed("something follows its end")),
        }
    }
}

/// What every head begins with.
const FORMAT_BEGINS: &[u8] = br#"{"format":"sealstone.backup"#;

impl<R: Read> Hashed<R> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.took(&bytes);
        Ok(bytes)
    }

    /// So many bytes. What is not there takes no memory.
    fn take(&mut self, length: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        (&mut self.inner).take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(BackupError::Cut);
        }
        self.took(&bytes);
        Ok(bytes)
    }

    fn took(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
    }
}

/// Reads all of a backup, and says how much it is; an error if it is not whole and unchanged.
pub(crate) fn check(source: impl Read, progress: &dyn Fn(Amount)) -> Result<(Head, Amount), BackupError> {
    let mut backup = Reader::open(source)?;
    while backup.next()?.is_some() {
        progress(backup.amount());
    }
    Ok((backup.head().clone(), backup.amount()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::{Engine, MemoryEngine, Op};

    fn sample() -> Vec<u8> {
        let engine = MemoryEngine::default();
        let pairs = (0..20_u8).map(|n| Op::Put(vec![b'a', n], vec![n; usize::from(n)]));
        engine.write(pairs.collect()).unwrap();
        let mut bytes = Vec::new();
        let at = Timestamp::from_unix_ms(1_800_000_000_000);
        let amount = write(&mut *engine.freeze().unwrap(), LAYOUT, at, &mut bytes, &|_| {}).unwrap();
        assert_eq!(amount, Amount { pairs: 20, bytes: bytes.len() as u64 });
        bytes
    }

    #[test]
    fn a_whole_backup_is_read_and_one_that_is_cut_changed_or_longer_never() {
        let whole = sample();
        let (head, amount) = check(whole.as_slice(), &|_| {}).unwrap();
        assert_eq!((head.layout, amount.pairs, amount.bytes), (LAYOUT, 20, whole.len() as u64));
        for length in 0..whole.len() {
            assert!(check(&whole[..length], &|_| {}).is_err(), "cut at {length}");
        }
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[place] ^= 1 << bit;
                assert!(check(changed.as_slice(), &|_| {}).is_err(), "changed at {place}");
            }
        }
        let longer = [whole.as_slice(), b"x"].concat();
        assert!(matches!(check(longer.as_slice(), &|_| {}), Err(BackupError::Malformed(_))));
    }

    #[test]
    fn a_hostile_length_takes_no_memory_and_a_newer_layout_is_refused() {
        let head = |layout: u32| {
            format!(
                "{{\"format\":\"sealstone.backup.v1\",\"layout\":{layout},\"created_at\":\"2026-11-21T08:00:00.000Z\"}}\n"
            )
        };
        let hostile = |lengths: [u32; 2]| {
            [head(LAYOUT).as_bytes(), &lengths[0].to_be_bytes(), &lengths[1].to_be_bytes(), b"k"].concat()
        };
        for lengths in [[u32::MAX, 1], [1, u32::MAX], [65_536, 0]] {
            let read = check(hostile(lengths).as_slice(), &|_| {});
            assert!(matches!(read, Err(BackupError::Malformed(_))), "{read:?}");
        }
        assert!(matches!(check(hostile([1, 64 << 20]).as_slice(), &|_| {}), Err(BackupError::Cut)));
        let newer = check(head(LAYOUT + 1).as_bytes(), &|_| {});
        assert!(matches!(newer, Err(BackupError::NewerLayout(_))), "{newer:?}");
        for other in ["", "{}\n", "PK\u{3}\u{4}", &"x".repeat(5000), "{\"format\":\"sealstone.backup.v2\"}\n"]
        {
            assert!(matches!(check(other.as_bytes(), &|_| {}), Err(BackupError::NotABackup)), "{other:.20}");
        }
    }
}
