//! Pages of a run's events: as many as fit, and where to go on.

use tokio::sync::OwnedSemaphorePermit;

use super::streams::{Begin, READ_RECORDS};
use super::{Service, ServiceError};
use crate::events::{Filter, Frame, ToldRun};
use crate::journal::State;

/// A page with so many bytes of events, or made of so many records, is not added to.
const MAX_PAGE_BYTES: usize = 4 << 20;
const MAX_LOOKED_AT: u64 = 10_000;
/// How many records are looked at before others get their turn.
const TURN_RECORDS: u64 = 128;

/// Some events of a run's journal.
pub(crate) struct EventPage {
    pub(crate) events: Vec<Frame>,
    /// Where the next page begins. There may be nothing in this one and something there.
    pub(crate) next: u64,
    /// There is none after this one, ever.
    pub(crate) closed: bool,
    /// To be kept until it is sent.
    pub(crate) place: OwnedSemaphorePermit,
}

/// What a page is made of, as it is gathered.
struct Gathering {
    run: ToldRun,
    filter: Filter,
    limit: usize,
    events: Vec<Frame>,
    bytes: usize,
    next: u64,
}

impl Service {
    /// A page of a run's events that the filter lets through, from the first unless another beginning is asked for.
    pub(crate) async fn events(
        &self,
        evidence_id: &str,
        filter: Filter,
        begin: Option<Begin>,
        limit: usize,
    ) -> Result<EventPage, ServiceError> {
        let (overview, standing) = self.standing(evidence_id).await?;
        let end = standing.pos.saturating_add(1);
        let next = match begin {
            Some(Begin::Since(since)) => self.first_since(evidence_id, since, end).await?,
            Some(Begin::From(at) | Begin::Trimmed(at)) => at,
            Some(Begin::Latest) => end,
            Some(Begin::Earliest | Begin::After(_)) | None => 0,
        };
        let place = self.whole_place().await?;
        let enough_at = next.saturating_add(MAX_LOOKED_AT).min(end);
        let run = ToldRun::of(&overview);
        let mut page = Gathering { run, filter, limit, events: Vec::new(), bytes: 0, next };
        let mut full = false;
        while !full && page.next < enough_at {
            (page, full) = self.gather(evidence_id, page).await?;
        }
        let closed = standing.state == State::Sealed && page.next >= end;
        Ok(EventPage { events: page.events, next: page.next, closed, place })
    }

    /// Adds what the next records tell of; true if nothing more is to be added.
    async fn gather(
        &self,
        evidence_id: &str,
        mut page: Gathering,
    ) -> Result<(Gathering, bool), ServiceError> {
        let permit = self.loads.clone().acquire_owned().await.map_err(ServiceError::unavailable)?;
        let evidence_id = evidence_id.to_owned();
        self.read(move |store| {
            // Reading goes on where nobody waits for it any more.
            let _permit = permit;
            let (until, mut full) = (page.next.saturating_add(TURN_RECORDS), false);
            while !full && page.next < until {
                let records = store.records(&evidence_id, page.next, READ_RECORDS)?;
                full = records.is_empty() || !records.iter().all(|record| page.add(page.run.frame(record)));
            }
            Ok((page, full))
        })
        .await
    }
}

impl Gathering {
    /// Adds the next event, if it is wanted; false if the page is full then, or already without it.
    fn add(&mut self, frame: Frame) -> bool {
        if self.filter.is_allowed(frame.name()) {
            let bytes = self.bytes.saturating_add(frame.data().len());
            if bytes > MAX_PAGE_BYTES && !self.events.is_empty() {
                return false;
            }
            self.bytes = bytes;
            self.events.push(frame);
        }
        self.next = self.next.saturating_add(1);
        self.events.len() < self.limit
    }
}
