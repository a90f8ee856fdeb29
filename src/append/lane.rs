//! Lanes: one a run, in which requests are decided in the order in which they came.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use super::Surroundings;
use super::committer::Committer;
use super::rejection::Rejection;
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;
use crate::journal::{
    Answer, Append, Around, Close, Due, JournalRecord, NewGate, Pos, Refusal, Resolution, Run, Standing,
};
use crate::store::{Batch, SealedFile, Store};

/// How many requests may wait in one lane.
const MAX_WAITING: usize = 4_096;
/// How many bytes of requests are decided before they are written.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// From this size on deciding is told to the scheduler, which gives the other tasks to other threads.
const LARGE_BYTES: usize = 16 << 10;

/// What can be asked of a run.
pub(crate) enum Ask {
    Abort(Option<String>),
    Append(Append),
    Close(Close),
    OpenGate(NewGate),
    Resolve(Resolution),
    Seal(Digest, SealedFile),
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
}

struct Job {
    ask: Ask,
    /// About how large the request is.
    bytes: usize,
    reply: oneshot::Sender<Result<Done, Rejection>>,
}

/// A run's lane.
struct Lane {
    evidence_id: String,
    queue: Mutex<Queue>,
    /// The last committed record.
    committed: watch::Sender<Pos>,
}

struct Queue {
    jobs: VecDeque<Job>,
    /// Whether a task works on the jobs; the run is with it then.
    driven: bool,
    run: Option<Box<Run>>,
    idle_since: Timestamp,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All lanes that are in use.
pub(crate) struct Lanes {
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
    store: Arc<dyn Store>,
    committer: Arc<Committer>,
    surroundings: Arc<Surroundings>,
}

impl Lanes {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        committer: Arc<Committer>,
        surroundings: Arc<Surroundings>,
    ) -> Arc<Self> {
        Arc::new(Self { lanes: Mutex::default(), store, committer, surroundings })
    }

