//! What a producer holds: it takes what there is to tell, and waits for nothing.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot, watch};

use super::courier::{Told, Undelivered, undelivered};
use super::outbox::Outbox;
use super::telling::{Again, Keyed, LogPlace, Report, Stream};
use super::worker::work;
use crate::client::error::ClientError;
use crate::client::http::Client;
use crate::client::spool::Spool;
use crate::evidence::canonical::Object;
use crate::evidence::time::Timestamp;

/// How many entries are sent at once, and of how many bytes: some less than a service takes.
const BATCH_ENTRIES: usize = 1_000;
const BATCH_BYTES: usize = 4 << 20;
/// Hints that wait; the oldest are given up first.
const MAX_SIGNALS: usize = 256;
/// How long a service that was away before is waited for at the end.
const WAS_AWAY: Duration = Duration::from_secs(1);
/// How long a command waits for the disk, and how often it looks.
const DISK_TIMEOUT: Duration = Duration::from_secs(5);
const DISK_PAUSE: Duration = Duration::from_millis(100);

/// What became of all that was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delivery {
    /// What the service answered.
    pub(crate) told: Told,
    /// What it refused of what others left before.
    pub(crate) older_refused: Vec<String>,
    /// What it did not acknowledge.
    pub(crate) unsent: Option<Unsent>,
    /// Bytes of logs that neither the service nor the spool took.
    pub(crate) lost_log_bytes: u64,
}

/// What the service did not acknowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsent {
    /// Where it is kept; `None` if nothing of it could be.
    pub(crate) path: Option<PathBuf>,
    /// How many reports that are.
    pub(crate) reports: usize,
    /// How many of them could not be kept, and are lost.
    pub(crate) lost: usize,
    /// Why, the spool's own failure included.
    pub(crate) why: String,
    /// Somebody has to do something before it is taken.
    pub(crate) is_held: bool,
}

/// How and where a run is reported.
pub(crate) struct Reporting {
    /// Tries once; the reporter tries again.
    pub(crate) client: Client,
    /// `evidence_id`, `run_id` or `PROJECT/RUN_ID`.
    pub(crate) run: String,
    pub(crate) spool: Option<Spool>,
    pub(crate) now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Reports one run. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Reporter {
    shared: Arc<Shared>,
    delivery: Arc<Mutex<Option<oneshot::Receiver<Delivery>>>>,
}

/// What the producer's threads and the one that sends share.
pub(super) struct Shared {
    outbox: Mutex<Outbox>,
    /// Some of it went to disk.
    spilled: Condvar,
    offsets: Mutex<BTreeMap<LogPlace, u64>>,
    random_key: Box<dyn Fn() -> String + Send + Sync>,
    pub(super) to_send: Notify,
    pub(super) to_spill: Notify,
    pub(super) signals: Mutex<VecDeque<Object<'static>>>,
    pub(super) to_signal: Notify,
    /// Until when it is tried, once nothing more comes.
    pub(super) deadline: watch::Sender<Option<Instant>>,
    pub(super) abort: watch::Sender<bool>,
    /// The run that takes what is told now.
    pub(super) run: watch::Sender<String>,
    /// The service has answered.
    pub(super) answered: AtomicBool,
    /// There was something before that it did not take.
    pub(super) behind: AtomicBool,
    pub(super) progress: watch::Sender<Progress>,
}

/// How far what was told got.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    /// How many reports were answered. Changed with the outbox locked.
    answered: u64,
    /// None will be any more until somebody does something.
    is_held: bool,
}

impl Progress {
    pub(super) fn answered(&mut self) {
        self.answered = self.answered.saturating_add(1);
    }

    pub(super) fn held(&mut self) {
        self.is_held = true;
    }
}

impl Shared {
    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts on disk what has to be there. Who sends does not at the same time: it is the same thread.
    pub(super) fn spill(&self, now: Timestamp) {
        let mut outbox = self.outbox();
        let spilling = if outbox.should_spill() { outbox.begin_spill() } else { None };
        drop(outbox);
        if let Some(mut spilling) = spilling {
            let spilled = spilling.write(now);
            self.outbox().spilled(spilling, spilled);
            self.spilled.notify_all();
        }
    }
}

impl Reporter {
    /// Begins to report in a thread of its own.
    pub(crate) fn start(reporting: Reporting) -> io::Result<Self> {
        let Reporting { client, run, spool, now } = reporting;
        let client = Arc::new(client);
        let of_keys = Arc::clone(&client);
        let shared = Arc::new(Shared {
            outbox: Mutex::new(Outbox::new(spool.clone(), client.server(), &run)),
            spilled: Condvar::new(),
            offsets: Mutex::default(),
            random_key: Box::new(move || of_keys.fresh_key()),
            to_send: Notify::new(),
            to_spill: Notify::new(),
            signals: Mutex::default(),
            to_signal: Notify::new(),
            deadline: watch::Sender::new(None),
            abort: watch::Sender::new(false),
            run: watch::Sender::new(run.clone()),
            answered: AtomicBool::new(false),
            behind: AtomicBool::new(false),
            progress: watch::Sender::default(),
        });
        let (done, delivery) = oneshot::channel();
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("reporter".into()).spawn(move || {
            // Who no longer waits for it has left.
            let _ = done.send(work(&of_thread, &client, &run, spool.as_ref(), &now));
        })?;
        Ok(Self { shared, delivery: Arc::new(Mutex::new(Some(delivery))) })
    }

    /// Opens the run, or with `join` finds the one that somebody else opened under its name.
    pub(crate) fn open(&self, members: Object<'static>, join: bool) {
        self.tell(Report::Opening { members, join });
    }

