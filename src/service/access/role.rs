//! Roles, and what each may do: the table of API.md section 4.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Admin,
    Approver,
    Auditor,
    Reader,
    Writer,
}

/// What can be asked, as far as roles tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Ask a run to stop.
    Abort,
    /// Tokens, projects' settings, erasure.
    Administer,
    /// See what is withheld.
    Disclose,
    /// Look at runs, lists, envelopes, verifications.
    Read,
    /// Answer a gate.
    Resolve,
    /// Open, record, finalize.
    Write,
}

impl Role {
    pub(crate) const ALL: [Role; 5] =
        [Role::Admin, Role::Approver, Role::Auditor, Role::Reader, Role::Writer];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Approver => "approver",
            Role::Auditor => "auditor",
            Role::Reader => "reader",
            Role::Writer => "writer",
        }
    }

    pub(crate) fn may(self, action: Action) -> bool {
        match action {
            Action::Abort => matches!(self, Role::Admin | Role::Approver | Role::Writer),
            Action::Administer => self == Role::Admin,
            Action::Disclose => matches!(self, Role::Admin | Role::Auditor),
            Action::Read => true,
            Action::Resolve => matches!(self, Role::Admin | Role::Approver),
            Action::Write => matches!(self, Role::Admin | Role::Writer),
        }
    }
}

impl Action {
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Action::Abort => "ask a run to stop",
            Action::Administer => "administer",
            Action::Disclose => "see what is withheld",
            Action::Read => "read",
            Action::Resolve => "answer gates",
            Action::Write => "record",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Role::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| "writer, approver, reader, auditor or admin expected".to_owned())
    }
}
