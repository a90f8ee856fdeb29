//! What a hub holds, lets go of, and tells as missing.

use std::task::{Context, Poll, Waker};

use super::super::subscription::{Next, Told};
use super::super::topic::More;
use super::*;
use crate::evidence::canonical::Object;

fn frame(id: Option<&str>, name: &str, at_ms: i64) -> Frame {
    Frame::new(id, name, Timestamp::from_unix_ms(at_ms), None, Object::new())
}

/// What comes at once, and how many events were in it.
fn poll(subscription: &mut Subscription) -> (usize, Poll<Next>) {
    let mut count = 0_usize;
    let next = subscription.poll_next(&mut Context::from_waker(Waker::noop()), &mut |told| {
        let (Told::Frame(_) | Told::Replayed(_)) = told;
        count = count.saturating_add(1);
        More::Yes
    });
    (count, next)
}

#[test]
fn the_signals_of_another_run_are_held_in_place_of_the_oldest() {
    let hub = Hub::new("1", 10);
    for n in 0..MAX_HELD {
        hub.signaled(&n.to_string(), &[frame(None, "token", i64::try_from(n).unwrap())]);
    }
    hub.signaled("another", &[frame(None, "token", 1_000_000)]);
    let topics = hub.topics();
    assert!(topics.runs.contains_key("another") && !topics.runs.contains_key("0"));
    assert_eq!(topics.runs.len(), MAX_HELD);
}

#[test]
fn a_signal_of_all_runs_leaves_the_id_to_go_on_from_untold() {
    let hub = Hub::new("1", 10);
    let mut all = hub.subscribe(Stream::Runs, Filter::types(["token"]).unwrap()).unwrap();
    hub.signaled("r", &[frame(None, "token", 0)]);
    assert!(matches!(poll(&mut all), (1, Poll::Ready(Next::Some))));
    assert_eq!(all.untold_id().as_deref(), Some("1-1"));
    assert_eq!(all.untold_id(), None);
}

#[tokio::test]
async fn a_stream_ends_though_what_it_waits_for_never_comes() {
    let hub = Hub::new("1", 10);
    let one = hub.subscribe(Stream::Run("r".into()), Filter::default()).unwrap();
    let mut one = one.loaded_by(Box::new(|_| Box::pin(std::future::pending())), 1).from(0);
    assert!(matches!(poll(&mut one), (0, Poll::Pending)));
    hub.shut();
    assert!(matches!(poll(&mut one), (0, Poll::Ready(Next::Shut))));
}

#[test]
fn lines_that_are_not_made_are_told_as_a_gap_of_as_many() {
    let hub = Hub::new("1", 10);
    let mut all = hub.subscribe(Stream::Logs, Filter::log_lines()).unwrap();
    hub.logged("r", 0..10, |_| vec![frame(Some("9"), "log", 0)]);
    assert!(matches!(poll(&mut all), (0, Poll::Ready(Next::Gap(1, 10)))));
    assert!(matches!(poll(&mut all), (1, Poll::Ready(Next::Some))));
}
