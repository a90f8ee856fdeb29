//! Sessions: begun with a token, ended on demand, or with their token, or with time.

use std::sync::Arc;

use super::access::Held;
use super::{Caller, Service, ServiceError, Session, SessionSecret, Token};

/// A session that has begun.
pub(crate) struct Begun {
    pub(crate) secret: SessionSecret,
    /// Who comes with it.
    pub(crate) caller: Caller,
    /// How long it lasts, in seconds.
    pub(crate) lasts_s: i64,
}

impl Service {
    /// Whose the shown session is.
    pub(crate) fn held_in_session(&self, shown: &str) -> Held {
        self.gatekeeper.held_in_session(shown, (self.surroundings.now)())
    }

    /// Begins a session for who shows a token; durable once it returns. The secret is here and nowhere else.
    pub(crate) async fn begin_session(self: &Arc<Self>, caller: Caller) -> Result<Begun, ServiceError> {
        let Caller::Token(token) = caller else { return Err(ServiceError::NoTokens) };
        let mut random = [0; 16];
        (self.surroundings.random)(&mut random);
        let secret = SessionSecret::new(&random);
        let service = self.clone();
        let begun = tokio::task::spawn_blocking(move || {
            let now = (service.surroundings.now)();
            let session = service.gatekeeper.begin_session(&secret, &token, now)?;
            let session = session.ok_or(ServiceError::TokenGone)?;
            let lasts_s = session.expires_at.unix_ms().saturating_sub(now.unix_ms()).div_euclid(1_000);
            Ok(Begun { secret, caller: Caller::Session(token, session), lasts_s })
        });
        begun.await.map_err(ServiceError::unavailable)?
    }

    /// Ends the session that the caller came with; durable once it returns.
    pub(crate) async fn end_session(self: &Arc<Self>, caller: Caller) -> Result<(), ServiceError> {
        let Caller::Session(_, session) = caller else { return Err(ServiceError::SessionNone) };
        let service = self.clone();
        let ended = tokio::task::spawn_blocking(move || service.gatekeeper.end_session(&session));
        ended.await.map_err(ServiceError::unavailable)?
    }

    /// Forgets sessions that are over.
    pub(super) async fn forget_ended_sessions(self: &Arc<Self>) -> Result<(), ServiceError> {
        let service = self.clone();
        let forgotten = tokio::task::spawn_blocking(move || {
            service.gatekeeper.forget_ended((service.surroundings.now)())
        });
        forgotten.await.map_err(ServiceError::unavailable)?
    }

    pub(super) fn check_session(&self, token: &Token, session: &Session) -> Result<(), ServiceError> {
        let now = (self.surroundings.now)();
        match self.gatekeeper.session_counts_still(token, session, now) {
            true => Ok(()),
            false => Err(ServiceError::SessionGone),
        }
    }
}
