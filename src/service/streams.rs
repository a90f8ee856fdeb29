//! Streams: who follows what, and from where.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Action, Caller, Service, ServiceError};
use crate::events::{
    Choice, Filter, Frame, GapReason, Loaded, Loader, Seat, Source, Stream, Subscription, ToldRun,
    stream_gap, stream_open,
};
use crate::evidence::time::Timestamp;
use crate::journal::State;
use crate::store::{Store, StoreError};

/// How many records are loaded at once for who watches, and about how many bytes of them; so many are read at a time.
const LOAD_RECORDS: usize = 128;
const LOAD_BYTES: usize = 128 << 10;
pub(super) const READ_RECORDS: usize = 16;

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Begin {
    /// After what has this id.
    After(String),
    /// With the first there is.
    Earliest,
    /// With that position.
    From(u64),
    /// With what comes next.
    Latest,
    /// With the first that is not older.
    Since(Timestamp),
    /// With that position, before which something is missing.
    Trimmed(u64),
}

/// A stream that is followed.
pub(crate) struct Followed {
    pub(crate) subscription: Subscription,
    /// What it is of, if that is one run.
    pub(crate) source: Option<Arc<Source>>,
    /// What it says of itself first.
    pub(crate) opening: Vec<Frame>,
}

/// Which runs a stream of all runs is about; all, if nothing is named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Among {
    /// run_ids or evidence_ids.
    pub(crate) runs: Vec<String>,
    pub(crate) projects: Vec<String>,
}

impl Service {
    /// A place for one who is to follow, before anything is done that needs one.
    pub(crate) fn seat(&self) -> Result<Seat, ServiceError> {
        Ok(self.hub.seat()?)
    }

    /// Follows the events of a run; `None` if it is sealed and there is nothing after where it would begin.
    pub(crate) async fn follow_run(
        self: &Arc<Self>,
        seat: Seat,
        evidence_id: &str,
        filter: Filter,
        begin: Option<Begin>,
    ) -> Result<Option<Followed>, ServiceError> {
        // First, so that nothing is recorded unheard between the look and this.
        let subscription = seat.follow(Stream::Run(evidence_id.to_owned()), filter);
        let (overview, standing) = self.standing(evidence_id).await?;
        let next = standing.pos.saturating_add(1);
        let begin = match begin {
            Some(Begin::Since(since)) => Begin::From(self.first_since(evidence_id, since, next).await?),
            begin => begin.unwrap_or(Begin::Earliest),
        };
        let run = ToldRun::of(&overview);
        let source = run.source().clone();
        let subscription = subscription.loaded_by(self.records_loader(run, evidence_id), next);
        Ok(self.begin(subscription, Some(source), (next, Begin::Earliest), begin, standing.state))
    }

    /// Follows the events of all runs that the caller sees, or of some of them.
    pub(crate) fn follow_runs(
        &self,
        caller: &Caller,
        among: Among,
        filter: Filter,
        begin: Option<Begin>,
    ) -> Result<Followed, ServiceError> {
        self.follow_all(Stream::Runs, caller, among, filter, begin)
    }

    pub(super) fn follow_all(
        &self,
        stream: Stream,
        caller: &Caller,
        among: Among,
        filter: Filter,
        begin: Option<Begin>,
    ) -> Result<Followed, ServiceError> {
        caller.check(Action::Read)?;
        let chosen = chosen(caller.clone(), among, stream == Stream::Logs);
        let subscription = self.hub.subscribe(stream, filter)?.of(chosen);
        let next = subscription.end();
        let begin = match begin {
            Some(Begin::Since(since)) => match subscription.since(since) {
                (at, true) => Begin::From(at),
                // There may have been more.
                (at, false) => Begin::Trimmed(at),
            },
            // There was more before anybody followed.
            Some(Begin::Earliest) => Begin::Trimmed(subscription.oldest()),
            begin => begin.unwrap_or(Begin::Latest),
        };
        let followed = self.begin(subscription, None, (next, Begin::Latest), begin, State::Open);
        followed.ok_or_else(|| ServiceError::unavailable("the stream is over"))
    }

