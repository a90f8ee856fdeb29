//! One stream of events, and all who follow it.
//!
//! A topic holds the newest frames, and wakes who waits for the next. Where it is durable, it is a window on what the store has: who
//! asks for what is not in it is told to load it, one for all who wait for the same. Where it is not, what is gone is told as a gap.
//! A follower is a cursor: whether it comes early or late, is slow or fast, it reads the same positions in the same order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::frame::Frame;
use super::stretches::Stretches;
use super::vocabulary::EventKind;
use super::wakers::{Place, Wakers};
use crate::evidence::time::Timestamp;

/// How many signals are held for who comes later.
const MAX_SIGNALS: usize = 1_000;
const MAX_SIGNAL_BYTES: usize = 1 << 20;

/// A stream of events.
#[derive(Debug)]
pub(super) struct Topic {
    /// What stands before a position in an id.
    prefix: String,
    durable: bool,
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frames: Stretches,
    /// The position after the last one there is.
    next: u64,
    /// Nothing comes after the last one.
    ended: bool,
    /// All who follow are to go now.
    shut: bool,
    signals: VecDeque<Signal>,
    signal_bytes: usize,
    /// The number of the next signal.
    next_signal: u64,
    wakers: Wakers,
    /// From where somebody loads at the moment.
    loading: BTreeSet<u64>,
}

/// A frame without a position.
#[derive(Debug)]
struct Signal {
    frame: Frame,
    /// The position that was next when it came.
    before: u64,
}

/// Where somebody is who follows.
#[derive(Debug)]
pub(super) struct Follower {
    /// The position that comes next.
    pub(super) cursor: u64,
    /// The number of the signal that comes next.
    signal: u64,
    /// Signals before this number were there first.
    came_at_signal: u64,
    place: Option<Place>,
}

/// One thing that a follower is given.
pub(super) enum Given<'f> {
    /// A frame at a position.
    Frame(&'f Frame, u64),
    /// A frame without one; from before the follower came if that is said.
    Signal(&'f Frame, bool),
}

/// Whether a follower takes more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum More {
    Yes,
    No,
}

/// Why a follower was given no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It will be woken.
    Wait,
    /// It wanted no more.
    Enough,
    /// It was given some; what comes then is not there.
    Some,
    /// From its cursor on has to be loaded, by who is told so.
    Load,
    /// From that position to the cursor nothing is there any more.
    Gap(u64),
    /// There is nothing after the last one.
    End,
    /// The stream ends, what it is of goes on.
    Shut,
}

impl Topic {
    /// A window on what a store keeps.
    pub(super) fn durable(max_bytes: usize) -> Self {
        Self { prefix: String::new(), durable: true, max_bytes, state: Mutex::default() }
    }

    /// What is not in memory is nowhere. Ids begin with the epoch.
    pub(super) fn volatile(epoch: &str, max_bytes: usize) -> Self {
        Self { prefix: format!("{epoch}-"), durable: false, max_bytes, state: Mutex::default() }
    }

    /// The id of what is at that position.
    pub(super) fn id(&self, at: u64) -> String {
        format!("{}{at}", self.prefix)
    }

