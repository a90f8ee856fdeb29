//! Who follows a run misses nothing, whenever they come and whatever happens meanwhile.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::events::{Filter, Frame, More, Next, Stream, Told};
use crate::service::{Among, Begin, Followed};

/// Worlds, and runs in each: together over 10,000 subscriptions that race with all that happens.
const WORLDS: u64 = 60;
const RUNS: u64 = 60;
const FOLLOWERS: u64 = 3;

/// Numbers that differ from try to try and are the same at every run of the test.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    /// Lets others go first, now and then.
    async fn yield_some(&mut self) {
        for _ in 0..self.below(6) {
            tokio::task::yield_now().await;
        }
    }
}

/// What comes next: frames, or why none do.
async fn next(followed: &mut Followed) -> (Vec<Frame>, Next) {
    let mut frames = Vec::new();
    let next = poll_fn(|cx| {
        followed.subscription.poll_next(cx, &mut |told| {
            let (Told::Frame(frame) | Told::Replayed(frame)) = told;
            frames.push(frame.clone());
            More::Yes
        })
    });
    let next = timeout(Duration::from_secs(30), next).await.expect("something comes, or the end");
    (frames, next)
}

/// Follows a run from a position to its seal, across a restart; what it was told.
async fn follow(mut services: watch::Receiver<Arc<Service>>, run: String, from: u64) -> Vec<u64> {
    let mut told: Vec<u64> = Vec::new();
    loop {
        let service = services.borrow_and_update().clone();
        let begin = match told.last() {
            Some(last) => Begin::After(last.to_string()),
            None => Begin::From(from),
        };
        let seat = service.seat().unwrap();
        let Some(mut followed) =
            service.follow_run(seat, &run, Filter::default(), Some(begin)).await.unwrap()
        else {
            return told;
        };
        loop {
            let (frames, next) = next(&mut followed).await;
            told.extend(frames.iter().map(|frame| frame.id().unwrap().parse::<u64>().unwrap()));
            match next {
                Next::Some | Next::Away(_) => {}
                Next::End => return told,
                Next::Gap(..) => panic!("a journal has no gaps"),
                Next::Shut => break,
            }
        }
        // The next one may be there already.
        let _ = timeout(Duration::from_secs(30), services.changed()).await.expect("the service comes back");
    }
}

