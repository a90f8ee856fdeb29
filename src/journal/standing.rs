//! What lists and snapshots show of a run, and what is kept of it beside its journal.

use serde::{Deserialize, Serialize};

use super::settings::Settings;
use crate::evidence::chain::Head;
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;

/// What is known of a run from its opening, and never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// The producer's name for it, unique in its project.
    pub run_id: String,
    /// Our name for it, unique everywhere.
    pub evidence_id: String,
    /// Whose it is.
    pub project: String,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// As recorded: commitments where private.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<serde_json::Value>,
    /// As recorded: commitments where private.
    #[serde(default)]
    pub labels: serde_json::Value,
    /// What its project had settled then, and what it withholds itself.
    pub settings: Settings,
    /// Of the request that opened it.
    pub request: Digest,
}

/// Where a run stands after its last record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether it goes on.
    pub state: State,
    /// How many gates are open.
    pub open_gates: usize,
    /// When somebody asked it to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_requested_at: Option<Timestamp>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// The last element.
    pub head: Head,
    /// The last record.
    pub pos: u64,
    /// When the last record was made.
    pub active_at: Timestamp,
    /// How many elements there are.
    pub counts: Counts,
    /// Of the sealed envelope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope_digest: Option<Digest>,
}

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It takes entries.
    Open,
    /// Its outcome is recorded, its seal is not.
    Closing,
    /// It is sealed, for good.
    Sealed,
}

impl State {
    /// All states, in their order.
    pub const ALL: [State; 3] = [State::Open, State::Closing, State::Sealed];

    /// The text of it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Closing => "closing",
            State::Sealed => "sealed",
        }
    }
}

/// How many elements a run has, by section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named after the sections of the envelope")]
pub struct Counts {
    pub steps: usize,
    pub artifacts: usize,
    pub observations: usize,
    pub gates: usize,
    pub events: usize,
    pub redactions: usize,
}