    /// Records an entry. `again` says what becomes of a step whose name is taken.
    pub(crate) fn record(&self, entry: Object<'static>, again: Option<Again>) {
        self.tell(Report::Entries { entries: vec![entry], again });
    }

    /// Records entries, as many at once as a service takes.
    pub(crate) fn record_all(&self, entries: Vec<Object<'static>>) {
        let (mut batch, mut bytes) = (Vec::new(), 0_usize);
        for entry in entries {
            let length = entry.canonical().len();
            if batch.len() >= BATCH_ENTRIES || bytes.saturating_add(length) > BATCH_BYTES {
                self.tell(Report::Entries { entries: std::mem::take(&mut batch), again: None });
                bytes = 0;
            }
            bytes = bytes.saturating_add(length);
            batch.push(entry);
        }
        if !batch.is_empty() {
            self.tell(Report::Entries { entries: batch, again: None });
        }
    }

    /// Closes the run.
    pub(crate) fn finalize(&self, members: Object<'static>) {
        self.tell(Report::Finalize(members));
    }

    fn tell(&self, report: Report) {
        let keyed = Keyed { key: (self.shared.random_key)(), report };
        let mut outbox = self.shared.outbox();
        outbox.push(keyed);
        let spill = outbox.is_to_spill();
        drop(outbox);
        self.wake(spill);
    }

    /// Appends to the log of a step's attempt. It waits, for the disk alone, when more comes than the disk takes; a disk that takes
    /// nothing for long cuts the log.
    pub(crate) fn log(&self, place: &LogPlace, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut outbox = self.shared.outbox();
        let since = Instant::now();
        while outbox.is_full() {
            if since.elapsed() >= DISK_TIMEOUT {
                return outbox.lose(bytes.len());
            }
            self.shared.to_spill.notify_one();
            let waited = self.shared.spilled.wait_timeout(outbox, DISK_PAUSE);
            outbox = waited.map_or_else(|poisoned| poisoned.into_inner().0, |(outbox, _)| outbox);
        }
        let mut offsets = self.shared.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = offsets.entry(place.clone()).or_default();
        let kept = outbox.push_log((place, stream, *offset), bytes, &self.shared.random_key);
        *offset = offset.saturating_add(kept as u64);
        let spill = outbox.is_to_spill();
        drop((outbox, offsets));
        self.wake(spill);
    }

    fn wake(&self, spill: bool) {
        self.shared.to_send.notify_one();
        if spill {
            self.shared.to_spill.notify_one();
        }
    }

    /// Tells who watches. What cannot be told now is told never.
    pub(crate) fn signal(&self, signal: Object<'static>) {
        let mut signals = self.shared.signals.lock().unwrap_or_else(PoisonError::into_inner);
        if signals.len() >= MAX_SIGNALS {
            signals.pop_front();
        }
        signals.push_back(signal);
        drop(signals);
        self.shared.to_signal.notify_one();
    }

    /// Waits until all that was told before is answered; false if the service does not take it until somebody does something.
    pub(crate) async fn settled(&self) -> bool {
        let mut progress = self.shared.progress.subscribe();
        let before = {
            let outbox = self.shared.outbox();
            progress.borrow().answered.saturating_add(outbox.len() as u64)
        };
        let reached = progress.wait_for(|progress| progress.is_held || progress.answered >= before).await;
        reached.is_ok_and(|progress| progress.answered >= before)
    }

    /// Whether what was answered so is to be sent again: the service is away, or something before it answered.
    pub(crate) fn is_to_repeat(error: &ClientError) -> bool {
        matches!(undelivered(error.clone()), Undelivered::Later { .. })
    }

    /// The run that takes what is told now.
    pub(crate) fn run(&self) -> String {
        self.shared.run.borrow().clone()
    }

    /// How many reports wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.outbox().len()
    }

    /// Bytes of logs that were given up so far.
    pub(crate) fn lost_log_bytes(&self) -> u64 {
        self.shared.outbox().lost_log_bytes
    }

    /// Waits until somebody asks the producer to stop.
    pub(crate) async fn abort_requested(&self) {
        let mut abort = self.shared.abort.subscribe();
        // Who sends lives as long as we do.
        let _ = abort.wait_for(|asked| *asked).await;
    }

    /// Whether somebody asked the producer to stop.
    pub(crate) fn is_abort_requested(&self) -> bool {
        *self.shared.abort.borrow()
    }

    /// Nothing more comes: waits until all is acknowledged, or so long; then what is left is on disk, durably. A service that was away
    /// before is waited for only shortly. `None` if it was asked before.
    pub(crate) async fn finish(&self, within: Duration) -> Option<Delivery> {
        let was_away =
            self.shared.behind.load(Ordering::Relaxed) && !self.shared.answered.load(Ordering::Relaxed);
        self.end_by(Instant::now().checked_add(if was_away { within.min(WAS_AWAY) } else { within }));
        let delivery = self.delivery.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        delivery.await.ok()
    }

    /// What is left goes to disk now.
    pub(crate) fn hurry(&self) {
        self.end_by(Some(Instant::now()));
    }

    /// Nothing more comes, and nobody waits: what is left after so long goes to disk.
    pub(crate) fn end_within(&self, within: Duration) {
        self.end_by(Instant::now().checked_add(within));
    }

    fn end_by(&self, deadline: Option<Instant>) {
        let deadline = deadline.unwrap_or_else(Instant::now);
        self.shared.deadline.send_modify(|set| {
            *set = Some(set.map_or(deadline, |set| set.min(deadline)));
        });
        self.wake(true);
    }
}
