//! Lanes: one a run, in which requests are decided in the order in which they came.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{oneshot, watch};

use super::Surroundings;
use super::committer::Committer;
use super::rejection::Rejection;
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;
use crate::journal::{
    Abort, Answer, Append, Around, Close, Due, JournalRecord, NewGate, Refusal, Resolution, Run, Standing,
};
use crate::store::{Batch, SealedFile, Store};

/// How many runs stay in memory when nobody asks them.
const MAX_LOADED: usize = 4_096;
/// How many requests may wait in one lane.
const MAX_WAITING: usize = 4_096;
/// How many bytes of requests may wait in one lane.
const MAX_WAITING_BYTES: usize = 32 << 20;
/// How many bytes of requests are decided before they are written.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// From this size on deciding is told to the scheduler, which gives the other tasks to other threads.
const LARGE_BYTES: usize = 16 << 10;

/// What can be asked of a run.
pub(crate) enum Ask {
    Abort(Abort),
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
    /// Who asks, as the service knows them.
    by: Option<String>,
    reply: oneshot::Sender<Result<Done, Rejection>>,
}

/// A run's lane.
struct Lane {
    evidence_id: String,
    /// Known once the run was loaded.
    project: OnceLock<String>,
    queue: Mutex<Queue>,
    /// How many gates are recorded: those who wait for one are woken by nothing else.
    gates: watch::Sender<usize>,
}

struct Queue {
    jobs: VecDeque<Job>,
    /// Of what waits.
    bytes: usize,
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
                let drive = Drive { lanes: self.clone(), lane: lane.clone(), ended: false };
                tokio::spawn(drive.all());
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
            queue.run = Some(Box::new(run));
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
            queue.bytes = 0;
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
                take_some(&mut queue)
            };
            let loaded = match run.take() {
                Some(run) => Ok(run),
                None => self.load().await,
            };
            run = match loaded {
                Ok(run) => {
                    self.lane.project.get_or_init(|| run.overview().project.clone());
                    self.batch(run, jobs).await
                }
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
        let reserved = run.reserved_bytes();
        let decide = || {
            let mut replies = Vec::with_capacity(jobs.len());
            for Job { ask, by, reply, .. } in jobs {
                replies.push((self.decide(&mut run, ask, by.as_deref(), &mut batch), reply));
            }
            replies
        };
        let replies =
            if bytes.max(reserved) > LARGE_BYTES { tokio::task::block_in_place(decide) } else { decide() };
        let standing = run.standing();
        if !batch.records.is_empty() || !batch.keys.is_empty() {
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
            let recorded = standing.counts.gates;
            self.lane.gates.send_if_modified(|known| std::mem::replace(known, recorded) != recorded);
        }
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

    fn decide(
        &self,
        run: &mut Run,
        ask: Ask,
        by: Option<&str>,
        batch: &mut Batch,
    ) -> Result<Decided, Rejection> {
        let surroundings = &self.lanes.surroundings;
        let now = (surroundings.now)();
        let mut salt = || surroundings.salt();
        let around = &mut Around { now, salt: &mut salt, limits: &surroundings.limits, by };
        let refused = |refusal: Refusal| Rejection::from(refusal);
        let mut answer = match ask {
            Ask::Append(append) => run
                .append(append, around)
                .map_err(|(refusal, entry)| Rejection::Refused { refusal, entry })?,
            Ask::OpenGate(gate) => run.open_gate(gate, around).map_err(refused)?,
            // Both move the deadline nearer.
            Ask::Resolve(resolution) => {
                let answer = run.resolve_gate(resolution, around).map_err(refused)?;
                batch.look_at = self.due(run);
                answer
            }
            Ask::Abort(abort) => {
                let answer = run.abort(abort, around).map_err(refused)?;
                batch.look_at = self.due(run);
                answer
            }
            Ask::Close(close) => run.close(close, around).map_err(refused)?,
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

    fn due(&self, run: &Run) -> Option<Timestamp> {
        let surroundings = &self.lanes.surroundings;
        let due = Due::of(run.overview(), &run.standing(), surroundings.started_at, &surroundings.periods);
        due.map(|due| due.at)
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

#[expect(clippy::large_enum_variant, reason = "moved once, and never kept")]
enum Decided {
    Answer { answer: Answer, added: bool },
    View(Box<dyn FnOnce(&Run) + Send>),
}

fn take_some(queue: &mut Queue) -> Vec<Job> {
    let (mut taken, mut bytes) = (Vec::new(), 0_usize);
    while bytes < MAX_BATCH_BYTES
        && let Some(job) = queue.jobs.pop_front()
    {
        bytes = bytes.saturating_add(job.bytes);
        taken.push(job);
    }
    queue.bytes = queue.bytes.saturating_sub(bytes);
    taken
}

fn reply_all(replies: impl Iterator<Item = oneshot::Sender<Result<Done, Rejection>>>, rejection: &Rejection) {
    for reply in replies {
        let _ = reply.send(Err(rejection.clone()));
    }
}
