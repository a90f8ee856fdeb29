//! Ends that nobody asks for, and what they must not do.

use super::*;
use crate::events::Signal;

#[test]
fn a_clock_that_is_set_back_turns_no_time_around() {
    let world = World::new(Limits::default());
    let run = open(&world, "{\"project\":\"p\"}").unwrap();
    for n in 0..5 {
        world.pass(-3_600_000);
        append(&world, &run, &[format!("{{\"type\":\"event\",\"name\":\"e{n}\"}}")], None, None).unwrap();
    }
    finalize(&world, &run, "succeeded").unwrap();
    let held = Held { keyring: Some((*world.service.keyring()).clone()), ..Held::default() };
    let report = verify(&sealed(&world, &run), &held).into_report();
    assert_eq!(report.verdict, Verdict::Verified);
    assert!(report.checks.iter().all(|check| check.code.as_str() != "time.not_ascending"));
}

/// Lets the sweeper look once.
fn sweep(world: &World) {
    let service = world.service.clone();
    RUNTIME
        .block_on(async {
            tokio::time::timeout(std::time::Duration::from_millis(300), Service::sweep(service)).await
        })
        .ok();
}

#[test]
fn a_run_that_was_closing_when_the_service_died_is_sealed_by_the_next_one() {
    let mut world = World::new(Limits::default());
    let run = open(&world, "{\"project\":\"p\"}").unwrap();
    // The close alone, as if the process had died before the seal.
    let close = Close { result: "failed".into(), reason: None, if_match: None, key: None };
    RUNTIME.block_on(world.service.lanes.ask(&run, Ask::Close(close), 0, None)).unwrap();
    assert_eq!(standing(&world, &run).state, State::Closing);
    world.restart(usize::MAX, false);
    sweep(&world);
    assert_eq!(standing(&world, &run).state, State::Sealed);
    assert_eq!(verify(&sealed(&world, &run), &Held::default()).report().verdict, Verdict::IntegrityOnly);
}

#[test]
fn a_run_that_cannot_be_sealed_now_says_so_and_is_sealed_later() {
    let mut world = World::new(Limits::default());
    let run = open(&world, "{\"project\":\"p\"}").unwrap();
    // One write for the close, none for the seal.
    world.restart(1, false);
    assert_eq!(code(finalize(&world, &run, "failed").unwrap_err()), "seal_pending");
    assert!(world.service.readiness().iter().any(|reason| reason.contains(&run)));
    assert_eq!(standing(&world, &run).state, State::Closing);
    world.restart(usize::MAX, false);
    assert!(finalize(&world, &run, "failed").is_ok());
    assert!(world.service.readiness().is_empty());
}

#[test]
fn a_run_that_signals_expires_once_it_signals_no_more_held_or_not() {
    let world = World::new(Limits::default());
    let settings = Settings { idle_timeout: Some(7_200), ..Settings::default() };
    let settled = world.service.settle_project(&Caller::Local, "p", settings);
    RUNTIME.block_on(settled).unwrap();
    let run = open(&world, "{\"project\":\"p\"}").unwrap();
    world.pass(7_000_000);
    let signal = Signal::parse(value("{\"type\":\"heartbeat\"}")).unwrap();
    RUNTIME.block_on(world.service.signal(&run, vec![signal], 0, &Caller::Local)).unwrap();
    world.pass(7_000_000);
    sweep(&world);
    assert_eq!(standing(&world, &run).state, State::Open);
    world.pass(200_000);
    sweep(&world);
    assert_eq!(standing(&world, &run).result.as_deref(), Some("expired"));
}

#[test]
fn runs_that_nobody_closes_are_closed_when_they_are_due_and_not_before() {
    let world = World::new(Limits::default());
    let idle = open(&world, "{\"project\":\"p\",\"run_id\":\"idle\"}").unwrap();
    let busy = open(&world, "{\"project\":\"p\",\"run_id\":\"busy\"}").unwrap();
    let waiting = open(&world, "{\"project\":\"p\",\"run_id\":\"waiting\"}").unwrap();
    let asked = open(&world, "{\"project\":\"p\",\"run_id\":\"asked\"}").unwrap();
    append(
        &world,
        &idle,
        &["{\"type\":\"step_started\",\"step_id\":\"s\",\"kind\":\"test\"}".into()],
        None,
        None,
    )
    .unwrap();
    let members = value("{\"reason\":\"may it?\"}").into_owned();
    let gate = NewGate::parse(members.as_object().unwrap().clone(), None).unwrap();
    RUNTIME.block_on(world.service.open_gate(&waiting, gate, 0, &Caller::Local)).unwrap();
    RUNTIME
        .block_on(world.service.abort(
            &asked,
            Abort { reason: Some("enough".into()), force: false, key: None },
            0,
            &Caller::Local,
        ))
        .unwrap();
    world.pass(31_000);
    sweep(&world);
    assert_eq!(standing(&world, &asked).result.as_deref(), Some("aborted"));
    assert_eq!(standing(&world, &idle).state, State::Open);
    world.pass(3_500_000);
    append(&world, &busy, &["{\"type\":\"event\",\"name\":\"e\"}".into()], None, None).unwrap();
    world.pass(100_000);
    sweep(&world);
    let found = standing(&world, &idle);
    assert_eq!((found.state, found.result.as_deref()), (State::Sealed, Some("expired")));
    assert_eq!(found.counts.steps, 1, "what was pending is recorded as incomplete");
    assert_eq!(standing(&world, &busy).state, State::Open);
    assert_eq!(
        standing(&world, &waiting).state,
        State::Open,
        "the idle clock stands still while a gate is open"
    );
    world.pass(24 * 3_600_000);
    sweep(&world);
    for run in [&busy, &waiting] {
        assert_eq!(standing(&world, run).result.as_deref(), Some("expired"));
    }
    let held = Held { keyring: Some((*world.service.keyring()).clone()), ..Held::default() };
    for run in [&idle, &busy, &waiting, &asked] {
        assert_eq!(verify(&sealed(&world, run), &held).report().verdict, Verdict::Verified);
    }
}

