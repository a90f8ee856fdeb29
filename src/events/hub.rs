//! All streams of a service: who is told what.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::filter::Filter;
use super::frame::Frame;
use super::subscription::Subscription;
use super::told::ToldRun;
use super::topic::Topic;
use super::vocabulary::EventKind;
use crate::evidence::time::Timestamp;
use crate::journal::{Body, JournalRecord, Overview};

/// What a stream of one run keeps in memory while somebody follows it: its share of what there is for all of these, within these
/// bounds.
const SHARED_BYTES: usize = 128 << 20;
const MIN_RUN_BYTES: usize = 64 << 10;
const MAX_RUN_BYTES: usize = 1 << 20;
/// What those of all runs keep.
const MAX_GLOBAL_BYTES: usize = 16 << 20;
/// How long signals are held, and the stream of all runs is kept, when nobody follows.
const HELD_MS: i64 = 3_600_000;
/// Of how many runs signals are held.
const MAX_HELD: usize = 512;

/// What a stream is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stream {
    /// The records and signals of one run.
    Run(String),
    /// The log lines of one run.
    Log(String),
    /// The records and signals of all runs.
    Runs,
    /// The log lines of all runs.
    Logs,
}

/// All places are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub(crate) max_subscribers: usize,
}

/// The streams.
pub(crate) struct Hub {
    topics: Mutex<Topics>,
    runs: Global,
    logs: Global,
    subscribers: AtomicUsize,
    max_subscribers: usize,
    shut: watch::Sender<bool>,
    /// Of [`SHARED_BYTES`], what each stream of one run may keep.
    share_bytes: Arc<AtomicUsize>,
}

/// The streams of single runs, by evidence_id: those that somebody follows, or of which signals are held.
#[derive(Default)]
struct Topics {
    runs: HashMap<String, Arc<Topic>>,
    logs: HashMap<String, Arc<Topic>>,
    /// When the last signal of a run came, held or not, until it is sealed.
    signaled: HashMap<String, Timestamp>,
}

/// The stream of all runs. Nothing is kept of it before somebody has followed it.
struct Global {
    topic: Arc<Topic>,
    kept: AtomicBool,
}

impl Global {
    fn new(epoch: &str) -> Self {
        Self { topic: Arc::new(Topic::volatile(epoch, MAX_GLOBAL_BYTES)), kept: AtomicBool::new(false) }
    }

    fn followed(&self) -> Arc<Topic> {
        self.kept.store(true, Ordering::SeqCst);
        self.topic.clone()
    }

    fn push(&self, frames: &[Frame]) {
        if self.kept() {
            self.topic.push(frames);
        }
    }

    fn kept(&self) -> bool {
        self.kept.load(Ordering::SeqCst)
    }

    /// Keeps nothing any more where nobody follows, and nothing happened since then.
    fn sweep(&self, since: Timestamp) {
        if self.kept() && self.topic.followers() == 0 && self.topic.is_older(since) {
            self.kept.store(false, Ordering::SeqCst);
            self.topic.forget(|_| true);
            self.topic.skip(1);
        }
    }
}

/// The place of a subscriber, or of one to be; free again when this is dropped.
pub(crate) struct Seat {
    hub: Arc<Hub>,
    stream: Option<Stream>,
}

