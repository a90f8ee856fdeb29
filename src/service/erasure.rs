//! Erasure: a withheld value leaves the store, its commitment stays in the envelope.

use tokio::sync::oneshot;

use super::{Action, Caller, Service, ServiceError};
use crate::append::Ask;
use crate::evidence::canonical;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::MAX_FILE_BYTES;
use crate::evidence::seal::with_disclosures;
use crate::journal::{Erased, State, erase};
use crate::store::{Rewritten, Store, StoreError};

/// What is rewritten may be large.
const LARGE_BYTES: usize = 1 << 20;

impl Service {
    /// Erases value and salt at that place of a sealed run. Once it returns no answer has them, and no key of the store; the
    /// engine's files lose them when they are compacted.
    pub(crate) async fn erase(
        &self,
        caller: &Caller,
        evidence_id: &str,
        at: String,
    ) -> Result<(), ServiceError> {
        caller.check(Action::Administer)?;
        let (_, standing) = self.standing(evidence_id).await?;
        if standing.state != State::Sealed {
            return Err(ServiceError::NotYet { state: standing.state });
        }
        let place = self.whole_place().await?;
        let (store, id, surroundings) =
            (self.store.clone(), evidence_id.to_owned(), self.surroundings.clone());
        let blind = move || {
            let mut random = [0; 32];
            (surroundings.random)(&mut random);
            Digest::from_bytes(random)
        };
        let (done, erased) = oneshot::channel();
        // In the lane: nothing else of the run is read or written meanwhile, whoever waits for it.
        let rewrite = move || {
            let erased = erase_in(&*store, &id, &at, blind);
            drop(place);
            drop(done.send(erased));
        };
        self.lanes.ask(evidence_id, Ask::Rewrite(Box::new(rewrite)), LARGE_BYTES, None).await?;
        match erased.await.map_err(ServiceError::unavailable)? {
            Ok(true) => Ok(()),
            Ok(false) => Err(ServiceError::DisclosureNotFound),
            Err(error) => Err(error.into()),
        }
    }
}

/// False if nothing is withheld there.
fn erase_in(
    store: &dyn Store,
    evidence_id: &str,
    at: &str,
    mut blind: impl FnMut() -> Digest,
) -> Result<bool, StoreError> {
    let records = store.records(evidence_id, 0, usize::MAX)?;
    let Some(Erased { records, requests }) = erase(&records, at, &mut blind) else { return Ok(false) };
    let corrupt = |what| StoreError::Corrupt { what, evidence_id: evidence_id.to_owned() };
    let Some((mut overview, _)) = store.run(evidence_id)? else { return Ok(false) };
    if requests.contains(&overview.request) {
        overview.request = blind();
    }
    let mut keys = store.keys(evidence_id)?;
    // A key may stand for several requests of which one is known, or for one that added nothing.
    let concerned = |pos| records.iter().any(|record| record.pos == pos);
    keys.retain(|(_, used)| {
        requests.contains(&used.request)
            || used.positions().next().is_none()
            || used.positions().any(concerned)
    });
    keys.iter_mut().for_each(|(_, used)| used.request = blind());
    let file = store.sealed_file(evidence_id)?.ok_or_else(|| corrupt("sealed envelope"))?;
    let document = canonical::parse(&file, MAX_FILE_BYTES).map_err(|_| corrupt("sealed envelope"))?;
    let file = document.as_object().and_then(|document| with_disclosures(document, |other| other != at));
    let file = file.ok_or_else(|| corrupt("sealed envelope"))?.into_bytes();
    store.rewrite(evidence_id, &Rewritten { overview, records, keys, file })?;
    Ok(true)
}
