//! Group commit: what has gathered from all lanes becomes durable in one write.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::ledger::Ledger;
use crate::figures::Figures;
use crate::store::directory::free_bytes;
use crate::store::{Batch, Outcome, Store};

/// How much is written at once.
const MAX_GROUP_BYTES: usize = 8 << 20;
/// How many requests may wait for the writer.
const MAX_WAITING: usize = 16_384;

struct Job {
    batches: Vec<Batch>,
    done: oneshot::Sender<Vec<Committed>>,
}

/// What became of a batch, and the batch, for who tells of what is durable.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) batch: Batch,
    pub(crate) outcome: Outcome,
}

/// Keeps some disk free, so that it is we who say no and not a write in the middle.
pub(crate) struct DiskGuard {
    pub(crate) path: PathBuf,
    pub(crate) min_free_bytes: u64,
}

impl DiskGuard {
    fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.path).ok()
    }

    fn check(&self) -> Option<Outcome> {
        // Where the file system does not say, a write will.
        let free_bytes = self.free_bytes()?;
        let min_free_bytes = self.min_free_bytes;
        (free_bytes < min_free_bytes).then_some(Outcome::DiskFull { free_bytes, min_free_bytes })
    }
}

/// The one writer, on a thread of its own. It ends once this is dropped and all that waited is written.
pub(crate) struct Committer {
    jobs: Option<mpsc::Sender<Job>>,
    guard: Option<Arc<DiskGuard>>,
    figures: Arc<Figures>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(crate) fn start(
        store: Arc<dyn Store>,
        guard: Option<DiskGuard>,
        figures: Arc<Figures>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let guard = guard.map(Arc::new);
        let (kept, ledger) = (guard.clone(), Ledger::new(figures.clone()));
        let thread = thread::Builder::new().name("committer".into());
        let thread = thread.spawn(move || write_all(&*store, guard.as_deref(), receiver, ledger))?;
        Ok(Self { jobs: Some(sender), guard: kept, figures, thread: Some(thread) })
    }

    /// What this and the lanes before it have counted.
    pub(crate) fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.jobs.as_ref().map_or(0, |jobs| jobs.max_capacity().saturating_sub(jobs.capacity()))
    }

    /// How many bytes are free, and how many are kept so, where that is known.
    pub(crate) fn disk(&self) -> Option<(u64, u64)> {
        let guard = self.guard.as_ref()?;
        Some((guard.free_bytes()?, guard.min_free_bytes))
    }

    /// Whether there is still somebody who writes.
    pub(crate) fn is_alive(&self) -> bool {
        self.jobs.as_ref().is_some_and(|jobs| !jobs.is_closed())
    }

    /// Durable once it returns `Done`; an outcome for each batch.
    pub(crate) async fn commit(&self, batches: Vec<Batch>) -> Vec<Committed> {
        let count = batches.len();
        let (done, outcomes) = oneshot::channel();
        let sent = match &self.jobs {
            Some(jobs) => jobs.send(Job { batches, done }).await.is_ok(),
            None => false,
        };
        let lost = match outcomes.await {
            Ok(committed) => return committed,
            Err(_) if sent => Outcome::Poisoned("the writer has died".into()),
            Err(_) => Outcome::Unavailable("the service is stopping".into()),
        };
        (0..count).map(|_| Committed { batch: Batch::default(), outcome: lost.clone() }).collect()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn write_all(
    store: &dyn Store,
    guard: Option<&DiskGuard>,
    mut jobs: mpsc::Receiver<Job>,
    mut ledger: Ledger,
) {
    while let Some(first) = jobs.blocking_recv() {
        let mut bytes = size(&first);
        let mut group = vec![first];
        while bytes < MAX_GROUP_BYTES
            && let Ok(job) = jobs.try_recv()
        {
            bytes = bytes.saturating_add(size(&job));
            group.push(job);
        }
        let (batches, answers): (Vec<Vec<Batch>>, Vec<_>) =
            group.into_iter().map(|job| (job.batches, job.done)).unzip();
        let counts: Vec<usize> = batches.iter().map(Vec::len).collect();
        let batches: Vec<Batch> = batches.into_iter().flatten().collect();
        let begun = Instant::now();
        let outcomes = match guard.and_then(DiskGuard::check) {
            Some(full) => vec![full; batches.len()],
            None => store.commit(&batches),
        };
        ledger.enter(&batches, &outcomes, begun.elapsed());
        let committed = |(batch, outcome)| Committed { batch, outcome };
        let mut committed = batches.into_iter().zip(outcomes).map(committed);
        for (done, count) in answers.into_iter().zip(counts) {
            // Who asked may have gone; it is written all the same.
            let _ = done.send(committed.by_ref().take(count).collect());
        }
    }
}

fn size(job: &Job) -> usize {
    job.batches.iter().map(Batch::bytes).fold(0, usize::saturating_add)
}
