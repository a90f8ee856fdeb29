//! `text/event-stream`, read as the HTML standard says: bytes in, cut anywhere; events out.

use std::collections::VecDeque;
use std::time::Duration;

/// What a block may have in all. An event of the service is far smaller.
const MAX_BLOCK_BYTES: usize = 16 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An event, dispatched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The last event id by then: its own, or that of a block before it.
    pub id: String,
    /// Whether the id is its own.
    pub has_own_id: bool,
    /// Its name, `message` where it has none.
    pub event: String,
    /// Its lines of data, joined.
    pub data: String,
}

/// A line, or all the lines of a block, are beyond any event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// What has been read of one stream. What stands in an unfinished block counts for nothing, the id too.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    /// The last byte ended a line as CR: an LF now is of the same end.
    after_cr: bool,
    /// A line was read, so a byte order mark is data.
    begun: bool,
    last_event_id: String,
    retry: Option<Duration>,
    block: Block,
}

#[derive(Debug, Default)]
struct Block {
    id: Option<String>,
    event: String,
    /// Each line with an LF after it.
    data: String,
}

impl Parser {
    /// A stream that goes on where this one ended.
    pub fn resumed(self) -> Self {
        Self { last_event_id: self.last_event_id, retry: self.retry, ..Self::default() }
    }

