//! fjall, the default engine.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable as _, Snapshot};

use super::engine::{Engine, EngineError, Frozen, Op, walk};
use crate::store::directory::free_bytes;

/// How many files of tables stay open: fewer than `serve` keeps apart from connections.
const MAX_OPEN_FILES: usize = 384;

/// A fjall database with the keyspace of the records, and one whose only use is to fill journals.
pub(crate) struct FjallEngine {
    database: Database,
    records: Keyspace,
    filler: Keyspace,
    path: PathBuf,
}

impl FjallEngine {
    pub(crate) fn open(path: &Path) -> Result<Self, EngineError> {
        let database = Database::builder(path).worker_threads(1).max_cached_files(Some(MAX_OPEN_FILES));
        let database = database.open().map_err(told)?;
        let records = database.keyspace("records", KeyspaceCreateOptions::default).map_err(told)?;
        let filler = database.keyspace("filler", KeyspaceCreateOptions::default).map_err(told)?;
        Ok(Self { database, records, filler, path: path.to_owned() })
    }
}

impl Engine for FjallEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.records.get(key).map_err(told)?.map(|value| value.to_vec()))
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
        let found = self.records.range(from..to);
        match reverse {
            true => walk(found.rev().map(fjall::Guard::into_inner), each),
            false => walk(found.map(fjall::Guard::into_inner), each),
        }
    }

    fn write(&self, ops: Vec<Op>) -> Result<(), EngineError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for op in ops {
            match op {
                Op::Delete(key) => batch.remove(&self.records, key),
                Op::Put(key, value) => batch.insert(&self.records, key, value),
            }
        }
        batch.commit().map_err(told)
    }

    fn freeze(&self) -> Result<Box<dyn Frozen>, EngineError> {
        Ok(Box::new(FrozenKeyspace { snapshot: self.database.snapshot(), records: self.records.clone() }))
    }

    fn compact(&self) -> Result<bool, EngineError> {
        // A write that fails for want of room would end all others.
        let needed_bytes = self.database.disk_space().map_err(told)?.saturating_add(ROOM_BYTES);
        let free_bytes = free_bytes(&self.path).map_err(told)?;
        if free_bytes < needed_bytes {
            return Err(EngineError(format!(
                "{needed_bytes} bytes of disk are needed, and {free_bytes} are free; make room"
            )));
        }
        self.retire_journals(after(PATIENCE))?;
        self.await_readers(after(PATIENCE))?;
        self.retire_tables().map(|()| true)
    }
}

struct FrozenKeyspace {
    snapshot: Snapshot,
    records: Keyspace,
}

impl Frozen for FrozenKeyspace {
    fn each(&mut self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), EngineError> {
        walk(self.snapshot.iter(&self.records).map(fjall::Guard::into_inner), each)
    }
}

/// What a compaction takes beside a second copy of the tables.
const ROOM_BYTES: u64 = 1 << 30;
/// How long each step of a compaction waits for what others hold.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long for old tables to go, before they are written anew again: one may have been written beside it.
const PATIENCE_FOR_TABLES: Duration = Duration::from_secs(5);
const ATTEMPTS: usize = 5;
/// How much is written to a journal at once, to have it full. fjall 3.1 begins a new one, when it flushes, after 64 MB.
const FILLER_BYTES: usize = 8 << 20;

/// What was overwritten stands in journals, in tables, and in tables that only an older version of the tree names. Each step looks
/// whether the files of before are gone, and relies on nothing else.
impl FjallEngine {
    /// Fills the journal until another is begun, and flushes what the old ones hold until they are removed.
    fn retire_journals(&self, until: Instant) -> Result<(), EngineError> {
        let old = names(&self.path, "jnl")?;
        loop {
            self.filler.insert("filler", vec![0; FILLER_BYTES]).map_err(told)?;
            self.flush(until)?;
            if names(&self.path, "jnl")?.is_disjoint(&old) {
                // The last value stays: a keyspace that is empty would keep journals from being removed.
                self.filler.insert("filler", "").map_err(told)?;
                self.flush(until)?;
                return self.filler.major_compact().map_err(told);
            }
            in_time(until)?;
        }
    }

    /// Waits until nobody reads as of a moment at which what was overwritten stood.
    fn await_readers(&self, until: Instant) -> Result<(), EngineError> {
        let now = self.database.seqno();
        while self.database.supervisor.snapshot_tracker.get_seqno_safe_to_gc() < now {
            in_time(until)?;
            self.touch(until)?;
        }
        Ok(())
    }

    /// Writes all tables anew, and has the old ones removed.
    fn retire_tables(&self) -> Result<(), EngineError> {
        let tables = self.records.path().join("tables");
        for _ in 0..ATTEMPTS {
            let old = names(&tables, "")?;
            if self.records.table_count() > 0 {
                self.records.major_compact().map_err(told)?;
            }
            let until = after(PATIENCE_FOR_TABLES);
            while Instant::now() < until {
                if names(&tables, "")?.is_disjoint(&old) {
                    return Ok(());
                }
                self.touch(after(PATIENCE))?;
            }
        }
        Err(held())
    }

    /// Moves on what counts as old: fjall does so when it begins a new table in memory.
    fn touch(&self, until: Instant) -> Result<(), EngineError> {
        self.filler.insert("filler", "").map_err(told)?;
        self.flush(until)
    }

    /// Writes to tables what is in memory.
    fn flush(&self, until: Instant) -> Result<(), EngineError> {
        for keyspace in [&self.records, &self.filler] {
            keyspace.rotate_memtable().map_err(told)?;
        }
        while self.records.sealed_memtable_count() > 0 || self.filler.sealed_memtable_count() > 0 {
            in_time(until)?;
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// The files of a directory whose names end so.
fn names(directory: &Path, extension: &str) -> Result<BTreeSet<PathBuf>, EngineError> {
    let named = |path: &PathBuf| path.extension().unwrap_or_default() == extension;
    let found: io::Result<Vec<PathBuf>> = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    Ok(found.map_err(told)?.into_iter().filter(named).collect())
}

fn after(period: Duration) -> Instant {
    Instant::now().checked_add(period).unwrap_or_else(Instant::now)
}

fn in_time(until: Instant) -> Result<(), EngineError> {
    if Instant::now() < until { Ok(()) } else { Err(held()) }
}

fn held() -> EngineError {
    EngineError("something holds what was overwritten; it may still be on the disk, try again".into())
}

fn told(error: impl std::fmt::Display) -> EngineError {
    EngineError(error.to_string())
}
