//! What waits to be sent: in memory, and behind a bound of time and size in a spool file.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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
/// What entries may have beyond the bound of the spool: logs are what is given up first.
const ROOM_FOR_ENTRIES: u64 = 64 << 20;

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
    /// Why the spool takes nothing.
    pub(super) spool_failed: Option<String>,
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
            spool_failed: None,
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
        self.lost_log_bytes =
            self.lost_log_bytes.saturating_add(bytes.len().saturating_sub(kept.len()) as u64);
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
        let held = self.file.as_ref().map_or(0, SpoolFile::bytes).saturating_add(self.others_bytes);
        let room = match &self.spool {
            _ if self.lost_log_bytes > 0 => 0,
            Some(spool) if self.spool_failed.is_none() => spool.max_bytes.saturating_sub(held),
            _ => LOG_AT_MOST as u64,
        };
        usize::try_from(room.saturating_sub(self.log_bytes as u64)).unwrap_or(usize::MAX)
    }

    /// Whether more log waits in memory than should, which will be on disk in a moment.
    pub(super) fn is_full(&self) -> bool {
        self.log_bytes > LOG_AT_MOST && self.spool.is_some() && self.spool_failed.is_none()
    }

    /// Whether who puts it on disk has to look: at the first that waits, and at too much of it.
    pub(super) fn is_to_spill(&self) -> bool {
        self.waiting.len() == 1 || self.log_bytes > LOG_IN_MEMORY
    }

    /// Whether what waits in memory has to go to disk.
    pub(super) fn should_spill(&self) -> bool {
        let old = self.waiting.front().is_some_and(|(since, _)| since.elapsed() >= IN_MEMORY);
        !self.waiting.is_empty() && (self.file.is_some() || old || self.log_bytes > LOG_IN_MEMORY)
    }

    /// Puts all that waits on disk. Durable once this returns; what fails stays in memory, and is told.
    pub(super) fn spill(&mut self, now: Timestamp) {
        if self.waiting.is_empty() {
            return;
        }
        let spilled = self.spill_all(now);
        self.spool_failed = spilled.err().map(|error| error.to_string());
    }

    fn spill_all(&mut self, now: Timestamp) -> Result<(), SpoolError> {
        let Some(spool) = &self.spool else {
            return Err(std::io::Error::other("there is no place for a spool").into());
        };
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = spool.create(&self.server, &self.run, now)?;
                // Whoever sends it goes on from where we are.
                file.mark(self.state.clone())?;
                none.insert(file)
            }
        };
        let bytes = file.bytes().saturating_add(self.others_bytes);
        if bytes > spool.max_bytes.saturating_add(ROOM_FOR_ENTRIES) {
            return Err(std::io::Error::other("the spool is full").into());
        }
        while let Some((_, keyed)) = self.waiting.front() {
            file.push(keyed)?;
            if let Some((_, Keyed { report: Report::Log { bytes, .. }, .. })) = self.waiting.pop_front() {
                self.log_bytes = self.log_bytes.saturating_sub(bytes.len());
            }
        }
        file.sync()?;
        Ok(())
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

    /// How many reports wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len().saturating_add(self.file.as_ref().map_or(0, SpoolFile::waiting))
    }

    /// The file, if there is one.
    pub(super) fn take_file(&mut self) -> Option<SpoolFile> {
        self.file.take()
    }
}
