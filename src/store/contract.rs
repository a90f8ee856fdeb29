//! What every store promises, held by each engine, also by one that fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::embedded::{Embedded, Engine, EngineError, FjallEngine, Frozen, MemoryEngine, Op, SledEngine};
use super::list::{Dimension, Page, Place, Query, Wanted};
use super::{Batch, Counter, Opened, Outcome, SealedFile, Sealing, Store};
use crate::evidence::canonical;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::Limits;
use crate::evidence::time::Timestamp;
use crate::journal::{Append, Around, Close, Entry, Opening, Run, Settings, State};

/// Fails at the n-th write, and says so afterwards too; the writes before are in the engine that it shares.
pub(crate) struct FailingEngine {
    pub(crate) engine: Arc<MemoryEngine>,
    /// How many writes are still taken.
    pub(crate) left: AtomicUsize,
    /// Whether the write that fails is on the disk all the same.
    pub(crate) written: bool,
}

impl Engine for FailingEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.engine.get(key)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        self.engine.scan(from, to, reverse, each)
    }

    fn write(&self, ops: Vec<Op>) -> Result<(), EngineError> {
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => self.engine.write(ops),
            Err(_) => {
                if self.written {
                    self.engine.write(ops)?;
                }
                Err(EngineError("no space left on device".into()))
            }
        }
    }

    fn freeze(&self) -> Result<Box<dyn Frozen>, EngineError> {
        self.engine.freeze()
    }

    fn compact(&self) -> Result<bool, EngineError> {
        self.engine.compact()
    }
}

/// An engine that outlives the store over it.
pub(crate) fn failing(engine: &Arc<MemoryEngine>, left: usize, written: bool) -> Box<FailingEngine> {
    Box::new(FailingEngine { engine: engine.clone(), left: AtomicUsize::new(left), written })
}

type Open = fn(&Path) -> Result<Box<dyn Engine>, EngineError>;

const ENGINES: [(&str, Open); 3] = [
    ("fjall", |path| FjallEngine::open(path).map(|engine| Box::new(engine) as _)),
    ("sled", |path| SledEngine::open(path).map(|engine| Box::new(engine) as _)),
    ("memory", |_| Ok(Box::new(MemoryEngine::default()))),
];

fn each_engine(promise: impl Fn(&str, &Embedded)) {
    for (name, open) in ENGINES {
        let place = tempfile::TempDir::new().unwrap();
        promise(name, &Embedded::new(open(place.path()).unwrap()));
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000 + ms)
}

fn id(n: u64) -> String {
    uuid::Builder::from_unix_timestamp_millis(1_800_000_000_000 + n, &[7; 10]).into_uuid().to_string()
}

/// A run of that number, and the batch that opens it.
fn opened(n: u64, run_id: &str) -> (Run, Batch) {
    let sent = format!("{{\"project\":\"p\",\"run_id\":\"{run_id}\"}}");
    let opening = Opening::parse(canonical::parse(sent.as_bytes(), 1 << 20).unwrap()).unwrap();
    let limits = Limits::default();
    let around = &mut Around {
        now: at(n as i64),
        salt: &mut || [1; 16],
        limits: &limits,
        by: None,
        logs: &|_, _| None,
    };
    let (run, records) = opening.open(&id(n), ("counter", n), Settings::default(), around).unwrap();
    let counter = Counter { sequence: "counter".into(), next: n };
    let batch = Batch {
        evidence_id: id(n),
        opened: Some(Opened { overview: run.overview().clone(), counter }),
        open_key: Some(("p".into(), format!("key-{n}"))),
        records,
        standing: Some(run.standing()),
        look_at: Some(at(n as i64 + 1_000)),
        ..Batch::default()
    };
    (run, batch)
}

