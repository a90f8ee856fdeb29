//! What waits to be sent: in memory, and behind a bound of time and size in a spool file.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::spilling::Spilling;
use super::state::State;
use super::telling::{Keyed, LogPlace, Report, Stream};
use crate::client::spool::{Spool, SpoolError, SpoolFile};
use crate::evidence::canonical::Object;
use crate::evidence::time::Timestamp;

/// How long something waits in memory only.
const IN_MEMORY: Duration = Duration::from_secs(1);
/// How many bytes of logs wait in memory only.
const LOG_IN_MEMORY: usize = 4 << 20;
/// More than that is not taken until some of it is on disk.
const LOG_AT_MOST: usize = 8 << 20;
/// How many bytes of a log are sent at once.
const LOG_AT_ONCE: usize = 512 << 10;
/// Pauses between tries of a disk that takes nothing: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The reports of one producer that were not acknowledged.
pub(super) struct Outbox {
    waiting: VecDeque<(Instant, Keyed)>,
    /// Of logs, in memory.
    log_bytes: usize,
    /// The front one is being sent: nothing is added to it.
    in_flight: bool,
    file: Option<SpoolFile>,
    spool: Option<Spool>,
    /// What the courier knew when the last report was acknowledged.
    state: Object<'static>,
    server: String,
    run: String,
    /// Of all spool files but ours.
    others_bytes: u64,
    /// Of our file, while it is written to.
    held: u64,
    /// Reports that are on their way to disk.
    spilling: usize,
    /// Why the spool takes nothing, since it last took something.
    pub(super) spool_failed: Option<String>,
    /// When it is tried again, and how long after the last time.
    again_at: Option<Instant>,
    pause: Option<Duration>,
    /// Something in the file was refused.
    has_refused: bool,
    /// Of logs, given up.
    pub(super) lost_log_bytes: u64,
}

impl Outbox {
    pub(super) fn new(spool: Option<Spool>, server: &str, run: &str) -> Self {
        Self {
            waiting: VecDeque::new(),
            log_bytes: 0,
            in_flight: false,
            others_bytes: spool.as_ref().map(Spool::bytes).unwrap_or_default(),
            file: None,
            spool,
            state: State::default().write(),
            server: server.to_owned(),
            run: run.to_owned(),
            held: 0,
            spilling: 0,
            spool_failed: None,
            again_at: None,
            pause: None,
            lost_log_bytes: 0,
            has_refused: false,
        }
    }

    /// Puts a report behind all others.
    pub(super) fn push(&mut self, keyed: Keyed) {
        self.waiting.push_back((Instant::now(), keyed));
    }

    /// Puts bytes of a log behind all others, or to the last that wait; how many of them there was room for.
    pub(super) fn push_log(
        &mut self,
        (place, stream, offset): (&LogPlace, Stream, u64),
        bytes: &[u8],
        key: impl FnOnce() -> String,
    ) -> usize {
        let kept = bytes.get(..self.room().min(bytes.len())).unwrap_or_default();
        self.lose(bytes.len().saturating_sub(kept.len()));
        if kept.is_empty() {
            return 0;
        }
        self.log_bytes = self.log_bytes.saturating_add(kept.len());
        let is_front = self.file.as_ref().is_none_or(|file| file.waiting() == 0);
        let alone = usize::from(self.in_flight && is_front);
        if self.waiting.len() > alone
            && let Some((_, Keyed { report: Report::Log { place: p, stream: s, bytes: b, .. }, .. })) =
                self.waiting.back_mut()
            && (&*p, *s) == (place, stream)
            && b.len() < LOG_AT_ONCE
        {
            b.extend_from_slice(kept);
            return kept.len();
        }
        let report = Report::Log { place: place.clone(), stream, offset, bytes: kept.to_vec() };
        self.push(Keyed { key: key(), report });
        kept.len()
    }

    /// How many bytes of logs there is room for. Once some were given up there is none: a log is cut, and has no holes.
    fn room(&self) -> usize {
        let held = self.file.as_ref().map_or(self.held, SpoolFile::bytes).saturating_add(self.others_bytes);
        let room = match &self.spool {
            _ if self.lost_log_bytes > 0 => 0,
            Some(spool) if self.spool_failed.is_none() => spool.max_bytes.saturating_sub(held),
            _ => LOG_AT_MOST as u64,
        };
        usize::try_from(room.saturating_sub(self.log_bytes as u64)).unwrap_or(usize::MAX)
    }

    /// Bytes of a log for which there is no room.
    pub(super) fn lose(&mut self, bytes: usize) {
        self.lost_log_bytes = self.lost_log_bytes.saturating_add(bytes as u64);
    }

    /// Whether more log waits in memory than should, which will be on disk in a moment.
    pub(super) fn is_full(&self) -> bool {
        // Once some was given up the rest is too: nobody waits for that.
        let takes = self.spool.is_some() && self.spool_failed.is_none() && self.lost_log_bytes == 0;
        takes && self.log_bytes > LOG_AT_MOST
    }