impl Seat {
    /// Follows a stream at its end, until it is dropped.
    pub(crate) fn follow(mut self, stream: Stream, filter: Filter) -> Subscription {
        let hub = self.hub.clone();
        let mut topics = hub.topics();
        let topic = match &stream {
            Stream::Run(evidence_id) => hub.topic(&mut topics.runs, evidence_id),
            Stream::Log(evidence_id) => hub.topic(&mut topics.logs, evidence_id),
            Stream::Runs => hub.runs.followed(),
            Stream::Logs => hub.logs.followed(),
        };
        hub.share(&topics);
        self.stream = Some(stream);
        // It follows before anybody can find that nobody does.
        Subscription::new(topic, filter, Some(Box::new(self)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.subscribers.fetch_sub(1, Ordering::SeqCst);
        let mut all = self.hub.topics();
        let (topics, evidence_id) = match &self.stream {
            Some(Stream::Run(evidence_id)) => (&mut all.runs, evidence_id),
            Some(Stream::Log(evidence_id)) => (&mut all.logs, evidence_id),
            Some(Stream::Runs | Stream::Logs) | None => return,
        };
        // Who has it in hand is about to put something into it; then it goes with the next sweep.
        if topics.get(evidence_id).is_some_and(|topic| topic.is_idle() && Arc::strong_count(topic) == 1) {
            topics.remove(evidence_id);
        }
        self.hub.share(&all);
    }
}

impl Hub {
    /// The epoch stands in the ids of streams of all runs: each start of a service has another.
    pub(crate) fn new(epoch: &str, max_subscribers: usize) -> Arc<Self> {
        Arc::new(Self {
            topics: Mutex::default(),
            runs: Global::new(epoch),
            logs: Global::new(epoch),
            subscribers: AtomicUsize::new(0),
            max_subscribers,
            shut: watch::Sender::new(false),
            share_bytes: Arc::new(MAX_RUN_BYTES.into()),
        })
    }

    /// How many subscribers there are.
    pub(crate) fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::SeqCst)
    }

