//! sled 0.34, with two of its gaps closed from outside.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sled::{Batch, Config, Db};

use super::engine::{Engine, EngineError, Frozen, Op, walk};
use super::spool::Spool;
use crate::files::directory_of;

/// How long a database is waited for that is about to be let go.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// A sled database, and its data file, by which its file system is known.
pub(crate) struct SledEngine {
    database: Db,
    data: File,
    path: PathBuf,
}

impl SledEngine {
    pub(crate) fn open(path: &Path) -> Result<Self, EngineError> {
        remove_unfinished_snapshots(path).map_err(told)?;
        let database = open_once_free(path)?;
        let data = File::open(path.join("db")).map_err(told)?;
        Ok(Self { database, data, path: path.to_owned() })
    }
}

/// A database that this process has dropped is let go a moment later, by threads of its own. Nobody else has it: the data directory
/// is locked.
fn open_once_free(path: &Path) -> Result<Db, EngineError> {
    let started = Instant::now();
    loop {
        let opened = Config::new().path(path).flush_every_ms(None).open().map_err(told);
        match opened {
            Err(EngineError(why))
                if why.contains("could not acquire lock") && started.elapsed() < PATIENCE =>
            {
                sleep(PAUSE);
            }
            opened => return opened,
        }
    }
}

/// What a kill leaves of a snapshot that was being written is taken for one at the next start, which then fails.
fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Engine for SledEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.database.get(key).map_err(told)?.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        if from >= to {
            return Ok(());
        }
        let found = self.database.range(from..to);
        if reverse { walk(found.rev(), each) } else { walk(found, each) }
    }

    fn write(&self, ops: Vec<Op>) -> Result<(), EngineError> {
        let mut batch = Batch::default();
        for op in ops {
            match op {
                Op::Delete(key) => batch.remove(key),
                Op::Put(key, value) => batch.insert(key, value),
            }
        }
        self.database.apply_batch(batch).map_err(told)?;
        self.database.flush().map_err(told)?;
        // sled's flush ends in sync_file_range, which says nothing about the disk's cache or the file's size; and what is large it
        // keeps in files of their own, which it does not sync at all.
        rustix::fs::syncfs(&self.data).map_err(told)
    }

    /// sled 0.34 has no snapshots: all is written to a file beside it, which has no name any more, and read from there. Who calls
    /// keeps writers waiting that long.
    fn freeze(&self) -> Result<Box<dyn Frozen>, EngineError> {
        let needed_bytes = self.database.size_on_disk().map_err(told)?;
        let directory = directory_of(&self.path);
        let spool = Spool::fill(directory, needed_bytes, |each| walk(self.database.iter(), each))?;
        Ok(Box::new(spool))
    }

    fn compact(&self) -> Result<bool, EngineError> {
        Ok(false)
    }
}

fn told(error: impl std::fmt::Display) -> EngineError {
    EngineError(error.to_string())
}
