//! Who publishes: one connection, one request at a time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Instant;

use mio::net::TcpStream;

use crate::target::Target;
use crate::wire::Stamp;

pub(crate) struct Publisher<'a> {
    pub(crate) stream: TcpStream,
    /// The clock of the stamps.
    clock: Instant,
    /// Events sent so far; also the number of the last.
    pub(crate) published: u64,
    unsent: Vec<u8>,
    answers: Vec<u8>,
    /// How many answers are to come.
    awaited: usize,
    target: &'a Target,
}

impl<'a> Publisher<'a> {
    pub(crate) fn to(target: &'a Target) -> Self {
        let stream = std::net::TcpStream::connect(target.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self {
            stream: TcpStream::from_std(stream),
            clock: Instant::now(),
            published: 0,
            unsent: Vec::new(),
            answers: Vec::new(),
            awaited: 0,
            target,
        }
    }

    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).unwrap()
    }

    /// All that was sent is answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.awaited == 0
    }

    /// Sends a batch of events. Nothing may be under way.
    pub(crate) fn publish(&mut self, batch: u64) {
        let sent_ns = self.now_ns();
        let numbers = self.published + 1..=self.published + batch;
        let stamps: Vec<Stamp> = numbers.map(|number| Stamp { number, sent_ns }).collect();
        self.published += batch;
        (self.unsent, self.awaited) = self.target.publication(&stamps);
        self.go_on();
    }

    /// Writes what is unsent and reads answers, as far as that goes now.
    pub(crate) fn go_on(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("publishing: {error}"),
            }
        }
        let mut buffer = [0; 16 << 10];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the publisher was sent away"),
                Ok(read) => self.answers.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("publishing: {error}"),
            }
        }
        while let Some(length) = whole_answer(&self.answers) {
            self.answers.drain(..length);
            self.awaited -= 1;
        }
    }
}

/// How long the first answer is, where it is all there.
fn whole_answer(answers: &[u8]) -> Option<usize> {
    let end = memchr::memmem::find(answers, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answers[..end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 20"), "{}", String::from_utf8_lossy(answers));
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let length = end + 4 + length.parse::<usize>().unwrap();
    (answers.len() >= length).then_some(length)
}