    /// Takes a place.
    pub(crate) fn seat(self: &Arc<Self>) -> Result<Seat, Full> {
        let max_subscribers = self.max_subscribers;
        let place = |taken: usize| (taken < max_subscribers).then_some(taken.saturating_add(1));
        let taken = self.subscribers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, place);
        taken.map_err(|_| Full { max_subscribers })?;
        Ok(Seat { hub: self.clone(), stream: None })
    }

    /// Takes a place, and follows a stream.
    pub(crate) fn subscribe(self: &Arc<Self>, stream: Stream, filter: Filter) -> Result<Subscription, Full> {
        Ok(self.seat()?.follow(stream, filter))
    }

    fn topic(&self, topics: &mut HashMap<String, Arc<Topic>>, evidence_id: &str) -> Arc<Topic> {
        if let Some(topic) = topics.get(evidence_id) {
            return topic.clone();
        }
        let topic = Arc::new(Topic::durable(self.share_bytes.clone()));
        if self.is_shut() {
            topic.shut();
        }
        topics.insert(evidence_id.to_owned(), topic.clone());
        topic
    }

    fn share(&self, topics: &Topics) {
        let count = topics.runs.len().saturating_add(topics.logs.len());
        let share = SHARED_BYTES.checked_div(count).unwrap_or(SHARED_BYTES);
        self.share_bytes.store(share.clamp(MIN_RUN_BYTES, MAX_RUN_BYTES), Ordering::Relaxed);
    }

    /// Tells of records of a run that are durable, in their order.
    pub(crate) fn recorded(&self, overview: &Overview, records: &[JournalRecord]) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        let evidence_id = overview.evidence_id.as_str();
        // Who comes after this look finds in the store what is told here.
        let topic = self.topics().runs.get(evidence_id).cloned().filter(|topic| topic.followers() > 0);
        if topic.is_some() || self.runs.kept() {
            let run = ToldRun::of(overview);
            let frames: Vec<Frame> = records.iter().map(|record| run.frame(record)).collect();
            if let Some(topic) = &topic {
                topic.put(first.pos, &frames);
            }
            self.runs.push(&frames);
        }
        if matches!(last.body, Body::Sealed { .. }) {
            self.sealed(evidence_id);
        }
    }

    /// Tells of log lines of a run that are durable, by their `log_pos`. If somebody follows, `newest` gives the frames of the last of
    /// them, as many as have about so many bytes; those before are loaded, or told as a gap.
    pub(crate) fn logged(
        &self,
        evidence_id: &str,
        lines: Range<u64>,
        newest: impl FnOnce(usize) -> Vec<Frame>,
    ) {
        let topic = self.topics().logs.get(evidence_id).cloned();
        let kept = self.logs.kept();
        if topic.is_none() && !kept {
            return;
        }
        let frames = newest(if kept { MAX_GLOBAL_BYTES } else { MAX_RUN_BYTES });
        let told_from = lines.end.saturating_sub(frames.len() as u64);
        if let Some(topic) = &topic {
            topic.put(told_from, &frames);
        }
        if kept {
            self.logs.topic.skip(told_from.saturating_sub(lines.start));
        }
        self.logs.push(&frames);
    }

    /// Ends the stream of a log that is not kept any more, and forgets its lines.
    pub(crate) fn log_deleted(&self, evidence_id: &str) {
        let topic = self.topics().logs.get(evidence_id).cloned();
        if let Some(topic) = topic {
            topic.shut();
        }
        let of_it = |frame: &Frame| frame.source().is_some_and(|source| source.evidence_id == evidence_id);
        self.logs.topic.forget(of_it);
    }

    /// Tells of signals of a run that goes on, and holds them for who comes later.
    pub(crate) fn signaled(&self, evidence_id: &str, frames: &[Frame]) {
        let Some(last) = frames.last() else { return };
        self.runs.push(frames);
        let topic = {
            let mut topics = self.topics();
            topics.signaled.insert(evidence_id.to_owned(), last.at());
            match topics.runs.get(evidence_id) {
                Some(topic) => topic.clone(),
                None => {
                    self.make_room(&mut topics.runs);
                    self.topic(&mut topics.runs, evidence_id)
                }
            }
        };
        topic.signal(frames);
    }

    /// Lets go of the signals that nobody added to for the longest, if those of many runs are held. As many runs as are followed do not
    /// count.
    fn make_room(&self, runs: &mut HashMap<String, Arc<Topic>>) {
        if runs.len() < MAX_HELD.saturating_add(self.subscribers()) {
            return;
        }
        let unfollowed = runs.iter().filter(|(_, topic)| topic.followers() == 0);
        let oldest = unfollowed.min_by_key(|(_, topic)| topic.last_signal_at());
        if let Some(oldest) = oldest.map(|(evidence_id, _)| evidence_id.clone()) {
            runs.remove(&oldest);
        }
    }

    /// How far a run said last that it is, if that is held.
    pub(crate) fn progress(&self, evidence_id: &str) -> Option<Frame> {
        let topic = self.topics().runs.get(evidence_id).cloned()?;
        topic.last_signal(EventKind::Progress)
    }

    /// When the last signal came of a run that is not sealed, since the service started.
    pub(crate) fn last_signal_at(&self, evidence_id: &str) -> Option<Timestamp> {
        self.topics().signaled.get(evidence_id).copied()
    }

    /// Lets go of what is older than that and nobody follows.
    pub(crate) fn sweep(&self, now: Timestamp) {
        let since = Timestamp::from_unix_ms(now.unix_ms().saturating_sub(HELD_MS));
        // Who begins to follow does so under this lock.
        let mut topics = self.topics();
        self.runs.sweep(since);
        self.logs.sweep(since);
        let Topics { runs, logs, .. } = &mut *topics;
        for topics in [runs, logs] {
            topics.retain(|_, topic| {
                topic.forget_signals(since);
                !topic.is_idle() || Arc::strong_count(topic) > 1
            });
        }
        self.share(&topics);
    }

    /// Ends all streams, and every one that is asked for later.
    pub(crate) fn shut(&self) {
        self.shut.send_replace(true);
        let all: Vec<Arc<Topic>> = {
            let topics = self.topics();
            let of_all = [&self.runs.topic, &self.logs.topic];
            topics.runs.values().chain(topics.logs.values()).chain(of_all).cloned().collect()
        };
        all.iter().for_each(|topic| topic.shut());
    }

    /// Whether all streams were ended.
    pub(crate) fn is_shut(&self) -> bool {
        *self.shut.borrow()
    }

    /// Waits until all streams are ended.
    pub(crate) async fn until_shut(&self) {
        // It is there as long as this is.
        let _ = self.shut.subscribe().wait_for(|shut| *shut).await;
    }

    /// Nothing comes any more of a run that is sealed.
    fn sealed(&self, evidence_id: &str) {
        let ended: Vec<Arc<Topic>> = {
            let mut topics = self.topics();
            topics.signaled.remove(evidence_id);
            let (run, log) = (topics.runs.get(evidence_id), topics.logs.get(evidence_id));
            run.into_iter().chain(log).cloned().collect()
        };
        // What nobody follows goes with the next sweep.
        ended.iter().for_each(|topic| topic.end());
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by a panic")]
mod tests;