/// The batch that appends events to a run.
fn events(run: &mut Run, names: &[&str]) -> Batch {
    let entry = |name: &&str| {
        let sent = format!("{{\"type\":\"event\",\"name\":\"{name}\"}}");
        Entry::parse(canonical::parse(sent.as_bytes(), 1 << 20).unwrap()).unwrap()
    };
    let expected = Some(run.standing().pos);
    let append =
        Append { entries: names.iter().map(entry).collect(), if_match: None, key: Some(names.concat()) };
    let limits = Limits::default();
    let around =
        &mut Around { now: at(5), salt: &mut || [1; 16], limits: &limits, by: None, logs: &|_, _| None };
    let answer = run.append(append, around).unwrap();
    Batch {
        evidence_id: run.overview().evidence_id.clone(),
        expected,
        records: answer.records,
        keys: answer.key.into_iter().collect(),
        standing: Some(run.standing()),
        ..Batch::default()
    }
}

fn closed(run: &mut Run) -> Batch {
    let expected = Some(run.standing().pos);
    let limits = Limits::default();
    let around =
        &mut Around { now: at(9), salt: &mut || [1; 16], limits: &limits, by: None, logs: &|_, _| None };
    let close = Close { result: "failed".into(), reason: None, if_match: None, key: None };
    let answer = run.close(close, around).unwrap();
    Batch {
        evidence_id: run.overview().evidence_id.clone(),
        expected,
        records: answer.records,
        standing: Some(run.standing()),
        ..Batch::default()
    }
}

#[test]
fn what_was_committed_is_read_back_as_it_was() {
    each_engine(|engine, store| {
        let (mut run, batch) = opened(1, "r");
        assert_eq!(store.commit(&[batch]), [Outcome::Done], "{engine}");
        assert_eq!(store.commit(&[events(&mut run, &["a", "b"])]), [Outcome::Done]);
        assert_eq!(store.commit(&[events(&mut run, &["c"])]), [Outcome::Done]);
        let (overview, standing) = store.run(&id(1)).unwrap().unwrap();
        assert_eq!((&overview, &standing), (run.overview(), &run.standing()));
        let records = store.records(&id(1), 0, 100).unwrap();
        let keys = store.keys(&id(1)).unwrap();
        assert_eq!(keys.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["ab", "c"]);
        let read = Run::load(overview, records, keys).unwrap();
        assert_eq!(read.standing(), run.standing());
        let some: Vec<u64> = store.records(&id(1), 1, 2).unwrap().iter().map(|record| record.pos).collect();
        assert_eq!(some, [1, 2]);
        assert_eq!(store.records(&id(1), 4, 9).unwrap(), []);
        assert_eq!(store.named("r", &|_| true).unwrap(), [("p".to_owned(), id(1))]);
        assert_eq!(store.named("", &|_| true).unwrap(), []);
        assert_eq!(store.named_in("r", "p").unwrap(), Some(id(1)));
        assert_eq!(store.named_in("r", "q").unwrap(), None);
        assert_eq!(store.named("r", &|project| project == "q").unwrap(), []);
        assert_eq!(store.opened_with("p", "key-1").unwrap(), Some(id(1)));
        assert_eq!(store.opened_with("p", "key-2").unwrap(), None);
        assert_eq!(store.counter("p").unwrap().unwrap().next, 1);
        assert_eq!(store.run(&id(2)).unwrap(), None);
    });
}

#[test]
fn a_batch_that_expects_something_else_is_lost_whole_and_harms_no_other() {
    each_engine(|engine, store| {
        let ((mut one, open_one), (mut two, open_two)) = (opened(1, "one"), opened(2, "two"));
        assert_eq!(store.commit(&[open_one.clone(), open_two]), [Outcome::Done, Outcome::Done], "{engine}");
        // The same run again, and another one of the same name.
        assert_eq!(store.commit(&[open_one]), [Outcome::Lost]);
        assert_eq!(store.commit(&[opened(3, "one").1]), [Outcome::Lost]);
        // A number that leaves one out.
        assert_eq!(store.commit(&[opened(4, "four").1]), [Outcome::Lost]);
        assert_eq!(store.run(&id(3)).unwrap(), None);
        let stale = events(&mut one.clone(), &["stale"]);
        assert_eq!(store.commit(&[events(&mut one, &["first"])]), [Outcome::Done]);
        let outcomes = store.commit(&[stale, events(&mut two, &["second"])]);
        assert_eq!(outcomes, [Outcome::Lost, Outcome::Done]);
        assert_eq!(store.run(&id(1)).unwrap().unwrap().1, one.standing());
        assert_eq!(store.run(&id(2)).unwrap().unwrap().1, two.standing());
        assert!(store.keys(&id(1)).unwrap().iter().all(|(key, _)| key == "first"));
    });
}