async fn report(service: &Service, run: &str, dice: &mut Dice, entries: u64) {
    for n in 0..entries {
        let lines = (0..=dice.below(3)).map(|i| format!(r#"{{"type":"event","name":"e{n}.{i}"}}"#));
        let entries = lines.map(|line| Entry::parse(value(&line)).unwrap()).collect();
        let append = Append { entries, if_match: None, key: None };
        service.append(run, append, 64, &Caller::Local).await.unwrap();
        dice.yield_some().await;
    }
}

/// One run: reported on two starts of the service, and closed on the second.
async fn live(
    services: watch::Receiver<Arc<Service>>,
    restarted: watch::Receiver<bool>,
    mut dice: Dice,
) -> (u64, Vec<(u64, JoinHandle<Vec<u64>>)>) {
    let first = services.borrow().clone();
    let opening = Opening::parse(value(r#"{"project":"p"}"#)).unwrap();
    let run = first.open(opening, None, 64, &Caller::Local).await.unwrap().0.evidence_id;
    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS {
        let (services, run, mut dice) = (services.clone(), run.clone(), Dice(dice.below(u64::MAX >> 34)));
        let from = dice.below(3) / 2;
        followers.push((
            from,
            tokio::spawn(async move {
                for _ in 0..dice.below(12) {
                    tokio::task::yield_now().await;
                }
                follow(services, run, from).await
            }),
        ));
    }
    report(&first, &run, &mut dice, 4).await;
    let mut restarted = restarted;
    restarted.wait_for(|restarted| *restarted).await.unwrap();
    let second = services.borrow().clone();
    report(&second, &run, &mut dice, 3).await;
    let close = Close { result: "succeeded".into(), reason: None, if_match: None, key: None };
    second.finalize(&run, close, 0, &Caller::Local).await.unwrap();
    (second.standing(&run).await.unwrap().1.pos, followers)
}

#[test]
fn who_follows_from_a_position_is_told_of_every_record_once_and_in_order() {
    for n in 0..WORLDS {
        let mut world = World::new(Limits::default());
        RUNTIME.block_on(async {
            let (services, seen) = watch::channel(world.service.clone());
            let (restart, restarted) = watch::channel(false);
            let runs: Vec<_> = (0..RUNS)
                .map(|i| tokio::spawn(live(seen.clone(), restarted.clone(), Dice(n * RUNS + i))))
                .collect();
            // In the middle of what they report.
            let mut dice = Dice(n);
            for _ in 0..dice.below(300) {
                tokio::task::yield_now().await;
            }
            world.service.end_streams();
            tokio::time::sleep(Duration::from_millis(dice.below(20))).await;
            world.restart(usize::MAX, false);
            services.send(world.service.clone()).unwrap();
            restart.send(true).unwrap();
            for run in runs {
                let (last, followers) = run.await.unwrap();
                for (from, follower) in followers {
                    assert_eq!(follower.await.unwrap(), (from..=last).collect::<Vec<u64>>());
                }
            }
            assert_eq!(world.service.hub.subscribers(), 0);
        });
    }
}

fn follow_all(world: &World, among: Among, begin: Option<Begin>) -> Followed {
    world.service.follow_runs(&Caller::Local, among, Filter::default(), begin).unwrap()
}

/// What has come so far, once all that was answered is told too.
fn ready(world: &World, run: &str, followed: &mut Followed) -> (Vec<Frame>, Vec<(u64, u64)>) {
    // A lane is asked after it has told.
    RUNTIME.block_on(world.service.lanes.view(run, |_| ())).unwrap();
    let (mut frames, mut gaps) = (Vec::new(), Vec::new());
    RUNTIME.block_on(poll_fn(|cx| {
        loop {
            let next = followed.subscription.poll_next(cx, &mut |told| {
                let (Told::Frame(frame) | Told::Replayed(frame)) = told;
                frames.push(frame.clone());
                More::Yes
            });
            match next {
                Poll::Ready(Next::Gap(from, to)) => gaps.push((from, to)),
                Poll::Ready(Next::Some) => {}
                Poll::Ready(_) | Poll::Pending => return Poll::Ready(()),
            }
        }
    }));
    (frames, gaps)
}

fn opening_of(followed: &Followed) -> Vec<Value<'static>> {
    followed.opening.iter().map(|frame| value(frame.data()).into_owned()).collect()
}

fn many(n: usize) -> Vec<String> {
    (0..n).map(|i| format!(r#"{{"type":"event","name":"e{i}","message":"{}"}}"#, "x".repeat(4_000))).collect()
}

#[test]
fn on_the_stream_of_all_runs_what_is_missing_is_named() {
    let mut world = World::new(Limits::default());
    let mut slow = follow_all(&world, Among::default(), None);
    let mut quick = follow_all(&world, Among::default(), None);
    let run = open(&world, r#"{"project":"p"}"#).unwrap();
    let first = ready(&world, &run, &mut quick).0.pop().unwrap().id().unwrap().to_owned();
    let (mut seen, mut gaps) = (1, 0);
    // More than is kept.
    for _ in 0..24 {
        append(&world, &run, &many(200), None, None).unwrap();
        let (frames, missed) = ready(&world, &run, &mut quick);
        (seen, gaps) = (seen + frames.len(), gaps + missed.len());
    }
    assert_eq!((seen, gaps), (4_801, 0));
    let (frames, gaps) = ready(&world, &run, &mut slow);
    assert_eq!(gaps.len(), 1);
    let (from, to) = gaps[0];
    assert_eq!((from, to - from + frames.len() as u64), (1, 4_801));
    assert_eq!(frames.first().and_then(Frame::id), Some(slow.subscription.id(to).as_str()));
    // Who comes back too late is told the same.
    let mut late = follow_all(&world, Among::default(), Some(Begin::After(first.clone())));
    assert_eq!(ready(&world, &run, &mut late).1, [(2, to)]);
    // And after a restart that nothing from before is there.
    world.service.end_streams();
    world.restart(usize::MAX, false);
    let after = follow_all(&world, Among::default(), Some(Begin::After(first)));
    assert_eq!(opening_of(&after)[1].as_object().unwrap().text("reason"), Some("restart"));
    for id in ["", "x", "-1", "99999999999999999999", "zz-1", "\u{0}"] {
        let after = follow_all(&world, Among::default(), Some(Begin::After(id.into())));
        assert_eq!(opening_of(&after)[1].as_object().unwrap().text("reason"), Some("cursor"), "{id:?}");
    }
}

#[test]
fn of_all_runs_only_those_are_told_that_are_asked_for_and_seen() {
    let world = World::new(Limits::default());
    let named = open(&world, r#"{"project":"p","run_id":"named"}"#).unwrap();
    let among = |runs: &[&str], projects: &[&str]| Among {
        runs: runs.iter().map(|run| (*run).to_owned()).collect(),
        projects: projects.iter().map(|project| (*project).to_owned()).collect(),
    };
    let mut all = follow_all(&world, Among::default(), None);
    let mut by_name = follow_all(&world, among(&["named"], &[]), None);
    let mut by_id = follow_all(&world, among(&[&named, "other"], &[]), None);
    let mut by_project = follow_all(&world, among(&[], &["q"]), None);
    append(&world, &named, &many(1), None, None).unwrap();
    open(&world, r#"{"project":"q"}"#).unwrap();
    // Who is cut off before anything happens comes back to where this began.
    assert!(all.opening.first().unwrap().id().is_some());
    let told = |followed: &mut Followed| -> Vec<String> {
        ready(&world, &named, followed).0.iter().map(|frame| frame.name().to_owned()).collect()
    };
    assert_eq!(told(&mut all), ["e0", "run_started"]);
    assert_eq!(told(&mut by_name), ["e0"]);
    assert_eq!(told(&mut by_id), ["e0"]);
    assert_eq!(told(&mut by_project), ["run_started"]);
    // Of what was passed over the id is known all the same.
    assert_eq!(by_project.subscription.untold_id(), None);
    assert!(by_name.subscription.untold_id().is_some());
}

#[test]
fn places_are_limited_and_free_again_when_who_had_them_goes() {
    let world = World::new(Limits::default());
    let run = open(&world, r#"{"project":"p"}"#).unwrap();
    let follow = || world.service.hub.subscribe(Stream::Run(run.clone()), Filter::default());
    let all: Vec<_> = (0..1_000).map(|_| follow().unwrap()).collect();
    assert_eq!(follow().err().unwrap().max_subscribers, 1_000);
    assert_eq!(world.service.seat().err().map(code), Some("subscribers_full"));
    drop(all);
    // One that is not used yet is taken too.
    let seats: Vec<_> = (0..1_000).map(|_| world.service.seat().unwrap()).collect();
    assert!(follow().is_err());
    drop(seats);
    assert!(follow().is_ok());
    assert_eq!(world.service.hub.subscribers(), 0);
}

/// All that a follower is told from that position to the seal.
fn told_from(world: &World, run: &str, from: u64) -> Vec<u64> {
    let services = watch::Sender::new(world.service.clone());
    RUNTIME.block_on(follow(services.subscribe(), run.to_owned(), from))
}

#[test]
fn records_of_any_size_are_told_to_followers_at_different_places() {
    let world = World::new(Limits::default());
    let run = open(&world, r#"{"project":"p"}"#).unwrap();
    let mut early = RUNTIME
        .block_on(world.service.follow_run(world.service.seat().unwrap(), &run, Filter::default(), None))
        .unwrap()
        .unwrap();
    let text = |members: usize, bytes: usize| -> String {
        (0..members).map(|n| format!(r#""m{n}":"{}","#, "x".repeat(bytes))).collect()
    };
    // Of many members each is small enough to be told.
    for (count, members, bytes) in [(200, 1, 12_000), (40, 12, 16_000), (300, 1, 10)] {
        let data = text(members, bytes);
        let line = |i: usize| format!(r#"{{"type":"event","name":"e{i}","data":{{{data}"last":0}}}}"#);
        append(&world, &run, &(0..count).map(line).collect::<Vec<_>>(), None, None).unwrap();
    }
    finalize(&world, &run, "succeeded").unwrap();
    // It begins to load, is not asked again, and holds up nobody.
    assert_eq!(ready(&world, &run, &mut early).0.len(), 0);
    std::thread::scope(|scope| {
        for from in [0, 1, 7, 150, 201, 230, 240, 500] {
            let (world, run) = (&world, &run);
            scope.spawn(move || assert_eq!(told_from(world, run, from), (from..543).collect::<Vec<u64>>()));
        }
    });
}
