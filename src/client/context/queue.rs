//! A run that is kept in memory: followed, answered and sealed in the process, without any service.

use std::fmt;
use std::future::Future as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio_stream::StreamExt as _;

use super::core::Core;
use super::error::ContextError;
use super::gate::{Answer, Decision};
use super::ledger::Sink;
use crate::events::{Channel, EventKind, Events, Filter, Frame, Replay, Signal, Source, ToldRun};
use crate::evidence::canonical::Object;
use crate::evidence::chain::Head;
use crate::evidence::envelope::limits::{Limits, MAX_ENVELOPE_BYTES, MAX_FILE_BYTES};
use crate::evidence::envelope::{DEFAULT_PRIVATE, Disclosure, Kind, PrivateMembers};
use crate::evidence::key::SigningKey;
use crate::evidence::record::Element;
use crate::evidence::seal::{Parts, SealError, Sealed, seal};
use crate::evidence::time::Timestamp;

/// What is kept of a run, and how much of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueueSettings {
    /// What is withheld; [`DEFAULT_PRIVATE`] unless it is said.
    pub private: PrivateMembers,
    /// How many bytes the envelope may have, from 2 MiB to 64 MiB, which is the default. Of these 1¼ MiB are for what every envelope
    /// ends with. What is kept takes about two and a half times that, and a quarter of a MiB of signals.
    pub max_bytes: usize,
}

impl Default for QueueSettings {
    fn default() -> Self {
        let private = PrivateMembers::parse(DEFAULT_PRIVATE).unwrap_or_default();
        Self { private, max_bytes: MAX_ENVELOPE_BYTES }
    }
}

const MIN_BYTES: usize = 2 << 20;

impl QueueSettings {
    pub(super) fn limits(&self) -> Limits {
        let max_envelope_bytes = self.max_bytes.clamp(MIN_BYTES, MAX_ENVELOPE_BYTES);
        let max_file_bytes = max_envelope_bytes.saturating_mul(2).min(MAX_FILE_BYTES);
        Limits { max_envelope_bytes, max_file_bytes, ..Limits::default() }
    }
}

/// The other side of a [`RunContext`](super::RunContext) that has no service: for who watches the run, answers its gates, asks it to
/// stop, and seals it. Everything recorded is kept, once and in order; of signals the last thousand, or 256 KiB, are.
#[derive(Clone)]
pub struct Queue {
    pub(super) core: Arc<Core>,
    pub(super) kept: Arc<Mutex<Kept>>,
}

impl Queue {
    /// Follows the run. Frames are what a service streams for the same run, byte for byte: elements and notices with their positions
    /// as ids, signals without an id. It ends after the seal; or when nobody is left who could record or seal anything.
    pub fn subscribe(&self, filter: Filter, replay: Replay) -> Events {
        self.kept().channel.subscribe(filter, replay)
    }

    /// All that there is now, signals in their places. [`Frame::block`] is what goes over the wire.
    pub fn frames(&self, filter: Filter) -> Vec<Frame> {
        let (mut events, mut frames) = (self.subscribe(filter, Replay::All), Vec::new());
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(frame)) = pin!(events.next()).poll(&mut cx) {
            frames.push(frame);
        }
        frames
    }

    /// Resolves a gate: the answer is recorded, and [`needs_input`](super::RunContext::needs_input) returns it. `comment` is at most
    /// 64 KiB. A gate that is not open, or is resolved, is [`ContextError::GateUnknown`].
    pub fn answer(
        &self,
        gate_id: &str,
        decision: Decision,
        comment: Option<&str>,
    ) -> Result<(), ContextError> {
        self.core.ledger().answer(gate_id, Answer { decision, comment: comment.map(str::to_owned) })
    }

    /// Asks the producer to stop; asked again, it is told once.
    pub fn request_abort(&self, reason: Option<&str>) -> Result<(), ContextError> {
        self.core.ledger().request_abort(reason)?;
        self.core.abort();
        Ok(())
    }

    /// The last element's place and hash.
    pub fn head(&self) -> Option<Head> {
        self.kept().elements.last().map(Element::head)
    }

    /// Seals the closed run with these keys, and tells so; `now` is when. Sealed again, it is another seal over the same envelope.
    pub fn seal(&self, now: Timestamp, keys: &[&SigningKey]) -> Result<Sealed, SealError> {
        self.kept().seal(now, keys)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("head", &self.head()).finish_non_exhaustive()
    }
}

/// A run in memory.
pub(super) struct Kept {
    told: ToldRun,
    channel: Channel,
    elements: Vec<Element>,
    /// The position of what comes next.
    next_pos: u64,
    is_sealed: bool,
}

impl Kept {
    pub(super) fn new(source: Source, private: PrivateMembers) -> Self {
        Self {
            told: ToldRun::new(source, private),
            channel: Channel::of_run(),
            elements: Vec::new(),
            next_pos: 0,
            is_sealed: false,
        }
    }

    fn publish(&mut self, frame: Frame) {
        self.channel.record(self.next_pos, frame);
        self.next_pos = self.next_pos.saturating_add(1);
    }

    fn seal(&mut self, now: Timestamp, keys: &[&SigningKey]) -> Result<Sealed, SealError> {
        let elements: Vec<(Kind, &str)> =
            self.elements.iter().map(|element| (element.kind, element.text.as_str())).collect();
        let links: Vec<_> = self.elements.iter().map(|element| element.link).collect();
        let disclosures: Vec<Disclosure> =
            self.elements.iter().flat_map(|element| element.disclosures.iter().cloned()).collect();
        let sealed =
            seal(&Parts { elements: &elements, links: &links, disclosures: &disclosures }, now, keys)?;
        if !std::mem::replace(&mut self.is_sealed, true) {
            let at = self.elements.last().map_or(now, |last| last.recorded_at.max(now));
            self.publish(self.told.sealed_frame(self.next_pos, at, sealed.envelope_digest));
        }
        Ok(sealed)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.channel.close();
    }
}

/// Keeps a run.
pub(super) struct Keeper(pub(super) Arc<Mutex<Kept>>);

impl Keeper {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Keeper {
    fn notice(&mut self, kind: EventKind, at: Timestamp, members: &Object<'static>) {
        let mut kept = self.kept();
        let frame = kept.told.notice_frame(kept.next_pos, kind, at, &members.canonical());
        kept.publish(frame);
    }

    fn element(&mut self, element: Element, _members: Object<'static>) {
        let mut kept = self.kept();
        let frame = kept.told.element_frame(kept.next_pos, &element);
        kept.publish(frame);
        kept.elements.push(element);
    }

    fn signal(&mut self, signal: Signal, at: Timestamp, signal_id: String) {
        let kept = self.kept();
        kept.channel.signal(signal.frame(kept.told.source(), at, signal_id));
    }
}
