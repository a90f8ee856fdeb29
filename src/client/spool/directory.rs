//! The directory of spool files: names, order, how much there is.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::cipher::SpoolKeys;
use super::file::{Random, SpoolError, SpoolFile};
use super::header::Header;
use crate::evidence::time::Timestamp;
use crate::files::directory_of;

/// What waits to be sent.
const WAITING: &str = "spool";
/// What its producer is still writing.
const GROWING: &str = "spooling";
/// What has something in it that the service refused, or that cannot be read.
const REFUSED: &str = "refused";
/// How many of those are kept: the newest.
const MOST_REFUSED: usize = 100;

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
        let header = Header::new(server, run, key, &self.random)?;
        SpoolFile::create(self.directory.join(name), header, key, self.random.clone())
    }

    /// A file that waits.
    pub(crate) fn open(&self, path: &Path) -> Result<SpoolFile, SpoolError> {
        let source = Header::read(path)?.0.keyed_by;
        let key = self.keys.of(source).ok_or(SpoolError::WrongKey { source })?;
        SpoolFile::open(path, key, self.random.clone())
    }

    /// How many bytes all files have that wait; 0 if that cannot be told.
    pub(crate) fn bytes(&self) -> u64 {
        let sizes = names(&self.directory).unwrap_or_default();
        let waiting = sizes.iter().filter(|path| !is(path, REFUSED));
        waiting.filter_map(|path| Some(fs::metadata(path).ok()?.len())).fold(0, u64::saturating_add)
    }

    /// What waits, the oldest first.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        waiting_in(&self.directory).unwrap_or_default()
    }
}

/// What waits in a directory, the oldest first; empty where there is none.
pub(crate) fn waiting_in(directory: &Path) -> io::Result<Vec<Waiting>> {
    Ok(read_all(sorted(directory, &[WAITING, GROWING])?))
}

/// What was set aside in a directory, the oldest first; empty where there is none.
pub(crate) fn refused_in(directory: &Path) -> io::Result<Vec<Waiting>> {
    Ok(read_all(sorted(directory, &[REFUSED])?))
}

/// Files with one of these extensions, the oldest first.
fn sorted(directory: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut paths = match names(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names?,
    };
    paths.retain(|path| extensions.iter().any(|extension| is(path, extension)));
    paths.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(paths)
}

fn read_all(paths: Vec<PathBuf>) -> Vec<Waiting> {
    let read = |path: PathBuf| {
        let (header, _) = Header::read(&path).ok()?;
        Some(Waiting { header, is_growing: is(&path, GROWING), path })
    };
    paths.into_iter().filter_map(read).collect()
}

impl SpoolFile {
    /// Its producer is done: it waits for who sends it.
    pub(crate) fn leave(&mut self) -> io::Result<()> {
        self.rename(self.path().with_extension(WAITING))
    }

    /// All was answered, and something refused, or not to be read: it is kept for who asks why, and sent no more.
    pub(crate) fn set_aside(&mut self) -> io::Result<()> {
        self.rename(self.path().with_extension(REFUSED))?;
        let mut refused = sorted(directory_of(self.path()), &[REFUSED])?;
        refused.truncate(refused.len().saturating_sub(MOST_REFUSED));
        refused.iter().try_for_each(fs::remove_file)
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
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by a panic"
)]
mod tests {
    use std::sync::Arc;

    use super::super::cipher::SpoolKey;
    use super::*;

    fn spool_in(directory: &Path) -> Spool {
        Spool {
            directory: directory.join("spool"),
            keys: SpoolKey::of_token("t").into(),
            max_bytes: 1 << 20,
            random: Arc::new(|| [7; 16]),
        }
    }

    #[test]
    fn of_what_was_set_aside_the_newest_are_kept_and_take_no_room() {
        let directory = tempfile::tempdir().unwrap();
        let spool = spool_in(directory.path());
        for n in 0..MOST_REFUSED + 2 {
            let file = spool.create("http://s", &format!("r{n}"), Timestamp::from_unix_ms(0));
            file.unwrap().set_aside().unwrap();
        }
        let refused = refused_in(&spool.directory).unwrap();
        assert_eq!((refused.len(), refused[0].header.run.as_str()), (MOST_REFUSED, "r2"));
        assert_eq!((spool.bytes(), spool.waiting()), (0, vec![]));
    }

    #[test]
    fn what_is_no_file_is_passed_over_and_waited_for_by_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("1-a.spool");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        fs::create_dir(directory.path().join("2-b.spool")).unwrap();
        let spool = Spool { directory: directory.path().to_owned(), ..spool_in(directory.path()) };
        assert_eq!(spool.waiting(), vec![]);
        assert!(matches!(spool.open(&fifo), Err(SpoolError::NotASpool)));
    }

    #[test]
    fn files_keep_their_order_when_the_clock_goes_back() {
        let directory = tempfile::tempdir().unwrap();
        let spool = spool_in(directory.path());
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
