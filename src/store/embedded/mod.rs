//! The embedded store: journals in an ordered key-value engine.

mod aside;
mod engine;
mod fjall;
mod memory;
mod sled;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::engine::{Engine, EngineError, Op};
pub(crate) use self::fjall::FjallEngine;
pub(crate) use self::memory::MemoryEngine;
pub(crate) use self::sled::SledEngine;
use super::layout;
use super::{Batch, Counter, Outcome, Page, Read, SealedFile, Store, StoreError};
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;
use crate::journal::{JournalRecord, KeyUse, Overview, Pos, Settings, Standing, State};

/// How many bytes of overviews are read for one page.
const MAX_PAGE_BYTES: usize = 8 << 20;
/// How many projects are named that have a run of the same name.
const SOME: usize = 5;

/// Journals in an engine.
pub(crate) struct Embedded {
    engine: Box<dyn Engine>,
    /// Why nothing is taken any more.
    poisoned: OnceLock<String>,
    /// One commit at a time: what it expects is checked before it writes.
    committing: Mutex<()>,
}

impl Embedded {
    pub(crate) fn new(engine: Box<dyn Engine>) -> Self {
        Self { engine, poisoned: OnceLock::new(), committing: Mutex::new(()) }
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

    /// What the batch writes; `Err` if it cannot be taken. `counted` are the counters of projects as this commit leaves them.
    fn ops(
        &self,
        batch: &Batch,
        ops: &mut Vec<Op>,
        counted: &mut HashMap<String, u64>,
    ) -> Result<(), Outcome> {
        let id = batch.evidence_id.as_str();
        let unavailable = |error: StoreError| Outcome::Unavailable(error.to_string());
        let before: Option<Standing> =
            self.get(&layout::standing(id), "standing", id).map_err(unavailable)?;
        if batch.standing.is_some() && before.as_ref().map(|before| before.pos) != batch.expected {
            return Err(Outcome::Lost);
        }
        if let Some(opened) = &batch.opened {
            let Overview { run_id, project, .. } = &opened.overview;
            let name = layout::name(run_id, project);
            let taken = self.engine.get(&name).map_err(|error| unavailable(error.into()))?;
            let next = match counted.get(project) {
                Some(next) => *next,
                None => self.counter(project).map_err(unavailable)?.map_or(0, |counter| counter.next),
            };
            // No number is given twice, and none left out.
            if taken.is_some() || next.checked_add(1) != Some(opened.counter.next) {
                return Err(Outcome::Lost);
            }
            counted.insert(project.clone(), opened.counter.next);
            ops.push(Op::Put(name, id.into()));
            ops.push(Op::Put(layout::overview(id), json(&opened.overview)));
            ops.push(Op::Put(layout::counter(project), json(&opened.counter)));
        }
        if let Some((project, key)) = &batch.open_key {
            ops.push(Op::Put(layout::opened_with(project, key), id.into()));
        }
        let records = batch.records.iter();
        ops.extend(records.map(|record| Op::Put(layout::record(id, record.pos), record.encode())));
        let keys = batch.keys.iter();
        ops.extend(keys.map(|(key, used)| Op::Put(layout::key(id, key), used.encode())));
        let chunks = batch.chunks.iter();
        ops.extend(chunks.map(|(n, chunk)| Op::Put(layout::chunk(id, *n), chunk.clone())));
        if let Some(sealed) = &batch.sealed {
            ops.push(Op::Put(layout::sealed(id), json(sealed)));
        }
        if let Some(at) = batch.look_at {
            ops.push(Op::Put(layout::deadline(at, id), Vec::new()));
        }
        if let Some(standing) = &batch.standing {
            match (before.map(|before| before.state), standing.state) {
                (Some(State::Open), State::Closing) => {
                    ops.push(Op::Put(layout::closing(id), Vec::new()));
                }
                (Some(State::Closing), State::Sealed) => ops.push(Op::Delete(layout::closing(id))),
                _ => {}
            }
            ops.push(Op::Put(layout::standing(id), json(standing)));
        }
        Ok(())
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

    fn newest(
        &self,
        after: Option<&str>,
        limit: usize,
        candidates: usize,
        wanted: &dyn Fn(&Overview, &Standing) -> bool,
    ) -> Read<Page> {
        let (from, mut to) = layout::overviews();
        if let Some(after) = after {
            to = layout::overview(after);
        }
        let (mut page, mut seen, mut bytes, mut failed) = (Page::default(), 0_usize, 0_usize, Ok(()));
        self.engine.scan(&from, &to, true, &mut |key, value| {
            let id = layout::evidence_id_of(key).unwrap_or_default();
            seen = seen.saturating_add(1);
            let read = || -> Read<Option<(Overview, Standing)>> {
                let overview = serde_json::from_slice(value).map_err(|_| corrupt("overview", &id))?;
                let standing = self.get(&layout::standing(&id), "standing", &id)?;
                Ok(standing.map(|standing| (overview, standing)))
            };
            match read() {
                Ok(Some((overview, standing))) if wanted(&overview, &standing) => {
                    page.runs.push((overview, standing));
                }
                Ok(_) => {}
                Err(error) => failed = Err(error),
            }
            bytes = bytes.saturating_add(value.len());
            let enough = page.runs.len() >= limit || seen >= candidates || bytes >= MAX_PAGE_BYTES;
            if enough {
                page.next = Some(id);
            }
            failed.is_ok() && !enough
        })?;
        failed.map(|()| page)
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
        let sealed: Option<SealedFile> =
            self.get(&layout::sealed(evidence_id), "sealed envelope", evidence_id)?;
        let Some(sealed) = sealed else { return Ok(None) };
        let mut file = Vec::with_capacity(sealed.bytes);
        for n in 0..sealed.chunks {
            let chunk = self.engine.get(&layout::chunk(evidence_id, n))?;
            file.extend(chunk.ok_or_else(|| corrupt("sealed envelope", evidence_id))?);
        }
        if file.len() == sealed.bytes { Ok(Some(file)) } else { Err(corrupt("sealed envelope", evidence_id)) }
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