    /// A stream that begins where it was asked for, or by default if that is nowhere. `None` if nothing will ever come.
    pub(super) fn begin(
        &self,
        subscription: Subscription,
        source: Option<Arc<Source>>,
        (next, default): (u64, Begin),
        begin: Begin,
        state: State,
    ) -> Option<Followed> {
        let mut resumed_from = None;
        let mut position = |begin: &Begin| match begin {
            Begin::Earliest => Ok(0),
            Begin::Latest | Begin::Since(_) => Ok(next),
            Begin::From(at) | Begin::Trimmed(at) if *at <= next => Ok(*at),
            Begin::From(_) | Begin::Trimmed(_) => Err(GapReason::Cursor),
            Begin::After(id) => match subscription.after(id) {
                Some(at) if at <= next => {
                    resumed_from = Some(id.clone());
                    Ok(at)
                }
                None if source.is_none() && is_of_another_start(id) => Err(GapReason::Restart),
                _ => Err(GapReason::Cursor),
            },
        };
        let (at, gap) = match position(&begin) {
            Ok(at) => (at, matches!(begin, Begin::Trimmed(_)).then_some(GapReason::Trimmed)),
            Err(reason) => (position(&default).unwrap_or(next), Some(reason)),
        };
        if state == State::Sealed && at >= next {
            return None;
        }
        let now = (self.surroundings.now)();
        // How much happens in all runs together is nobody's business.
        let head_pos = source.as_ref().and_then(|_| next.checked_sub(1));
        // Who comes back without having heard of anything begins where this one began.
        let told = at > 0 || default == Begin::Latest;
        let id = told.then(|| subscription.id_before(at));
        let opened = stream_open(now, source.clone(), id.as_deref(), head_pos, resumed_from.as_deref());
        let gap = gap.map(|reason| stream_gap(now, source.clone(), reason, None));
        let opening = [opened].into_iter().chain(gap).collect();
        Some(Followed { subscription: subscription.from(at), source, opening })
    }

    /// Reads what a run's stream does not have in memory.
    fn records_loader(self: &Arc<Self>, run: ToldRun, evidence_id: &str) -> Loader {
        let (service, run, id) = (self.clone(), Arc::new(run), evidence_id.to_owned());
        Box::new(move |from| -> Loaded {
            let (service, run, id) = (service.clone(), run.clone(), id.clone());
            Box::pin(async move {
                let permit =
                    service.loads.clone().acquire_owned().await.map_err(|error| error.to_string())?;
                let frames = service.read(move |store| {
                    // Kept while it is read, also when nobody waits for it any more.
                    let _permit = permit;
                    load(store, &run, &id, from)
                });
                frames.await.map_err(|error| error.to_string())
            })
        })
    }

    /// The first position of a run whose record is not older than that.
    pub(super) async fn first_since(
        &self,
        evidence_id: &str,
        since: Timestamp,
        next: u64,
    ) -> Result<u64, ServiceError> {
        let id = evidence_id.to_owned();
        self.read(move |store| {
            let (mut low, mut high) = (0, next);
            while low < high {
                let middle = low.midpoint(high);
                match store.records(&id, middle, 1)?.first() {
                    Some(record) if record.at < since => low = middle.saturating_add(1),
                    _ => high = middle,
                }
            }
            Ok(low)
        })
        .await
    }
}

fn load(store: &dyn Store, run: &ToldRun, evidence_id: &str, from: u64) -> Result<Vec<Frame>, StoreError> {
    let (mut frames, mut bytes): (Vec<Frame>, usize) = (Vec::new(), 0);
    while bytes < LOAD_BYTES && frames.len() < LOAD_RECORDS {
        let next = from.saturating_add(frames.len() as u64);
        let records = store.records(evidence_id, next, READ_RECORDS)?;
        for record in &records {
            let frame = run.frame(record);
            bytes = bytes.saturating_add(frame.block().len());
            frames.push(frame);
            if bytes >= LOAD_BYTES {
                return Ok(frames);
            }
        }
        if records.len() < READ_RECORDS {
            break;
        }
    }
    Ok(frames)
}

/// Which sources a caller is told of.
fn chosen(caller: Caller, among: Among, of_logs: bool) -> Choice {
    let runs: HashSet<String> = among.runs.into_iter().collect();
    let projects: HashSet<String> = among.projects.into_iter().collect();
    Box::new(move |source| {
        (runs.is_empty() || runs.contains(&source.evidence_id) || runs.contains(&source.run_id))
            && (projects.is_empty() || projects.contains(&source.project))
            && caller.sees(&source.project)
            && (!of_logs || !source.withholds_logs || caller.may(Action::Disclose))
    })
}

/// Whether an id has the form of ids of all runs.
fn is_of_another_start(id: &str) -> bool {
    let hex = |text: &str| (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = |text: &str| (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    id.split_once('-').is_some_and(|(epoch, at)| hex(epoch) && digits(at))
}
