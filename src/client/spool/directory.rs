//! The directory of spool files: names, order, how much there is.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::cipher::SpoolKeys;
use super::file::{Header, Random, SpoolError, SpoolFile};
use crate::evidence::time::Timestamp;

/// What waits to be sent.
const WAITING: &str = "spool";
/// What its producer is still writing.
const GROWING: &str = "spooling";
/// What has something in it that the service refused.
const REFUSED: &str = "refused";

/// Where spool files are, how much of them there may be, and what they are written with.
#[derive(Clone)]
pub(crate) struct Spool {
    pub(crate) directory: PathBuf,
    pub(crate) keys: SpoolKeys,
    /// Of all files together; what would go beyond it is not kept.
    pub(crate) max_bytes: u64,
    pub(crate) random: Random,
}

/// A file that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) path: PathBuf,
    pub(crate) header: Header,
    /// Its producer may still be at it.
    pub(crate) is_growing: bool,
}

impl Spool {
    /// A new file behind all others. Durable once this returns.
    pub(crate) fn create(&self, server: &str, run: &str, now: Timestamp) -> Result<SpoolFile, SpoolError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let last = names(&self.directory)?.into_iter().filter_map(|path| number(&path)).max();
        let number =
            u64::try_from(now.unix_ms()).unwrap_or_default().max(last.map_or(0, |n| n.saturating_add(1)));
        let [a, b, c, d, ..] = (self.random)();
        let name = format!("{number:014}-{a:02x}{b:02x}{c:02x}{d:02x}.{GROWING}");
        let key = self.keys.writing();
        let header = Header::new(server, run, key, &self.random);
        SpoolFile::create(self.directory.join(name), header, key, self.random.clone())
    }

    /// A file that waits.
    pub(crate) fn open(&self, path: &Path) -> Result<SpoolFile, SpoolError> {
        let source = Header::read(path)?.0.keyed_by;
        let key = self.keys.of(source).ok_or(SpoolError::WrongKey { source })?;
        SpoolFile::open(path, key, self.random.clone())
    }

    /// How many bytes all files have; 0 if that cannot be told.
    pub(crate) fn bytes(&self) -> u64 {
        let sizes = names(&self.directory).unwrap_or_default();
        sizes.iter().filter_map(|path| Some(fs::metadata(path).ok()?.len())).fold(0, u64::saturating_add)
    }

    /// What waits, the oldest first.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        waiting_in(&self.directory).unwrap_or_default()
    }
}

/// What waits in a directory, the oldest first; empty where there is none.
pub(crate) fn waiting_in(directory: &Path) -> io::Result<Vec<Waiting>> {
    let mut paths = match names(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names?,
    };
    paths.retain(|path| is(path, WAITING) || is(path, GROWING));
    paths.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    let read = |path: PathBuf| {
        let (header, _) = Header::read(&path).ok()?;
        Some(Waiting { header, is_growing: is(&path, GROWING), path })
    };
    Ok(paths.into_iter().filter_map(read).collect())
}

impl SpoolFile {
    /// Its producer is done: it waits for who sends it.
    pub(crate) fn leave(&mut self) -> io::Result<()> {
        self.rename(self.path().with_extension(WAITING))
    }

    /// All was answered, and something refused: it is kept for who asks why, and sent no more.
    pub(crate) fn set_aside(&mut self) -> io::Result<()> {
        self.rename(self.path().with_extension(REFUSED))
    }
}

fn names(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let known = |path: &PathBuf| number(path).is_some();
    Ok(fs::read_dir(directory)?.filter_map(|entry| Some(entry.ok()?.path())).filter(known).collect())
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by a panic")]
mod tests {
    use std::sync::Arc;

    use super::super::cipher::SpoolKey;
    use super::*;

    #[test]
    fn files_keep_their_order_when_the_clock_goes_back() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool {
            directory: directory.path().join("spool"),
            keys: SpoolKey::of_token("t").into(),
            max_bytes: 1 << 20,
            random: Arc::new(|| [7; 16]),
        };
        for (n, ms) in [3_000_000, 1_000, 2_000_000, 3_000_001, -5].into_iter().enumerate() {
            let mut file = spool.create("http://s", &format!("r{n}"), Timestamp::from_unix_ms(ms)).unwrap();
            if n % 2 == 0 {
                file.leave().unwrap();
            }
        }
        let runs: Vec<String> = spool.waiting().into_iter().map(|waiting| waiting.header.run).collect();
        assert_eq!(runs, ["r0", "r1", "r2", "r3", "r4"]);
    }
}