    /// Asks a run. What is answered is durable. `bytes` is about how large the request is.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        evidence_id: &str,
        ask: Ask,
        bytes: usize,
    ) -> Result<Done, Rejection> {
        let (reply, answer) = oneshot::channel();
        let lane = self.lane(evidence_id);
        {
            let mut queue = lane.lock();
            if queue.jobs.len() >= MAX_WAITING {
                return Err(Rejection::Busy);
            }
            queue.jobs.push_back(Job { ask, bytes, reply });
            if !queue.driven {
                queue.driven = true;
                // A task of its own: who asked may go away at any time.
                let drive = Drive { lanes: self.clone(), lane: lane.clone(), ended: false };
                tokio::spawn(drive.all());
            }
        }
        answer.await.unwrap_or_else(|_| Err(Rejection::Unavailable("the request was dropped".into())))
    }

    /// A look at the committed state of a run.
    pub(crate) async fn view<T: Send + 'static>(
        self: &Arc<Self>,
        evidence_id: &str,
        look: impl FnOnce(&Run) -> T + Send + 'static,
    ) -> Result<T, Rejection> {
        let (seen, see) = oneshot::channel();
        let look = move |run: &Run| drop(seen.send(look(run)));
        self.ask(evidence_id, Ask::View(Box::new(look)), 0).await?;
        see.await.map_err(|_| Rejection::Unavailable("the request was dropped".into()))
    }

    /// Tells of every commit to a run.
    pub(crate) fn watch(&self, evidence_id: &str) -> watch::Receiver<Pos> {
        self.lane(evidence_id).committed.subscribe()
    }

    /// Takes in a run that was just opened.
    pub(super) fn admit(&self, run: Run) {
        let lane = self.lane(&run.overview().evidence_id.clone());
        let mut queue = lane.lock();
        if !queue.driven && queue.run.is_none() {
            queue.run = Some(Box::new(run));
        }
    }

    /// Whether a run is known to be there without asking the store.
    pub(crate) fn has(&self, evidence_id: &str) -> bool {
        let lane = self.lock().get(evidence_id).cloned();
        lane.is_some_and(|lane| {
            let queue = lane.lock();
            queue.run.is_some() || queue.driven
        })
    }

    /// Lets go of the runs that nobody has asked since then.
    pub(crate) fn drop_idle(&self, since: Timestamp) {
        self.lock().retain(|_, lane| {
            // Who has it in hand is about to ask: two lanes for one run would be in each other's way.
            let in_hand = Arc::strong_count(lane) > 1 || lane.committed.receiver_count() > 0;
            in_hand || lane.lock().idle_since >= since
        });
    }

    fn lane(&self, evidence_id: &str) -> Arc<Lane> {
        let mut lanes = self.lock();
        if let Some(lane) = lanes.get(evidence_id) {
            return lane.clone();
        }
        let queue =
            Queue { jobs: VecDeque::new(), driven: false, run: None, idle_since: (self.surroundings.now)() };
        let lane = Arc::new(Lane {
            evidence_id: evidence_id.to_owned(),
            queue: Mutex::new(queue),
            committed: watch::Sender::new(0),
        });
        lanes.insert(evidence_id.to_owned(), lane.clone());
        lane
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The work on one lane, until nothing waits in it. Dropped halfway, the lane is free, and the run is read back.
struct Drive {
    lanes: Arc<Lanes>,
    lane: Arc<Lane>,
    /// The lane is given back: somebody else may drive it by now.
    ended: bool,
}

impl Drop for Drive {
    fn drop(&mut self) {
        if !self.ended {
            let mut queue = self.lane.lock();
            queue.driven = false;
            queue.jobs.clear();
        }
    }
}

impl Drive {
    async fn all(mut self) {
        let mut run = self.lane.lock().run.take();
        loop {
            let jobs = {
                let mut queue = self.lane.lock();
                if queue.jobs.is_empty() {
                    queue.run = run;
                    queue.driven = false;
                    self.ended = true;
                    queue.idle_since = (self.lanes.surroundings.now)();
                    return;
                }
                take_some(&mut queue.jobs)
            };
            let loaded = match run.take() {
                Some(run) => Ok(run),
                None => self.load().await,
            };
            run = match loaded {
                Ok(run) => self.batch(run, jobs).await,
                Err(rejection) => {
                    reply_all(jobs.into_iter().map(|job| job.reply), &rejection);
                    None
                }
            };
        }
    }

    /// Decides the jobs, commits what they add, answers. Gives the run back if it is as the store has it.
    async fn batch(&self, mut run: Box<Run>, jobs: Vec<Job>) -> Option<Box<Run>> {
        let expected = run.next_pos().checked_sub(1);
        let mut batch = Batch { evidence_id: self.lane.evidence_id.clone(), expected, ..Batch::default() };
        let bytes = jobs.iter().map(|job| job.bytes).fold(0, usize::saturating_add);
        let decide = || {
            let mut replies = Vec::with_capacity(jobs.len());
            for Job { ask, reply, .. } in jobs {
                replies.push((self.decide(&mut run, ask, &mut batch), reply));
            }
            replies
        };
        let replies = if bytes > LARGE_BYTES { tokio::task::block_in_place(decide) } else { decide() };
        let standing = run.standing();
        let pos = standing.pos;
        if !batch.records.is_empty() {
            batch.standing = Some(standing.clone());
            let outcome = self.lanes.committer.commit(vec![batch]).await.pop();
            let rejection = match outcome {
                Some(outcome) => Rejection::of(outcome),
                None => Some(Rejection::Unavailable("no outcome".into())),
            };
            if let Some(rejection) = rejection {
                reply_all(replies.into_iter().map(|(_, reply)| reply), &rejection);
                return None;
            }
            run.settle();
        }
        self.lane.committed.send_replace(pos);
        for (decided, reply) in replies {
            let answer = decided.map(|decided| {
                let (answer, added) = match decided {
                    Decided::Answer { answer, added } => (answer, added),
                    Decided::View(look) => {
                        look(&run);
                        (run.unchanged(Vec::new()), false)
                    }
                };
                Done { answer, added, standing: standing.clone() }
            });
            // Who asked may have gone.
            let _ = reply.send(answer);
        }
        Some(run)
    }

    fn decide(&self, run: &mut Run, ask: Ask, batch: &mut Batch) -> Result<Decided, Rejection> {
        let surroundings = &self.lanes.surroundings;
        let now = (surroundings.now)();
        let mut salt = || surroundings.salt();
        let around = &mut Around { now, salt: &mut salt, limits: &surroundings.limits };
        let refused = |refusal: Refusal| Rejection::from(refusal);
        let mut answer = match ask {
            Ask::Append(append) => run
                .append(append, around)
                .map_err(|(refusal, entry)| Rejection::Refused { refusal, entry: Some(entry) })?,
            Ask::OpenGate(gate) => run.open_gate(gate, around).map_err(refused)?,
            Ask::Resolve(resolution) => run.resolve_gate(resolution, around).map_err(refused)?,
            Ask::Close(close) => run.close(close, around).map_err(refused)?,
            Ask::Abort(reason) => {
                let answer = run.request_abort(reason, around).map_err(refused)?;
                let due = |run: &Run| {
                    Due::of(run.overview(), &run.standing(), surroundings.started_at, &surroundings.periods)
                };
                batch.look_at = due(run).map(|due| due.at);
                answer
            }
            Ask::Seal(envelope_digest, file) => {
                let records: Vec<JournalRecord> = run.record_seal(envelope_digest, now).into_iter().collect();
                batch.sealed = Some(file).filter(|_| !records.is_empty());
                Answer { records, ..run.unchanged(Vec::new()) }
            }
            Ask::View(look) => return Ok(Decided::View(look)),
        };
        let added = !answer.records.is_empty();
        batch.records.append(&mut answer.records);
        batch.keys.extend(answer.key.take());
        Ok(Decided::Answer { answer, added })
    }

    async fn load(&self) -> Result<Box<Run>, Rejection> {
        let (store, evidence_id) = (self.lanes.store.clone(), self.lane.evidence_id.clone());
        let load = move || -> Result<Box<Run>, Rejection> {
            let (overview, standing) = store.run(&evidence_id)?.ok_or(Rejection::NotFound)?;
            let count = usize::try_from(standing.pos.saturating_add(1)).unwrap_or(usize::MAX);
            let records = store.records(&evidence_id, 0, count)?;
            let keys = store.keys(&evidence_id)?;
            let run = Run::load(overview, records, keys);
            run.map(Box::new).map_err(|error| Rejection::Unavailable(error.to_string()))
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        loaded.unwrap_or_else(|error| Err(Rejection::Unavailable(error.to_string())))
    }
}

enum Decided {
    Answer { answer: Answer, added: bool },
    View(Box<dyn FnOnce(&Run) + Send>),
}

fn take_some(jobs: &mut VecDeque<Job>) -> Vec<Job> {
    let (mut taken, mut bytes) = (Vec::new(), 0_usize);
    while bytes < MAX_BATCH_BYTES
        && let Some(job) = jobs.pop_front()
    {
        bytes = bytes.saturating_add(job.bytes);
        taken.push(job);
    }
    taken
}

fn reply_all(replies: impl Iterator<Item = oneshot::Sender<Result<Done, Rejection>>>, rejection: &Rejection) {
    for reply in replies {
        let _ = reply.send(Err(rejection.clone()));
    }
}
