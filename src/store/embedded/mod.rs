//! The embedded store: journals in an ordered key-value engine.

mod aside;
mod batch;
mod copies;
mod engine;
mod fjall;
pub(super) mod lists;
mod logs;
mod memory;
mod sled;
mod spool;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::engine::{Engine, EngineError, Frozen, Op};
pub(crate) use self::fjall::FjallEngine;
pub(crate) use self::memory::MemoryEngine;
pub(crate) use self::sled::SledEngine;
use super::layout;
use super::{
    AllRuns, Batch, Counter, LineEnd, Outcome, Page, Query, Read, Rewritten, Sealing, Store, StoreError,
};
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;
use crate::journal::{JournalRecord, KeyUse, Overview, Pos, Settings, Standing};

/// How many projects are named that have a run of the same name.
const SOME: usize = 5;

/// Journals in an engine.
pub(crate) struct Embedded {
    engine: Box<dyn Engine>,
    /// Why nothing is taken any more.
    poisoned: OnceLock<String>,
    /// One commit at a time: what it expects is checked before it writes.
    committing: Mutex<()>,
    /// Whether a copy of it all is being made.
    copying: Arc<AtomicBool>,
}

impl Embedded {
    pub(crate) fn new(engine: Box<dyn Engine>) -> Self {
        Self { engine, poisoned: OnceLock::new(), committing: Mutex::new(()), copying: Arc::default() }
    }

    fn one_at_a_time(&self) -> MutexGuard<'_, ()> {
        self.committing.lock().unwrap_or_else(|panicked| {
            // A write that ended in a panic is one that failed.
            let _ = self.poisoned.set("a write ended in a panic".into());
            panicked.into_inner()
        })
    }

    fn get<T: DeserializeOwned>(&self, key: &[u8], what: &'static str, of: &str) -> Read<Option<T>> {
        let Some(bytes) = self.engine.get(key)? else { return Ok(None) };
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(corrupt(what, of)),
        }
    }

    /// Every key and value of a range, until `each` says that it is enough.
    fn scan(
        &self,
        (from, to): (Vec<u8>, Vec<u8>),
        mut each: impl FnMut(&[u8], &[u8]) -> Read<bool>,
    ) -> Read<()> {
        let mut failed = Ok(());
        self.engine.scan(&from, &to, false, &mut |key, value| match each(key, value) {
            Ok(more) => more,
            Err(error) => {
                failed = Err(error);
                false
            }
        })?;
        failed
    }
}

impl Store for Embedded {
    fn commit(&self, batches: &[Batch]) -> Vec<Outcome> {
        let _one = self.one_at_a_time();
        if let Some(why) = self.poisoned.get() {
            return vec![Outcome::Poisoned(why.clone()); batches.len()];
        }
        let (mut ops, mut counted) = (Vec::new(), HashMap::new());
        let mut outcomes: Vec<Outcome> = batches
            .iter()
            .map(|batch| {
                let before = ops.len();
                match self.ops(batch, &mut ops, &mut counted) {
                    Ok(()) => Outcome::Done,
                    Err(outcome) => {
                        ops.truncate(before);
                        outcome
                    }
                }
            })
            .collect();
        if ops.is_empty() {
            return outcomes;
        }
        if let Err(error) = self.engine.write(ops) {
            let why = self.poisoned.get_or_init(|| error.to_string()).clone();
            for outcome in outcomes.iter_mut().filter(|outcome| **outcome == Outcome::Done) {
                *outcome = Outcome::Poisoned(why.clone());
            }
        }
        outcomes
    }

    fn health(&self) -> Result<(), String> {
        match self.poisoned.get() {
            Some(why) => Err(format!("the store failed and takes nothing until a restart: {why}")),
            None => self.engine.get(&layout::counter("")).map(drop).map_err(|error| error.to_string()),
        }
    }

