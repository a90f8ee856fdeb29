//! Sealed envelopes: fetched, and judged.

use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit};

use super::{Action, Caller, Service, ServiceError};
use crate::append::Rejection;
use crate::evidence::canonical;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::PrivateMembers;
use crate::evidence::envelope::limits::MAX_FILE_BYTES;
use crate::evidence::seal::with_disclosures;
use crate::evidence::verify::{Held, Report, verify};
use crate::journal::Settings;

/// How long somebody waits for a place.
const PATIENCE: Duration = Duration::from_secs(10);

/// A sealed envelope as it is stored.
pub(crate) struct StoredEnvelope {
    pub(crate) envelope_digest: Digest,
    pub(crate) file: Vec<u8>,
    /// To be kept until the file is sent.
    pub(crate) place: OwnedSemaphorePermit,
}

impl Service {
    /// The sealed envelope of a run, with the disclosures that the caller may see.
    pub(crate) async fn envelope_for(
        &self,
        caller: &Caller,
        evidence_id: &str,
    ) -> Result<StoredEnvelope, ServiceError> {
        match caller.may(Action::Disclose) {
            true => Ok(self.envelope(evidence_id).await?.1),
            false => self.pack(evidence_id).await,
        }
    }

    /// The sealed envelope of a run with the disclosures that its project makes public, and no other.
    pub(crate) async fn pack(&self, evidence_id: &str) -> Result<StoredEnvelope, ServiceError> {
        let (settings, StoredEnvelope { envelope_digest, file, place }) = self.envelope(evidence_id).await?;
        let public = settings.public_members().map_err(ServiceError::unavailable)?;
        // The place goes with the work: who asked may go away, and the work goes on.
        let packed = tokio::task::spawn_blocking(move || (pack(&file, &public), place)).await;
        let (file, place) = packed.map_err(ServiceError::unavailable)?;
        let file = file.ok_or_else(|| ServiceError::unavailable("the sealed file cannot be read"))?;
        Ok(StoredEnvelope { envelope_digest, file, place })
    }

    /// The sealed envelope of a run, as it is stored, and what its project had settled.
    async fn envelope(&self, evidence_id: &str) -> Result<(Settings, StoredEnvelope), ServiceError> {
        let (overview, standing) = self.standing(evidence_id).await?;
        let Some(envelope_digest) = standing.envelope_digest else {
            return Err(ServiceError::NotSealed { state: standing.state });
        };
        let evidence_id = evidence_id.to_owned();
        let place = self.whole_place().await?;
        let (file, place) = self.read(move |store| Ok((store.sealed_file(&evidence_id)?, place))).await?;
        let file = file.ok_or_else(|| ServiceError::unavailable("the sealed file is not there"))?;
        Ok((overview.settings, StoredEnvelope { envelope_digest, file, place }))
    }

    /// Judges the stored bytes with the service's keyring, now.
    pub(crate) async fn verification(&self, evidence_id: &str) -> Result<Report, ServiceError> {
        let (_, stored) = self.envelope(evidence_id).await?;
        let place = self.judge_place().await?;
        let held = Held { keyring: Some((*self.keyring()).clone()), ..Held::default() };
        self.judge(stored.file, held, (place, stored.place)).await
    }

    /// Judges bytes by what is held, beside other work. The places are free again when it is done, whoever waits for it.
    pub(crate) async fn judge(
        &self,
        file: impl AsRef<[u8]> + Send + 'static,
        held: Held,
        places: impl Send + 'static,
    ) -> Result<Report, ServiceError> {
        let figures = self.figures().clone();
        let judged = tokio::task::spawn_blocking(move || {
            let report = verify(file.as_ref(), &held).into_report();
            figures.verifications.add(report.verdict.as_str(), 1);
            drop(places);
            report
        });
        judged.await.map_err(ServiceError::unavailable)
    }

    /// A place among those that may have a file judged; `Busy` if none is free for too long.
    pub(crate) async fn judge_place(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        soon(self.judging.clone().acquire_owned()).await
    }

    /// A place among those that may have a whole envelope in memory; `Busy` if none is free for too long.
    pub(super) async fn whole_place(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        soon(self.whole.clone().acquire_owned()).await
    }
}

/// The same sealed envelope with these disclosures only.
fn pack(file: &[u8], public: &PrivateMembers) -> Option<Vec<u8>> {
    let document = canonical::parse(file, MAX_FILE_BYTES).ok()?;
    with_disclosures(document.as_object()?, |at| public.covers(at)).map(String::into_bytes)
}

async fn soon<T>(place: impl Future<Output = Result<T, AcquireError>>) -> Result<T, ServiceError> {
    match tokio::time::timeout(PATIENCE, place).await {
        Ok(place) => place.map_err(ServiceError::unavailable),
        Err(_) => Err(ServiceError::Rejected(Rejection::Busy)),
    }
}
