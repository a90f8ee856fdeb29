//! `store check` finds whatever was changed behind the service's back.

use super::*;
use crate::service::log_check::check_logs;
use crate::service::{LogAppend, Stream};
use crate::store::Store;
use crate::store::check::check;
use crate::store::embedded::{Engine, Op};
use crate::store::layout;
use crate::store::list::Dimension;

/// A store with an open run and a sealed one.
fn stored() -> (World, String, String) {
    let world = World::new(Limits::default());
    let sealed = open(&world, "{\"project\":\"p\",\"run_id\":\"sealed\"}").unwrap();
    let running = open(&world, "{\"project\":\"p\",\"run_id\":\"running\"}").unwrap();
    for run in [&sealed, &running] {
        let lines: Vec<String> =
            (0..3).map(|n| format!("{{\"type\":\"event\",\"name\":\"e{n}\"}}")).collect();
        append(&world, run, &lines, None, None).unwrap();
        let started = "{\"type\":\"step_started\",\"step_id\":\"s\",\"kind\":\"test\"}".to_owned();
        append(&world, run, &[started], None, None).unwrap();
        for text in ["one\ntwo", "\nthree"] {
            let append = LogAppend {
                step_id: "s".into(),
                attempt: 1,
                stream: Stream::Stdout,
                offset: None,
                bytes: text.into(),
            };
            RUNTIME.block_on(world.service.append_log(run, append, &Caller::Local)).unwrap();
        }
        let step = "{\"type\":\"step\",\"step_id\":\"s\",\"kind\":\"test\",\"status\":\"passed\"}".to_owned();
        append(&world, run, &[step], None, None).unwrap();
    }
    finalize(&world, &sealed, "succeeded").unwrap();
    (world, sealed, running)
}

fn standing_of(world: &World, run: &str) -> crate::journal::Overview {
    RUNTIME.block_on(world.service.standing(run)).unwrap().0
}

fn faults(world: &World) -> Vec<String> {
    let store = Embedded::new(failing(&world.memory, usize::MAX, false));
    let checked = check(&store, &|_| ()).unwrap();
    assert_eq!((checked.runs, checked.sealed), (2, 1));
    let logs = check_logs(&store, &|_| ()).unwrap();
    checked.faults.iter().chain(&logs).map(ToString::to_string).collect()
}

/// Changes one byte of the value under a key.
fn flip(world: &World, key: Vec<u8>, find: &str) {
    let mut value = world.memory.get(&key).unwrap().unwrap();
    let place = value.windows(find.len()).position(|bytes| bytes == find.as_bytes()).unwrap();
    value[place] ^= 1;
    world.memory.write(vec![Op::Put(key, value)]).unwrap();
}

#[test]
fn a_store_that_nobody_touched_holds() {
    let (world, ..) = stored();
    assert_eq!(faults(&world), [""; 0]);
}

#[test]
fn whatever_is_changed_is_found() {
    type Damage = fn(&World, &str, &str);
    let damages: [(&str, Damage); 13] = [
        ("chain is broken at seq 2", |world, _, running| flip(world, layout::record(running, 2), "\"e1\"")),
        ("journal cannot be read", |world, _, running| {
            world.memory.write(vec![Op::Delete(layout::record(running, 1))]).unwrap();
        }),
        ("does not lead to where it is said to stand", |world, _, running| {
            world.memory.write(vec![Op::Delete(layout::record(running, 5))]).unwrap();
        }),
        ("does not verify: chain.digest_mismatch", |world, sealed, _| {
            flip(world, layout::chunk(sealed, 0), "e2\",\"rec")
        }),
        ("sealed envelope is not whole", |world, sealed, _| {
            world.memory.write(vec![Op::Delete(layout::chunk(sealed, 0))]).unwrap();
        }),
        ("not found by its name", |world, _, _| {
            world.memory.write(vec![Op::Delete(layout::name("running", "p"))]).unwrap();
        }),
        ("index of closing runs is wrong", |world, _, running| {
            world.memory.write(vec![Op::Put(layout::closing(running), Vec::new())]).unwrap();
        }),
        ("nobody looks whether it is due", |world, _, running| {
            let due = Embedded::new(failing(&world.memory, usize::MAX, false));
            let of = |run: &str| {
                due.due(Timestamp::from_unix_ms(i64::MAX), 9).unwrap().into_iter().find(|due| due.1 == run)
            };
            world.memory.write(vec![Op::Delete(layout::deadline(of(running).unwrap().0, running))]).unwrap();
        }),
        ("missing in the index of lists", |world, _, running| {
            let at = standing_of(world, running).opened_at;
            let key = layout::index("p", &Dimension::OpenedState(State::Open), at, running);
            world.memory.write(vec![Op::Delete(key)]).unwrap();
        }),
        ("entries of runs that are not so", |world, sealed, _| {
            let at = standing_of(world, sealed).opened_at;
            let key = layout::index("p", &Dimension::OpenedState(State::Open), at, sealed);
            world.memory.write(vec![Op::Put(key, Vec::new())]).unwrap();
        }),
        ("its bytes are not those that were recorded", |world, sealed, _| {
            flip(world, layout::log_chunk(sealed, 0, 0), "two")
        }),
        ("its bytes are not those that were recorded", |world, sealed, _| {
            world.memory.write(vec![Op::Delete(layout::log_chunk(sealed, 0, 7))]).unwrap();
        }),
        ("without holes", |world, _, _| {
            let counter = b"{\"sequence\":\"x\",\"next\":3}".to_vec();
            world.memory.write(vec![Op::Put(layout::counter("p"), counter)]).unwrap();
        }),
    ];
    for (tells, damage) in damages {
        let (world, sealed, running) = stored();
        damage(&world, &sealed, &running);
        let found = faults(&world);
        assert!(found.iter().any(|fault| fault.contains(tells)), "{tells}: {found:?}");
    }
}

#[test]
fn a_seal_by_another_key_is_found() {
    let (world, sealed, _) = stored();
    let store = Embedded::new(failing(&world.memory, usize::MAX, false));
    let other = SigningKey::from_seed(&[9; 32]).public();
    let mut keyring = crate::evidence::keyring::Keyring::new();
    keyring.add(other, crate::evidence::keyring::Terms::default()).unwrap();
    world.memory.write(vec![Op::Delete(layout::public_key(&key().public().keyid()))]).unwrap();
    store.register_key(&other.keyid(), &keyring.to_jwks()).unwrap();
    assert_eq!(
        faults(&world),
        [format!("{sealed}: its sealed envelope does not verify: signature.key_unknown")]
    );
}