    fn run(&self, evidence_id: &str) -> Read<Option<(Overview, Standing)>> {
        // Written last in its batch: who sees it sees the rest.
        let Some(standing) = self.get(&layout::standing(evidence_id), "standing", evidence_id)? else {
            return Ok(None);
        };
        match self.get(&layout::overview(evidence_id), "overview", evidence_id)? {
            Some(overview) => Ok(Some((overview, standing))),
            None => Err(corrupt("overview", evidence_id)),
        }
    }

    fn records(&self, evidence_id: &str, from: Pos, limit: usize) -> Read<Vec<JournalRecord>> {
        let range = (layout::record(evidence_id, from), layout::record(evidence_id, u64::MAX));
        let mut records = Vec::new();
        if limit == 0 {
            return Ok(records);
        }
        self.scan(range, |key, value| {
            let record = layout::pos_of(key).and_then(|pos| JournalRecord::decode(pos, value));
            let expected = from.checked_add(records.len() as u64);
            match record.filter(|record| Some(record.pos) == expected) {
                Some(record) => records.push(record),
                None => return Err(corrupt("journal", evidence_id)),
            }
            Ok(records.len() < limit)
        })?;
        Ok(records)
    }

    fn keys(&self, evidence_id: &str) -> Read<Vec<(String, KeyUse)>> {
        let mut keys = Vec::new();
        self.scan(layout::keys(evidence_id), |key, value| {
            match (layout::key_of(key), KeyUse::decode(value)) {
                (Some(key), Some(used)) => keys.push((key, used)),
                _ => return Err(corrupt("idempotency key", evidence_id)),
            }
            Ok(true)
        })?;
        Ok(keys)
    }

    fn named_in(&self, run_id: &str, project: &str) -> Read<Option<String>> {
        let id = self.engine.get(&layout::name(run_id, project))?;
        Ok(id.map(|id| String::from_utf8_lossy(&id).into_owned()))
    }

    fn named(&self, run_id: &str, wanted: &dyn Fn(&str) -> bool) -> Read<Vec<(String, String)>> {
        let mut found = Vec::new();
        self.scan(layout::names(run_id), |key, value| {
            let id = String::from_utf8_lossy(value).into_owned();
            let project = layout::project_of(key).filter(|project| wanted(project));
            found.extend(project.map(|project| (project, id)));
            Ok(found.len() < SOME)
        })?;
        Ok(found)
    }

    fn counter(&self, project: &str) -> Read<Option<Counter>> {
        self.get(&layout::counter(project), "counter", project)
    }

    fn opened_with(&self, project: &str, key: &str) -> Read<Option<String>> {
        let id = self.engine.get(&layout::opened_with(project, key))?;
        Ok(id.map(|id| String::from_utf8_lossy(&id).into_owned()))
    }

    fn newest(&self, query: &Query<'_>) -> Read<Page> {
        lists::newest(self, query)
    }

    fn all_runs(&self, after: Option<&str>, limit: usize) -> Read<AllRuns> {
        lists::all(self, after, limit)
    }

    fn index_of(
        &self,
        overview: &Overview,
        standing: &Standing,
        sealing: Option<&Sealing>,
    ) -> Read<(u64, u64)> {
        lists::missing(self, overview, standing, sealing)
    }

    fn index_entries(&self) -> Read<u64> {
        lists::count(self)
    }

    fn due(&self, until: Timestamp, limit: usize) -> Read<Vec<(Timestamp, String)>> {
        let mut due = Vec::new();
        self.scan(layout::deadlines(until), |key, _| {
            due.extend(layout::deadline_of(key));
            Ok(due.len() < limit)
        })?;
        Ok(due)
    }

    fn put_off(&self, due: &(Timestamp, String), to: Option<Timestamp>) -> Read<()> {
        let (at, evidence_id) = due;
        if to == Some(*at) {
            return Ok(());
        }
        let mut ops = vec![Op::Delete(layout::deadline(*at, evidence_id))];
        ops.extend(to.map(|to| Op::Put(layout::deadline(to, evidence_id), Vec::new())));
        self.write_aside(ops)
    }

