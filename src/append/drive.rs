//! The work on a lane: what is asked is decided, committed, answered.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::committer::Committed;
use super::lane::{Ask, Done, Job, Lane, Lanes, Loaded, Queue};
use super::rejection::Rejection;
use super::signals::Taken;
use super::told::tell_lines;
use super::work_on;
use crate::evidence::canonical;
use crate::evidence::envelope::Kind;
use crate::evidence::time::Timestamp;
use crate::journal::{Answer, Around, Due, Hit, JournalRecord, LogSummary, Redacted, Refusal, Run, logs_due};
use crate::logs::{Log, LogAppend, LogReceipt, LogRefusal, Logs, MaskedCount, Written};
use crate::store::{Batch, LineEnd, LogBatch, StoreError};

/// How many bytes of requests are decided before they are written.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// The work on one lane, until nothing waits in it. Dropped halfway, the lane is free, and the run is read back.
pub(super) struct Drive {
    pub(super) lanes: Arc<Lanes>,
    pub(super) lane: Arc<Lane>,
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
    pub(super) fn new(lanes: Arc<Lanes>, lane: Arc<Lane>) -> Self {
        Self { lanes, lane, ended: false }
    }

    pub(super) async fn all(mut self) {
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
                    self.lane.project.get_or_init(|| run.run.overview().project.clone());
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
    async fn batch(&self, mut loaded: Box<Loaded>, jobs: Vec<Job>) -> Option<Box<Loaded>> {
        let expected = loaded.run.next_pos().checked_sub(1);
        let mut batch = Batch { evidence_id: self.lane.evidence_id.clone(), expected, ..Batch::default() };
        let bytes = jobs.iter().map(|job| job.bytes).fold(0, usize::saturating_add);
        let reserved = loaded.run.reserved_bytes();
        let mut signals = Vec::new();
        let decide = || {
            let mut replies = Vec::with_capacity(jobs.len());
            for Job { ask, by, reply, .. } in jobs {
                replies.push((self.decide(&mut loaded, ask, by.as_deref(), &mut batch, &mut signals), reply));
            }
            replies
        };
        let replies = work_on(bytes.max(reserved), decide);
        let standing = loaded.run.standing();
        let mut durable = Batch::default();
        if !batch.records.is_empty() || !batch.keys.is_empty() || !batch.logs.logs.is_empty() {
            batch.standing = Some(standing.clone());
            durable = match self.commit(batch).await {
                Ok(batch) => batch,
                Err(rejection) => {
                    reply_all(replies.into_iter().map(|(_, reply)| reply), &rejection);
                    return None;
                }
            };
            loaded.run.settle();
            let recorded = standing.counts.gates;
            self.lane.gates.send_if_modified(|known| std::mem::replace(known, recorded) != recorded);
        }
        let rewritten = replies.iter().any(|(decided, _)| matches!(decided, Ok(Decided::Rewritten)));
        for (decided, reply) in replies {
            let answer = decided.map(|decided| {
                let nothing = || loaded.run.unchanged(Vec::new());
                let (answer, added, log, signals) = match decided {
                    Decided::Answer { answer, added } => (answer, added, None, 0),
                    Decided::Log(receipt) => (nothing(), false, Some(receipt), 0),
                    Decided::Rewritten => (nothing(), true, None, 0),
                    Decided::Signaled(taken) => (nothing(), false, None, taken),
                    Decided::View(look) => {
                        look(&loaded.run);
                        (nothing(), false, None, 0)
                    }
                };
                Done { answer, added, standing: standing.clone(), log, signals }
            });
            // Who asked may have gone.
            let _ = reply.send(answer);
        }
        // Many may watch: who reports does not wait for them. Of lines first, for a seal ends both streams.
        tell_lines(&self.lanes.hub, &*self.lanes.store, &loaded, &durable.logs);
        self.tell(&loaded.run, &durable.records, &signals);
        (!rewritten).then_some(loaded)
    }

    /// Makes a batch durable, and gives it back.
    async fn commit(&self, batch: Batch) -> Result<Batch, Rejection> {
        let committed = self.lanes.committer.commit(vec![batch]).await.pop();
        let Committed { batch, outcome } =
            committed.ok_or_else(|| Rejection::Unavailable("no outcome".into()))?;
        Rejection::of(outcome).map_or(Ok(batch), Err)
    }

    fn decide(
        &self,
        Loaded { run, logs }: &mut Loaded,
        ask: Ask,
        by: Option<&str>,
        batch: &mut Batch,
        signals: &mut Vec<Taken>,
    ) -> Result<Decided, Rejection> {
        let surroundings = &self.lanes.surroundings;
        let now = (surroundings.now)();
        let mut salt = || surroundings.salt();
        let known = |step_id: &str, attempt| logs.get(step_id, attempt).map(summary);
        let around = &mut Around { now, salt: &mut salt, limits: &surroundings.limits, by, logs: &known };
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
            Ask::Log(append) => return self.log(run, logs, append, batch).map(Decided::Log),
            Ask::Seal(envelope_digest, file, sealing) => {
                let records: Vec<JournalRecord> = run.record_seal(envelope_digest, now).into_iter().collect();
                batch.sealed = Some((file, sealing)).filter(|_| !records.is_empty());
                batch.look_at = logs_due(run.overview(), &run.standing());
                Answer { records, ..run.unchanged(Vec::new()) }
            }
            Ask::Signal(sent) => {
                let taken = self.signal(run, sent, batch.records.len(), now)?;
                let count = taken.count();
                signals.push(taken);
                return Ok(Decided::Signaled(count));
            }
            Ask::Rewrite(rewrite) => {
                rewrite();
                return Ok(Decided::Rewritten);
            }
            Ask::View(look) => return Ok(Decided::View(look)),
        };
        end_logs(logs, &answer.records, &mut batch.logs);
        let added = !answer.records.is_empty();
        batch.records.append(&mut answer.records);
        batch.keys.extend(answer.key.take());
        Ok(Decided::Answer { answer, added })
    }

