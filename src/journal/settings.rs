//! What a project has settled for its runs. In force for those that are opened later.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::expiry::Periods;
use super::masks::{Masks, Rule, RuleFault};
use crate::evidence::envelope::{DEFAULT_PRIVATE, NotPrivate, PrivateMembers};

/// The settings of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Pointers to what is withheld; `*` alone is all that may be.
    pub private: Vec<String>,
    /// Pointers to what is disclosed to everybody who may read, and in packs.
    pub public: Vec<String>,
    /// In seconds; without, what the service does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_run_duration: Option<u32>,
    /// In seconds; without, what the service does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<u32>,
    /// In seconds from the seal; without, logs are kept until they are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_retention: Option<u32>,
    /// What is masked before anything is recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<Rule>,
    /// Which signals are taken; without, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<TakenSignals>,
}

/// Signals, as a project names those that it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TakenSignals {
    /// A preset of events.
    Preset(String),
    /// By their `type`.
    Types(Vec<String>),
}

/// Why settings cannot be in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsFault {
    /// A pointer that names nothing that may be withheld.
    NotPrivate(NotPrivate),
    /// A redaction rule.
    Rule(RuleFault),
}

impl fmt::Display for SettingsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingsFault::NotPrivate(fault) => write!(f, "{fault}"),
            SettingsFault::Rule(fault) => write!(f, "{}: {fault}", fault.pointer()),
        }
    }
}

impl std::error::Error for SettingsFault {}

impl Default for Settings {
    fn default() -> Self {
        Self {
            private: DEFAULT_PRIVATE.map(str::to_owned).to_vec(),
            public: Vec::new(),
            max_run_duration: None,
            idle_timeout: None,
            log_retention: None,
            redact: Vec::new(),
            signals: None,
        }
    }
}

impl Settings {
    /// What is withheld.
    pub fn private_members(&self) -> Result<PrivateMembers, NotPrivate> {
        PrivateMembers::parse(self.private.iter().map(String::as_str))
    }

    /// What of that is disclosed all the same.
    pub fn public_members(&self) -> Result<PrivateMembers, NotPrivate> {
        PrivateMembers::parse(self.public.iter().map(String::as_str))
    }

    /// What is masked.
    pub fn masks(&self) -> Result<Arc<Masks>, RuleFault> {
        Masks::shared(&self.redact)
    }

    /// What is withheld and what is masked.
    pub(super) fn in_force(&self) -> Result<(PrivateMembers, Arc<Masks>), SettingsFault> {
        let private = self.private_members().map_err(SettingsFault::NotPrivate)?;
        Ok((private, self.masks().map_err(SettingsFault::Rule)?))
    }

    /// The periods of the service, but for those that the project has settled.
    pub(super) fn periods(&self, of_the_service: &Periods) -> Periods {
        let ms = |seconds: u32| i64::from(seconds).saturating_mul(1_000);
        Periods {
            max_run_duration_ms: self.max_run_duration.map_or(of_the_service.max_run_duration_ms, ms),
            idle_timeout_ms: self.idle_timeout.map_or(of_the_service.idle_timeout_ms, ms),
            ..*of_the_service
        }
    }
}