    /// Takes the next bytes, and puts what is dispatched with them at the end of `events`. After an error the stream is of no more use;
    /// the events before it hold.
    pub fn feed(&mut self, mut bytes: &[u8], events: &mut VecDeque<Event>) -> Result<(), TooLarge> {
        while let Some((&first, rest)) = bytes.split_first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = rest;
                continue;
            }
            let ends = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let (piece, end) = bytes.split_at(ends.unwrap_or(bytes.len()));
            if self.size().saturating_add(piece.len()) > MAX_BLOCK_BYTES {
                return Err(TooLarge);
            }
            self.line.extend_from_slice(piece);
            let Some((end, rest)) = end.split_first() else { return Ok(()) };
            self.after_cr = *end == b'\r';
            bytes = rest;
            let line = std::mem::take(&mut self.line);
            events.extend(self.end_line(&line));
            self.line = line;
            self.line.clear();
        }
        Ok(())
    }

    /// What a new connection sends as `Last-Event-ID`; nothing where it is empty.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// How long the stream wants clients to wait before they come back, if it said so.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn size(&self) -> usize {
        self.line.len().saturating_add(self.block.data.len())
    }

    fn end_line(&mut self, line: &[u8]) -> Option<Event> {
        let is_first = !std::mem::replace(&mut self.begun, true);
        let line = if is_first { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        if line.is_empty() {
            return self.dispatch();
        }
        // Line ends and colons are no part of longer characters: what is not UTF-8 becomes U+FFFD in its own line.
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        self.field(name, value.strip_prefix(' ').unwrap_or(value));
        None
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "data" => {
                self.block.data.push_str(value);
                self.block.data.push('\n');
            }
            "event" => value.clone_into(&mut self.block.event),
            "id" if !value.contains('\0') => self.block.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = Some(Duration::from_millis(value.parse().unwrap_or(u64::MAX)));
            }
            // A comment has no name; the others mean nothing.
            _ => {}
        }
    }

    /// Without data nothing is dispatched, yet the id counts.
    fn dispatch(&mut self) -> Option<Event> {
        let Block { id, event, mut data } = std::mem::take(&mut self.block);
        let has_own_id = id.is_some();
        if let Some(id) = id {
            self.last_event_id = id;
        }
        data.pop()?;
        let event = if event.is_empty() { "message".to_owned() } else { event };
        Some(Event { id: self.last_event_id.clone(), has_own_id, event, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a stream is read as: its events, and what it leaves behind.
    type Read = (Vec<Event>, String, Option<Duration>);

    fn read<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Read {
        let (mut parser, mut events) = (Parser::default(), VecDeque::new());
        for piece in pieces {
            parser.feed(piece, &mut events).unwrap();
        }
        (events.into(), parser.last_event_id, parser.retry)
    }

    /// Reads it cut at every byte, and byte by byte, alike.
    fn read_cut_anywhere(stream: &[u8]) -> Read {
        let whole = read([stream]);
        for at in 0..=stream.len() {
            let (before, after) = stream.split_at(at);
            assert_eq!(read([before, after]), whole, "cut at {at}");
        }
        assert_eq!(read(stream.chunks(1)), whole);
        whole
    }

    fn events(stream: impl AsRef<[u8]>) -> Vec<(String, String, String)> {
        let (events, ..) = read_cut_anywhere(stream.as_ref());
        events.into_iter().map(|Event { id, event, data, .. }| (id, event, data)).collect()
    }

    fn event(id: &str, event: &str, data: &str) -> (String, String, String) {
        (id.into(), event.into(), data.into())
    }

    #[test]
    fn cr_lf_and_crlf_each_end_a_line_once() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = ["id: 1", "event: log", "data: a", "data: b", "", "data: c", "", ""].join(end);
            assert_eq!(events(&stream), [event("1", "log", "a\nb"), event("1", "message", "c")], "{end:?}");
        }
        assert_eq!(events("data: a\r\rdata: b\n\r\ndata: c\r\n\n").len(), 3);
    }

    #[test]
    fn one_byte_order_mark_is_dropped_and_each_other_is_data() {
        assert_eq!(events("\u{feff}data: a\n\n"), [event("", "message", "a")]);
        assert_eq!(events("\u{feff}\u{feff}data: a\n\n"), []);
        assert_eq!(events("data: \u{feff}a\n\n\u{feff}data: b\n\n"), [event("", "message", "\u{feff}a")]);
    }

    #[test]
    fn an_id_stays_until_another_one_and_one_with_nul_is_none() {
        let stream = "id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\n";
        let ids = events(stream).into_iter().map(|(id, ..)| id).collect::<Vec<_>>();
        assert_eq!(ids, ["1", "1", "1", ""]);
    }

    #[test]
    fn an_event_tells_whether_its_id_is_its_own() {
        let (events, ..) = read([&b"id: 1\ndata: a\n\ndata: b\n\n"[..]]);
        assert_eq!(events.iter().map(|event| event.has_own_id).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_block_with_an_id_alone_moves_the_cursor_and_is_no_event() {
        let (events, last_event_id, _) = read_cut_anywhere(b"id: 7\nevent: x\n\ndata: a\n\nid: 9\n\n");
        let events: Vec<_> = events.iter().map(|event| (event.id.as_str(), event.event.as_str())).collect();
        assert_eq!((events, last_event_id.as_str()), (vec![("7", "message")], "9"));
    }

    #[test]
    fn what_is_cut_off_counts_for_nothing() {
        let (events, last_event_id, _) = read_cut_anywhere(b"id: 1\ndata: a\n\nid: 2\ndata: b\n");
        assert_eq!((events.len(), last_event_id.as_str()), (1, "1"));
    }

    #[test]
    fn a_pause_is_of_digits_alone() {
        let pause = |stream: &str| read_cut_anywhere(stream.as_bytes()).2.map(|pause| pause.as_millis());
        assert_eq!(pause("retry: 2417\n"), Some(2417));
        assert_eq!(pause("retry: 5\nretry: 5s\nretry:\nretry: -1\nretry: ٣\n"), Some(5));
        assert_eq!(pause("retry: 99999999999999999999\n"), Some(u128::from(u64::MAX)));
    }

    #[test]
    fn comments_and_unknown_fields_are_passed_over_and_a_field_needs_no_colon() {
        assert_eq!(
            events(":\n: c\nDATA: x\n data: x\nother: x\ndata\ndata:  a:b\n\n"),
            [event("", "message", "\n a:b")]
        );
        assert_eq!(events("data\n\nevent: x\n\n:\n\n"), [event("", "message", "")]);
    }

    #[test]
    fn what_is_no_utf_8_is_shown_as_such_and_ends_with_its_line() {
        assert_eq!(
            events(b"data: \xf0\x9f\ndata: \xff\xf0\x9f\x98\x80\n\n"),
            [event("", "message", "\u{fffd}\n\u{fffd}😀")]
        );
    }

    #[test]
    fn a_block_without_end_is_refused_in_bounded_memory() {
        let (mut parser, mut events) = (Parser::default(), VecDeque::new());
        parser.feed(b"data: a\n\ndata: ", &mut events).unwrap();
        let piece = vec![b'x'; 1 << 20];
        let taken = (0..32).take_while(|_| parser.feed(&piece, &mut events).is_ok()).count();
        assert_eq!((taken, events.len()), (15, 1));
        let (mut parser, lines) = (Parser::default(), b"data: x\n".repeat(1 << 17));
        let taken = (0..128).take_while(|_| parser.feed(&lines, &mut events).is_ok()).count();
        assert!(taken < 128 && parser.line.capacity() < 64, "{taken}");
    }

    #[test]
    fn a_resumed_stream_keeps_its_cursor_until_another_id_comes() {
        let (mut parser, mut events) = (Parser::default(), VecDeque::new());
        parser.feed(b"id: 17\n\nid: 18\ndata: cut off", &mut events).unwrap();
        parser = parser.resumed();
        parser.feed(b"\xef\xbb\xbfretry: 1\n\ndata: open\n\n", &mut events).unwrap();
        assert_eq!(
            (events[0].id.as_str(), events[0].has_own_id, parser.last_event_id()),
            ("17", false, "17")
        );
    }

    /// The standard's text in as few words as there are, on a stream that is whole.
    fn reference(stream: &str) -> Vec<(String, String, String)> {
        let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
        let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
        let Some((whole, _)) = stream.rsplit_once('\n') else { return Vec::new() };
        let (mut found, mut id, mut name, mut data) = (Vec::new(), String::new(), "", None::<String>);
        for line in whole.split('\n') {
            match line
                .split_once(':')
                .map(|(n, v)| (n, v.strip_prefix(' ').unwrap_or(v)))
                .unwrap_or((line, ""))
            {
                ("", "") if line.is_empty() => {
                    let name = std::mem::take(&mut name);
                    let name = if name.is_empty() { "message" } else { name };
                    found.extend(data.take().map(|data: String| (id.clone(), name.to_owned(), data)));
                }
                ("data", value) => data = Some(data.map_or(value.to_owned(), |data| data + "\n" + value)),
                ("event", value) => name = value,
                ("id", value) if !value.contains('\0') => id = value.to_owned(),
                _ => {}
            }
        }
        found
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_as_the_standard_says_wherever_it_is_cut(
            parts in prop::collection::vec(prop::sample::select(vec![
                "data", "id", "event", "retry", ":", " ", "\n", "\n", "\r", "\r\n", "\n\n", "a", "17", "\0", "😀", "\u{feff}", "\u{2028}", "\u{85}",
            ]), 0..60),
        ) {
            // An id counts at the end of its block: one that is never ended is not seen by an event either way.
            prop_assert_eq!(events(parts.concat()), reference(&parts.concat()));
        }
    }
}
