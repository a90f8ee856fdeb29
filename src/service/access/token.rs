//! Tokens: what is kept of them, and what they reach.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::role::Role;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::{MAX_REPORTER_BYTES, is_id, is_path_id};
use crate::evidence::time::Timestamp;

/// What every token begins with.
const PREFIX: &str = "sst_";
/// What is kept of a token. The token itself is shown once, and only its digest stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// Names it to who administers.
    pub(crate) id: String,
    /// Names its holder in what is recorded.
    pub(crate) name: String,
    pub(crate) role: Role,
    #[serde(rename = "projects")]
    pub(crate) scope: Scope,
    pub(crate) created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<Timestamp>,
    /// What it is known by, once it is kept.
    #[serde(skip)]
    pub(crate) digest: Option<Digest>,
}

impl Token {
    /// Whether it counts at that moment.
    pub(crate) fn counts_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether its holder governs everything: an admin of all projects.
    pub(crate) fn governs(&self) -> bool {
        self.role == Role::Admin && self.scope.covers_all()
    }

    pub(crate) fn is_name(text: &str) -> bool {
        is_id(text) && text.len() <= MAX_REPORTER_BYTES
    }
}

/// Projects: `*`, names, `prefix/*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Scope(Vec<String>);

impl Scope {
    /// These projects; `Err` gives the first that is none.
    pub(crate) fn parse(projects: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let projects: Vec<String> = projects.into_iter().collect();
        let is = |text: &str| text == "*" || is_path_id(text.strip_suffix("/*").unwrap_or(text));
        match projects.iter().find(|project| !is(project)) {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(Self(projects)),
        }
    }

    /// All projects.
    pub(crate) fn all() -> Self {
        Self(vec!["*".into()])
    }

    fn covers_all(&self) -> bool {
        self.0.iter().any(|scope| scope == "*")
    }

    pub(crate) fn covers(&self, project: &str) -> bool {
        self.0.iter().any(|scope| match scope.strip_suffix('*') {
            Some(prefix) => project.starts_with(prefix),
            None => project == scope,
        })
    }
}

/// A token as its holder has it. No text shows it but the one that hands it out.
pub(crate) struct Secret(String);

impl Secret {
    /// A token of 32 fresh random bytes.
    pub(crate) fn new(random: &[u8; 32]) -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
    }

    /// What is kept of it.
    pub(crate) fn digest(&self) -> Digest {
        digest_of(&self.0)
    }

    /// The text, to be handed out once.
    pub(crate) fn show(&self) -> &str {
        &self.0
    }
}

/// What is kept of a token that somebody shows; `None` for what cannot be one.
pub(crate) fn digest_of_shown(text: &str) -> Option<Digest> {
    text.starts_with(PREFIX).then(|| digest_of(text))
}

fn digest_of(token: &str) -> Digest {
    Digest::of(format!("sealstone.token.v1\n{token}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_what_it_names_and_nothing_beside() {
        let scope = |projects: &[&str]| Scope::parse(projects.iter().map(|p| (*p).to_owned())).unwrap();
        let some = scope(&["acme/*", "other"]);
        for (project, covered) in [
            ("acme/x", true),
            ("acme/x/y", true),
            ("acme", false),
            ("acmex", false),
            ("other", true),
            ("other/x", false),
        ] {
            assert_eq!(some.covers(project), covered, "{project}");
        }
        assert!(scope(&["*"]).covers("anything/at/all"));
        assert!(!scope(&[]).covers("x"));
        for wrong in ["", "a*", "/*", "a//b", "*/x", "a/*/b"] {
            assert_eq!(Scope::parse([wrong.to_owned()]), Err(wrong.to_owned()));
        }
    }
}