    /// Bytes for the log of a step that goes on, in a run that does.
    fn log(
        &self,
        run: &mut Run,
        logs: &mut Logs,
        mut append: LogAppend,
        batch: &mut Batch,
    ) -> Result<LogReceipt, Rejection> {
        let surroundings = &self.lanes.surroundings;
        let now = (surroundings.now)();
        run.check_open()?;
        // What goes on will be recorded, at the latest when the run is closed: every log is in an element.
        if !run.goes_on(&append.step_id, append.attempt) {
            let (step_id, attempt) = (append.step_id.clone(), append.attempt);
            return Err(match run.has_ended(&step_id, attempt) {
                true => LogRefusal::Ended { step_id, attempt }.into(),
                false => LogRefusal::NotStarted { step_id, attempt }.into(),
            });
        }
        let masks = run.masks().clone();
        let hits = masks.cover(&mut append.bytes).into_iter();
        let count =
            |hit: Hit<'_>| (hit.rule_id.to_owned(), MaskedCount { matches: hit.count, bytes: hit.bytes });
        let (receipt, written) =
            logs.append(&append, &hits.map(count).collect(), now, surroundings.max_log_bytes)?;
        run.touch(now);
        add(&mut batch.logs, written);
        Ok(receipt)
    }

    fn due(&self, run: &Run) -> Option<Timestamp> {
        let surroundings = &self.lanes.surroundings;
        let due = Due::of(run.overview(), &run.standing(), surroundings.started_at, &surroundings.periods);
        due.map(|due| due.at)
    }

    async fn load(&self) -> Result<Box<Loaded>, Rejection> {
        let (store, evidence_id) = (self.lanes.store.clone(), self.lane.evidence_id.clone());
        let load = move || -> Result<Box<Loaded>, Rejection> {
            let (overview, standing) = store.run(&evidence_id)?.ok_or(Rejection::NotFound)?;
            let count = usize::try_from(standing.pos.saturating_add(1)).unwrap_or(usize::MAX);
            let records = store.records(&evidence_id, 0, count)?;
            let keys = store.keys(&evidence_id)?;
            let mut run = Run::load(overview, records, keys)
                .map_err(|error| Rejection::Unavailable(error.to_string()))?;
            run.touch(standing.active_at);
            let logs = Logs::load(store.logs(&evidence_id)?);
            let corrupt = || StoreError::Corrupt { what: "log", evidence_id: evidence_id.clone() };
            Ok(Box::new(Loaded { run, logs: logs.ok_or_else(corrupt)? }))
        };
        let loaded = tokio::task::spawn_blocking(load).await;
        loaded.unwrap_or_else(|error| Err(Rejection::Unavailable(error.to_string())))
    }
}

#[expect(clippy::large_enum_variant, reason = "moved once, and never kept")]
enum Decided {
    Answer { answer: Answer, added: bool },
    Log(LogReceipt),
    Rewritten,
    Signaled(usize),
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

fn summary(log: &Log) -> LogSummary {
    let redacted = |(rule_id, count): (&String, &MaskedCount)| Redacted {
        rule_id: rule_id.clone(),
        path: "/log".into(),
        count: count.matches,
        bytes: count.bytes,
    };
    LogSummary {
        digest: log.digest(),
        bytes: log.bytes,
        lines: log.lines_recorded(),
        redacted: log.masked.iter().map(redacted).collect(),
    }
}

/// With a step its log ends.
fn end_logs(logs: &mut Logs, records: &[JournalRecord], batch: &mut LogBatch) {
    if logs.all().is_empty() {
        return;
    }
    let steps = records.iter().filter_map(|record| record.element().filter(|e| e.kind == Kind::Step));
    for element in steps {
        if let Some((step_id, attempt)) = step_of(&element.text) {
            add(batch, logs.end(&step_id, attempt, element.recorded_at));
        }
    }
}

fn step_of(text: &str) -> Option<(String, u64)> {
    let step = canonical::parse(text.as_bytes(), text.len()).ok()?;
    let step = step.as_object()?;
    Some((step.text("step_id")?.to_owned(), step.count("attempt").unwrap_or(1)))
}

/// Of each log what was written last counts.
fn add(batch: &mut LogBatch, written: Written) {
    batch.chunks.extend(written.chunks);
    batch.ends.extend(written.ends.into_iter().map(|end| LineEnd {
        log_pos: end.log_pos,
        line: end.line,
        log: end.log,
        offset: end.offset,
    }));
    batch.logs.retain(|(number, _)| written.logs.iter().all(|(newer, _)| newer != number));
    batch.logs.extend(written.logs);
}
