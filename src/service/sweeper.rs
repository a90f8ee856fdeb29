//! What happens without being asked for: runs that are due are closed, closed ones sealed, idle ones let go.

use std::sync::Arc;
use std::time::Duration;

use super::{Service, ServiceError};
use crate::evidence::time::Timestamp;
use crate::journal::{Due, logs_due};

/// How often it looks.
const EVERY: Duration = Duration::from_millis(500);
/// How often what could not be sealed is tried again, in rounds.
const RETRY_ROUNDS: u32 = 10;
/// How often sessions that are over are forgotten, and signals that are old, in rounds.
const FORGET_ROUNDS: u32 = 120;
/// How many runs are looked at in one round.
const AT_ONCE: usize = 256;
/// When a run that could not be closed is looked at again, in milliseconds.
const AGAIN_MS: i64 = 30_000;
/// How long a run that nobody asks stays in memory, in milliseconds.
const IDLE_MS: i64 = 60_000;

impl Service {
    /// Sweeps until the service is dropped.
    pub(crate) async fn sweep(service: Arc<Self>) {
        let weak = Arc::downgrade(&service);
        drop(service);
        let mut round = 0_u32;
        while let Some(service) = weak.upgrade() {
            // What fails is tried again in the next round.
            if round.is_multiple_of(RETRY_ROUNDS) {
                let service = service.clone();
                tokio::spawn(async move { drop(service.seal_closing().await) });
            }
            if round.is_multiple_of(FORGET_ROUNDS) {
                let _ = service.forget_ended_sessions().await;
                service.hub.sweep(service.now());
            }
            let _ = service.close_due().await;
            let now = service.now();
            service.lanes.drop_idle(Timestamp::from_unix_ms(now.unix_ms().saturating_sub(IDLE_MS)));
            drop(service);
            tokio::time::sleep(EVERY).await;
            round = round.wrapping_add(1);
        }
    }

    async fn seal_closing(&self) -> Result<(), ServiceError> {
        for evidence_id in self.read(|store| store.closing()).await? {
            let _ = self.sealer.clone().seal(evidence_id).await;
        }
        Ok(())
    }

    async fn close_due(&self) -> Result<(), ServiceError> {
        let now = (self.surroundings.now)();
        for looked_at in self.read(move |store| store.due(now, AT_ONCE)).await? {
            let evidence_id = looked_at.1.clone();
            // One run's failure is no other's: it is looked at again, after those that wait behind it.
            let later = Timestamp::from_unix_ms(now.unix_ms().saturating_add(AGAIN_MS));
            let next = self.look_at(&evidence_id, now).await.unwrap_or(Some(later));
            self.read(move |store| store.put_off(&looked_at, next)).await?;
        }
        Ok(())
    }

    /// Closes a run that is due, or says when to look again.
    async fn look_at(&self, evidence_id: &str, now: Timestamp) -> Result<Option<Timestamp>, ServiceError> {
        let (overview, mut standing) = match self.standing(evidence_id).await {
            Err(error) if error == ServiceError::not_found() => return Ok(None),
            found => found?,
        };
        match logs_due(&overview, &standing) {
            Some(at) if at <= now => return self.forget_logs(evidence_id).await.map(|()| None),
            Some(at) => return Ok(Some(at)),
            None => {}
        }
        // Signals are accepted under a run, and not stored.
        standing.active_at =
            self.hub.last_signal_at(evidence_id).max(Some(standing.active_at)).unwrap_or(now);
        let surroundings = &self.surroundings;
        let due = Due::of(&overview, &standing, surroundings.started_at, &surroundings.periods);
        match due {
            Some(due) if due.at <= now => {
                self.close_overdue(evidence_id, due.result, due.reason).await.map(|()| None)
            }
            due => Ok(due.map(|due| due.at)),
        }
    }
}
