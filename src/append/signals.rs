//! Signals in a lane: decided among what else is asked, told in order with what is recorded, and kept nowhere.

use std::sync::Arc;

use super::drive::Drive;
use super::rejection::Rejection;
use super::work_on;
use crate::events::{Filter, Frame, Preset, Signal, Source};
use crate::evidence::time::Timestamp;
use crate::journal::{JournalRecord, Refusal, Run};

/// How much work telling of a record or a signal is, about.
const TOLD_BYTES: usize = 256;

/// How large the signals of one request may be together: masked, they may be larger than they came.
const MAX_TOLD_BYTES: usize = 32 << 20;

/// Signals that were taken, to be told.
pub(super) struct Taken {
    /// After so many records of their batch.
    after: usize,
    frames: Vec<Frame>,
}

impl Taken {
    pub(super) fn count(&self) -> usize {
        self.frames.len()
    }
}

impl Drive {
    /// Signals for a run that goes on, all or none; those that its project does not take are left out.
    pub(super) fn signal(
        &self,
        run: &mut Run,
        signals: Vec<Signal>,
        after: usize,
        now: Timestamp,
    ) -> Result<Taken, Rejection> {
        run.check_open()?;
        let settled = run.overview().settings.signals.as_ref();
        // What cannot be read takes none.
        let takes = || Filter::of_signals(settled).unwrap_or(Preset::Minimal.into());
        let takes = self.lane.takes.get_or_init(takes);
        let (masks, source) = (run.masks(), Arc::new(Source::from(run.overview())));
        let (mut frames, mut bytes) = (Vec::new(), 0_usize);
        for (index, mut signal) in signals.into_iter().enumerate() {
            if !takes.is_allowed(signal.name()) {
                continue;
            }
            let refused = |refusal: Refusal| Rejection::Refused { refusal, entry: Some(index) };
            signal.mask(masks).map_err(refused)?;
            let frame = signal.frame(&source, now, self.lanes.surroundings.uuid_v7(now));
            bytes = bytes.saturating_add(frame.block().len());
            if bytes > MAX_TOLD_BYTES {
                return Err(refused(Refusal::TooLarge { bytes, max: MAX_TOLD_BYTES }));
            }
            frames.push(frame);
        }
        if !frames.is_empty() {
            run.touch(now);
        }
        Ok(Taken { after, frames })
    }

    /// Tells who watches of what is durable, and of the signals that came in between.
    pub(super) fn tell(&self, run: &Run, records: &[JournalRecord], signals: &[Taken]) {
        let hub = &self.lanes.hub;
        let tell = || {
            let mut told = 0;
            for taken in signals {
                hub.recorded(run.overview(), records.get(told..taken.after).unwrap_or_default());
                hub.signaled(&self.lane.evidence_id, &taken.frames);
                told = taken.after;
            }
            hub.recorded(run.overview(), records.get(told..).unwrap_or_default());
        };
        let count = signals.iter().map(Taken::count).fold(records.len(), usize::saturating_add);
        work_on(count.saturating_mul(TOLD_BYTES), tell);
    }
}
