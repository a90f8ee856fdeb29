//! What a subscriber wants to hear of: a mask of bits, made once.

use std::fmt;

use super::vocabulary::EventKind;
use crate::evidence::envelope::limits::is_id;

/// Sent whatever the filter: the run's start and its end, its seal, and what the stream says of itself.
const ALWAYS: [EventKind; 9] = [
    EventKind::RunStarted,
    EventKind::RunCompleted,
    EventKind::RunFailed,
    EventKind::RunAborted,
    EventKind::RunExpired,
    EventKind::RunFinalized,
    EventKind::StreamOpen,
    EventKind::StreamGap,
    EventKind::StreamError,
];
/// How many names of `custom:` one filter may have.
const MAX_CUSTOM: usize = 100;

/// Filters that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The run's start and end.
    Minimal,
    /// Besides, tokens, steps and heartbeats.
    Chat,
    /// Everything but log lines.
    Debug,
    /// Everything but log lines.
    All,
}

impl Preset {
    /// All of them.
    pub const ALL: [Preset; 4] = [Preset::Minimal, Preset::Chat, Preset::Debug, Preset::All];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Preset::Minimal => "minimal",
            Preset::Chat => "chat",
            Preset::Debug => "debug",
            Preset::All => "all",
        }
    }

    /// The preset of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == name)
    }

    fn mask(self) -> u64 {
        use EventKind::{Heartbeat, Log, StepFinished, StepStarted, Token};
        match self {
            Preset::Minimal => 0,
            Preset::Chat => bits(&[Token, StepStarted, StepFinished, Heartbeat]),
            Preset::Debug | Preset::All => !Log.bit(),
        }
    }
}

/// Which events a subscriber is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    mask: u64,
    /// Whole names, `custom:` included, where not all of them are wanted.
    custom: Vec<String>,
}

/// A name of no event and of no preset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterUnknown {
    /// The name.
    pub name: String,
}

impl fmt::Display for FilterUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no event; a preset (minimal, chat, debug, all), or names like step_finished or custom:deployed expected",
            self.name
        )
    }
}

impl std::error::Error for FilterUnknown {}

impl From<Preset> for Filter {
    fn from(preset: Preset) -> Self {
        Self { mask: preset.mask() | bits(&ALWAYS), custom: Vec::new() }
    }
}

impl Default for Filter {
    fn default() -> Self {
        Preset::All.into()
    }
}

impl Filter {
    /// A preset of that name.
    pub fn preset(name: &str) -> Result<Self, FilterUnknown> {
        Preset::named(name).map(Self::from).ok_or_else(|| FilterUnknown { name: name.to_owned() })
    }

    /// Events of these names or aliases, and `custom:` with a name.
    pub fn types<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, FilterUnknown> {
        let mut filter = Self::from(Preset::Minimal);
        for name in names {
            let meant = EventKind::meant_by(name).fold(0, |mask, kind| mask | kind.bit());
            let own = name.strip_prefix(EventKind::Custom.name());
            let custom = own.is_some_and(|own| !own.is_empty() && is_id(name));
            if meant == 0 && (!custom || filter.custom.len() >= MAX_CUSTOM) {
                return Err(FilterUnknown { name: name.to_owned() });
            }
            filter.mask |= meant;
            if custom && !filter.custom.iter().any(|known| known == name) {
                filter.mask |= EventKind::Custom.bit();
                filter.custom.push(name.to_owned());
            }
        }
        Ok(filter)
    }

    /// Log lines, and nothing else.
    pub(crate) fn log_lines() -> Self {
        Self { mask: bits(&[EventKind::Log]), custom: Vec::new() }
    }

    /// Whether an event of that name goes through.
    pub fn is_allowed(&self, name: &str) -> bool {
        self.takes(EventKind::of(name), name)
    }

    pub(super) fn takes(&self, kind: EventKind, name: &str) -> bool {
        let named = || self.custom.is_empty() || self.custom.iter().any(|custom| custom == name);
        self.mask & kind.bit() != 0 && (kind != EventKind::Custom || named())
    }
}

fn bits(kinds: &[EventKind]) -> u64 {
    kinds.iter().fold(0, |mask, kind| mask | kind.bit())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by a panic")]
mod tests {
    use super::*;

    fn types(names: &str) -> Filter {
        Filter::types(names.split(',')).unwrap()
    }

    #[test]
    fn every_name_and_alias_lets_through_what_it_means() {
        for kind in EventKind::NAMED.iter().filter(|kind| !kind.is_open()) {
            for name in std::iter::once(&kind.name()).chain(kind.aliases()) {
                assert!(types(name).is_allowed(kind.name()), "{name}");
            }
        }
        let both = types("step");
        assert!(both.is_allowed("step_started") && both.is_allowed("step_finished"));
        assert!(!both.is_allowed("token"));
    }

    #[test]
    fn the_runs_start_end_and_seal_go_through_every_filter() {
        for filter in [types("custom:x"), Preset::Minimal.into(), Preset::Chat.into(), Filter::default()] {
            for name in
                ["run_started", "run_completed", "run_failed", "run_aborted", "run_expired", "run_finalized"]
            {
                assert!(filter.is_allowed(name), "{name} {filter:?}");
            }
        }
    }

    #[test]
    fn presets_let_through_what_they_say() {
        let all = ["token", "step_started", "progress", "custom:x", "deployed", "heartbeat", "log"];
        let through = |preset: Preset| {
            let filter = Filter::from(preset);
            all.into_iter().filter(|name| filter.is_allowed(name)).collect::<Vec<_>>()
        };
        assert_eq!(through(Preset::Minimal), [""; 0]);
        assert_eq!(through(Preset::Chat), ["token", "step_started", "heartbeat"]);
        assert_eq!(through(Preset::Debug), &all[..6]);
        assert_eq!(through(Preset::All), through(Preset::Debug));
    }

    #[test]
    fn of_custom_events_only_those_named_go_through() {
        let filter = types("custom:a,custom:b");
        assert!(filter.is_allowed("custom:a") && filter.is_allowed("custom:b"));
        assert!(!filter.is_allowed("custom:c") && !filter.is_allowed("custom"));
    }

    #[test]
    fn what_is_no_event_is_no_filter() {
        for name in ["", "deployed", "custom:", "custom:a b", "step,", "Step", "*"] {
            assert_eq!(Filter::types([name]), Err(FilterUnknown { name: name.to_owned() }), "{name}");
        }
        let many: Vec<String> = (0..101).map(|n| format!("custom:{n}")).collect();
        assert!(Filter::types(many.iter().map(String::as_str)).is_err());
    }
}
