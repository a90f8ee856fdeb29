//! Lanes: one a run, in which requests are decided in the order in which they came.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{oneshot, watch};

use super::Surroundings;
use super::committer::Committer;
use super::drive::Drive;
use super::rejection::Rejection;
use crate::events::{Filter, Hub, Signal};
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;
use crate::journal::{Abort, Answer, Append, Close, NewGate, Resolution, Run, Standing};
use crate::logs::{LogAppend, LogReceipt, Logs};
use crate::store::{SealedFile, Sealing, Store};

/// How many runs stay in memory when nobody asks them.
const MAX_LOADED: usize = 4_096;
/// How many requests may wait in one lane.
const MAX_WAITING: usize = 4_096;
/// How many bytes of requests may wait in one lane.
const MAX_WAITING_BYTES: usize = 32 << 20;

/// What can be asked of a run.
pub(crate) enum Ask {
    Abort(Abort),
    Append(Append),
    Close(Close),
    Log(LogAppend),
    OpenGate(NewGate),
    Resolve(Resolution),
    /// Changes what is stored of the run; it is read back afterwards.
    Rewrite(Box<dyn FnOnce() + Send>),
    Seal(Digest, SealedFile, Sealing),
    /// Told to who watches, and not recorded.
    Signal(Vec<Signal>),
    /// A look at what is committed.
    View(Box<dyn FnOnce(&Run) + Send>),
}

/// What was asked, and is durable.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// Its records are left out.
    pub(crate) answer: Answer,
    /// Whether anything was added: nothing is for what was asked before.
    pub(crate) added: bool,
    pub(crate) standing: Standing,
    /// Where the log ends that was appended to.
    pub(crate) log: Option<LogReceipt>,
    /// How many signals were taken.
    pub(crate) signals: usize,
}

pub(super) struct Job {
    pub(super) ask: Ask,
    /// About how large the request is.
    pub(super) bytes: usize,
    /// Who asks, as the service knows them.
    pub(super) by: Option<String>,
    pub(super) reply: oneshot::Sender<Result<Done, Rejection>>,
}

/// A run's lane.
pub(super) struct Lane {
    pub(super) evidence_id: String,
    /// Known once the run was loaded.
    pub(super) project: OnceLock<String>,
    /// Which signals it takes; known once it was sent one.
    pub(super) takes: OnceLock<Filter>,
    queue: Mutex<Queue>,
    /// How many gates are recorded: those who wait for one are woken by nothing else.
    pub(super) gates: watch::Sender<usize>,
}

pub(super) struct Queue {
    pub(super) jobs: VecDeque<Job>,
    /// Of what waits.
    pub(super) bytes: usize,
    /// Whether a task works on the jobs; the run is with it then.
    pub(super) driven: bool,
    pub(super) run: Option<Box<Loaded>>,
    pub(super) idle_since: Timestamp,
}

/// A run as the store has it, and its logs.
pub(super) struct Loaded {
    pub(super) run: Run,
    pub(super) logs: Logs,
}

impl Lane {
    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All lanes that are in use.
pub(crate) struct Lanes {
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
    pub(super) store: Arc<dyn Store>,
    pub(super) committer: Arc<Committer>,
    pub(super) surroundings: Arc<Surroundings>,
    /// Told of what is durable.
    pub(super) hub: Arc<Hub>,
}

impl Lanes {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        committer: Arc<Committer>,
        surroundings: Arc<Surroundings>,
        hub: Arc<Hub>,
    ) -> Arc<Self> {
        Arc::new(Self { lanes: Mutex::default(), store, committer, surroundings, hub })
    }

    /// Asks a run. What is answered is durable. `bytes` is about how large the request is.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        evidence_id: &str,
        ask: Ask,
        bytes: usize,
        by: Option<&str>,
    ) -> Result<Done, Rejection> {
        let (reply, answer) = oneshot::channel();
        let lane = self.lane(evidence_id);
        {
            let mut queue = lane.lock();
            if queue.jobs.len() >= MAX_WAITING || queue.bytes > MAX_WAITING_BYTES {
                return Err(Rejection::Busy);
            }
            queue.bytes = queue.bytes.saturating_add(bytes);
            queue.jobs.push_back(Job { ask, bytes, by: by.map(str::to_owned), reply });
            if !queue.driven {
                queue.driven = true;
                // A task of its own: who asked may go away at any time.
                tokio::spawn(Drive::new(self.clone(), lane.clone()).all());
            }
        }
        answer.await.unwrap_or_else(|_| Err(Rejection::Unknown("the request was dropped".into())))
    }

    /// A look at the committed state of a run.
    pub(crate) async fn view<T: Send + 'static>(
        self: &Arc<Self>,
        evidence_id: &str,
        look: impl FnOnce(&Run) -> T + Send + 'static,
    ) -> Result<T, Rejection> {
        let (seen, see) = oneshot::channel();
        let look = move |run: &Run| drop(seen.send(look(run)));
        self.ask(evidence_id, Ask::View(Box::new(look)), 0, None).await?;
        see.await.map_err(|_| Rejection::Unknown("the request was dropped".into()))
    }

    /// Tells of every gate that is recorded in a run.
    pub(crate) fn watch_gates(&self, evidence_id: &str) -> watch::Receiver<usize> {
        self.lane(evidence_id).gates.subscribe()
    }

    /// Takes in a run that was just opened.
    pub(super) fn admit(&self, run: Run) {
        let lane = self.lane(&run.overview().evidence_id.clone());
        lane.project.get_or_init(|| run.overview().project.clone());
        let mut queue = lane.lock();
        if !queue.driven && queue.run.is_none() {
            queue.run = Some(Box::new(Loaded { run, logs: Logs::default() }));
        }
    }

    /// The project of a run that is in memory.
    pub(crate) fn project(&self, evidence_id: &str) -> Option<String> {
        let lane = self.lock().get(evidence_id).cloned()?;
        lane.project.get().cloned()
    }

    /// Lets go of the runs that nobody has asked since then; of all that nobody is asking if there are too many.
    pub(crate) fn drop_idle(&self, since: Timestamp) {
        let mut lanes = self.lock();
        let too_many = lanes.len() > MAX_LOADED;
        lanes.retain(|_, lane| {
            // Who has it in hand is about to ask: two lanes for one run would be in each other's way.
            let in_hand = Arc::strong_count(lane) > 1 || lane.gates.receiver_count() > 0;
            in_hand || (!too_many && lane.lock().idle_since >= since)
        });
    }

    fn lane(&self, evidence_id: &str) -> Arc<Lane> {
        let mut lanes = self.lock();
        if let Some(lane) = lanes.get(evidence_id) {
            return lane.clone();
        }
        let queue = Queue {
            jobs: VecDeque::new(),
            bytes: 0,
            driven: false,
            run: None,
            idle_since: (self.surroundings.now)(),
        };
        let lane = Arc::new(Lane {
            evidence_id: evidence_id.to_owned(),
            project: OnceLock::new(),
            takes: OnceLock::new(),
            queue: Mutex::new(queue),
            gates: watch::Sender::new(0),
        });
        lanes.insert(evidence_id.to_owned(), lane.clone());
        lane
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
