//! All subscribers of a target and the one who publishes to them, in one thread.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::publisher::Publisher;
use crate::tally::Tally;
use crate::target::{Begin, Kind, Target};
use crate::wire::{Answer, Stamp, id};

/// So many may be connecting at once: fewer than any server lets wait.
const CONNECTING: usize = 128;
const PUBLISHER: Token = Token(usize::MAX >> 1);
/// A run holds 100,000 elements.
const MOST_EVENTS: u64 = 90_000;
/// How long anything may take that must come to an end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a subscriber is there for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Its deliveries are counted and timed.
    Watched,
    /// It is only there, and may stop reading.
    Idler,
    /// It goes when it got so many events.
    Guest(u32),
}

struct Subscriber {
    stream: TcpStream,
    role: Role,
    answer: Answer,
    /// It got its first block.
    ready: bool,
    /// The number of its last event.
    last: Option<u64>,
}

/// How fast events are published.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// So many batches a second.
    Rate(f64),
    /// As many as keep the mean subscriber at most so many events behind.
    Behind(u64),
}

pub(crate) struct Crowd<'a> {
    target: &'a Target,
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    subscribers: Vec<Option<Subscriber>>,
    free: Vec<usize>,
    watched: u32,
    guests: usize,
    connecting: usize,
    pub(crate) publisher: Publisher<'a>,
    pub(crate) tally: Tally,
}

impl<'a> Crowd<'a> {
    pub(crate) fn of(target: &'a Target) -> Self {
        let poll = Poll::new().unwrap();
        let mut publisher = Publisher::to(target);
        poll.registry()
            .register(&mut publisher.stream, PUBLISHER, Interest::READABLE | Interest::WRITABLE)
            .unwrap();
        Self {
            target,
            poll,
            events: Events::with_capacity(1024),
            buffer: vec![0; 256 << 10],
            subscribers: Vec::new(),
            free: Vec::new(),
            watched: 0,
            guests: 0,
            connecting: 0,
            publisher,
            tally: Tally::new(),
        }
    }

    /// Connects so many more and waits until each got its first block.
    pub(crate) fn join(&mut self, count: usize, role: Role, begin: Begin) {
        for _ in 0..count {
            self.wait(|crowd| crowd.connecting < CONNECTING);
            self.connect(role, begin);
        }
        self.wait(|crowd| crowd.connecting == 0);
    }

    fn connect(&mut self, role: Role, begin: Begin) {
        let mut stream = std::net::TcpStream::connect(self.target.address).unwrap();
        stream.write_all(self.target.subscription(begin).as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut stream = TcpStream::from_std(stream);
        let index = self.free.pop().unwrap_or_else(|| {
            self.subscribers.push(None);
            self.subscribers.len() - 1
        });
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE).unwrap();
        let answer = Answer::default();
        self.subscribers[index] = Some(Subscriber { stream, role, answer, ready: false, last: None });
        self.connecting += 1;
        match role {
            Role::Watched => self.watched += 1,
            Role::Guest(_) => self.guests += 1,
            Role::Idler => (),
        }
    }

    /// Publishes and reads for so long, then reads until everybody watched has everything. How long it was until then, in seconds.
    pub(crate) fn fan_out(&mut self, pace: Pace, batch: u64, seconds: f64) -> f64 {
        let started = Instant::now();
        let first = self.publisher.published;
        while started.elapsed().as_secs_f64() < seconds && self.publisher.published + batch <= MOST_EVENTS {
            self.publish_if_due(pace, batch, first, started);
            self.turn(1);
        }
        self.catch_up();
        started.elapsed().as_secs_f64()
    }

    /// So many guests come and go while there is publishing. How long it was until the last had gone, in seconds.
    pub(crate) fn storm(&mut self, guests: usize, stay: u32, per_second: f64) -> f64 {
        let started = Instant::now();
        let first = self.publisher.published;
        let mut left = guests;
        while left > 0 || self.guests > 0 {
            assert!(started.elapsed() < PATIENCE, "{} guests do not go", self.guests);
            self.publish_if_due(Pace::Rate(per_second), 1, first, started);
            // A few at a time: those who are there must not wait until all have come.
            for _ in 0..left.min(CONNECTING.saturating_sub(self.connecting)).min(16) {
                self.connect(Role::Guest(stay), Begin::Latest);
                left -= 1;
            }
            self.turn(u64::from(left == 0));
        }
        started.elapsed().as_secs_f64()
    }

    fn publish_if_due(&mut self, pace: Pace, batch: u64, first: u64, started: Instant) {
        let published = self.publisher.published - first;
        let due = match pace {
            Pace::Rate(per_second) => {
                (published as f64) < started.elapsed().as_secs_f64() * per_second * batch as f64
            }
            Pace::Behind(events) => self.missing() <= events * u64::from(self.watched),
        };
        if due && self.publisher.is_idle() {
            self.publisher.publish(batch);
        }
    }

