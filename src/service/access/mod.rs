//! Who may do what (API.md section 4).

mod gatekeeper;
mod role;
mod token;

pub(crate) use gatekeeper::{Gatekeeper, Held};
pub(crate) use role::{Action, Role};
pub(crate) use token::{Scope, Secret, Token};

use super::ServiceError;

/// Who asks.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Caller {
    /// Somebody on this machine, while there are no tokens: may do everything.
    Local,
    /// Who has no token, and needs none for what they ask.
    Nobody,
    /// Who has this token.
    Token(std::sync::Arc<Token>),
}

impl Caller {
    /// The name under which the service knows the caller.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Caller::Token(token) => Some(&token.name),
            Caller::Local | Caller::Nobody => None,
        }
    }

    /// Whether the caller may do that at all.
    pub(crate) fn may(&self, action: Action) -> bool {
        match self {
            Caller::Local => true,
            Caller::Nobody => false,
            Caller::Token(token) => token.role.may(action),
        }
    }

    /// Refuses what the caller may not do.
    pub(crate) fn check(&self, action: Action) -> Result<(), ServiceError> {
        if self.may(action) { Ok(()) } else { Err(ServiceError::Forbidden { action }) }
    }

    /// Refuses who does not govern everything: tokens reach beyond any one project.
    pub(crate) fn check_governs(&self) -> Result<(), ServiceError> {
        match self {
            Caller::Local => Ok(()),
            Caller::Token(token) if token.governs() => Ok(()),
            _ => Err(ServiceError::Forbidden { action: Action::Administer }),
        }
    }

    /// Whether the caller may know of that project.
    pub(crate) fn sees(&self, project: &str) -> bool {
        match self {
            Caller::Local => true,
            Caller::Nobody => false,
            Caller::Token(token) => token.scope.covers(project),
        }
    }
}
