//! Signals that are held for who comes later: the last of them, in the order in which they came.

use std::collections::VecDeque;

use super::frame::Frame;
use super::vocabulary::EventKind;
use crate::evidence::time::Timestamp;

/// How many are held, and how many bytes of them; the last one is, however large.
const MAX_HELD: usize = 1_000;
const MAX_BYTES: usize = 256 << 10;

/// Signals, numbered as they came.
#[derive(Debug, Default)]
pub(super) struct Held {
    signals: VecDeque<Signal>,
    bytes: usize,
    /// The number of the next one.
    next: u64,
}

/// A frame without a position.
#[derive(Debug)]
pub(super) struct Signal {
    pub(super) frame: Frame,
    /// The position that was next when it came.
    pub(super) before: u64,
}

impl Held {
    pub(super) fn push(&mut self, frame: Frame, before: u64) {
        self.bytes = self.bytes.saturating_add(frame.block().len());
        self.signals.push_back(Signal { frame, before });
        self.next = self.next.saturating_add(1);
        while (self.signals.len() > MAX_HELD || self.bytes > MAX_BYTES) && self.signals.len() > 1 {
            self.drop_first();
        }
    }

    /// The number of the first that is held.
    pub(super) fn first(&self) -> u64 {
        self.next.saturating_sub(self.signals.len() as u64)
    }

    /// The number of the next that comes.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The number of the first that came when that position, or a later one, was next.
    pub(super) fn since(&self, at: u64) -> u64 {
        self.first().saturating_add(self.signals.partition_point(|signal| signal.before < at) as u64)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.signals.is_empty()
    }

    /// The one of that number, if it is held.
    pub(super) fn get(&self, number: u64) -> Option<&Signal> {
        self.signals.get(usize::try_from(number.checked_sub(self.first())?).ok()?)
    }

    /// The last one of that kind.
    pub(super) fn last(&self, kind: EventKind) -> Option<&Frame> {
        self.signals.iter().rev().map(|signal| &signal.frame).find(|frame| frame.kind() == kind)
    }

    /// When the last one came.
    pub(super) fn last_at(&self) -> Option<Timestamp> {
        self.signals.back().map(|signal| signal.frame.at())
    }

    /// Lets go of those from before that moment.
    pub(super) fn forget(&mut self, before: Timestamp) {
        while self.signals.front().is_some_and(|signal| signal.frame.at() < before) {
            self.drop_first();
        }
    }

    pub(super) fn clear(&mut self) {
        self.signals.clear();
        self.bytes = 0;
    }

    fn drop_first(&mut self) {
        if let Some(gone) = self.signals.pop_front() {
            self.bytes = self.bytes.saturating_sub(gone.frame.block().len());
        }
    }
}
