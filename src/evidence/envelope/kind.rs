//! The eight kinds of element, and where each stands in an envelope.

use std::fmt;

/// The kind of an element: its `type`, and with it its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What was started: always seq 0.
    Run,
    /// One attempt at one step.
    Step,
    /// A file that was made, by its digest.
    Artifact,
    /// A fact, and the artifacts that it rests on.
    Observation,
    /// A question to a person, answered or not.
    Gate,
    /// Anything else worth recording.
    Event,
    /// That something was masked before it was recorded.
    Redaction,
    /// How it ended: always last.
    Outcome,
}

impl Kind {
    /// All kinds, in the order of their sections.
    pub const ALL: [Kind; 8] = [
        Kind::Run,
        Kind::Step,
        Kind::Artifact,
        Kind::Observation,
        Kind::Gate,
        Kind::Event,
        Kind::Redaction,
        Kind::Outcome,
    ];

    /// The value of the member `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Run => "run",
            Kind::Step => "step",
            Kind::Artifact => "artifact",
            Kind::Observation => "observation",
            Kind::Gate => "gate",
            Kind::Event => "event",
            Kind::Redaction => "redaction",
            Kind::Outcome => "outcome",
        }
    }

    /// Where the section stands, as a pointer into the envelope.
    pub fn section(self) -> &'static str {
        match self {
            Kind::Run => "/run",
            Kind::Step => "/execution/steps",
            Kind::Artifact => "/artifacts",
            Kind::Observation => "/observations",
            Kind::Gate => "/gates",
            Kind::Event => "/events",
            Kind::Redaction => "/redactions",
            Kind::Outcome => "/outcome",
        }
    }

    /// True for a section that is one element, not a list.
    pub fn is_single(self) -> bool {
        matches!(self, Kind::Run | Kind::Outcome)
    }

    /// Where the element at this index of its section stands, as a pointer into the envelope.
    pub fn pointer(self, index: usize) -> String {
        if self.is_single() { self.section().to_owned() } else { format!("{}/{index}", self.section()) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
