//! What a step wrote: its digest, its size, and the bytes themselves where they are kept.

use std::fs::File;
use std::io::{self, Write as _};

use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::Hasher;

/// Takes both streams of a child, in the order in which they arrive.
#[derive(Default)]
pub(crate) struct Log {
    hasher: Hasher,
    bytes: u64,
    line_feeds: u64,
    open_line: bool,
    file: Option<File>,
    error: Option<io::Error>,
}

impl Log {
    /// A log that is kept in a file, or not at all.
    pub(crate) fn new(file: Option<File>) -> Self {
        Self { file, ..Self::default() }
    }

    /// Takes the next bytes. A file that cannot be written is given up, and the digest goes on.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        self.line_feeds =
            self.line_feeds.saturating_add(bytes.iter().filter(|b| **b == b'\n').count() as u64);
        self.open_line = bytes.last().map_or(self.open_line, |last| *last != b'\n');
        if let Some(error) = self.file.as_mut().and_then(|file| file.write_all(bytes).err()) {
            (self.file, self.error) = (None, Some(error));
        }
    }

    /// The member `log` of the step; a last line without a line feed is a line.
    pub(super) fn member(&self) -> Object<'static> {
        let lines = self.line_feeds.saturating_add(u64::from(self.open_line));
        Object::from_iter([
            ("digest", self.hasher.clone().finish().into()),
            ("bytes", Value::count(self.bytes)),
            ("lines", Value::count(lines)),
        ])
    }

    /// Makes the file durable; the first error that it had.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match (self.error.take(), &self.file) {
            (Some(error), _) => Err(error),
            (None, Some(file)) if file.metadata()?.is_file() => file.sync_all(),
            (None, _) => Ok(()),
        }
    }
}
