//! The service with a clock, randomness and a disk of our own.

mod accepted;
mod closing;
mod damage;
mod keys;
mod lines;
mod logs;
mod readiness;
mod sessions;
mod streams;

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::runtime::Runtime;

use super::{Caller, Service, ServiceError, Signing};
use crate::append::{Ask, Rejection, Surroundings};
use crate::evidence::canonical::{self, Object, Value};
use crate::evidence::chain::Head;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::Limits;
use crate::evidence::key::SigningKey;
use crate::evidence::keyring::Keyring;
use crate::evidence::time::Timestamp;
use crate::evidence::verify::{Held, Verdict, verify};
use crate::journal::{
    Abort, Append, Close, Entry, GateDecision, Masks, NewGate, Opening, Periods, Refusal, Resolution, Rule,
    Run, Settings, State,
};
use crate::store::contract::failing;
use crate::store::embedded::{Embedded, Engine as _, MemoryEngine};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// A service whose clock, randomness and disk are ours.
struct World {
    memory: Arc<MemoryEngine>,
    clock: Arc<AtomicI64>,
    limits: Limits,
    service: Arc<Service>,
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

impl World {
    fn new(limits: Limits) -> Self {
        let memory = Arc::new(MemoryEngine::default());
        let clock = Arc::new(AtomicI64::new(1_800_000_000_000));
        let service = start(&memory, &clock, limits, usize::MAX, false);
        Self { memory, clock, limits, service }
    }

    /// The process dies, and another one starts on what it left. After so many writes its disk fails.
    fn restart(&mut self, writes: usize, written: bool) {
        self.service = start(&self.memory, &self.clock, self.limits, writes, written);
    }

    fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }
}

fn start(
    memory: &Arc<MemoryEngine>,
    clock: &Arc<AtomicI64>,
    limits: Limits,
    writes: usize,
    written: bool,
) -> Arc<Service> {
    let store = Arc::new(Embedded::new(failing(memory, writes, written)));
    // A disk that fails at once lets no service start; the next one works.
    Service::start(store, signing(), surroundings(clock, limits), None, None)
        .unwrap_or_else(|_| start(memory, clock, limits, usize::MAX, false))
}

fn surroundings(clock: &Arc<AtomicI64>, limits: Limits) -> Surroundings {
    let now = clock.clone();
    let started_at = Timestamp::from_unix_ms(clock.load(Ordering::SeqCst));
    Surroundings {
        now: Box::new(move || Timestamp::from_unix_ms(now.load(Ordering::SeqCst))),
        random: Box::new(move |bytes| {
            let n = DRAWN.fetch_add(1, Ordering::SeqCst).to_be_bytes();
            bytes.iter_mut().zip(n.iter().rev().cycle()).for_each(|(byte, n)| *byte = *n);
        }),
        limits,
        periods: Periods::default(),
        max_log_bytes: 1 << 20,
        max_subscribers: 1_000,
        started_at,
    }
}

fn signing() -> Signing {
    Signing { key: key(), keyring: Keyring::new() }
}

fn value(text: &str) -> Value<'_> {
    canonical::parse(text.as_bytes(), 1 << 20).unwrap()
}

fn open(world: &World, body: &str) -> Result<String, ServiceError> {
    let opening = Opening::parse(value(body)).unwrap();
    RUNTIME
        .block_on(world.service.open(opening, None, body.len(), &Caller::Local))
        .map(|(overview, ..)| overview.evidence_id)
}

fn append(
    world: &World,
    run: &str,
    lines: &[String],
    if_match: Option<Digest>,
    key: Option<String>,
) -> Result<Vec<Option<Head>>, ServiceError> {
    let entries: Result<Vec<Entry>, Refusal> = lines.iter().map(|line| Entry::parse(value(line))).collect();
    let entries = entries.map_err(|refusal| ServiceError::Rejected(refusal.into()))?;
    let bytes = lines.iter().map(String::len).sum();
    let done = RUNTIME.block_on(world.service.append(
        run,
        Append { entries, if_match, key },
        bytes,
        &Caller::Local,
    ))?;
    Ok(done.answer.receipts.iter().map(|receipt| receipt.head).collect())
}

fn finalize(world: &World, run: &str, result: &str) -> Result<Digest, ServiceError> {
    let close = Close { result: result.into(), reason: None, if_match: None, key: None };
    RUNTIME
        .block_on(world.service.finalize(run, close, 0, &Caller::Local))
        .map(|closed| closed.envelope_digest)
}

fn standing(world: &World, run: &str) -> crate::journal::Standing {
    RUNTIME.block_on(world.service.standing(run)).unwrap().1
}

fn sealed(world: &World, run: &str) -> Vec<u8> {
    RUNTIME.block_on(world.service.envelope_for(&Caller::Local, run)).unwrap().file
}

fn code(error: ServiceError) -> &'static str {
    error.code().0
}

/// No two draws are alike, not even by two processes.
static DRAWN: AtomicUsize = AtomicUsize::new(0);
