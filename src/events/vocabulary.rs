//! The names of events, and what else they are called (API.md section 3).

use std::fmt;

macro_rules! events {
    ($($(#[$doc:meta])* $kind:ident $name:literal [$($alias:literal),*],)*) => {
        /// What an event tells of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $($(#[$doc])* $kind,)*
        }

        impl EventKind {
            /// Those that have a name of their own.
            pub const NAMED: &[EventKind] = &[$(EventKind::$kind),*];

            /// Its name; of `Custom` and `Other` what stands for all of them.
            pub fn name(self) -> &'static str {
                match self {
                    $(EventKind::$kind => $name,)*
                }
            }

            /// What else it is called where types are asked for.
            pub fn aliases(self) -> &'static [&'static str] {
                match self {
                    $(EventKind::$kind => &[$($alias),*],)*
                }
            }
        }
    };
}

events! {
    /// The run was opened.
    RunStarted "run_started" ["run.created", "started"],
    /// A step began.
    StepStarted "step_started" ["step"],
    /// A step was recorded.
    StepFinished "step_finished" ["step"],
    /// An artifact was recorded.
    ArtifactWritten "artifact_written" ["artifact.written"],
    /// An observation was recorded.
    ObservationRecorded "observation_recorded" [],
    /// A redaction was recorded.
    RedactionRecorded "redaction_recorded" [],
    /// A gate was opened.
    NeedsInput "needs_input" ["approval.required"],
    /// A gate was resolved.
    InputRecorded "input_recorded" ["approval.recorded"],
    /// The producer began a phase.
    PhaseStarted "phase_started" ["phase.started"],
    /// The producer finished a phase.
    PhaseFinished "phase_finished" ["phase.finished"],
    /// The producer began to validate.
    ValidationStarted "validation_started" ["validation.started"],
    /// What the producer validated is good.
    ValidationPassed "validation_passed" ["validation.passed"],
    /// What the producer validated is not.
    ValidationFailed "validation_failed" ["validation.failed"],
    /// The producer reached a place it can go back to.
    Checkpoint "checkpoint" [],
    /// The producer tries something again.
    Retry "retry" [],
    /// How far something is: a signal.
    Progress "progress" [],
    /// A piece of text that is being written: a signal.
    Token "token" [],
    /// Somebody is still there.
    Heartbeat "heartbeat" [],
    /// A line of a log.
    Log "log" [],
    /// Somebody asked the producer to stop.
    AbortRequested "abort_requested" [],
    /// The run was closed as succeeded.
    RunCompleted "run_completed" ["run.completed", "complete"],
    /// The run was closed as failed.
    RunFailed "run_failed" ["run.failed", "error"],
    /// The run was closed as aborted.
    RunAborted "run_aborted" ["run.canceled", "cancelled"],
    /// Nobody closed the run in time.
    RunExpired "run_expired" [],
    /// The run is sealed: its last event.
    RunFinalized "run_finalized" [],
    /// The stream has begun.
    StreamOpen "stream_open" [],
    /// Something is missing in the stream.
    StreamGap "stream_gap" [],
    /// What was sent in this connection was refused.
    StreamError "stream_error" [],
    /// `custom:` and a name that the producer chose.
    Custom "custom:" [],
    /// A name that the producer chose.
    Other "" [],
}

impl EventKind {
    /// What an event of that name tells of.
    pub fn of(name: &str) -> Self {
        let named = Self::NAMED.iter().copied().find(|kind| !kind.is_open() && kind.name() == name);
        named.unwrap_or(if name.starts_with(Self::Custom.name()) { Self::Custom } else { Self::Other })
    }

    /// What is meant by a name or an alias; nothing if it is neither.
    pub fn meant_by(name: &str) -> impl Iterator<Item = Self> {
        let known = Self::NAMED.iter().copied().filter(|kind| !kind.is_open());
        known.filter(move |kind| kind.name() == name || kind.aliases().contains(&name))
    }

    /// Whether an event that a producer records may not be called so: something else is, or a stream's reader means something by it.
    pub fn is_reserved(name: &str) -> bool {
        use EventKind::{
            Checkpoint, PhaseFinished, PhaseStarted, Retry, ValidationFailed, ValidationPassed,
            ValidationStarted,
        };
        let own = [
            PhaseStarted,
            PhaseFinished,
            ValidationStarted,
            ValidationPassed,
            ValidationFailed,
            Checkpoint,
            Retry,
        ];
        let taken = |kind: Self| kind.name() != name || !own.contains(&kind);
        matches!(name, "message" | "open") || Self::meant_by(name).any(taken)
    }

    /// Whether its name is the producer's.
    pub fn is_open(self) -> bool {
        matches!(self, EventKind::Custom | EventKind::Other)
    }

    /// Its bit in a filter.
    pub(super) fn bit(self) -> u64 {
        1_u64.wrapping_shl(self as u32)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
