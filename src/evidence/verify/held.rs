//! What the auditor brings.

use std::collections::HashMap;
use std::num::NonZeroUsize;

use crate::evidence::digest::Digest;
use crate::evidence::keyring::Keyring;

/// What the auditor already holds. Nothing else is believed, and nothing is fetched.
#[derive(Clone, Debug)]
pub struct Held {
    /// The keys that are trusted. Without a keyring signatures are not looked at; with an empty one every key is unknown.
    pub keyring: Option<Keyring>,
    /// How many distinct keys must have signed.
    pub threshold: NonZeroUsize,
    /// Heads that were kept from the service: (seq, entry_hash).
    pub heads: Vec<(i64, Digest)>,
    /// What the envelope must be about: (member, its text).
    pub expected: Vec<(Expected, String)>,
    /// Files, by what they are said to be.
    pub artifacts: Vec<GivenArtifact>,
    /// Files by their digest, with their sizes: each is given for every artifact and log that was recorded with that digest.
    pub files: HashMap<Digest, u64>,
    /// Whether a file must be given for every recorded artifact.
    pub require_artifacts: bool,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            keyring: None,
            threshold: NonZeroUsize::MIN,
            heads: Vec::new(),
            expected: Vec::new(),
            artifacts: Vec::new(),
            files: HashMap::new(),
            require_artifacts: false,
        }
    }
}

/// A file that is said to be an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenArtifact {
    /// An `artifact_id`, or what [`log_artifact_id`] gives.
    pub artifact_id: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub bytes: u64,
}

/// The name under which the log of a step's attempt is given: `log:<step_id>#<attempt>`.
pub fn log_artifact_id(step_id: &str, attempt: u64) -> String {
    format!("log:{step_id}#{attempt}")
}

/// What can be expected of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named after the members of the envelope")]
pub enum Expected {
    CommitSha,
    EnvelopeDigest,
    EvidenceId,
    Project,
    Result,
    RunId,
}

impl Expected {
    /// All of them.
    pub const ALL: [Expected; 6] = [
        Expected::EvidenceId,
        Expected::RunId,
        Expected::Project,
        Expected::Result,
        Expected::CommitSha,
        Expected::EnvelopeDigest,
    ];

    /// The member's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Expected::CommitSha => "commit_sha",
            Expected::EnvelopeDigest => "envelope_digest",
            Expected::EvidenceId => "evidence_id",
            Expected::Project => "project",
            Expected::Result => "result",
            Expected::RunId => "run_id",
        }
    }
}
