//! One stream of events, and all who follow it.
//!
//! A topic holds the newest frames, and wakes who waits for the next. Where it is durable, it is a window on what the store has: who
//! asks for what is not in it is told to load it, one for all who wait for the same. Where it is not, what is gone is told as a gap.
//! A follower is a cursor: whether it comes early or late, is slow or fast, it reads the same positions in the same order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::follower::Follower;
use super::frame::Frame;
use super::held::{Held, Signal};
use super::stretches::Stretches;
use super::vocabulary::EventKind;
use super::wakers::Wakers;
use crate::evidence::time::Timestamp;

/// What stands for the position before the first, where that is 0.
const BEFORE_ALL: &str = "-1";

/// A stream of events.
#[derive(Debug)]
pub(super) struct Topic {
    /// What stands before a position in an id.
    prefix: String,
    durable: bool,
    /// How much may be in memory; of topics that share what there is, less where there are more of them.
    max_bytes: Arc<AtomicUsize>,
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
    signals: Held,
    wakers: Wakers,
    /// From where somebody loads at the moment.
    loading: BTreeSet<u64>,
    /// Who waits for what somebody else loads.
    wait_for_loads: Vec<Waker>,
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
    /// It was given some, or passed over them; what comes then is to be asked for.
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
    pub(super) fn durable(max_bytes: Arc<AtomicUsize>) -> Self {
        Self { prefix: String::new(), durable: true, max_bytes, state: Mutex::default() }
    }

    /// All of one run, in memory and nowhere else: its positions are its ids.
    #[cfg(feature = "client")]
    pub(super) fn whole() -> Self {
        Self { durable: false, ..Self::durable(Arc::new(usize::MAX.into())) }
    }

    /// What is not in memory is nowhere. Ids begin with the epoch, positions at 1: before the first there is one to go on from.
    pub(super) fn volatile(epoch: &str, max_bytes: usize) -> Self {
        let state = Mutex::new(State { next: 1, ..State::default() });
        let max_bytes = Arc::new(max_bytes.into());
        Self { prefix: format!("{epoch}-"), durable: false, max_bytes, state }
    }

    /// The id of what is at that position.
    pub(super) fn id(&self, at: u64) -> String {
        format!("{}{at}", self.prefix)
    }

