//! fjall, the default engine.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::engine::{Engine, EngineError, Op, walk};

/// How many files of tables stay open: fewer than `serve` keeps apart from connections.
const MAX_OPEN_FILES: usize = 384;

/// A fjall database with one keyspace.
pub(crate) struct FjallEngine {
    database: Database,
    records: Keyspace,
}

impl FjallEngine {
    pub(crate) fn open(path: &Path) -> Result<Self, EngineError> {
        let database = Database::builder(path).worker_threads(1).max_cached_files(Some(MAX_OPEN_FILES));
        let database = database.open().map_err(told)?;
        let records = database.keyspace("records", KeyspaceCreateOptions::default).map_err(told)?;
        Ok(Self { database, records })
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
}

fn told(error: fjall::Error) -> EngineError {
    EngineError(error.to_string())
}
