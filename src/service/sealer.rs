//! Sealing: reads a closed run's journal, seals it, verifies what it made, stores it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Mutex as TaskMutex, Semaphore};

use super::keys::Keys;
use crate::append::{Ask, Committer, Lanes, Surroundings};
use crate::evidence::digest::Digest;
use crate::evidence::seal::{Parts, Sealed, seal};
use crate::evidence::verify::{Held, verify};
use crate::journal::JournalRecord;
use crate::store::{Batch, CHUNK_BYTES, Outcome, SealedFile, Sealing, Store};

/// How many chunks are written at once, so that they hold up nobody.
const CHUNKS_AT_ONCE: usize = 4;
/// How many runs are sealed at once.
const AT_ONCE: usize = 1;

/// Makes seals, one a run.
pub(super) struct Sealer {
    store: Arc<dyn Store>,
    lanes: Arc<Lanes>,
    committer: Arc<Committer>,
    surroundings: Arc<Surroundings>,
    keys: Arc<Keys>,
    permits: Semaphore,
    /// Runs that are being sealed.
    busy: Mutex<HashMap<String, Arc<TaskMutex<()>>>>,
    /// Runs that could not be, and why.
    failed: Mutex<BTreeMap<String, String>>,
}

impl Sealer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        lanes: Arc<Lanes>,
        committer: Arc<Committer>,
        surroundings: Arc<Surroundings>,
        keys: Arc<Keys>,
    ) -> Arc<Self> {
        let permits = Semaphore::new(AT_ONCE);
        let (busy, failed) = (Mutex::default(), Mutex::default());
        Arc::new(Self { store, lanes, committer, surroundings, keys, permits, busy, failed })
    }

    /// Seals a closed run, or waits for who does. Goes on when the caller goes away.
    pub(super) async fn seal(self: Arc<Self>, evidence_id: String) -> Result<Digest, String> {
        let task = tokio::spawn(async move {
            let busy = lock(&self.busy).entry(evidence_id.clone()).or_default().clone();
            let sealed = {
                let _one = busy.lock().await;
                self.seal_once(&evidence_id).await
            };
            drop(busy);
            lock(&self.busy).retain(|_, busy| Arc::strong_count(busy) > 1);
            self.note(evidence_id, sealed.as_ref().err());
            sealed
        });
        task.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Keeps why a run could not be sealed. Told once: it is tried again and again.
    fn note(&self, evidence_id: String, why: Option<&String>) {
        let Some(why) = why else { return drop(lock(&self.failed).remove(&evidence_id)) };
        self.committer.figures().seals.add("failed", 1);
        let before = lock(&self.failed).insert(evidence_id.clone(), why.clone());
        if before.as_ref() != Some(why) {
            tracing::error!(evidence_id, reason = why, "a run could not be sealed; it is tried again");
        }
    }

    /// Which runs could not be sealed, in words.
    pub(super) fn failures(&self) -> Vec<String> {
        let failed = lock(&self.failed);
        failed.iter().map(|(evidence_id, why)| format!("{evidence_id} is not sealed: {why}")).collect()
    }

    async fn seal_once(self: &Arc<Self>, evidence_id: &str) -> Result<Digest, String> {
        // Held until the file is stored: files do not pile up where the disk is slow.
        let _permit = self.permits.acquire().await.map_err(told)?;
        let begun = Instant::now();
        let (sealer, id) = (self.clone(), evidence_id.to_owned());
        let made = tokio::task::spawn_blocking(move || sealer.make(&id)).await.map_err(told)??;
        let (Sealed { envelope_digest, file, .. }, sealing, keyid) = match made {
            Made::Already(envelope_digest) => return Ok(envelope_digest),
            Made::Sealed { sealed, sealing, keyid } => (sealed, sealing, keyid),
        };
        let mut chunks = 0_u32;
        for group in file.as_bytes().chunks(CHUNK_BYTES.saturating_mul(CHUNKS_AT_ONCE)) {
            let numbered = group.chunks(CHUNK_BYTES).map(|chunk| {
                let n = chunks;
                chunks = chunks.saturating_add(1);
                (n, chunk.to_vec())
            });
            let batch =
                Batch { evidence_id: evidence_id.to_owned(), chunks: numbered.collect(), ..Batch::default() };
            match self.committer.commit(vec![batch]).await.pop().map(|committed| committed.outcome) {
                Some(Outcome::Done) => {}
                outcome => return Err(format!("the sealed file could not be stored: {outcome:?}")),
            }
        }
        // The first seal stands for ever: none is recorded of a key that was revoked while it was made.
        self.keys.current().check_not_revoked(&keyid).map_err(told)?;
        let stored = SealedFile { envelope_digest, chunks, bytes: file.len() };
        let done = self.lanes.ask(evidence_id, Ask::Seal(envelope_digest, stored, sealing), 0, None).await;
        let done = done.map_err(|rejection| format!("the seal could not be recorded: {rejection:?}"))?;
        let figures = self.committer.figures();
        figures.seals.add("done", 1);
        figures.seal_seconds.took(begun.elapsed());
        done.standing.envelope_digest.ok_or_else(|| "the run is not closed".to_owned())
    }

    /// The sealed file, verified as any auditor would.
    fn make(&self, evidence_id: &str) -> Result<Made, String> {
        let found = self.store.run(evidence_id).map_err(told)?;
        let (_, standing) = found.ok_or("there is no such run")?;
        if let Some(envelope_digest) = standing.envelope_digest {
            return Ok(Made::Already(envelope_digest));
        }
        let count = usize::try_from(standing.pos.saturating_add(1)).unwrap_or(usize::MAX);
        let records = self.store.records(evidence_id, 0, count).map_err(told)?;
        let now = (self.surroundings.now)();
        let keys = self.keys.current();
        keys.check(now).map_err(told)?;
        let sealed = with_parts(&records, |parts| seal(parts, keys.counts_from(now), &[&keys.key]));
        let sealed = sealed.map_err(told)?;
        let held = Held { keyring: Some(keys.own()), ..Held::default() };
        let judged = verify(sealed.file.as_bytes(), &held);
        match judged.verified() {
            Some(_) => {
                let (sealing, keyid) = (Sealing::of(&records), keys.key.public().keyid());
                Ok(Made::Sealed { sealed, sealing, keyid })
            }
            None => {
                let first = judged.report().first_failure.as_ref();
                let why = first.map_or("no failure named".to_owned(), |check| check.code.to_string());
                Err(format!("what was sealed does not verify ({why}); the journal is kept as it is"))
            }
        }
    }
}

enum Made {
    Already(Digest),
    Sealed { sealed: Sealed, sealing: Sealing, keyid: String },
}

/// What an envelope is made of, from the records of a journal.
pub(super) fn with_parts<T>(records: &[JournalRecord], take: impl FnOnce(&Parts<'_>) -> T) -> T {
    let elements: Vec<_> = records.iter().filter_map(JournalRecord::element).collect();
    let texts: Vec<_> = elements.iter().map(|element| (element.kind, element.text.as_str())).collect();
    let links: Vec<_> = elements.iter().map(|element| element.link).collect();
    let disclosures: Vec<_> = elements.iter().flat_map(|element| element.disclosures.clone()).collect();
    take(&Parts { elements: &texts, links: &links, disclosures: &disclosures })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
