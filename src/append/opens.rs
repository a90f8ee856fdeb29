//! Openings: one lane for all projects, so that no two runs get one name or one number.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::Surroundings;
use super::committer::Committer;
use super::lane::Lanes;
use super::rejection::Rejection;
use crate::journal::{Around, Due, Opening, Overview, Refusal, Run, Standing};
use crate::store::{Batch, Counter, Opened, Store};

/// How many openings may wait.
const MAX_WAITING: usize = 4_096;
/// How many are decided before they are written.
const MAX_BATCH: usize = 512;
/// How many bytes of them.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// A run to be opened.
pub(crate) struct OpenRun {
    pub(crate) opening: Opening,
    /// The idempotency key.
    pub(crate) key: Option<String>,
    /// About how large the request is.
    pub(crate) bytes: usize,
    /// Who asks, as the service knows them.
    pub(crate) by: Option<String>,
}

/// A run that is open, and whether this request opened it.
pub(crate) type OpenedRun = (Overview, Standing, bool);

type Reply = oneshot::Sender<Result<OpenedRun, Rejection>>;

/// The lane of openings.
pub(crate) struct Opens {
    queue: Mutex<Queue>,
    store: Arc<dyn Store>,
    committer: Arc<Committer>,
    lanes: Arc<Lanes>,
    surroundings: Arc<Surroundings>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<(OpenRun, Reply)>,
    driven: bool,
    /// As the store has them; forgotten when a commit fails.
    counters: HashMap<String, Counter>,
}

/// What is decided, and not yet durable.
#[derive(Default)]
struct Round {
    batches: Vec<Batch>,
    /// What each batch opens; one that only keeps a key opens nothing.
    runs: Vec<Option<Run>>,
    /// project and run_id, or project and key, to the place in `runs`.
    named: HashMap<(String, String), usize>,
    keyed: HashMap<(String, String), usize>,
}

impl Round {
    fn opened(&self, place: usize) -> Option<&Run> {
        self.runs.get(place)?.as_ref()
    }

    /// Keeps a key for a run that was found by its name. It may be lost with this round: then it is found by its name again.
    fn bind(&mut self, answer: &Answer, project: String, key: String) {
        let evidence_id = match answer {
            Answer::Place { place, .. } => self.opened(*place).map(|run| run.overview().evidence_id.clone()),
            Answer::Known(known) => known.as_ref().as_ref().ok().map(|(run, ..)| run.evidence_id.clone()),
        };
        if let Some(evidence_id) = evidence_id {
            self.batches.push(Batch { evidence_id, open_key: Some((project, key)), ..Batch::default() });
            self.runs.push(None);
        }
    }
}

/// What a job is answered with.
enum Answer {
    /// Once the batch at this place is durable.
    Place {
        place: usize,
        created: bool,
    },
    Known(Box<Result<OpenedRun, Rejection>>),
}

