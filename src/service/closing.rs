//! The end of a run: finalized, aborted, expired; always sealed.

use super::{Caller, Service, ServiceError};
use crate::append::Ask;
use crate::evidence::chain::Head;
use crate::evidence::digest::Digest;
use crate::journal::{Abort, Close, Standing, State};

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
        caller: &Caller,
    ) -> Result<Closed, ServiceError> {
        let standing = self.close(evidence_id, close, bytes, caller).await?;
        self.sealed(evidence_id, &standing).await
    }

    /// Closes a run. Durable once it returns: how it stands then.
    pub(super) async fn close(
        &self,
        evidence_id: &str,
        close: Close,
        bytes: usize,
        caller: &Caller,
    ) -> Result<Standing, ServiceError> {
        Ok(self.lanes.ask(evidence_id, Ask::Close(close), bytes, caller.name()).await?.standing)
    }

    /// Seals a run that was closed, and stands like that.
    pub(super) async fn sealed(
        &self,
        evidence_id: &str,
        standing: &Standing,
    ) -> Result<Closed, ServiceError> {
        if let Some(envelope_digest) = standing.envelope_digest {
            return Ok(Closed { envelope_digest, head: standing.head });
        }
        let envelope_digest = self.sealer.clone().seal(evidence_id.to_owned()).await;
        let envelope_digest = envelope_digest.map_err(|why| ServiceError::SealPending { why })?;
        Ok(Closed { envelope_digest, head: standing.head })
    }

    /// Asks the producer to stop; with `force` the run is closed in the same step, and sealed by itself.
    pub(crate) async fn abort(
        &self,
        evidence_id: &str,
        abort: Abort,
        bytes: usize,
        caller: &Caller,
    ) -> Result<(), ServiceError> {
        let force = abort.force;
        self.lanes.ask(evidence_id, Ask::Abort(abort), bytes, caller.name()).await?;
        if force {
            self.seal_by_itself(evidence_id);
        }
        Ok(())
    }

    /// Closes a run that nobody closed in time.
    pub(super) async fn close_overdue(
        &self,
        evidence_id: &str,
        result: &str,
        reason: String,
    ) -> Result<(), ServiceError> {
        let close =
            Close { result: result.to_owned(), reason: Some(reason.clone()), if_match: None, key: None };
        match self.lanes.ask(evidence_id, Ask::Close(close), 0, None).await {
            Ok(_) => {
                self.figures().runs_overdue.add(result, 1);
                tracing::info!(evidence_id, result, reason, "a run that nobody closed was closed");
                self.seal_by_itself(evidence_id);
                Ok(())
            }
            // Somebody closed it in the meantime.
            Err(_) if self.standing(evidence_id).await?.1.state != State::Open => Ok(()),
            Err(rejection) => Err(rejection.into()),
        }
    }

    /// Seals without anybody waiting for it; what fails is tried again by the sweeper.
    fn seal_by_itself(&self, evidence_id: &str) {
        let (sealer, evidence_id) = (self.sealer.clone(), evidence_id.to_owned());
        tokio::spawn(async move { drop(sealer.seal(evidence_id).await) });
    }
}