    /// The position in an id of this topic; `None` if it is none.
    pub(super) fn position(&self, id: &str) -> Option<u64> {
        let digits = id.strip_prefix(self.prefix.as_str())?;
        let plain = digits.len() <= 19 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|_| plain)
    }

    /// Begins to follow it at its end; the cursor may be moved.
    pub(super) fn follow(&self) -> Follower {
        let mut state = self.lock();
        let first_held = state.next_signal.saturating_sub(state.signals.len() as u64);
        Follower {
            cursor: state.next,
            signal: first_held,
            came_at_signal: state.next_signal,
            place: Some(state.wakers.place()),
        }
    }

    pub(super) fn leave(&self, follower: &mut Follower) {
        if let Some(place) = follower.place.take() {
            self.lock().wakers.leave(place);
        }
    }

    /// How many follow.
    pub(super) fn followers(&self) -> usize {
        self.lock().wakers.len()
    }

    /// Whether nothing has to be kept of it: nobody follows, no signal is held.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.wakers.len() == 0 && state.signals.is_empty()
    }

    /// Nothing is below this position that is not durable, or in memory: what was there before this was asked.
    pub(super) fn next(&self) -> u64 {
        self.lock().next
    }

    /// There is something up to that position. What is not published has to be loaded.
    pub(super) fn reach(&self, next: u64) {
        let mut state = self.lock();
        if next > state.next {
            state.next = next;
            self.wake(state);
        }
    }

    /// Puts in frames that begin at that position: what was published, or was loaded.
    pub(super) fn put(&self, from: u64, frames: &[Frame]) {
        let mut state = self.lock();
        state.frames.insert(from, frames);
        state.frames.trim(self.max_bytes, !self.durable);
        state.next = state.next.max(from.saturating_add(frames.len() as u64));
        self.wake(state);
    }

    /// Publishes what has no position of its own but gets the next.
    pub(super) fn push(&self, frames: &[Frame]) {
        let mut state = self.lock();
        for frame in frames {
            let at = state.next;
            let frame = if frame.id().is_some() { frame.with_id(&self.id(at)) } else { frame.clone() };
            state.frames.insert(at, &[frame]);
            state.next = at.saturating_add(1);
        }
        state.frames.trim(self.max_bytes, true);
        self.wake(state);
    }

    /// Leaves a hole: what comes between is told to nobody.
    pub(super) fn skip(&self) {
        let mut state = self.lock();
        state.next = state.next.saturating_add(1);
    }

    /// Lets go of all frames, if there is such a one among them.
    pub(super) fn forget_if_any(&self, is: impl Fn(&Frame) -> bool) {
        let mut state = self.lock();
        if state.frames.iter().any(|(_, frame)| is(frame)) {
            state.frames.clear();
        }
    }

    /// Publishes a signal, and holds it.
    pub(super) fn signal(&self, frame: Frame) {
        let mut state = self.lock();
        let before = state.next;
        state.signal_bytes = state.signal_bytes.saturating_add(frame.block().len());
        state.signals.push_back(Signal { frame, before });
        state.next_signal = state.next_signal.saturating_add(1);
        while state.signals.len() > MAX_SIGNALS || state.signal_bytes > MAX_SIGNAL_BYTES {
            state.drop_signal();
        }
        self.wake(state);
    }

    /// The last signal of that kind that is held.
    pub(super) fn last_signal(&self, kind: EventKind) -> Option<Frame> {
        let state = self.lock();
        state.signals.iter().rev().map(|signal| &signal.frame).find(|frame| frame.kind() == kind).cloned()
    }

    /// Lets go of signals from before that moment.
    pub(super) fn forget_signals(&self, before: Timestamp) {
        let mut state = self.lock();
        while state.signals.front().is_some_and(|signal| signal.frame.at() < before) {
            state.drop_signal();
        }
    }

    /// Whether nothing is in memory that is not older.
    pub(super) fn is_older(&self, since: Timestamp) -> bool {
        self.lock().frames.last().is_none_or(|frame| frame.at() < since)
    }

    /// Nothing will come after the last one. Signals are of no use to anybody any more.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.signals.clear();
        state.signal_bytes = 0;
        self.wake(state);
    }

    /// Sends all away who follow.
    pub(super) fn shut(&self) {
        let mut state = self.lock();
        state.shut = true;
        self.wake(state);
    }

    /// The first position in memory of something not older than that.
    pub(super) fn since(&self, since: Timestamp) -> u64 {
        let state = self.lock();
        let found = state.frames.iter().find(|(_, frame)| frame.at() >= since).map(|(at, _)| at);
        found.unwrap_or(state.next)
    }

    /// The first position in memory.
    pub(super) fn oldest(&self) -> u64 {
        let state = self.lock();
        state.frames.next_after(0).unwrap_or(state.next)
    }

    /// Gives what comes next, as long as more is wanted, and moves the cursor.
    pub(super) fn give(
        &self,
        follower: &mut Follower,
        waker: &Waker,
        take: &mut dyn FnMut(Given<'_>) -> More,
    ) -> Then {
        let mut state = self.lock();
        let mut given = false;
        loop {
            if state.shut {
                return Then::Shut;
            }
            while let Some(signal) = state.signal(follower) {
                if take(Given::Signal(&signal.frame, follower.signal < follower.came_at_signal)) == More::No {
                    return Then::Enough;
                }
                follower.signal = follower.signal.saturating_add(1);
                given = true;
            }
            if follower.cursor >= state.next {
                if state.ended {
                    return Then::End;
                }
                state.wait(follower, waker);
                return Then::Wait;
            }
            // Up to the next signal, which has its place among them.
            let until = state.next_signal_before(follower);
            let frames = state.frames.from(follower.cursor);
            if frames.is_empty() && given {
                return Then::Some;
            }
            if frames.is_empty() {
                return state.missing(follower, self.durable, waker);
            }
            for frame in frames {
                if until.is_some_and(|until| follower.cursor >= until) {
                    break;
                }
                if take(Given::Frame(frame, follower.cursor)) == More::No {
                    return Then::Enough;
                }
                follower.cursor = follower.cursor.saturating_add(1);
                given = true;
            }
        }
    }

    /// Who was to load from there has done it, or given up.
    pub(super) fn loaded(&self, from: u64) {
        let mut state = self.lock();
        state.loading.remove(&from);
        self.wake(state);
    }

    /// Wakes who waits, without holding them up.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waiting = state.wakers.take();
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn drop_signal(&mut self) {
        if let Some(gone) = self.signals.pop_front() {
            self.signal_bytes = self.signal_bytes.saturating_sub(gone.frame.block().len());
        }
    }

    /// The signal that comes next for a follower, if all before it were given.
    fn signal(&self, follower: &mut Follower) -> Option<&Signal> {
        let first_held = self.next_signal.saturating_sub(self.signals.len() as u64);
        follower.signal = follower.signal.max(first_held);
        let signal = self.signals.get(usize::try_from(follower.signal.saturating_sub(first_held)).ok()?)?;
        let first = follower.signal < follower.came_at_signal;
        (first || signal.before <= follower.cursor).then_some(signal)
    }

    fn next_signal_before(&self, follower: &Follower) -> Option<u64> {
        let first_held = self.next_signal.saturating_sub(self.signals.len() as u64);
        let place = usize::try_from(follower.signal.saturating_sub(first_held)).ok()?;
        self.signals.get(place).map(|signal| signal.before)
    }

    fn missing(&mut self, follower: &mut Follower, durable: bool, waker: &Waker) -> Then {
        if durable {
            if self.loading.insert(follower.cursor) {
                return Then::Load;
            }
            self.wait(follower, waker);
            return Then::Wait;
        }
        let from = follower.cursor;
        follower.cursor = self.frames.next_after(from).unwrap_or(self.next);
        Then::Gap(from)
    }

    fn wait(&mut self, follower: &Follower, waker: &Waker) {
        if let Some(place) = &follower.place {
            self.wakers.wait(place, waker);
        }
    }
}

/// A load under way: whoever waits for it is woken when this is dropped.
#[derive(Debug)]
pub(super) struct Loading {
    pub(super) topic: Arc<Topic>,
    pub(super) from: u64,
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.topic.loaded(self.from);
    }
}
