//! Streams of log lines: of one run, or of all.

use std::sync::Arc;

use super::logs::{ShownLine, check_kept, lines_from};
use super::streams::{Among, Begin, Followed};
use super::{Caller, Service, ServiceError};
use crate::append::{chunk_at, line_frame};
use crate::events::{Filter, Loaded, Loader, Stream, ToldRun};
use crate::evidence::time::Timestamp;
use crate::journal::State;

/// How many lines, and about how many bytes of them as they are shown, are read at once for who watches.
const LOAD: (usize, usize) = (256, 128 << 10);

impl Service {
    /// Follows the log lines of a run; `None` if it is sealed and there is nothing after where it would begin.
    pub(crate) async fn follow_log(
        self: &Arc<Self>,
        caller: &Caller,
        evidence_id: &str,
        begin: Option<Begin>,
    ) -> Result<Option<Followed>, ServiceError> {
        self.check_may_see_logs(caller, evidence_id).await?;
        // First, so that no line ends unheard between the look and this.
        let subscription = self.hub.subscribe(Stream::Log(evidence_id.to_owned()), Filter::log_lines())?;
        let (overview, standing) = self.standing(evidence_id).await?;
        let logs = self.logs(evidence_id).await?;
        logs.all().iter().try_for_each(check_kept)?;
        let next = logs.next_pos();
        let begin = match begin {
            Some(Begin::Since(since)) => Begin::From(self.first_line_since(evidence_id, since, next).await?),
            begin => begin.unwrap_or(Begin::Latest),
        };
        let run = ToldRun::of(&overview);
        let source = run.source().clone();
        let subscription = subscription.loaded_by(self.lines_loader(run, evidence_id), next);
        let subscription = match standing.state {
            State::Sealed => subscription.ended(),
            State::Open | State::Closing => subscription,
        };
        Ok(self.begin(subscription, Some(source), (next, Begin::Latest), begin, standing.state))
    }

    /// Follows the log lines of all runs whose logs the caller sees, or of some of them.
    pub(crate) fn follow_logs(
        &self,
        caller: &Caller,
        among: Among,
        begin: Option<Begin>,
    ) -> Result<Followed, ServiceError> {
        self.follow_all(Stream::Logs, caller, among, Filter::log_lines(), begin)
    }

    /// Reads what the stream of a run's log does not have in memory.
    fn lines_loader(self: &Arc<Self>, run: ToldRun, evidence_id: &str) -> Loader {
        let (service, run, id) = (self.clone(), Arc::new(run), evidence_id.to_owned());
        Box::new(move |from| -> Loaded {
            let (service, run, id) = (service.clone(), run.clone(), id.clone());
            Box::pin(async move {
                let permit = service.loads.clone().acquire_owned().await;
                let permit = permit.map_err(|error| error.to_string())?;
                let frames = service.read(move |store| {
                    // Reading goes on where nobody waits for it any more.
                    let _permit = permit;
                    let page = lines_from(store, &id, from, LOAD)?;
                    let frame =
                        |shown: ShownLine| line_frame(&run, (&shown.step_id, shown.attempt), &shown.line);
                    Ok(page.map(|page| page.lines.into_iter().map(frame).collect()))
                });
                let frames = frames.await.and_then(|frames| frames.ok_or(ServiceError::LogDeleted));
                frames.map_err(|error| error.to_string())
            })
        })
    }

    /// The first line of a run that did not end before that moment.
    async fn first_line_since(
        &self,
        evidence_id: &str,
        since: Timestamp,
        next: u64,
    ) -> Result<u64, ServiceError> {
        let id = evidence_id.to_owned();
        self.read(move |store| {
            let (mut low, mut high) = (0, next);
            while low < high {
                // The lines of one chunk ended at one moment.
                let Some(end) = store.line_ends(&id, low.midpoint(high), 1)?.pop() else { break };
                let chunk = chunk_at(store, &id, end.log, end.offset)?;
                match chunk.at < since {
                    true => low = end.log_pos.saturating_add(chunk.ended.max(1)),
                    false => high = end.log_pos,
                }
            }
            Ok(low)
        })
        .await
    }
}
