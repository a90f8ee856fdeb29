//! The end of a run: finalized, aborted, expired; always sealed.

use super::{Service, ServiceError};
use crate::append::{Ask, Done};
use crate::evidence::chain::Head;
use crate::evidence::digest::Digest;
use crate::journal::{Close, State};

/// A run that is closed and sealed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Closed {
    pub(crate) envelope_digest: Digest,
    pub(crate) head: Head,
}

impl Service {
    /// Closes a run and seals it. Durable once it returns; `SealPending` says that the close is, and the seal is not yet.
    pub(crate) async fn finalize(
        &self,
        evidence_id: &str,
        close: Close,
        bytes: usize,
    ) -> Result<Closed, ServiceError> {
        let Done { standing, .. } = self.lanes.ask(evidence_id, Ask::Close(close), bytes).await?;
        if let Some(envelope_digest) = standing.envelope_digest {
            return Ok(Closed { envelope_digest, head: standing.head });
        }
        let envelope_digest = self.sealer.clone().seal(evidence_id.to_owned()).await;
        let envelope_digest = envelope_digest.map_err(|why| ServiceError::SealPending { why })?;
        Ok(Closed { envelope_digest, head: standing.head })
    }

    /// Asks the producer to stop; with `force` the run is closed at once.
    pub(crate) async fn abort(
        &self,
        evidence_id: &str,
        reason: Option<String>,
        force: bool,
    ) -> Result<(), ServiceError> {
        self.lanes.ask(evidence_id, Ask::Abort(reason.clone()), 0).await?;
        if force {
            let close = Close { result: "aborted".into(), reason, if_match: None, key: None };
            match self.finalize(evidence_id, close, 0).await {
                // It is closed; the seal comes by itself.
                Err(ServiceError::SealPending { .. }) | Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Closes a run that nobody closed in time, and sees to its seal.
    pub(super) async fn close_overdue(
        &self,
        evidence_id: &str,
        result: &str,
        reason: String,
    ) -> Result<(), ServiceError> {
        let close = Close { result: result.to_owned(), reason: Some(reason), if_match: None, key: None };
        match self.finalize(evidence_id, close, 0).await {
            Ok(_) | Err(ServiceError::SealPending { .. }) => Ok(()),
            // Somebody closed it in the meantime.
            Err(_) if self.standing(evidence_id).await?.1.state != State::Open => Ok(()),
            Err(error) => Err(error),
        }
    }
}