fn newest(
    store: &Embedded,
    after: Option<&Place>,
    limit: usize,
    candidates: usize,
    wanted: Wanted<'_>,
) -> Page {
    let query = Query {
        dimension: Dimension::Opened,
        projects: &|_| true,
        project: None,
        later: None,
        earlier: None,
        after,
        limit,
        candidates,
        wanted,
    };
    store.newest(&query).unwrap()
}

#[test]
fn runs_are_listed_newest_first_page_by_page() {
    each_engine(|engine, store| {
        for n in 1..=7 {
            assert_eq!(store.commit(&[opened(n, &format!("r{n}")).1]), [Outcome::Done], "{engine}");
        }
        let ids = |after: Option<&Place>, limit, candidates| {
            let odd = |overview: &crate::journal::Overview, _: &_| overview.run_id != "r4";
            let page = newest(store, after, limit, candidates, &odd);
            let ids: Vec<String> = page.runs.into_iter().map(|(overview, _)| overview.run_id).collect();
            (ids.join(" "), page.next)
        };
        let (first, next) = ids(None, 3, 100);
        assert_eq!(first, "r7 r6 r5");
        let (second, next) = ids(next.as_ref(), 3, 100);
        assert_eq!(second, "r3 r2 r1");
        assert_eq!(next, None);
        let (short, next) = ids(None, 3, 2);
        assert_eq!((short.as_str(), next), ("r7 r6", Some(Place { at: at(6), evidence_id: id(6) })));
    });
}

#[test]
fn deadlines_come_in_their_order_and_can_be_put_off() {
    each_engine(|engine, store| {
        for n in 1..=3 {
            assert_eq!(store.commit(&[opened(n, &format!("r{n}")).1]), [Outcome::Done], "{engine}");
        }
        assert_eq!(store.due(at(1_000), 10).unwrap(), []);
        let due = store.due(at(1_002), 10).unwrap();
        assert_eq!(due, [(at(1_001), id(1)), (at(1_002), id(2))]);
        store.put_off(&due[0], Some(at(9_000))).unwrap();
        store.put_off(&due[1], None).unwrap();
        assert_eq!(store.due(at(10_000), 10).unwrap(), [(at(1_003), id(3)), (at(9_000), id(1))]);
        assert_eq!(store.due(at(10_000), 1).unwrap().len(), 1);
    });
}

#[test]
fn a_sealed_file_counts_once_its_seal_is_recorded() {
    each_engine(|engine, store| {
        let (mut run, batch) = opened(1, "r");
        assert_eq!(store.commit(&[batch]), [Outcome::Done], "{engine}");
        assert_eq!(store.closing().unwrap(), [""; 0]);
        assert_eq!(store.commit(&[closed(&mut run)]), [Outcome::Done]);
        assert_eq!(store.closing().unwrap(), [id(1)]);
        let chunks = Batch {
            evidence_id: id(1),
            chunks: vec![(0, b"sea".to_vec()), (1, b"led".to_vec())],
            ..Batch::default()
        };
        assert_eq!(store.commit(&[chunks]), [Outcome::Done]);
        assert_eq!(store.sealed_file(&id(1)).unwrap(), None);
        let envelope_digest = Digest::of("sealed");
        let expected = Some(run.standing().pos);
        let record = run.record_seal(envelope_digest, at(10)).unwrap();
        let seal = Batch {
            evidence_id: id(1),
            expected,
            records: vec![record],
            standing: Some(run.standing()),
            sealed: Some((SealedFile { envelope_digest, chunks: 2, bytes: 6 }, Sealing::default())),
            ..Batch::default()
        };
        assert_eq!(store.commit(&[seal]), [Outcome::Done]);
        assert_eq!(store.sealed_file(&id(1)).unwrap().unwrap(), b"sealed");
        assert_eq!(store.closing().unwrap(), [""; 0]);
        assert_eq!(store.run(&id(1)).unwrap().unwrap().1.state, State::Sealed);
    });
}

