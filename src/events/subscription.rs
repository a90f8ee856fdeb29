//! One who is told: a cursor on a topic, what of it is wanted, and what has to be loaded for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::JoinHandle;

use super::filter::Filter;
use super::follower::Follower;
use super::frame::{Frame, Source};
use super::topic::{Given, Loading, More, Then, Topic};
use super::vocabulary::EventKind;
use crate::evidence::time::Timestamp;

/// Frames from a position on, at least one if there is one; why not otherwise.
pub(crate) type Loaded = Pin<Box<dyn Future<Output = Result<Vec<Frame>, String>> + Send>>;
/// Loads what a topic does not hold.
pub(crate) type Loader = Box<dyn Fn(u64) -> Loaded + Send + Sync>;
/// What is dropped with a subscription.
pub(super) type Seated = Box<dyn Send + Sync>;
/// Which sources are wanted.
pub(crate) type Choice = Box<dyn Fn(&Source) -> bool + Send + Sync>;

/// What comes next in a stream.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    /// What was taken.
    Some,
    /// What is missing: from a position up to another, that one not included.
    Gap(u64, u64),
    /// It could not be loaded; the next poll tries again.
    Away(String),
    /// There is nothing more of this.
    End,
    /// The stream ends, what it is of may go on.
    Shut,
}

