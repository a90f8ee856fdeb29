//! Tokens: made, shown once, listed, forgotten.

use std::sync::Arc;

use super::access::{Held, Secret};
use super::{Caller, Role, Scope, Service, ServiceError, Token};
use crate::evidence::time::Timestamp;

impl Service {
    /// Whether there was any token since the start: then nobody is let in without one.
    pub(crate) fn had_tokens(&self) -> bool {
        self.gatekeeper.had_tokens()
    }

    /// Refuses a caller whose token was deleted or ended since they began to ask.
    pub(crate) fn check_still(&self, caller: &Caller) -> Result<(), ServiceError> {
        let counts = match caller {
            Caller::Local => !self.had_tokens(),
            Caller::Nobody => true,
            Caller::Token(token) => self.gatekeeper.counts_still(token, (self.surroundings.now)()),
            Caller::Session(token, session) => return self.check_session(token, session),
        };
        if counts { Ok(()) } else { Err(ServiceError::TokenGone) }
    }

    /// Whose the shown token is.
    pub(crate) fn held(&self, shown: &str) -> Held {
        self.gatekeeper.held(shown, (self.surroundings.now)())
    }

    /// Makes a token. The secret is here and nowhere else.
    pub(crate) async fn create_token(
        self: &Arc<Self>,
        caller: &Caller,
        name: String,
        role: Role,
        scope: Scope,
        expires_at: Option<Timestamp>,
    ) -> Result<(Secret, Token), ServiceError> {
        self.check_still(caller)?;
        caller.check_governs()?;
        let mut random = [0; 32];
        (self.surroundings.random)(&mut random);
        let secret = Secret::new(&random);
        let created_at = (self.surroundings.now)();
        let id = self.surroundings.uuid_v7(created_at);
        let token = Token { id, name, role, scope, created_at, expires_at, digest: None };
        let (service, kept) = (self.clone(), token.clone());
        let created =
            tokio::task::spawn_blocking(move || service.gatekeeper.create(&secret, kept).map(|()| secret));
        let secret = created.await.map_err(ServiceError::unavailable)??;
        Ok((secret, token))
    }

    /// All tokens, without what would let anybody in.
    pub(crate) fn list_tokens(&self, caller: &Caller) -> Result<Vec<Arc<Token>>, ServiceError> {
        self.check_still(caller)?;
        caller.check_governs()?;
        Ok(self.gatekeeper.list())
    }

    /// Forgets a token; false if there is none of that id.
    pub(crate) async fn delete_token(
        self: &Arc<Self>,
        caller: &Caller,
        id: String,
    ) -> Result<bool, ServiceError> {
        self.check_still(caller)?;
        caller.check_governs()?;
        let service = self.clone();
        let deleted = tokio::task::spawn_blocking(move || service.gatekeeper.delete(&id)).await;
        deleted.map_err(ServiceError::unavailable)?
    }
}
