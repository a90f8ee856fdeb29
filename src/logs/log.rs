//! One log: how far it goes, and what its digest is so far.

use serde::{Deserialize, Serialize};

use super::line::ends;
use super::{Chunk, MaskedCounts, OpenLine, Stream};
use crate::evidence::digest::{Digest, Hasher};
use crate::evidence::time::Timestamp;

/// What is known of the log of one attempt of a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) step_id: String,
    pub(crate) attempt: u64,
    pub(crate) bytes: u64,
    /// Lines that have ended, as they are shown.
    pub(crate) lines: u64,
    /// Line feeds, whichever stream they came on.
    line_feeds: u64,
    /// Whether the last byte is another one.
    open_line: bool,
    /// Of all bytes.
    digest: Hasher,
    /// The line that each stream has begun.
    stdout: OpenLine,
    stderr: OpenLine,
    /// By rule.
    pub(crate) masked: MaskedCounts,
    /// Nothing more is appended.
    pub(crate) ended: bool,
    /// Its bytes are not kept any more.
    pub(crate) deleted: bool,
}

impl Log {
    pub(super) fn new(step_id: String, attempt: u64) -> Self {
        Self {
            step_id,
            attempt,
            bytes: 0,
            lines: 0,
            line_feeds: 0,
            open_line: false,
            digest: Hasher::default(),
            stdout: OpenLine::default(),
            stderr: OpenLine::default(),
            masked: MaskedCounts::new(),
            ended: false,
            deleted: false,
        }
    }

    /// The digest of all its bytes.
    pub(crate) fn digest(&self) -> Digest {
        self.digest.clone().finish()
    }

    /// Its lines as evidence counts them: line feeds, and a last line without one.
    pub(crate) fn lines_recorded(&self) -> u64 {
        self.line_feeds.saturating_add(u64::from(self.open_line))
    }

    /// The same, its bytes not kept any more.
    pub(crate) fn deleted(mut self) -> Self {
        self.deleted = true;
        self
    }

    /// The stored form, JSON.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a log has text for names")
    }

    /// Reads the stored form; `None` if it is none.
    pub(crate) fn decode(stored: &[u8]) -> Option<Self> {
        serde_json::from_slice(stored).ok()
    }

    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8], at: Timestamp, first_pos: u64) -> Chunk {
        let (start, first_line, size) = (self.bytes, self.lines, bytes.len() as u64);
        let open = match self.open(stream) {
            OpenLine { bytes: 0, .. } => OpenLine { from: start, ..OpenLine::default() },
            open => open,
        };
        let (mut ended, mut last) = (0_u64, None);
        for end in ends(open.bytes, bytes) {
            (ended, last) = (ended.saturating_add(1), Some(end as u64));
        }
        *self.open_mut(stream) = match last {
            Some(end) => {
                OpenLine { from: start.saturating_add(end), bytes: size.saturating_sub(end), chunk: start }
            }
            None => OpenLine { bytes: open.bytes.saturating_add(size), chunk: start, ..open },
        };
        self.bytes = start.saturating_add(size);
        self.lines = first_line.saturating_add(ended);
        let line_feeds = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.line_feeds = self.line_feeds.saturating_add(line_feeds);
        self.open_line = bytes.last().map_or(self.open_line, |last| *last != b'\n');
        self.digest.update(bytes);
        Chunk { at, stream, first_pos, first_line, ended, open, bytes: bytes.to_vec() }
    }

    pub(super) fn count_masked(&mut self, masked: &MaskedCounts) {
        for (rule_id, more) in masked {
            let count = self.masked.entry(rule_id.clone()).or_default();
            count.matches = count.matches.saturating_add(more.matches);
            count.bytes = count.bytes.saturating_add(more.bytes);
        }
    }

    /// What ends the lines that are open, at places behind its last byte, where nothing else can be.
    pub(super) fn end(&mut self, at: Timestamp, mut first_pos: u64) -> Vec<(u64, Chunk)> {
        self.ended = true;
        let mut marks = Vec::new();
        for (stream, open) in Stream::ALL.map(|stream| (stream, self.open(stream))) {
            if open.bytes > 0 {
                let offset = self.bytes.saturating_add(marks.len() as u64);
                let first_line = self.lines;
                self.lines = first_line.saturating_add(1);
                let mark = Chunk { at, stream, first_pos, first_line, ended: 1, open, bytes: Vec::new() };
                first_pos = first_pos.saturating_add(1);
                marks.push((offset, mark));
            }
        }
        marks
    }

    fn open(&self, stream: Stream) -> OpenLine {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }

    fn open_mut(&mut self, stream: Stream) -> &mut OpenLine {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}