/// One thing to be told.
pub(crate) enum Told<'f> {
    /// As it is.
    Frame(&'f Frame),
    /// It was there before the subscription.
    Replayed(&'f Frame),
}

/// Follows a topic. It holds no frames: a slow one costs nobody else anything.
pub(crate) struct Subscription {
    topic: Arc<Topic>,
    follower: Follower,
    filter: Filter,
    choice: Option<Choice>,
    loader: Option<Loader>,
    /// How many frames were loaded, by a task of its own: others may wait for them who read faster.
    loading: Option<JoinHandle<Result<usize, String>>>,
    /// The run is sealed, and that was told.
    finalized: bool,
    /// The cursor whose id was told last.
    told: u64,
    /// Dropped once nothing is followed any more.
    _seat: Option<Seated>,
}

impl Subscription {
    pub(super) fn new(topic: Arc<Topic>, filter: Filter, seat: Option<Seated>) -> Self {
        let follower = topic.follow();
        let told = follower.cursor;
        Self {
            topic,
            follower,
            filter,
            choice: None,
            loader: None,
            loading: None,
            finalized: false,
            told,
            _seat: seat,
        }
    }

    /// Only of these sources.
    pub(crate) fn of(mut self, choice: Choice) -> Self {
        self.choice = Some(choice);
        self
    }

    /// With this for what the topic does not hold. The topic reaches to that position at least.
    pub(crate) fn loaded_by(mut self, loader: Loader, next: u64) -> Self {
        self.topic.reach(next);
        self.loader = Some(loader);
        self
    }

    /// Nothing comes after what there is: the run was sealed before.
    pub(crate) fn ended(self) -> Self {
        self.topic.end();
        self
    }

    /// From that position on.
    pub(crate) fn from(mut self, at: u64) -> Self {
        self.follower.cursor = at;
        self.told = at;
        self
    }

    /// From that position on, with what was told in between.
    pub(super) fn rewound(mut self, at: u64) -> Self {
        self.topic.rewind(&mut self.follower, at);
        self.told = at;
        self
    }

    /// The position that comes next.
    pub(crate) fn at(&self) -> u64 {
        self.follower.cursor
    }

    /// The position after the last one there is.
    pub(crate) fn end(&self) -> u64 {
        self.topic.next()
    }

    /// The first position in memory.
    pub(crate) fn oldest(&self) -> u64 {
        self.topic.oldest()
    }

    /// The first position in memory of something that is not older, and whether it is the first of all.
    pub(crate) fn since(&self, at: Timestamp) -> (u64, bool) {
        self.topic.since(at)
    }

    /// The position after the one in an id; `None` if it is none of this stream.
    pub(crate) fn after(&self, id: &str) -> Option<u64> {
        self.topic.after(id)
    }

    /// The id to go on from to that position.
    pub(crate) fn id_before(&self, at: u64) -> String {
        self.topic.id_before(at)
    }

    /// The id of a position.
    pub(crate) fn id(&self, at: u64) -> String {
        self.topic.id(at)
    }

    /// Whether a kind of event is wanted.
    pub(crate) fn takes(&self, kind: EventKind) -> bool {
        self.filter.takes(kind, kind.name())
    }

    /// Whether an event is wanted.
    pub(crate) fn wants(&self, frame: &Frame) -> bool {
        self.filter.takes(frame.kind(), frame.name())
    }

    /// The id to go on from, if what was told does not say it: what was passed over in between is not wanted.
    pub(crate) fn untold_id(&mut self) -> Option<String> {
        let moved = self.follower.cursor != self.told;
        self.told = self.follower.cursor;
        self.follower.cursor.checked_sub(1).filter(|_| moved).map(|at| self.topic.id(at))
    }

    /// Takes what is there, as long as `take` wants more of it. What it does not want it is given next time.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut dyn FnMut(Told<'_>) -> More,
    ) -> Poll<Next> {
        loop {
            if self.finalized {
                return Poll::Ready(Next::End);
            }
            if let Some(loading) = &mut self.loading {
                // The end does not wait for a store that is slow.
                if self.topic.is_shut() {
                    return Poll::Ready(Next::Shut);
                }
                let loaded =
                    ready!(Pin::new(loading).poll(cx)).unwrap_or_else(|error| Err(error.to_string()));
                self.loading = None;
                match loaded {
                    Ok(0) => return Poll::Ready(Next::Away("what was recorded is not there".into())),
                    Ok(_) => {}
                    Err(why) => return Poll::Ready(Next::Away(why)),
                }
            }
            let mut taken = false;
            let (filter, choice) = (&self.filter, &self.choice);
            let (mut finalized, mut told) = (false, None);
            let then = self.topic.give(&mut self.follower, cx.waker(), &mut |given| {
                let (frame, replayed, at) = match given {
                    Given::Frame(frame, at) => (frame, false, Some(at)),
                    Given::Signal(frame, replayed) => (frame, replayed, None),
                };
                let chosen = match (choice, frame.source()) {
                    (Some(choice), Some(source)) => choice(source),
                    _ => true,
                };
                if !finalized && chosen && filter.takes(frame.kind(), frame.name()) {
                    if take(if replayed { Told::Replayed(frame) } else { Told::Frame(frame) }) == More::No {
                        return More::No;
                    }
                    taken = true;
                    finalized = choice.is_none() && frame.kind() == EventKind::RunFinalized;
                    told = at.filter(|_| frame.has_id()).or(told);
                }
                More::Yes
            });
            self.finalized = finalized;
            if let Some(at) = told {
                self.told = at.saturating_add(1);
            }
            if taken {
                return Poll::Ready(Next::Some);
            }
            match then {
                Then::Wait => return Poll::Pending,
                Then::Enough => return Poll::Ready(Next::Some),
                Then::Some => {}
                Then::Load => self.load(),
                Then::Gap(from) => {
                    self.told = self.follower.cursor;
                    return Poll::Ready(Next::Gap(from, self.follower.cursor));
                }
                Then::End => return Poll::Ready(Next::End),
                Then::Shut => return Poll::Ready(Next::Shut),
            }
        }
    }

    /// Loads from some position on what it may be past.
    pub(crate) fn load_again(&self, from: u64) -> Loaded {
        match &self.loader {
            Some(loader) => loader(from),
            None => Box::pin(std::future::ready(Ok(Vec::new()))),
        }
    }

    fn load(&mut self) {
        let from = self.follower.cursor;
        let loading = Loading { topic: self.topic.clone(), from };
        let Some(load) = self.loader.as_ref().map(|loader| loader(from)) else { return };
        self.loading = Some(tokio::spawn(async move {
            let frames = load.await?;
            loading.topic.put_loaded(from, &frames);
            Ok(frames.len())
        }));
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Who waits for the same loads it then.
        self.loading.iter().for_each(JoinHandle::abort);
        self.topic.leave(&mut self.follower);
    }
}
