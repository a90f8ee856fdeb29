//! Who may do what (API.md section 4).

mod gatekeeper;
mod role;
mod session;
mod token;

pub(crate) use gatekeeper::{Gatekeeper, Held};
pub(crate) use role::{Action, Role};
pub(crate) use session::{Session, SessionSecret};
pub(crate) use token::{Scope, Secret, Token};

use std::sync::Arc;

use super::ServiceError;

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Caller {
    /// Somebody on this machine, while there are no tokens: may do everything.
    Local,
    /// Who has no token, and needs none for what they ask.
    Nobody,
    /// Who has a session of this token: as good as the token itself.
    Session(Arc<Token>, Session),
    /// Who has this token.
    Token(Arc<Token>),
}

impl Caller {
    /// The token that speaks for the caller.
    pub(crate) fn token(&self) -> Option<&Token> {
        match self {
            Caller::Session(token, _) | Caller::Token(token) => Some(token),
            Caller::Local | Caller::Nobody => None,
        }
    }

    /// The name under which the service knows the caller.
    pub(crate) fn name(&self) -> Option<&str> {
        self.token().map(|token| token.name.as_str())
    }

    /// Whether the caller may do that at all.
    pub(crate) fn may(&self, action: Action) -> bool {
        *self == Caller::Local || self.token().is_some_and(|token| token.role.may(action))
    }

    /// Refuses what the caller may not do.
    pub(crate) fn check(&self, action: Action) -> Result<(), ServiceError> {
        if self.may(action) { Ok(()) } else { Err(ServiceError::Forbidden { action }) }
    }

    /// Refuses who does not govern everything: tokens reach beyond any one project.
    pub(crate) fn check_governs(&self) -> Result<(), ServiceError> {
        match *self == Caller::Local || self.token().is_some_and(Token::governs) {
            true => Ok(()),
            false => Err(ServiceError::Forbidden { action: Action::Administer }),
        }
    }

    /// Whether the caller may know of that project.
    pub(crate) fn sees(&self, project: &str) -> bool {
        *self == Caller::Local || self.token().is_some_and(|token| token.scope.covers(project))
    }
}