    /// Whether who puts it on disk has to look: at the first that waits, and at too much of it.
    pub(super) fn is_to_spill(&self) -> bool {
        self.waiting.len() == 1 || self.log_bytes > LOG_IN_MEMORY
    }

    /// Whether what waits in memory has to go to disk.
    pub(super) fn should_spill(&self) -> bool {
        if self.again_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        let old = self.waiting.front().is_some_and(|(since, _)| since.elapsed() >= IN_MEMORY);
        !self.waiting.is_empty() && (self.file.is_some() || old || self.log_bytes > LOG_IN_MEMORY)
    }

    /// All that waits in memory, to be put on disk while more comes. Nothing is sent until it is [back](Self::spilled).
    pub(super) fn begin_spill(&mut self) -> Option<Spilling> {
        if self.waiting.is_empty() && !self.is_unsynced() {
            return None;
        }
        self.held = self.file.as_ref().map_or(0, SpoolFile::bytes);
        self.spilling = self.len();
        Some(Spilling {
            file: self.file.take(),
            batch: std::mem::take(&mut self.waiting),
            spool: self.spool.clone(),
            state: self.state.clone(),
            server: self.server.clone(),
            run: self.run.clone(),
            others_bytes: self.others_bytes,
            log_bytes: 0,
        })
    }

    /// What could not be put on disk waits before all that came meanwhile.
    pub(super) fn spilled(&mut self, mut spilling: Spilling, spilled: Result<(), SpoolError>) {
        self.file = spilling.file.take();
        (self.held, self.spilling) = (0, 0);
        spilling.batch.append(&mut self.waiting);
        self.waiting = spilling.batch;
        self.log_bytes = self.log_bytes.saturating_sub(spilling.log_bytes);
        self.spool_failed = spilled.err().map(|error| error.to_string());
        self.pause = match (&self.spool_failed, self.pause) {
            (None, _) => None,
            (Some(_), None) => Some(FIRST_PAUSE),
            (Some(_), Some(pause)) => Some(pause.saturating_mul(2).min(LONGEST_PAUSE)),
        };
        self.again_at = self.pause.and_then(|pause| Instant::now().checked_add(pause));
    }

    /// Something is in the file of which nobody knows whether the disk has it.
    fn is_unsynced(&self) -> bool {
        self.spool_failed.is_some() && self.file.is_some()
    }

    /// Puts all that waits on disk. Durable once this returns; what fails stays in memory, and is told.
    pub(super) fn spill(&mut self, now: Timestamp) {
        if let Some(mut spilling) = self.begin_spill() {
            let spilled = spilling.write(now);
            self.spilled(spilling, spilled);
        }
    }

    /// The first report, to be sent. It stays the first until it is [done](Self::done).
    pub(super) fn front(&mut self) -> Result<Option<Keyed>, SpoolError> {
        let stored = self.file.as_ref().map(SpoolFile::front).transpose()?.flatten();
        let front = stored.or_else(|| self.waiting.front().map(|(_, keyed)| keyed.clone()));
        self.in_flight = front.is_some();
        Ok(front)
    }

    /// The first report is acknowledged, or was refused for good.
    pub(super) fn done(&mut self, is_refused: bool) {
        self.in_flight = false;
        match &mut self.file {
            Some(file) if file.waiting() > 0 => {
                file.acknowledge();
                self.has_refused |= is_refused;
                if file.waiting() == 0 {
                    // What comes next is in memory again: of a long build the file has what waits, not all that ever waited.
                    self.settle();
                }
            }
            _ => {
                if let Some((_, Keyed { report: Report::Log { bytes, .. }, .. })) = self.waiting.pop_front() {
                    self.log_bytes = self.log_bytes.saturating_sub(bytes.len());
                }
            }
        }
    }

    /// Remembers how far it was acknowledged, and what the courier knows now, where that is news; on disk, where it is on disk.
    pub(super) fn mark(&mut self, news: Option<Object<'static>>) {
        if let Some(state) = news {
            self.state = state;
        }
        // Without the mark more than has to be is sent again.
        let _ = self.file.as_mut().map(|file| file.mark(self.state.clone()));
    }

    /// All in the file is answered: it goes, or is set aside with what was refused.
    fn settle(&mut self) {
        if let Some(mut file) = self.file.take() {
            let kept = if std::mem::take(&mut self.has_refused) { file.set_aside() } else { file.remove() };
            // Sent again it changes nothing.
            let _ = kept;
        }
    }

    /// How many reports wait, wherever they are.
    pub(super) fn len(&self) -> usize {
        let stored = self.file.as_ref().map_or(self.spilling, SpoolFile::waiting);
        self.waiting.len().saturating_add(stored)
    }

    /// How many of them are in memory alone.
    pub(super) fn in_memory(&self) -> usize {
        self.waiting.len()
    }

    /// The file, if something waits in it.
    pub(super) fn take_file(&mut self) -> Option<SpoolFile> {
        let file = self.file.take()?;
        if file.waiting() > 0 {
            return Some(file);
        }
        // Whatever it held is answered.
        let _ = file.remove();
        None
    }
}