    /// The position after the one in an id of this topic; `None` if it is none.
    pub(super) fn after(&self, id: &str) -> Option<u64> {
        if self.prefix.is_empty() && id == BEFORE_ALL {
            return Some(0);
        }
        let digits = id.strip_prefix(self.prefix.as_str())?;
        let plain = digits.len() <= 19 && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|_| plain).map(|at: u64| at.saturating_add(1))
    }

    /// The id to go on from to that position.
    pub(super) fn id_before(&self, at: u64) -> String {
        at.checked_sub(1).map_or(BEFORE_ALL.to_owned(), |before| self.id(before))
    }

    /// Begins to follow it at its end; the cursor may be moved. Of what a store keeps, the signals that are held come first.
    pub(super) fn follow(&self) -> Follower {
        let mut state = self.lock();
        let (first, next) = (state.signals.first(), state.signals.next());
        Follower {
            cursor: state.next,
            signal: if self.durable { first } else { next },
            came_at_signal: if self.durable { next } else { 0 },
            place: Some(state.wakers.place()),
        }
    }

    /// Goes to that position, and to the signals that came after the one before, each in its place.
    pub(super) fn rewind(&self, follower: &mut Follower, at: u64) {
        follower.cursor = at;
        follower.signal = self.lock().signals.since(at);
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

    /// The position after the last one there is.
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

    /// Publishes frames that begin at that position.
    pub(super) fn put(&self, from: u64, frames: &[Frame]) {
        let mut state = self.lock();
        self.put_in(&mut state, from, frames, None);
        self.wake(state);
    }

    /// Puts in what was loaded for who waits at that position.
    pub(super) fn put_loaded(&self, from: u64, frames: &[Frame]) {
        self.put_in(&mut self.lock(), from, frames, Some(from));
    }

    fn put_in(&self, state: &mut State, from: u64, frames: &[Frame], awaited: Option<u64>) {
        state.frames.insert(from, frames);
        state.frames.trim(self.max_bytes.load(Ordering::Relaxed), !self.durable, awaited);
        state.next = state.next.max(from.saturating_add(frames.len() as u64));
    }

    /// Publishes what has no position of its own but gets the next.
    pub(super) fn push(&self, frames: &[Frame]) {
        let mut state = self.lock();
        for frame in frames {
            let at = state.next;
            let frame = if frame.has_id() { frame.with_id(&self.id(at)) } else { frame.clone() };
            state.frames.insert(at, &[frame]);
            state.next = at.saturating_add(1);
        }
        state.frames.trim(self.max_bytes.load(Ordering::Relaxed), true, None);
        self.wake(state);
    }

    /// Leaves a hole of so many positions: what would stand there is told to nobody.
    pub(super) fn skip(&self, count: u64) {
        let mut state = self.lock();
        state.next = state.next.saturating_add(count);
    }

    /// Lets go of such frames, and of some around them.
    pub(super) fn forget(&self, is: impl Fn(&Frame) -> bool) {
        self.lock().frames.forget(is);
    }

    /// Publishes signals, and holds the last of them: a hint may be missed.
    pub(super) fn signal(&self, frames: &[Frame]) {
        let mut state = self.lock();
        let before = state.next;
        frames.iter().for_each(|frame| state.signals.push(frame.clone(), before));
        self.wake(state);
    }

    /// The last signal of that kind that is held.
    pub(super) fn last_signal(&self, kind: EventKind) -> Option<Frame> {
        self.lock().signals.last(kind).cloned()
    }

    /// When the last signal came that is held.
    pub(super) fn last_signal_at(&self) -> Option<Timestamp> {
        self.lock().signals.last_at()
    }

    /// Lets go of signals from before that moment.
    pub(super) fn forget_signals(&self, before: Timestamp) {
        self.lock().signals.forget(before);
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
        self.wake(state);
    }

    /// Sends all away who follow.
    pub(super) fn shut(&self) {
        let mut state = self.lock();
        state.shut = true;
        self.wake(state);
    }

    pub(super) fn is_shut(&self) -> bool {
        self.lock().shut
    }

    /// The position from which on nothing in memory is older than that, and whether it is the first of all: something older is there.
    pub(super) fn since(&self, since: Timestamp) -> (u64, bool) {
        let state = self.lock();
        let mut after_older = None;
        for (at, frame) in state.frames.iter() {
            if frame.at() >= since {
                // What was between them and is gone may not have been older either.
                return (after_older.unwrap_or(at), after_older.is_some());
            }
            after_older = Some(at.saturating_add(1));
        }
        (after_older.unwrap_or(state.next), after_older.is_some())
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
            given = true;
            for frame in frames {
                if until.is_some_and(|until| follower.cursor >= until) {
                    break;
                }
                if take(Given::Frame(frame, follower.cursor)) == More::No {
                    return Then::Enough;
                }
                follower.cursor = follower.cursor.saturating_add(1);
            }
            if until.is_none_or(|until| follower.cursor < until) {
                // Others want the lock too.
                return Then::Some;
            }
        }
    }

    /// Who was to load from there has done it, or given up.
    pub(super) fn loaded(&self, from: u64) {
        let mut state = self.lock();
        state.loading.remove(&from);
        let waiting = std::mem::take(&mut state.wait_for_loads);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
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
    /// The signal that comes next for a follower, if all before it were given.
    fn signal(&self, follower: &mut Follower) -> Option<&Signal> {
        follower.signal = follower.signal.max(self.signals.first());
        let signal = self.signals.get(follower.signal)?;
        let first = follower.signal < follower.came_at_signal;
        (first || signal.before <= follower.cursor).then_some(signal)
    }

    fn next_signal_before(&self, follower: &Follower) -> Option<u64> {
        self.signals.get(follower.signal).map(|signal| signal.before)
    }

    fn missing(&mut self, follower: &mut Follower, durable: bool, waker: &Waker) -> Then {
        if durable {
            if self.loading.insert(follower.cursor) {
                return Then::Load;
            }
            self.wait_for_loads.push(waker.clone());
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
