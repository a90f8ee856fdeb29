//! Lines: where they end, and their text.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Chunk, MAX_LINE_BYTES, Stream};
use crate::evidence::time::Timestamp;

/// A line as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    /// Its place among the lines of the run.
    pub(crate) log_pos: u64,
    /// Its place among the lines of its log.
    pub(crate) line: u64,
    pub(crate) stream: Stream,
    /// When its end arrived.
    pub(crate) at: Timestamp,
    /// Without its line feed; what is not UTF-8 is shown as U+FFFD.
    pub(crate) text: String,
}

/// The line that a stream has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenLine {
    /// Where it began, in bytes of the log.
    pub(crate) from: u64,
    /// How many bytes of it are there; without any there is no such line.
    pub(crate) bytes: u64,
    /// Where the chunk stands with the last of them.
    pub(crate) chunk: u64,
}

/// Where lines end in bytes that go on with a line of so many bytes: behind their last bytes.
pub(super) fn ends(open_bytes: u64, bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut length = open_bytes;
    bytes.iter().enumerate().filter_map(move |(place, byte)| {
        length = length.saturating_add(1);
        let end = *byte == b'\n' || length >= MAX_LINE_BYTES;
        if end {
            length = 0;
        }
        end.then(|| place.saturating_add(1))
    })
}

/// The lines that end in a chunk, without the first few. `before` is what the stream wrote of the line that was open at its start.
pub(crate) fn lines_of<'c>(
    chunk: &'c Chunk,
    before: &'c [u8],
    skipped: u64,
) -> impl Iterator<Item = Line> + use<'c> {
    // One without bytes ends the line that is open.
    let mark = chunk.bytes.is_empty().then_some(0);
    let mut starts_at = 0;
    let all_ends = (0_u64..).zip(mark.into_iter().chain(ends(chunk.open.bytes, &chunk.bytes)));
    all_ends.filter_map(move |(n, end)| {
        let own = chunk.bytes.get(std::mem::replace(&mut starts_at, end)..end).unwrap_or_default();
        if n < skipped {
            return None;
        }
        let whole = if n == 0 { Cow::Owned([before, own].concat()) } else { Cow::Borrowed(own) };
        let text = whole.strip_suffix(b"\n").unwrap_or(&whole);
        Some(Line {
            log_pos: chunk.first_pos.saturating_add(n),
            line: chunk.first_line.saturating_add(n),
            stream: chunk.stream,
            at: chunk.at,
            text: String::from_utf8_lossy(text).into_owned(),
        })
    })
}