    fn closing(&self) -> Read<Vec<String>> {
        let mut closing = Vec::new();
        self.scan(layout::all_closing(), |key, _| {
            closing.extend(layout::evidence_id_of(key));
            Ok(true)
        })?;
        Ok(closing)
    }

    fn sealed_file(&self, evidence_id: &str) -> Read<Option<Vec<u8>>> {
        self.file(evidence_id).or_else(|_| {
            // It may have been rewritten while it was read.
            let _one = self.one_at_a_time();
            self.file(evidence_id)
        })
    }

    fn logs(&self, evidence_id: &str) -> Read<Vec<Vec<u8>>> {
        logs::known(self, evidence_id)
    }

    fn log(&self, evidence_id: &str, log: u32) -> Read<Option<Vec<u8>>> {
        Ok(self.engine.get(&layout::log(evidence_id, log))?)
    }

    fn log_chunks(&self, evidence_id: &str, log: u32, from: u64, bytes: usize) -> Read<Vec<(u64, Vec<u8>)>> {
        logs::chunks(self, evidence_id, log, from, bytes)
    }

    fn line_ends(&self, evidence_id: &str, log_pos: u64, limit: usize) -> Read<Vec<LineEnd>> {
        logs::line_ends(self, evidence_id, log_pos, limit)
    }

    fn line_of_log(&self, evidence_id: &str, log: u32, line: u64) -> Read<Option<u64>> {
        logs::line_of_log(self, evidence_id, log, line)
    }

    fn forget_logs(&self, evidence_id: &str, known: &[Vec<u8>]) -> Read<bool> {
        logs::forget(self, evidence_id, known)
    }

    fn rewrite(&self, evidence_id: &str, rewritten: &Rewritten) -> Read<()> {
        let ops = self.rewriting(evidence_id, rewritten)?;
        self.write_aside(ops)
    }

    fn register_key(&self, keyid: &str, jwks: &str) -> Read<()> {
        let key = layout::public_key(keyid);
        match self.engine.get(&key)? {
            Some(known) if known == jwks.as_bytes() => Ok(()),
            _ => self.write_aside(vec![Op::Put(key, jwks.into())]),
        }
    }

    fn registered_keys(&self) -> Read<Vec<String>> {
        let mut keys = Vec::new();
        self.scan(layout::public_keys(), |_, value| {
            keys.push(String::from_utf8_lossy(value).into_owned());
            Ok(true)
        })?;
        Ok(keys)
    }

    fn settings(&self, project: &str) -> Read<Option<Settings>> {
        self.get(&layout::settings(project), "settings", project)
    }

    fn put_settings(&self, project: &str, settings: &Settings) -> Read<()> {
        self.write_aside(vec![Op::Put(layout::settings(project), json(settings))])
    }

    fn put_token(&self, digest: Digest, token: &str) -> Read<()> {
        self.write_aside(vec![Op::Put(layout::token(digest), token.into())])
    }

    fn delete_token(&self, digest: Digest) -> Read<()> {
        self.write_aside(vec![Op::Delete(layout::token(digest))])
    }

    fn tokens(&self) -> Read<Vec<(Digest, String)>> {
        self.by_digest(layout::tokens())
    }

    fn change_sessions(&self, new: Option<(Digest, &str)>, gone: &[Digest]) -> Read<()> {
        let gone = gone.iter().map(|digest| Op::Delete(layout::session(*digest)));
        let new = new.map(|(digest, session)| Op::Put(layout::session(digest), session.into()));
        self.write_aside(gone.chain(new).collect())
    }

    fn sessions(&self) -> Read<Vec<(Digest, String)>> {
        self.by_digest(layout::sessions())
    }
}

impl From<EngineError> for StoreError {
    fn from(error: EngineError) -> Self {
        StoreError::Engine(error.to_string())
    }
}

fn corrupt(what: &'static str, evidence_id: &str) -> StoreError {
    StoreError::Corrupt { what, evidence_id: evidence_id.to_owned() }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("stored values have text for names")
}