impl Opens {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        committer: Arc<Committer>,
        lanes: Arc<Lanes>,
        surroundings: Arc<Surroundings>,
    ) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), store, committer, lanes, surroundings })
    }

    /// Opens a run, or finds the one that the same request opened before. Durable once it returns.
    pub(crate) async fn open(self: &Arc<Self>, run: OpenRun) -> Result<OpenedRun, Rejection> {
        let (reply, answer) = oneshot::channel();
        {
            let mut queue = self.lock();
            if queue.jobs.len() >= MAX_WAITING {
                return Err(Rejection::Busy);
            }
            queue.jobs.push_back((run, reply));
            if !queue.driven {
                queue.driven = true;
                tokio::spawn(Drive { opens: self.clone(), ended: false }.all());
            }
        }
        answer.await.unwrap_or_else(|_| Err(Rejection::Unknown("the request was dropped".into())))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The work on the lane, until nothing waits in it.
struct Drive {
    opens: Arc<Opens>,
    /// The lane is given back: somebody else may drive it by now.
    ended: bool,
}

impl Drop for Drive {
    fn drop(&mut self) {
        if !self.ended {
            *self.opens.lock() = Queue::default();
        }
    }
}

impl Drive {
    async fn all(mut self) {
        let opens = self.opens.clone();
        let mut counters = std::mem::take(&mut opens.lock().counters);
        loop {
            let jobs: Vec<(OpenRun, Reply)> = {
                let mut queue = opens.lock();
                if queue.jobs.is_empty() {
                    queue.counters = counters;
                    queue.driven = false;
                    self.ended = true;
                    return;
                }
                take_some(&mut queue.jobs)
            };
            let mut round = Round::default();
            // The store is asked for each.
            let answers = tokio::task::block_in_place(|| {
                let mut answers = Vec::with_capacity(jobs.len());
                for (job, reply) in jobs {
                    let answer = self.decide(job, &mut round, &mut counters);
                    let refused = |rejection| Answer::Known(Box::new(Err(rejection)));
                    answers.push((answer.unwrap_or_else(refused), reply));
                }
                answers
            });
            let Round { batches, runs, .. } = round;
            let committed = match batches.is_empty() {
                true => Vec::new(),
                false => opens.committer.commit(batches).await,
            };
            let (batches, rejections): (Vec<Batch>, Vec<Option<Rejection>>) =
                committed.into_iter().map(|done| (done.batch, Rejection::of(done.outcome))).unzip();
            if rejections.iter().any(Option::is_some) {
                counters.clear();
            }
            // Before anybody can ask for them.
            for ((run, batch), _) in runs.iter().zip(&batches).zip(&rejections).filter(|(_, no)| no.is_none())
            {
                let Some(run) = run else { continue };
                opens.lanes.hub.recorded(run.overview(), &batch.records);
                opens.lanes.admit(run.clone());
            }
            for (answer, reply) in answers {
                let answer = match answer {
                    Answer::Known(answer) => *answer,
                    Answer::Place { place, created } => match (runs.get(place), rejections.get(place)) {
                        (Some(Some(run)), Some(None)) => {
                            Ok((run.overview().clone(), run.standing(), created))
                        }
                        (_, Some(Some(rejection))) => Err(rejection.clone()),
                        _ => Err(Rejection::Unavailable("no outcome".into())),
                    },
                };
                // Who asked may have gone.
                let _ = reply.send(answer);
            }
        }
    }

    fn decide(
        &self,
        job: OpenRun,
        round: &mut Round,
        counters: &mut HashMap<String, Counter>,
    ) -> Result<Answer, Rejection> {
        let OpenRun { opening, key, by, .. } = job;
        let project = opening.project().to_owned();
        if let Some(key) = &key
            && let Some(answer) = self.keyed(round, &opening, &project, key)?
        {
            return Ok(answer);
        }
        if let Some(run_id) = opening.run_id()
            && let Some(answer) = self.named(round, &opening, &project, run_id)?
        {
            if let Some(key) = key {
                round.bind(&answer, project, key);
            }
            return Ok(answer);
        }
        let counter = match counters.get(&project) {
            Some(counter) => counter.clone(),
            None => self.opens.store.counter(&project)?.unwrap_or_else(|| self.new_counter()),
        };
        let settings = self.opens.store.settings(&project)?.unwrap_or_default();
        let surroundings = &self.opens.surroundings;
        let now = (surroundings.now)();
        let evidence_id = surroundings.uuid_v7(now);
        let mut salt = || surroundings.salt();
        let around = &mut Around {
            now,
            salt: &mut salt,
            limits: &surroundings.limits,
            by: by.as_deref(),
            logs: &|_, _| None,
        };
        let (run, records) =
            opening.open(&evidence_id, (&counter.sequence, counter.next), settings, around)?;
        let next = Counter { next: counter.next.saturating_add(1), ..counter };
        counters.insert(project.clone(), next.clone());
        let place = round.runs.len();
        round.named.insert((project.clone(), run.overview().run_id.clone()), place);
        if let Some(key) = &key {
            round.keyed.insert((project.clone(), key.clone()), place);
        }
        let (overview, standing) = (run.overview().clone(), run.standing());
        let due = Due::of(&overview, &standing, surroundings.started_at, &surroundings.periods);
        round.batches.push(Batch {
            evidence_id,
            opened: Some(Opened { overview, counter: next }),
            open_key: key.map(|key| (project, key)),
            records,
            standing: Some(standing),
            look_at: due.map(|due| due.at),
            ..Batch::default()
        });
        round.runs.push(Some(run));
        Ok(Answer::Place { place, created: true })
    }

    fn keyed(
        &self,
        round: &Round,
        opening: &Opening,
        project: &str,
        key: &str,
    ) -> Result<Option<Answer>, Rejection> {
        let same = |overview: &Overview| match opening.opened(overview) {
            true => Ok(()),
            false => Err(Rejection::from(Refusal::KeyReused)),
        };
        if let Some(place) = round.keyed.get(&(project.to_owned(), key.to_owned())) {
            round.opened(*place).map_or(Ok(()), |run| same(run.overview()))?;
            return Ok(Some(Answer::Place { place: *place, created: false }));
        }
        let Some(evidence_id) = self.opens.store.opened_with(project, key)? else { return Ok(None) };
        let Some((overview, standing)) = self.opens.store.run(&evidence_id)? else { return Ok(None) };
        same(&overview)?;
        Ok(Some(Answer::Known(Box::new(Ok((overview, standing, false))))))
    }

    fn named(
        &self,
        round: &Round,
        opening: &Opening,
        project: &str,
        run_id: &str,
    ) -> Result<Option<Answer>, Rejection> {
        let same = |overview: &Overview| match opening.opened(overview) {
            true => Ok(()),
            false => Err(Rejection::RunExists {
                run_id: run_id.to_owned(),
                evidence_id: overview.evidence_id.clone(),
            }),
        };
        if let Some(place) = round.named.get(&(project.to_owned(), run_id.to_owned())) {
            round.opened(*place).map_or(Ok(()), |run| same(run.overview()))?;
            return Ok(Some(Answer::Place { place: *place, created: false }));
        }
        let Some(evidence_id) = self.opens.store.named_in(run_id, project)? else { return Ok(None) };
        let Some((overview, standing)) = self.opens.store.run(&evidence_id)? else { return Ok(None) };
        same(&overview)?;
        Ok(Some(Answer::Known(Box::new(Ok((overview, standing, false))))))
    }

    fn new_counter(&self) -> Counter {
        let sequence = self.opens.surroundings.uuid_v7((self.opens.surroundings.now)());
        Counter { sequence, next: 0 }
    }
}

fn take_some(jobs: &mut VecDeque<(OpenRun, Reply)>) -> Vec<(OpenRun, Reply)> {
    let (mut taken, mut bytes) = (Vec::new(), 0_usize);
    while taken.len() < MAX_BATCH
        && bytes < MAX_BATCH_BYTES
        && let Some((run, reply)) = jobs.pop_front()
    {
        bytes = bytes.saturating_add(run.bytes);
        taken.push((run, reply));
    }
    taken
}
