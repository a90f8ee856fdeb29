//! What is said of lines that were recorded: which records answer them, and from where on none does yet.

use super::*;
use crate::events::Signal;
use crate::service::lines::Recorded;
use crate::service::{SentLines, What};

fn record(world: &World, run: &str, number: u64, what: What) -> Recorded {
    let lines = SentLines { numbers: vec![number], what, bytes: 0 };
    RUNTIME.block_on(world.service.record_lines(run, lines, &Caller::Local))
}

fn close() -> What {
    What::Close(Close { result: "failed".into(), reason: None, if_match: None, key: None })
}

#[test]
fn signals_say_how_far_the_record_has_come_for_nothing_before_that_answers_a_later_line() {
    let world = World::new(Limits::default());
    let run = open(&world, "{\"project\":\"p\"}").unwrap();
    let signals = || What::Signals(vec![Signal::parse(value("{\"type\":\"heartbeat\"}")).unwrap()]);
    assert_eq!(record(&world, &run, 2, signals()).next, 1);
    append(&world, &run, &["{\"type\":\"event\",\"name\":\"e\"}".into()], None, None).unwrap();
    let recorded = record(&world, &run, 3, signals());
    assert_eq!((recorded.answers, recorded.next, recorded.refused), (vec![], 2, None));
}

#[test]
fn a_close_that_is_not_sealed_yet_is_answered_by_its_record_and_told_as_pending() {
    let mut world = World::new(Limits::default());
    let run = open(&world, "{\"project\":\"p\"}").unwrap();
    // One write for the close, none for the seal.
    world.restart(1, false);
    let recorded = record(&world, &run, 4, close());
    assert_eq!((recorded.answers, recorded.next), (vec![(1, 4)], 2));
    assert_eq!(recorded.refused.map(|(line, error)| (line, code(error))), Some((4, "seal_pending")));
    world.restart(usize::MAX, false);
    for number in [2, 3] {
        let recorded = record(&world, &run, number, close());
        assert_eq!((recorded.answers, recorded.next), (vec![(1, number), (2, number)], 3));
        assert_eq!(recorded.refused, None);
    }
}
