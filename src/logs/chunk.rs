//! A stretch of a log as it is stored.

use super::{OpenLine, Stream};
use crate::evidence::time::Timestamp;

/// Bytes that were appended at once, and which lines end in them. Without bytes it ends the line that was open when the log ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chunk {
    pub(crate) at: Timestamp,
    pub(crate) stream: Stream,
    /// The `log_pos` of the first line that ends here.
    pub(crate) first_pos: u64,
    /// Its number in the log.
    pub(crate) first_line: u64,
    /// How many lines end here.
    pub(crate) ended: u64,
    /// The line that is open at the start of this chunk.
    pub(crate) open: OpenLine,
    pub(crate) bytes: Vec<u8>,
}

const STREAMS: [(u8, Stream); 2] = [(1, Stream::Stdout), (2, Stream::Stderr)];

impl Chunk {
    /// The stored form: a tag for the stream, seven numbers, the bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len().saturating_add(57));
        let tag = STREAMS.iter().find(|(_, stream)| *stream == self.stream);
        out.push(tag.map_or(0, |(tag, _)| *tag));
        out.extend(self.at.unix_ms().to_be_bytes());
        let OpenLine { from, bytes, chunk } = self.open;
        for number in [self.first_pos, self.first_line, self.ended, from, bytes, chunk] {
            out.extend(number.to_be_bytes());
        }
        out.extend(&self.bytes);
        out
    }

    /// Reads the stored form; `None` if it is none.
    pub(crate) fn decode(stored: &[u8]) -> Option<Self> {
        let (&tag, rest) = stored.split_first()?;
        let (_, stream) = STREAMS.into_iter().find(|(known, _)| *known == tag)?;
        let (at, mut rest) = rest.split_first_chunk()?;
        let mut numbers = [0; 6];
        for number in &mut numbers {
            let (bytes, left) = rest.split_first_chunk()?;
            (*number, rest) = (u64::from_be_bytes(*bytes), left);
        }
        let [first_pos, first_line, ended, from, bytes, chunk] = numbers;
        let open = OpenLine { from, bytes, chunk };
        let at = Timestamp::from_unix_ms(i64::from_be_bytes(*at));
        Some(Self { at, stream, first_pos, first_line, ended, open, bytes: rest.to_vec() })
    }
}
