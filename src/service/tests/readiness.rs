//! Whatever keeps the service from its work is a reason that it tells.

use super::*;
use crate::store::embedded::{Engine, EngineError, Frozen, Op};
use crate::store::layout;

/// Dies at its first write once it is told to.
struct DyingEngine {
    engine: Arc<MemoryEngine>,
    dies: Arc<AtomicUsize>,
}

impl Engine for DyingEngine {
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
        assert_eq!(self.dies.load(Ordering::SeqCst), 0, "told to die");
        self.engine.write(ops)
    }

    fn freeze(&self) -> Result<Box<dyn Frozen>, EngineError> {
        self.engine.freeze()
    }

    fn compact(&self) -> Result<bool, EngineError> {
        self.engine.compact()
    }
}

fn over(engine: Box<dyn Engine>, disk: Option<(std::path::PathBuf, u64)>) -> World {
    let world = World::new(Limits::default());
    let surroundings = surroundings(&world.clock, world.limits);
    let store = Arc::new(Embedded::new(engine));
    let service = Service::start(store, signing(), surroundings, disk, None).unwrap();
    World { service, ..world }
}

fn told(world: &World, wanted: &str) {
    let reasons = world.service.readiness();
    assert!(reasons.iter().any(|reason| reason.contains(wanted)), "{wanted}: {reasons:?}");
    let metrics = RUNTIME.block_on(world.service.metrics());
    assert!(metrics.contains("\nsealstone_ready 0\n"), "{metrics}");
}

#[test]
fn a_service_that_can_do_its_work_has_no_reason() {
    let world = World::new(Limits::default());
    assert_eq!(world.service.readiness(), [""; 0]);
    assert!(RUNTIME.block_on(world.service.metrics()).contains("\nsealstone_ready 1\n"));
}

#[test]
fn a_disk_with_less_than_is_kept_free_is_a_reason() {
    let world = over(Box::<MemoryEngine>::default(), Some((".".into(), u64::MAX)));
    told(&world, "(--min-free)");
    let refused = open(&world, "{\"project\":\"p\"}").map_err(code);
    assert_eq!(refused, Err("disk_full"));
    let metrics = RUNTIME.block_on(world.service.metrics());
    assert!(metrics.contains("\nsealstone_batches_refused_total{reason=\"disk_full\"} 1\n"), "{metrics}");
}

#[test]
fn a_store_that_failed_is_a_reason() {
    // The key is registered, the run is not opened.
    let world = over(failing(&Arc::default(), 1, false), None);
    assert_eq!(open(&world, "{\"project\":\"p\"}").map_err(code), Err("store_unavailable"));
    told(&world, "takes nothing until a restart");
}

#[test]
fn a_writer_that_died_is_a_reason() {
    let dies = Arc::new(AtomicUsize::new(0));
    let world = over(Box::new(DyingEngine { engine: Arc::default(), dies: dies.clone() }), None);
    dies.store(1, Ordering::SeqCst);
    assert_eq!(open(&world, "{\"project\":\"p\"}").map_err(code), Err("store_unavailable"));
    // Who waited is told while the thread unwinds.
    for _ in 0..1_000 {
        if !world.service.committer.is_alive() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    told(&world, "the writer has died");
}

#[test]
fn a_run_that_cannot_be_sealed_is_a_reason_until_it_is() {
    let world = World::new(Limits::default());
    let run = open(&world, "{\"project\":\"p\"}").unwrap();
    append(&world, &run, &["{\"type\":\"event\",\"name\":\"e\"}".to_owned()], None, None).unwrap();
    let record = world.memory.get(&layout::record(&run, 1)).unwrap().unwrap();
    world.memory.write(vec![Op::Delete(layout::record(&run, 1))]).unwrap();
    assert_eq!(finalize(&world, &run, "succeeded").map_err(code), Err("seal_pending"));
    told(&world, &format!("{run} is not sealed"));
    world.memory.write(vec![Op::Put(layout::record(&run, 1), record)]).unwrap();
    finalize(&world, &run, "succeeded").unwrap();
    assert_eq!(world.service.readiness(), [""; 0]);
    let metrics = RUNTIME.block_on(world.service.metrics());
    for outcome in
        ["sealstone_seals_total{outcome=\"failed\"} 1", "sealstone_seals_total{outcome=\"done\"} 1"]
    {
        assert!(metrics.contains(outcome), "{metrics}");
    }
}
