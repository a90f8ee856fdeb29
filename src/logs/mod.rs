//! Logs: what steps wrote, kept byte for byte, and the lines that people read in it.
//!
//! Pure: bytes and moments come in, what is to be stored goes out. A log is the bytes of one attempt of a step in the order in which
//! they arrived, whichever stream they came on; its digest is that of these bytes. A line is what a stream wrote up to a line
//! feed; lines are numbered in their log, and by `log_pos` in their run, in the order in which they end.

mod chunk;
mod line;
mod log;
mod refusal;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evidence::time::Timestamp;

pub(crate) use chunk::Chunk;
pub(crate) use line::{Line, OpenLine, lines_of};
pub(crate) use log::Log;
pub(crate) use refusal::LogRefusal;

/// How many bytes are stored in one chunk, at most.
pub(crate) const MAX_CHUNK_BYTES: usize = 256 << 10;
/// A line that is longer is shown as several.
pub(crate) const MAX_LINE_BYTES: u64 = 256 << 10;
/// How many logs a run may have.
pub(crate) const MAX_LOGS: usize = 10_000;

/// Which stream of a process bytes came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub(crate) const ALL: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }

    pub(crate) fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.as_str() == text)
    }
}

/// Bytes for the log of one attempt of a step.
#[derive(Clone, Debug)]
pub(crate) struct LogAppend {
    pub(crate) step_id: String,
    pub(crate) attempt: u64,
    pub(crate) stream: Stream,
    /// Where they go; without, at the end.
    pub(crate) offset: Option<u64>,
    /// At most [`MAX_CHUNK_BYTES`].
    pub(crate) bytes: Vec<u8>,
}

/// How much each rule has masked.
pub(crate) type MaskedCounts = BTreeMap<String, MaskedCount>;

/// How much a rule has masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MaskedCount {
    pub(crate) matches: u64,
    pub(crate) bytes: u64,
}

/// Where a log ends, once bytes are appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogReceipt {
    /// In bytes of the log.
    pub(crate) offset: u64,
    /// Lines of the log that have ended.
    pub(crate) lines: u64,
    /// The place that the next line of the run gets.
    pub(crate) log_pos: u64,
}

/// What is to be stored of an append.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Number of the log, place in it, stored form.
    pub(crate) chunks: Vec<(u32, u64, Vec<u8>)>,
    /// Of chunks in which lines end: the first one's `log_pos` and number in the log, the log, and the place of the chunk.
    pub(crate) ends: Vec<LineEnd>,
    /// Number of the log, stored form of what is known of it.
    pub(crate) logs: Vec<(u32, Vec<u8>)>,
}

/// A chunk in which lines end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineEnd {
    /// The first of them, in the run.
    pub(crate) log_pos: u64,
    /// The first of them, in the log.
    pub(crate) line: u64,
    pub(crate) log: u32,
    /// Where the chunk stands.
    pub(crate) offset: u64,
}

/// The logs of a run, as far as the next append depends on them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs {
    logs: Vec<Log>,
}

impl Logs {
    /// As they were stored, in the order of their numbers; `None` if that is none.
    pub(crate) fn load(stored: impl IntoIterator<Item = Vec<u8>>) -> Option<Self> {
        let logs: Option<Vec<Log>> = stored.into_iter().map(|bytes| Log::decode(&bytes)).collect();
        logs.map(|logs| Self { logs })
    }

    /// The log of that attempt of a step.
    pub(crate) fn get(&self, step_id: &str, attempt: u64) -> Option<&Log> {
        self.place(step_id, attempt).and_then(|place| self.logs.get(place))
    }

    /// The number of the log of that attempt of a step.
    pub(crate) fn number(&self, step_id: &str, attempt: u64) -> Option<u32> {
        u32::try_from(self.place(step_id, attempt)?).ok()
    }

    /// The log of that number.
    pub(crate) fn numbered(&self, log: u32) -> Option<&Log> {
        self.logs.get(usize::try_from(log).ok()?)
    }

    /// All of them, in the order of their numbers.
    pub(crate) fn all(&self) -> &[Log] {
        &self.logs
    }

    /// Appends bytes, in which that was masked, when there is room for them. What is given is in the state already, and has to be
    /// stored.
    pub(crate) fn append(
        &mut self,
        append: &LogAppend,
        masked: &MaskedCounts,
        at: Timestamp,
        max_bytes: u64,
    ) -> Result<(LogReceipt, Written), LogRefusal> {
        let place = self.place(&append.step_id, append.attempt);
        let (before, ended) =
            place.and_then(|place| self.logs.get(place)).map_or((0, false), |log| (log.bytes, log.ended));
        if ended {
            return Err(LogRefusal::Ended { step_id: append.step_id.clone(), attempt: append.attempt });
        }
        if append.offset.is_some_and(|offset| offset != before) {
            return Err(LogRefusal::OffsetMismatch { offset: before });
        }
        let all = self.logs.iter().map(|log| log.bytes).fold(append.bytes.len() as u64, u64::saturating_add);
        if all > max_bytes {
            return Err(LogRefusal::TooLarge { max_bytes });
        }
        if append.bytes.is_empty() {
            let lines = place.and_then(|place| self.logs.get(place)).map_or(0, |log| log.lines);
            let receipt = LogReceipt { offset: before, lines, log_pos: self.next_pos() };
            return Ok((receipt, Written::default()));
        }
        let place = match place {
            Some(place) => place,
            None if self.logs.len() >= MAX_LOGS => return Err(LogRefusal::TooMany { max: MAX_LOGS }),
            None => {
                self.logs.push(Log::new(append.step_id.clone(), append.attempt));
                self.logs.len().saturating_sub(1)
            }
        };
        let mut written = Written::default();
        let next = self.next_pos();
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        let mut receipt = LogReceipt { offset: before, lines: 0, log_pos: next };
        if let Some(log) = self.logs.get_mut(place) {
            let chunk = log.take(append.stream, &append.bytes, at, next);
            log.count_masked(masked);
            written.chunk(number, before, &chunk);
            written.logs.push((number, log.encode()));
            (receipt.offset, receipt.lines) = (log.bytes, log.lines);
        }
        receipt.log_pos = self.next_pos();
        Ok((receipt, written))
    }

    /// Ends the log of an attempt that is finished. Lines that no line feed ended end now.
    pub(crate) fn end(&mut self, step_id: &str, attempt: u64, at: Timestamp) -> Written {
        let (mut written, next) = (Written::default(), self.next_pos());
        let Some(number) = self.number(step_id, attempt) else { return written };
        let place = self.place(step_id, attempt).and_then(|place| self.logs.get_mut(place));
        if let Some(log) = place.filter(|log| !log.ended) {
            for (offset, mark) in log.end(at, next) {
                written.chunk(number, offset, &mark);
            }
            written.logs.push((number, log.encode()));
        }
        written
    }

    /// The place that the next line of the run gets.
    pub(crate) fn next_pos(&self) -> u64 {
        self.logs.iter().map(|log| log.lines).fold(0, u64::saturating_add)
    }

    fn place(&self, step_id: &str, attempt: u64) -> Option<usize> {
        self.logs.iter().position(|log| log.step_id == step_id && log.attempt == attempt)
    }
}

impl Written {
    fn chunk(&mut self, log: u32, offset: u64, chunk: &Chunk) {
        self.chunks.push((log, offset, chunk.encode()));
        if chunk.ended > 0 {
            self.ends.push(LineEnd { log_pos: chunk.first_pos, line: chunk.first_line, log, offset });
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]
mod tests;
