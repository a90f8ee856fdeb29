//! What is in memory of a stream: stretches of frames without holes, the newest and those that were asked for last.

use std::collections::BTreeMap;

use super::frame::Frame;

/// A stretch is not added to once it has so many frames, or bytes.
const MAX_FRAMES: usize = 256;
const MAX_STRETCH_BYTES: usize = 64 << 10;

/// Frames by their positions.
#[derive(Debug, Default)]
pub(super) struct Stretches {
    /// By the position of the first.
    stretches: BTreeMap<u64, Stretch>,
    bytes: usize,
    /// Counts what is asked for.
    turn: u64,
}

#[derive(Debug, Default)]
struct Stretch {
    frames: Vec<Frame>,
    bytes: usize,
    used: u64,
}

impl Stretches {
    /// Puts in what is not there yet of the frames that begin at this position.
    pub(super) fn insert(&mut self, from: u64, frames: &[Frame]) {
        self.turn = self.turn.saturating_add(1);
        for (at, frame) in (from..).zip(frames) {
            if !self.has(at) {
                self.put(at, frame.clone());
            }
        }
    }

    fn has(&self, at: u64) -> bool {
        let before = self.stretches.range(..=at).next_back();
        before.is_some_and(|(first, stretch)| first.saturating_add(stretch.frames.len() as u64) > at)
    }

    fn put(&mut self, at: u64, frame: Frame) {
        let bytes = size(&frame);
        self.bytes = self.bytes.saturating_add(bytes);
        let follows = |first: u64, stretch: &Stretch| {
            first.saturating_add(stretch.frames.len() as u64) == at
                && stretch.frames.len() < MAX_FRAMES
                && stretch.bytes < MAX_STRETCH_BYTES
        };
        let stretch = match self.stretches.range_mut(..at).next_back() {
            Some((first, stretch)) if follows(*first, stretch) => stretch,
            _ => self.stretches.entry(at).or_default(),
        };
        stretch.frames.push(frame);
        stretch.bytes = stretch.bytes.saturating_add(bytes);
        stretch.used = self.turn;
    }

    /// The frames from that position on that are without a hole, some of them at least; none if the first is not there.
    pub(super) fn from(&mut self, at: u64) -> &[Frame] {
        self.turn = self.turn.saturating_add(1);
        let Some((first, stretch)) = self.stretches.range_mut(..=at).next_back() else { return &[] };
        stretch.used = self.turn;
        let skipped = usize::try_from(at.saturating_sub(*first)).unwrap_or(usize::MAX);
        stretch.frames.get(skipped..).unwrap_or_default()
    }

    /// The first position after that one that is there.
    pub(super) fn next_after(&self, at: u64) -> Option<u64> {
        self.stretches.range(at..).next().map(|(first, _)| *first)
    }

    /// The newest frame.
    pub(super) fn last(&self) -> Option<&Frame> {
        self.stretches.values().next_back()?.frames.last()
    }

    /// All frames, with their positions.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Frame)> {
        self.stretches.iter().flat_map(|(first, stretch)| (*first..).zip(&stretch.frames))
    }

    /// Lets go of stretches until no more than so many bytes are left: of the oldest, or of those that nobody asked for the longest. The
    /// newest stays, and the one that somebody waits for.
    pub(super) fn trim(&mut self, max_bytes: usize, oldest: bool, awaited: Option<u64>) {
        while self.bytes > max_bytes && self.stretches.len() > 1 {
            let newest = self.stretches.keys().next_back().copied();
            let awaited = awaited.and_then(|at| self.stretches.range(..=at).next_back());
            let awaited = awaited.map(|(first, _)| *first);
            let stays = |first: u64| Some(first) == newest || Some(first) == awaited;
            let others = self.stretches.iter().filter(|(first, _)| !stays(**first));
            let gone = others.min_by_key(|(first, stretch)| if oldest { **first } else { stretch.used });
            let Some(gone) = gone.map(|(first, _)| *first).and_then(|first| self.stretches.remove(&first))
            else {
                return;
            };
            self.bytes = self.bytes.saturating_sub(gone.bytes);
        }
    }

    /// Lets go of the stretches that have such a frame.
    pub(super) fn forget(&mut self, is: impl Fn(&Frame) -> bool) {
        self.stretches.retain(|_, stretch| {
            let stays = !stretch.frames.iter().any(&is);
            if !stays {
                self.bytes = self.bytes.saturating_sub(stretch.bytes);
            }
            stays
        });
    }
}