#[test]
fn sessions_come_and_go_in_one_write_and_are_no_tokens() {
    each_engine(|engine, store| {
        let [a, b, c] = ["a", "b", "c"].map(Digest::of);
        store.put_token(a, "token").unwrap();
        store.change_sessions(Some((a, "1")), &[]).unwrap();
        store.change_sessions(Some((b, "2")), &[]).unwrap();
        store.change_sessions(Some((c, "3")), &[a, b]).unwrap();
        assert_eq!(store.sessions().unwrap(), [(c, "3".to_owned())], "{engine}");
        store.change_sessions(None, &[c]).unwrap();
        assert_eq!(store.sessions().unwrap(), []);
        assert_eq!(store.tokens().unwrap(), [(a, "token".to_owned())]);
    });
}

#[test]
fn what_was_committed_is_there_when_the_directory_is_opened_again() {
    for (engine, open) in &ENGINES[..2] {
        let place = tempfile::TempDir::new().unwrap();
        let mut runs: Vec<Run> = Vec::new();
        for round in 1..=3 {
            let store = Embedded::new(open(place.path()).unwrap());
            for run in &mut runs {
                assert_eq!(
                    store.run(&run.overview().evidence_id).unwrap().unwrap().1,
                    run.standing(),
                    "{engine}"
                );
                let name = format!("e{round}");
                assert_eq!(store.commit(&[events(run, &[&name])]), [Outcome::Done]);
            }
            let (run, batch) = opened(round, &format!("r{round}"));
            assert_eq!(store.commit(&[batch]), [Outcome::Done]);
            runs.push(run);
            store.register_key("k", "{}").unwrap();
        }
        let store = Embedded::new(open(place.path()).unwrap());
        assert_eq!(store.registered_keys().unwrap(), ["{}"]);
        assert_eq!(newest(&store, None, 9, 9, &|_, _| true).runs.len(), 3);
    }
}

#[test]
fn after_a_failed_write_nothing_is_taken_until_the_store_is_opened_again() {
    for written in [false, true] {
        for fails_at in 0..4 {
            let memory = Arc::new(MemoryEngine::default());
            let store = Embedded::new(failing(&memory, fails_at, written));
            let (mut run, batch) = opened(1, "r");
            let mut acknowledged = None;
            let mut batch = Some(batch);
            for n in 0..5 {
                let batch = batch.take().unwrap_or_else(|| events(&mut run, &[&format!("e{n}")]));
                match store.commit(&[batch]).pop() {
                    Some(Outcome::Done) if n < fails_at => acknowledged = Some(run.standing()),
                    Some(Outcome::Poisoned(_)) if n >= fails_at => {}
                    other => panic!("write {n} of {fails_at}: {other:?}"),
                }
            }
            assert!(store.health().is_err());
            // Opened again, all that was acknowledged stands there, and perhaps the whole of what failed.
            let store = Embedded::new(failing(&memory, usize::MAX, false));
            let found = store.run(&id(1)).unwrap().map(|(_, standing)| standing);
            let expected = acknowledged.as_ref().map(|standing| standing.pos);
            let more = if written { Some(expected.map_or(0, |pos| pos + 1)) } else { expected };
            assert_eq!(found.map(|standing| standing.pos), more, "{fails_at} {written}");
            assert_eq!(store.health(), Ok(()));
        }
    }
}

#[test]
fn what_a_killed_sled_leaves_of_a_snapshot_is_removed() {
    let place = tempfile::TempDir::new().unwrap();
    drop(SledEngine::open(place.path()).unwrap());
    std::fs::write(place.path().join("snap.0000000000000001.generating"), b"half").unwrap();
    let store = Embedded::new(Box::new(SledEngine::open(place.path()).unwrap()));
    assert_eq!(store.commit(&[opened(1, "r").1]), [Outcome::Done]);
    assert!(!place.path().join("snap.0000000000000001.generating").exists());
}
