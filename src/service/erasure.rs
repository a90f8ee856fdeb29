//! Erasure: a withheld value leaves the store, its commitment stays in the envelope.

use super::{Action, Caller, Service, ServiceError};
use crate::evidence::canonical;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::MAX_FILE_BYTES;
use crate::evidence::seal::with_disclosures;
use crate::journal::{State, erase};
use crate::store::{Rewritten, Store, StoreError};

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
        // What is rewritten is read before: one at a time.
        let _one = self.erasing.lock().await;
        let (id, surroundings) = (evidence_id.to_owned(), self.surroundings.clone());
        let blind = move || {
            let mut random = [0; 32];
            (surroundings.random)(&mut random);
            Digest::from_bytes(random)
        };
        let erased = self.read(move |store| {
            let erased = erase_in(store, &id, &at, blind);
            drop(place);
            erased
        });
        if erased.await? { Ok(()) } else { Err(ServiceError::DisclosureNotFound) }
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
    let Some(records) = erase(&records, at, &mut blind) else { return Ok(false) };
    let corrupt = |what| StoreError::Corrupt { what, evidence_id: evidence_id.to_owned() };
    let Some((mut overview, _)) = store.run(evidence_id)? else { return Ok(false) };
    // The first record's request is the opening's.
    if records.iter().any(|record| record.pos == 0) {
        overview.request = blind();
    }
    let concerned = |pos| records.iter().any(|record| record.pos == pos);
    let mut keys = store.keys(evidence_id)?;
    keys.retain(|(_, used)| used.positions().any(concerned));
    keys.iter_mut().for_each(|(_, used)| used.request = blind());
    let file = store.sealed_file(evidence_id)?.ok_or_else(|| corrupt("sealed envelope"))?;
    let document = canonical::parse(&file, MAX_FILE_BYTES).map_err(|_| corrupt("sealed envelope"))?;
    let file = document.as_object().and_then(|document| with_disclosures(document, |other| other != at));
    let file = file.ok_or_else(|| corrupt("sealed envelope"))?.into_bytes();
    store.rewrite(evidence_id, &Rewritten { overview, records, keys, file })?;
    Ok(true)
}