/// What a frame takes, with what is around its text.
pub(super) fn size(frame: &Frame) -> usize {
    frame.block().len().saturating_add(128)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::unwrap_used, reason = "a test fails by a panic")]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::evidence::canonical::Object;
    use crate::evidence::time::Timestamp;

    fn frames(from: u64, count: u64) -> Vec<Frame> {
        let frame = |pos: u64| {
            Frame::new(Some(&pos.to_string()), "x", Timestamp::from_unix_ms(0), None, Object::new())
        };
        (from..from + count).map(frame).collect()
    }

    proptest! {
        #[test]
        fn what_was_put_in_is_found_at_its_position_and_nothing_else(
            put in prop::collection::vec((0_u64..600, 1_u64..400), 1..20),
        ) {
            let mut stretches = Stretches::default();
            let mut there = BTreeSet::new();
            for (from, count) in put {
                stretches.insert(from, &frames(from, count));
                there.extend(from..from + count);
                let bytes: usize = stretches.iter().map(|(_, frame)| size(frame)).sum();
                prop_assert_eq!(bytes, stretches.bytes);
            }
            let found: Vec<u64> = stretches.iter().map(|(pos, _)| pos).collect();
            prop_assert_eq!(&found, &there.iter().copied().collect::<Vec<_>>());
            for at in 0..1_001 {
                let ids: Vec<u64> = stretches.from(at).iter().map(|frame| frame.id().unwrap().parse().unwrap()).collect();
                prop_assert_eq!(ids.first(), there.contains(&at).then_some(&at));
                prop_assert!(ids.iter().zip(at..).all(|(id, at)| *id == at));
                prop_assert_eq!(stretches.from(at).is_empty(), !there.contains(&at));
            }
        }
    }

    #[test]
    fn only_the_stretches_are_forgotten_that_have_what_is_to_be() {
        let mut stretches = Stretches::default();
        stretches.insert(0, &frames(0, 1_000));
        let one = stretches.bytes / 1_000;
        stretches.forget(|frame| matches!(frame.id(), Some("300" | "999")));
        let left: Vec<u64> = stretches.iter().map(|(pos, _)| pos).collect();
        assert!(left.contains(&0) && left.contains(&600) && !left.contains(&300) && !left.contains(&999));
        assert!(stretches.bytes.abs_diff(left.len() * one) < 1_000 * 4, "what is gone takes nothing");
        // The next goes on behind the hole.
        stretches.insert(1_000, &frames(1_000, 1));
        assert_eq!((stretches.from(1_000).len(), stretches.next_after(999)), (1, Some(1_000)));
        assert!(stretches.from(999).is_empty());
        stretches.forget(|_| true);
        assert_eq!((stretches.iter().count(), stretches.bytes), (0, 0));
    }

    #[test]
    fn the_newest_stays_and_what_nobody_asked_for_goes_first() {
        let mut stretches = Stretches::default();
        for from in [0, 300, 600, 900] {
            stretches.insert(from, &frames(from, 256));
        }
        let one = stretches.bytes / 4;
        assert_eq!(stretches.from(0).len(), 256);
        assert_eq!(stretches.from(900).len(), 256);
        stretches.trim(one * 2 + 500, false, None);
        assert_eq!(stretches.iter().map(|(pos, _)| pos / 300).collect::<BTreeSet<_>>(), [0, 3].into());
        stretches.trim(one, true, Some(5));
        assert_eq!(stretches.iter().map(|(pos, _)| pos / 300).collect::<BTreeSet<_>>(), [0, 3].into());
        stretches.trim(0, true, None);
        assert_eq!(stretches.iter().next().unwrap().0, 900);
    }
}