    /// Publishes so many events and waits for the answers.
    pub(crate) fn fill(&mut self, events: u64, batch: u64) {
        while self.publisher.published < events {
            self.publisher.publish(batch);
            self.wait(|crowd| crowd.publisher.is_idle());
        }
    }

    /// Deliveries that those who are watched since the first event have not got yet.
    pub(crate) fn missing(&self) -> u64 {
        (self.publisher.published * u64::from(self.watched)).saturating_sub(self.tally.deliveries)
    }

    /// Reads until everybody watched has everything. What is missing when patience ends stays missing.
    pub(crate) fn catch_up(&mut self) {
        let started = Instant::now();
        while !(self.publisher.is_idle() && self.missing() == 0) && started.elapsed() < PATIENCE {
            self.turn(10);
        }
    }

    /// Reads for so long.
    pub(crate) fn rest(&mut self, seconds: f64) {
        let started = Instant::now();
        while started.elapsed().as_secs_f64() < seconds {
            self.turn(50);
        }
    }

    fn wait(&mut self, done: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !done(self) {
            assert!(started.elapsed() < PATIENCE, "{} does not answer", self.target.kind.name());
            self.turn(10);
        }
    }

    /// The idlers read no more, so what is sent to them stays with the server.
    pub(crate) fn stall(&mut self) {
        for idler in self.subscribers.iter_mut().flatten().filter(|one| one.role == Role::Idler) {
            self.poll.registry().deregister(&mut idler.stream).unwrap();
        }
    }

    /// The idlers read again. How many of them have everything in the end.
    pub(crate) fn resume(&mut self, seconds: f64) -> usize {
        for (index, idler) in self.subscribers.iter_mut().enumerate() {
            let Some(idler) = idler.as_mut().filter(|one| one.role == Role::Idler) else { continue };
            self.poll.registry().register(&mut idler.stream, Token(index), Interest::READABLE).unwrap();
        }
        self.rest(seconds);
        let all = Some(self.publisher.published);
        let idlers = self.subscribers.iter().flatten().filter(|one| one.role == Role::Idler);
        idlers.filter(|idler| idler.last == all).count()
    }

    /// Waits for something to read, and reads it.
    fn turn(&mut self, milliseconds: u64) {
        match self.poll.poll(&mut self.events, Some(Duration::from_millis(milliseconds))) {
            Err(error) if error.kind() != ErrorKind::Interrupted => panic!("{error}"),
            _ => (),
        }
        let due: Vec<_> = self.events.iter().map(|event| (event.token(), event.is_read_closed())).collect();
        for (token, ends) in due {
            if token == PUBLISHER { self.publisher.go_on() } else { self.read(token.0, ends) }
        }
    }

    /// Reads what is there for a subscriber; one who is done or was sent away leaves.
    fn read(&mut self, index: usize, ends: bool) {
        let Some(subscriber) = self.subscribers[index].as_mut() else { return };
        let was_ready = subscriber.ready;
        let stays = loop {
            match subscriber.stream.read(&mut self.buffer) {
                Ok(0) => break false,
                Ok(read) => {
                    let now = self.publisher.now_ns();
                    subscriber.take(
                        &self.buffer[..read],
                        now,
                        self.target.kind,
                        &mut self.tally,
                        self.watched,
                    );
                    if subscriber.role == Role::Guest(0) {
                        break false;
                    }
                    // A short read has taken all there was; what comes after it wakes anew, but for an end that was told already.
                    if read < self.buffer.len() && !ends {
                        break true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(_) => break false,
            }
        };
        if !was_ready && (subscriber.ready || !stays) {
            self.connecting -= 1;
        }
        if !stays {
            self.leave(index);
        }
    }

    fn leave(&mut self, index: usize) {
        let Some(mut gone) = self.subscribers[index].take() else { return };
        self.poll.registry().deregister(&mut gone.stream).unwrap();
        self.free.push(index);
        if matches!(gone.role, Role::Guest(_)) {
            self.guests -= 1;
        }
        if gone.role != Role::Guest(0) {
            self.tally.closed += 1;
        }
    }
}

impl Subscriber {
    fn take(&mut self, bytes: &[u8], now_ns: u64, kind: Kind, tally: &mut Tally, watched: u32) {
        let Self { answer, role, ready, last, .. } = self;
        answer.take(bytes, &mut |block| {
            *ready = true;
            let Some(stamp) = Stamp::of(block) else {
                tally.told_gaps += u64::from(block.starts_with(b"event: stream_gap"));
                return;
            };
            tally.block_bytes = block.len() + 1;
            // The ids of nchan are times. Those of Sealstone are positions; what is first is the run itself, at 0.
            let number = if kind == Kind::Sealstone { id(block).unwrap() } else { stamp.number };
            tally.order(*last, number);
            *last = Some(number);
            match role {
                Role::Watched => tally.deliver(number, now_ns.saturating_sub(stamp.sent_ns), watched),
                Role::Guest(stay) => *stay = stay.saturating_sub(1),
                Role::Idler => (),
            }
        });
    }
}
