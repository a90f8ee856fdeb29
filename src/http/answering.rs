//! Which line of a connection an event answers.
//!
//! The places of the records that a line made are known once the line is recorded. By then its events may be in the stream
//! already: so while lines are being recorded, nothing goes out from the first place on that they may get. That place is one
//! past the last that was committed before, and it is looked at when an event is about to go out, under the lock under which it
//! was set before the line was recorded: who finds the event finds it held back. What is held back is what happens meanwhile,
//! and no longer than one commit takes; of a line that closes the run, until it is sealed. So is the end of the stream, as long as lines have arrived that were not recorded yet.
//!
//! What a line repeats may be behind the stream: it is told again, without its id, for who comes back goes on where the stream was.
//! What is kept is bounded by the records that a run may have, whether the answer is read or not.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::sse::Piece;
use crate::events::{EventKind, Frame, Loaded, More, Subscription, Told};
use crate::evidence::canonical::Value;
use crate::journal::Pos;

/// How many events that passed already are kept to be sent again; of more, the first are not.
const MAX_AGAIN: usize = 1 << 16;
/// How long the end of a stream waits for lines that are being recorded.
const REST: Duration = Duration::from_secs(1);

/// What is known of the lines, between who records them and who tells of them.
pub(super) struct Answers(Mutex<State>);

struct State {
    /// No line that is being recorded gets a place before this one.
    next: Pos,
    /// Lines are being recorded.
    recording: bool,
    /// The stream is past all places before this one.
    passed: Pos,
    /// Lines by the places of the records that answer them, which the stream has before it.
    lines: BTreeMap<Pos, u64>,
    /// Places that the stream is past, or soon will be, and the lines that they answer.
    again: BTreeSet<(Pos, u64)>,
    /// Why nothing more is recorded: the last event.
    refused: Option<Frame>,
    waker: Option<Waker>,
}

impl Answers {
    /// For a run with records before `next`, and a stream that begins at `at`.
    pub(super) fn new(next: Pos, at: Pos) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            next,
            recording: true,
            passed: at,
            lines: BTreeMap::new(),
            again: BTreeSet::new(),
            refused: None,
            waker: None,
        })))
    }

    /// Whether lines are being recorded. To be said before any of them is.
    pub(super) fn recording(&self, recording: bool) {
        let mut state = self.lock();
        if state.recording != recording && state.refused.is_none() {
            state.recording = recording;
            wake(state);
        }
    }

    /// These records answer these lines; those of later lines stand at `next` or beyond.
    pub(super) fn recorded(&self, answers: &[(Pos, u64)], next: Pos) {
        let mut state = self.lock();
        for (pos, line) in answers.iter().copied() {
            if pos < state.passed || state.lines.contains_key(&pos) {
                state.again.insert((pos, line));
            } else {
                state.lines.insert(pos, line);
            }
        }
        while state.again.len() > MAX_AGAIN {
            state.again.pop_first();
        }
        state.next = state.next.max(next);
        wake(state);
    }

    /// The stream ends with this, after what was recorded before.
    pub(super) fn refused(&self, error: Frame) {
        let mut state = self.lock();
        state.recording = true;
        state.refused = Some(error);
        wake(state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    waker.into_iter().for_each(Waker::wake);
}

impl State {
    /// Whether lines are being recorded, and none was refused.
    fn goes_on(&self) -> bool {
        self.recording && self.refused.is_none()
    }

    /// Whether an event has to wait.
    fn holds(&self, pos: Pos, kind: EventKind) -> bool {
        let again = || self.again.first().is_some_and(|(first, _)| *first < pos);
        let ends_early = || self.goes_on() || again();
        (self.recording && pos >= self.next) || (kind == EventKind::RunFinalized && ends_early())
    }

    /// The stream has come to that place.
    fn pass(&mut self, at: Pos) {
        self.passed = self.passed.max(at);
        // Of what was passed over nobody is told.
        while self.lines.first_key_value().is_some_and(|(pos, _)| *pos < at) {
            self.lines.pop_first();
        }
    }
}

/// What a stream says besides the events as they are.
pub(super) struct Answering {
    answers: Arc<Answers>,
    /// Records that the stream is past.
    loading: Option<(Pos, Loaded)>,
    /// The last that were loaded, from that place on.
    loaded: (Pos, Vec<Frame>),
    /// The last event was said.
    ended: bool,
    /// Gone when nobody is answered any more.
    open: Option<oneshot::Sender<()>>,
    /// How long the end still waits.
    rest: Option<Pin<Box<Sleep>>>,
}

/// What is next.
pub(super) enum Own {
    Event(Bytes),
    End,
    /// Nothing but the events of the run.
    Nothing,
}

impl Answering {
    pub(super) fn new(answers: Arc<Answers>, open: oneshot::Sender<()>) -> Self {
        Self { answers, loading: None, loaded: (0, Vec::new()), ended: false, open: Some(open), rest: None }
    }

    /// What comes before the next event of the run.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, subscription: &Subscription) -> Own {
        if self.ended {
            return Own::End;
        }
        loop {
            let (again, refused) = self.look(cx, subscription.at());
            let Some((pos, line)) = again else {
                self.loaded = (0, Vec::new());
                self.ended = refused.is_some();
                return refused.map_or(Own::Nothing, |frame| Own::Event(frame.block().clone()));
            };
            if let Some(frame) = self.frame(pos) {
                let block = subscription.wants(frame).then(|| answer(&frame.without_id(), line));
                self.answers.lock().again.remove(&(pos, line));
                match block {
                    Some(block) => return Own::Event(block),
                    None => continue,
                }
            }
            if self.poll_load(cx, subscription, pos).is_pending() {
                return Own::Nothing;
            }
            if self.loaded.0 == pos && self.loaded.1.is_empty() {
                // Best effort: the store did not answer.
                self.answers.lock().again.remove(&(pos, line));
            }
        }
    }

    /// Whether something is on its way that comes before the end.
    pub(super) fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// The stream ends before the run does: ready once what has arrived of the lines is recorded, or takes too long.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.open = None;
        {
            let mut state = self.answers.lock();
            state.waker = Some(cx.waker().clone());
            if !state.goes_on() {
                return Poll::Ready(());
            }
        }
        self.rest.get_or_insert_with(|| Box::pin(sleep(REST))).as_mut().poll(cx)
    }

    /// What is to be sent again; or else, where the stream has come to that, its last event.
    fn look(&self, cx: &Context<'_>, at: Pos) -> (Option<(Pos, u64)>, Option<Frame>) {
        let mut state = self.answers.lock();
        state.pass(at);
        state.waker = Some(cx.waker().clone());
        let again = state.again.first().copied().filter(|(pos, _)| *pos < at);
        let refused = state.refused.as_ref().filter(|_| again.is_none() && at >= state.next).cloned();
        (again, refused)
    }

    fn frame(&self, pos: Pos) -> Option<&Frame> {
        let (first, frames) = &self.loaded;
        frames.get(usize::try_from(pos.checked_sub(*first)?).ok()?)
    }

    fn poll_load(&mut self, cx: &mut Context<'_>, subscription: &Subscription, pos: Pos) -> Poll<()> {
        let (from, loading) = self.loading.get_or_insert_with(|| (pos, subscription.load_again(pos)));
        let from = *from;
        loading.as_mut().poll(cx).map(|loaded| {
            self.loading = None;
            self.loaded = (from, loaded.unwrap_or_default());
        })
    }

    /// Takes an event of the run, with its line, unless it has to wait; then it is asked for again.
    pub(super) fn take(&self, told: &Told<'_>, piece: &mut Piece) -> More {
        let Told::Frame(frame) = told else { return piece.take(told) };
        let Some(pos) = frame.id().and_then(|id| id.parse().ok()) else { return piece.take(told) };
        let mut state = self.answers.lock();
        if state.holds(pos, frame.kind()) {
            return More::No;
        }
        let more = match state.lines.get(&pos) {
            Some(line) => piece.add(&answer(frame, *line)),
            None => piece.take(told),
        };
        if more == More::Yes {
            state.pass(pos.saturating_add(1));
        }
        more
    }
}