#[test]
fn the_time_that_the_service_was_away_counts_for_nobody() {
    let mut world = World::new(Limits::default());
    let run = open(&world, "{\"project\":\"p\"}").unwrap();
    world.pass(3_500_000);
    world.restart(usize::MAX, false);
    world.pass(3_500_000);
    sweep(&world);
    assert_eq!(standing(&world, &run).state, State::Open);
    world.pass(200_000);
    sweep(&world);
    assert_eq!(standing(&world, &run).result.as_deref(), Some("expired"));
}

#[test]
fn runs_of_a_project_are_numbered_without_holes_however_they_are_opened() {
    let mut world = World::new(Limits::default());
    let mut opened = Vec::new();
    for round in 0..4 {
        let service = world.service.clone();
        let runs: Vec<String> = RUNTIME.block_on(async {
            let tasks: Vec<_> = (0..50)
                .map(|n| {
                    let service = service.clone();
                    let body = format!("{{\"project\":\"p\",\"run_id\":\"r{round}-{}\"}}", n / 2);
                    tokio::spawn(async move {
                        service.open(Opening::parse(value(&body)).unwrap(), None, 0, &Caller::Local).await
                    })
                })
                .collect();
            let mut runs = Vec::new();
            for task in tasks {
                runs.push(task.await.unwrap().unwrap().0.evidence_id);
            }
            runs
        });
        opened.extend(runs);
        world.restart(usize::MAX, false);
    }
    opened.sort();
    opened.dedup();
    assert_eq!(opened.len(), 100);
    let mut numbers: Vec<u64> = opened
        .iter()
        .map(|run| {
            let envelope = RUNTIME.block_on(world.service.snapshot(run, true)).unwrap().envelope.unwrap().0;
            value(&envelope).as_object().unwrap().object("run").unwrap().count("project_seq").unwrap()
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..100).collect::<Vec<u64>>());
}

#[test]
fn a_gate_that_is_answered_lets_the_idle_clock_go_on_at_once() {
    let world = World::new(Limits::default());
    let run = open(&world, "{\"project\":\"p\"}").unwrap();
    let members = Object::from_iter([("gate_id", "g"), ("reason", "may it?")]);
    let gate = NewGate::parse(members, None).unwrap();
    RUNTIME.block_on(world.service.open_gate(&run, gate, 0, &Caller::Local)).unwrap();
    world.pass(3_700_000);
    sweep(&world);
    let (gate_id, decision) = ("g".to_owned(), GateDecision::Approved);
    let resolution = Resolution { gate_id, decision, comment: None, seen_head: None, key: None };
    RUNTIME.block_on(world.service.resolve_gate(&run, resolution, 0, &Caller::Local)).unwrap();
    world.pass(3_500_000);
    sweep(&world);
    assert_eq!(standing(&world, &run).state, State::Open);
    world.pass(200_000);
    sweep(&world);
    assert_eq!(standing(&world, &run).result.as_deref(), Some("expired"));
}

#[test]
fn who_waits_for_a_gate_is_woken_by_gates_alone() {
    let world = World::new(Limits::default());
    let run = open(&world, "{\"project\":\"p\"}").unwrap();
    let mut recorded = world.service.lanes.watch_gates(&run);
    let gate = NewGate::parse(Object::from_iter([("gate_id", "g"), ("reason", "may it?")]), None).unwrap();
    RUNTIME.block_on(world.service.open_gate(&run, gate, 0, &Caller::Local)).unwrap();
    append(&world, &run, &["{\"type\":\"event\",\"name\":\"e\"}".into()], None, None).unwrap();
    RUNTIME.block_on(world.service.snapshot(&run, false)).unwrap();
    assert!(!recorded.has_changed().unwrap());
    // A gate that nobody answers is recorded by the close.
    finalize(&world, &run, "failed").unwrap();
    assert_eq!(*recorded.borrow_and_update(), 1);
}
