//! Sealed envelopes: fetched, and judged.

use super::{Service, ServiceError};
use crate::evidence::digest::Digest;
use crate::evidence::verify::{Held, Report, verify};

/// A sealed envelope as it is stored.
pub(crate) struct StoredEnvelope {
    pub(crate) envelope_digest: Digest,
    pub(crate) file: Vec<u8>,
}

impl Service {
    /// The sealed envelope of a run.
    pub(crate) async fn envelope(&self, evidence_id: &str) -> Result<StoredEnvelope, ServiceError> {
        let (_, standing) = self.standing(evidence_id).await?;
        let Some(envelope_digest) = standing.envelope_digest else {
            return Err(ServiceError::NotSealed { state: standing.state });
        };
        let evidence_id = evidence_id.to_owned();
        let _permit = self.whole.acquire().await.map_err(ServiceError::unavailable)?;
        let file = self.read(move |store| store.sealed_file(&evidence_id)).await?;
        let file = file.ok_or_else(|| ServiceError::unavailable("the sealed file is not there"))?;
        Ok(StoredEnvelope { envelope_digest, file })
    }

    /// Judges the stored bytes with the service's keyring, now.
    pub(crate) async fn verification(&self, evidence_id: &str) -> Result<Report, ServiceError> {
        let file = self.envelope(evidence_id).await?.file;
        let held = Held { keyring: Some(self.keyring.clone()), ..Held::default() };
        self.judge(file, held).await
    }

    /// Judges bytes by what is held.
    pub(crate) async fn judge(&self, file: Vec<u8>, held: Held) -> Result<Report, ServiceError> {
        let _permit = self.whole.acquire().await.map_err(ServiceError::unavailable)?;
        let judged = tokio::task::spawn_blocking(move || verify(&file, &held).into_report()).await;
        judged.map_err(ServiceError::unavailable)
    }
}
