use std::collections::BTreeMap;

use super::*;
use crate::evidence::digest::Digest;

/// What is stored, as a store would.
#[derive(Default)]
struct Stored {
    chunks: BTreeMap<(u32, u64), Vec<u8>>,
    logs: BTreeMap<u32, Vec<u8>>,
    ends: BTreeMap<u64, LineEnd>,
}

impl Stored {
    fn keep(&mut self, written: Written) {
        self.chunks.extend(written.chunks.into_iter().map(|(log, offset, bytes)| ((log, offset), bytes)));
        self.logs.extend(written.logs);
        self.ends.extend(written.ends.into_iter().map(|end| (end.log_pos, end)));
    }

    fn bytes(&self, log: u32) -> Vec<u8> {
        let chunks = self.chunks.range((log, 0)..=(log, u64::MAX));
        chunks.flat_map(|(_, chunk)| Chunk::decode(chunk).unwrap().bytes).collect()
    }

    /// Every line of the run, found by the index.
    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for end in self.ends.values() {
            let chunk = Chunk::decode(&self.chunks[&(end.log, end.offset)]).unwrap();
            let mut before = Vec::new();
            let mut open = chunk.open;
            while open.bytes > 0 {
                let earlier = Chunk::decode(&self.chunks[&(end.log, open.chunk)]).unwrap();
                let from = usize::try_from(chunk.open.from.saturating_sub(open.chunk)).unwrap();
                before = [&earlier.bytes[from..], before.as_slice()].concat();
                open = if open.chunk <= chunk.open.from { OpenLine::default() } else { earlier.open };
            }
            lines.extend(lines_of(&chunk, &before, 0));
        }
        lines
    }
}

fn append(step_id: &str, stream: Stream, bytes: &[u8]) -> LogAppend {
    LogAppend { step_id: step_id.into(), attempt: 1, stream, offset: None, bytes: bytes.to_vec() }
}

fn at() -> Timestamp {
    Timestamp::from_unix_ms(0)
}

#[test]
fn however_bytes_are_cut_the_log_is_the_same_and_each_line_is_there_once() {
    let text = "one\ntwo \u{1F600}\r\n\nfour without end".as_bytes();
    for size in 1..=text.len() {
        let (mut logs, mut stored) = (Logs::default(), Stored::default());
        for piece in text.chunks(size) {
            let (_, written) = logs
                .append(&append("s", Stream::Stdout, piece), &MaskedCounts::new(), at(), u64::MAX)
                .unwrap();
            stored.keep(written);
            // Whoever comes after reads back what was stored.
            logs = Logs::load(stored.logs.values().cloned()).unwrap();
        }
        assert_eq!(logs.next_pos(), 3);
        stored.keep(logs.end("s", 1, at()));
        let log = logs.get("s", 1).unwrap();
        assert_eq!((log.digest(), log.bytes, log.lines_recorded()), (Digest::of(text), text.len() as u64, 4));
        assert_eq!(stored.bytes(0), text);
        let lines = stored.lines();
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["one", "two \u{1F600}\r", "", "four without end"]);
        assert!(lines.iter().zip(0..).all(|(line, n)| line.log_pos == n && line.line == n));
    }
}

#[test]
fn two_streams_and_two_logs_do_not_cut_each_others_lines() {
    let (mut logs, mut stored) = (Logs::default(), Stored::default());
    for (step, stream, bytes) in [
        ("a", Stream::Stdout, "out"),
        ("a", Stream::Stderr, "err"),
        ("b", Stream::Stdout, "other\nb"),
        ("a", Stream::Stdout, "put\n"),
        ("a", Stream::Stderr, "or\nrest"),
    ] {
        let (_, written) = logs
            .append(&append(step, stream, bytes.as_bytes()), &MaskedCounts::new(), at(), u64::MAX)
            .unwrap();
        stored.keep(written);
    }
    for step in ["a", "b"] {
        stored.keep(logs.end(step, 1, at()));
    }
    let texts: Vec<String> = stored.lines().into_iter().map(|line| line.text).collect();
    assert_eq!(texts, ["other", "output", "error", "rest", "b"]);
    assert_eq!(stored.bytes(0), b"outerrput\nor\nrest");
}

#[test]
fn a_line_without_end_is_shown_in_pieces() {
    let long = vec![b'x'; MAX_CHUNK_BYTES];
    let (mut logs, mut stored) = (Logs::default(), Stored::default());
    for _ in 0..3 {
        stored.keep(
            logs.append(&append("s", Stream::Stdout, &long), &MaskedCounts::new(), at(), u64::MAX).unwrap().1,
        );
    }
    stored.keep(
        logs.append(&append("s", Stream::Stdout, b"end\n"), &MaskedCounts::new(), at(), u64::MAX).unwrap().1,
    );
    let sizes: Vec<usize> = stored.lines().iter().map(|line| line.text.len()).collect();
    assert_eq!(sizes, [long.len(), long.len(), long.len(), 3]);
    assert_eq!(logs.get("s", 1).unwrap().lines_recorded(), 1);
}

#[test]
fn a_log_takes_bytes_at_its_end_until_it_is_ended_or_full() {
    let mut logs = Logs::default();
    let bytes_at = |offset| LogAppend { offset: Some(offset), ..append("s", Stream::Stdout, b"12345") };
    assert_eq!(
        logs.append(&bytes_at(1), &MaskedCounts::new(), at(), 12).unwrap_err(),
        LogRefusal::OffsetMismatch { offset: 0 }
    );
    assert_eq!(logs.all().len(), 0);
    let (receipt, _) = logs.append(&bytes_at(0), &MaskedCounts::new(), at(), 12).unwrap();
    assert_eq!(receipt, LogReceipt { offset: 5, lines: 0, log_pos: 0 });
    assert_eq!(
        logs.append(&bytes_at(0), &MaskedCounts::new(), at(), 12).unwrap_err(),
        LogRefusal::OffsetMismatch { offset: 5 }
    );
    logs.append(&bytes_at(5), &MaskedCounts::new(), at(), 12).unwrap();
    assert_eq!(
        logs.append(&bytes_at(10), &MaskedCounts::new(), at(), 12).unwrap_err(),
        LogRefusal::TooLarge { max_bytes: 12 }
    );
    logs.end("s", 1, at());
    assert_eq!(
        logs.append(&bytes_at(10), &MaskedCounts::new(), at(), 1 << 20).unwrap_err(),
        LogRefusal::Ended { step_id: "s".into(), attempt: 1 }
    );
}
