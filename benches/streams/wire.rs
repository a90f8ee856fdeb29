//! The least of HTTP and of server-sent events that a subscriber needs: blocks, their ids and the stamps in them.

use memchr::{memchr_iter, memmem};

/// What the publisher puts into the data of an event: its number, and when it was sent.
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    /// 1 is the first event.
    pub(crate) number: u64,
    /// Since the clock of the bench was started.
    pub(crate) sent_ns: u64,
}

impl Stamp {
    /// As a member of a JSON object.
    pub(crate) fn member(self) -> String {
        format!("\"stamp\":\"{}-{}\"", self.number, self.sent_ns)
    }

    /// The stamp in a block, where one is.
    pub(crate) fn of(block: &[u8]) -> Option<Self> {
        const MEMBER: &[u8] = b"\"stamp\":\"";
        let at = memmem::find(block, MEMBER)? + MEMBER.len();
        let (number, digits) = decimal(&block[at..]);
        let (sent_ns, _) = decimal(&block[at + digits + 1..]);
        Some(Self { number, sent_ns })
    }
}

/// The id of a block, where it is a number.
pub(crate) fn id(block: &[u8]) -> Option<u64> {
    let (number, digits) = decimal(block.strip_prefix(b"id: ")?);
    (digits > 0).then_some(number)
}

/// A number, and how many digits it has.
fn decimal(text: &[u8]) -> (u64, usize) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold((0, 0), |(number, length), digit| (number * 10 + u64::from(digit - b'0'), length + 1))
}

/// An answer as it comes in. What is kept between two reads is a head or a block that is not whole yet.
#[derive(Default)]
pub(crate) struct Answer {
    kept: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Head,
    /// A body that ends with the connection.
    Plain,
    /// A chunked body, before the digits of a chunk's size, or among them.
    Size(usize),
    /// After them, up to the end of the line.
    SizeEnd(usize),
    /// So many bytes of the chunk are to come.
    Data(usize),
    /// The end of line behind a chunk.
    DataEnd,
    /// After the last chunk.
    Ended,
}

impl Answer {
    /// Hands each block that is whole now to `each`, without the empty line at its end.
    pub(crate) fn take(&mut self, mut bytes: &[u8], each: &mut impl FnMut(&[u8])) {
        while let Some(&first) = bytes.first() {
            let used = match self.state {
                State::Head => self.head(bytes),
                State::Plain => self.blocks(bytes, each),
                State::Data(left) => {
                    let used = self.blocks(&bytes[..left.min(bytes.len())], each);
                    self.state = if used == left { State::DataEnd } else { State::Data(left - used) };
                    used
                }
                State::Ended => bytes.len(),
                State::Size(_) | State::SizeEnd(_) | State::DataEnd => {
                    self.state = self.state.after(first);
                    1
                }
            };
            bytes = &bytes[used..];
        }
    }

    /// How many bytes of these belong to the head.
    fn head(&mut self, bytes: &[u8]) -> usize {
        let before = self.kept.len();
        self.kept.extend_from_slice(bytes);
        let Some(end) = memmem::find(&self.kept, b"\r\n\r\n") else { return bytes.len() };
        let head = String::from_utf8_lossy(&self.kept[..end]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(&self.kept));
        let chunked = head.contains("\r\ntransfer-encoding: chunked");
        self.state = if chunked { State::Size(0) } else { State::Plain };
        self.kept.clear();
        end + 4 - before
    }

    /// All bytes of these belong to blocks.
    fn blocks(&mut self, bytes: &[u8], each: &mut impl FnMut(&[u8])) -> usize {
        if self.kept.is_empty() {
            let rest = whole_blocks(bytes, each);
            self.kept.extend_from_slice(rest);
        } else {
            self.kept.extend_from_slice(bytes);
            let rest = whole_blocks(&self.kept, each).len();
            self.kept.drain(..self.kept.len() - rest);
        }
        bytes.len()
    }
}

impl State {
    /// What comes after one byte of a chunk's frame.
    fn after(self, byte: u8) -> Self {
        match (self, char::from(byte).to_digit(16)) {
            (State::Size(size), Some(digit)) => State::Size(size * 16 + digit as usize),
            (State::Size(size), None) => State::SizeEnd(size).after(byte),
            (State::SizeEnd(0), _) if byte == b'\n' => State::Ended,
            (State::SizeEnd(size), _) if byte == b'\n' => State::Data(size),
            (State::DataEnd, _) if byte == b'\n' => State::Size(0),
            (same, _) => same,
        }
    }
}

/// Hands out each whole block. What is left.
fn whole_blocks<'a>(bytes: &'a [u8], each: &mut impl FnMut(&[u8])) -> &'a [u8] {
    let mut start = 0;
    for end in memchr_iter(b'\n', bytes) {
        // An empty line ends a block.
        if end > start && bytes[end - 1] == b'\n' {
            each(&bytes[start..end - 1]);
            start = end + 1;
        }
    }
    &bytes[start..]
}