fn answer(frame: &Frame, line: u64) -> Bytes {
    frame.with_member("line", Value::count(line))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;

    fn holds(answers: &Answers, pos: Pos, kind: EventKind) -> bool {
        answers.lock().holds(pos, kind)
    }

    #[test]
    fn what_may_answer_a_line_waits_until_that_is_known_and_no_longer() {
        let answers = Answers::new(5, 0);
        let held = |pos| holds(&answers, pos, EventKind::Retry);
        assert!(!held(4) && held(5) && held(9), "what was there before goes out");
        answers.recorded(&[(5, 2)], 7);
        assert!(!held(6) && held(7), "up to what the next line may get");
        answers.recording(false);
        assert!(!held(7) && !held(u64::MAX));
        answers.recording(true);
        assert!(held(7));
    }

    #[test]
    fn the_end_waits_for_lines_that_have_arrived_and_for_what_is_sent_again() {
        let answers = Answers::new(9, 4);
        let ends_late = || holds(&answers, 8, EventKind::RunFinalized);
        assert!(ends_late() && !holds(&answers, 8, EventKind::Retry));
        answers.recorded(&[(2, 3), (8, 4), (8, 5)], 9);
        answers.recording(false);
        assert_eq!(answers.lock().again, BTreeSet::from([(2, 3), (8, 5)]));
        assert!(ends_late(), "a record that passed answers a line");
        answers.lock().again.remove(&(2, 3));
        assert!(!ends_late(), "its own answers do not hold it back");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_what_is_being_recorded_and_not_for_long() {
        let short = Duration::from_millis(300);
        for (takes, waited) in [(Duration::ZERO, Duration::ZERO), (short, short), (REST * 60, REST)] {
            let answers = Answers::new(1, 0);
            let (open, over) = oneshot::channel::<()>();
            let mut answering = Answering::new(answers.clone(), open);
            let begun = Instant::now();
            tokio::spawn(async move {
                // Who records is told that nobody is answered any more.
                let _ = over.await;
                sleep(takes).await;
                answers.recording(false);
            });
            poll_fn(|cx| answering.poll_rest(cx)).await;
            let elapsed = begun.elapsed();
            assert!(elapsed >= waited && elapsed < waited + short, "{takes:?}: {elapsed:?}");
        }
    }

    #[test]
    fn nobody_is_told_of_what_was_passed_over() {
        let answers = Answers::new(9, 4);
        answers.recorded(&[(5, 1), (7, 2)], 9);
        answers.lock().pass(6);
        assert_eq!(answers.lock().lines, BTreeMap::from([(7, 2)]));
        answers.recorded(&[(5, 3)], 9);
        assert_eq!(answers.lock().again.first(), Some(&(5, 3)));
    }
}
