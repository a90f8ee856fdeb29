//! What a project has settled for its runs. In force for those that are opened later.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::expiry::Periods;
use super::masks::{Masks, Rule, RuleFault};
use crate::evidence::canonical::Value;
use crate::evidence::envelope::{DEFAULT_PRIVATE, Fault, NotPrivate, PrivateMembers};

/// How many pointers a list of them may have.
pub const MAX_POINTERS: usize = 128;
/// How long each of them may be.
pub const MAX_POINTER_BYTES: usize = 512;

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

/// A list of pointers to what may be withheld, or `"*"` for all of that.
pub fn pointers(sent: &Value<'_>) -> Result<Vec<String>, Fault> {
    match sent {
        Value::Text(all) if all == "*" => Ok(vec!["*".into()]),
        Value::List(list) if list.len() > MAX_POINTERS => Err(Fault::expected("at most 128 pointers")),
        Value::List(list) => list
            .iter()
            .enumerate()
            .map(|(index, sent)| pointer(sent).map_err(|fault| fault.under(&index.to_string())))
            .collect(),
        _ => Err(Fault::expected("a list of pointers, or \"*\",")),
    }
}

fn pointer(sent: &Value<'_>) -> Result<String, Fault> {
    let text = sent.as_text().filter(|text| text.len() <= MAX_POINTER_BYTES);
    text.filter(|text| PrivateMembers::parse([*text]).is_ok())
        .map(str::to_owned)
        .ok_or_else(|| Fault::expected("a pointer to what may be withheld, like /execution/steps/*/command,"))
}

impl Settings {
    /// Those of a run that withholds these besides. What they name, or touch, is public no more.
    pub(super) fn withholding(mut self, own: &[String]) -> Result<Self, SettingsFault> {
        if !own.is_empty() {
            let members = PrivateMembers::parse(own.iter().map(String::as_str));
            let members = members.map_err(SettingsFault::NotPrivate)?;
            self.public = members.apart(self.public.iter().map(String::as_str));
            self.private.extend_from_slice(own);
        }
        Ok(self)
    }

    /// What is withheld.
    pub fn private_members(&self) -> Result<PrivateMembers, NotPrivate> {
        PrivateMembers::parse(self.private.iter().map(String::as_str))
    }

    /// What of that is disclosed all the same.
    pub fn public_members(&self) -> Result<PrivateMembers, NotPrivate> {
        PrivateMembers::parse(self.public.iter().map(String::as_str))
    }

    /// Whether the descriptions of logs are withheld from who may not see what is, and the logs with them.
    pub fn withholds_logs(&self) -> bool {
        // Of any step, in whole or in part: they are given out together.
        let logs = "/execution/steps/*/log";
        // What cannot be read withholds all that it may.
        let withheld = self.private_members().map_or(true, |members| members.apart([logs]).is_empty());
        withheld && !self.public_members().is_ok_and(|members| members.covers(logs))
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
    pub fn periods(&self, of_the_service: &Periods) -> Periods {
        let ms = |seconds: u32| i64::from(seconds).saturating_mul(1_000);
        Periods {
            max_run_duration_ms: self.max_run_duration.map_or(of_the_service.max_run_duration_ms, ms),
            idle_timeout_ms: self.idle_timeout.map_or(of_the_service.idle_timeout_ms, ms),
            ..*of_the_service
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(public: &[&str], own: &str) -> Vec<String> {
        let settings =
            Settings { public: public.iter().map(|p| (*p).to_owned()).collect(), ..Settings::default() };
        let settings = settings.withholding(&[own.to_owned()]).unwrap();
        assert!(settings.private.contains(&own.to_owned()));
        settings.public
    }

    #[test]
    fn nothing_that_a_run_withholds_itself_stays_public_and_all_else_does() {
        for (public, own, expected) in [
            (&["/run/labels"][..], "/run/labels/team", &[][..]),
            (&["/run/labels/a", "/run/labels/b"], "/run/labels/a", &["/run/labels/b"]),
            (&["/run/labels/a"], "/run/labels", &[]),
            (&["/execution/steps/*/command"], "/execution/steps/3/command/0", &[]),
            (&["/execution/steps/*/command/1"], "/execution/steps/*/command/*", &[]),
            (
                &["/execution/steps/1/command", "/gates/*/reason"],
                "/execution/steps/3/command",
                &["/execution/steps/1/command", "/gates/*/reason"],
            ),
            (&["/execution/steps/*/message", "*"], "*", &[]),
        ] {
            assert_eq!(left(public, own), expected, "{public:?} {own}");
        }
        let all_but_one = left(&["*"], "/execution/steps/3/command");
        assert!(!all_but_one.contains(&"/execution/steps/*/command".to_owned()));
        for kept in ["/execution/steps/*/message", "/run/labels", "/gates/*/reason"] {
            assert!(all_but_one.contains(&kept.to_owned()), "{kept}");
        }
        PrivateMembers::parse(all_but_one.iter().map(String::as_str)).unwrap();
    }

    #[test]
    fn logs_are_withheld_where_the_description_of_any_is() {
        let settings = |private: &str, public: &[&str]| Settings {
            private: vec![private.to_owned()],
            public: public.iter().map(|p| (*p).to_owned()).collect(),
            ..Settings::default()
        };
        for private in [
            "*",
            "/execution/steps/*/log",
            "/execution/steps/3/log",
            "/execution/steps/*/log/digest",
            "nonsense",
        ] {
            assert!(settings(private, &[]).withholds_logs(), "{private}");
            assert!(settings(private, &["/execution/steps/0/log"]).withholds_logs(), "{private}");
            assert!(!settings(private, &["/execution/steps/*/log"]).withholds_logs(), "{private}");
        }
        assert!(!settings("/execution/steps/*/command", &[]).withholds_logs());
    }
}
