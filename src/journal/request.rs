//! What can be asked of a run, and what is answered.

use super::body::{JournalRecord, KeyUse, Receipt};
use super::entry::{Entry, check_reserved};
use super::redacted::Redacted;
use super::refusal::Refusal;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::chain::Head;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::Limits;
use crate::evidence::envelope::{Fault, FaultReason};
use crate::evidence::time::Timestamp;

/// What surrounds a request.
pub struct Around<'a> {
    /// When it came.
    pub now: Timestamp,
    /// 16 fresh random bytes at each call.
    pub salt: &'a mut dyn FnMut() -> [u8; 16],
    /// What may be how large.
    pub limits: &'a Limits,
    /// The name under which the service knows who asks.
    pub by: Option<&'a str>,
    /// What an attempt of a step has written to its log, if it has one.
    pub logs: &'a dyn Fn(&str, u64) -> Option<LogSummary>,
}

/// What is recorded of a step's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSummary {
    /// Of all its bytes.
    pub digest: Digest,
    /// How many.
    pub bytes: u64,
    /// How many lines; a last one without a line feed counts.
    pub lines: u64,
    /// What was masked in it.
    pub redacted: Vec<Redacted>,
}

impl LogSummary {
    /// As large as one can be.
    pub(super) fn largest() -> Self {
        Self { digest: Digest::of([]), bytes: MAX_COUNT, lines: MAX_COUNT, redacted: Vec::new() }
    }

    /// The member `log` of a step.
    pub(super) fn member(&self) -> Object<'static> {
        Object::from_iter([
            ("digest", self.digest.into()),
            ("bytes", Value::count(self.bytes)),
            ("lines", Value::count(self.lines)),
        ])
    }
}

/// The largest integer that RFC 8785 writes exactly.
const MAX_COUNT: u64 = (1 << 53) - 1;

/// What a request has added, and what is answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// For each entry that was sent.
    pub receipts: Vec<Receipt>,
    /// What the chain is after it.
    pub head: Head,
    /// What must be durable before this is answered. Empty if all was recorded before.
    pub records: Vec<JournalRecord>,
    /// The idempotency key, to be stored with them.
    pub key: Option<(String, KeyUse)>,
    /// The gate that was opened.
    pub gate_id: Option<String>,
}

/// Entries to record, all or none.
#[derive(Clone, Debug)]
pub struct Append {
    /// In this order.
    pub entries: Vec<Entry>,
    /// The chain must end so.
    pub if_match: Option<Digest>,
    /// The idempotency key.
    pub key: Option<String>,
}

/// A gate to open.
#[derive(Clone, Debug)]
pub struct NewGate {
    /// `reason`, and perhaps `gate_id` and `step_id`.
    pub members: Object<'static>,
    /// The idempotency key.
    pub key: Option<String>,
}

/// How a gate is to be resolved.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// Which.
    pub gate_id: String,
    /// How.
    pub decision: GateDecision,
    /// What is said about it.
    pub comment: Option<String>,
    /// The head that was seen when it was decided.
    pub seen_head: Option<Digest>,
    /// The idempotency key.
    pub key: Option<String>,
}

/// How a gate can be resolved by a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the format")]
pub enum GateDecision {
    Approved,
    Rejected,
}

impl GateDecision {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            GateDecision::Approved => "approved",
            GateDecision::Rejected => "rejected",
        }
    }
}

/// A run that is to stop.
#[derive(Clone, Debug)]
pub struct Abort {
    /// Why.
    pub reason: Option<String>,
    /// Close it at once, whatever its producer does.
    pub force: bool,
    /// The idempotency key.
    pub key: Option<String>,
}

/// How a run is to be closed.
#[derive(Clone, Debug)]
pub struct Close {
    /// `succeeded`, `failed`, `aborted` or `expired`.
    pub result: String,
    /// Why.
    pub reason: Option<String>,
    /// The chain must end so.
    pub if_match: Option<Digest>,
    /// The idempotency key.
    pub key: Option<String>,
}

impl NewGate {
    /// A gate of these members, as they were sent.
    pub fn parse(members: Object<'static>, key: Option<String>) -> Result<Self, Refusal> {
        check_reserved(&members)?;
        let unknown = members.iter().find(|(name, _)| !["gate_id", "reason", "step_id"].contains(name));
        match unknown.map(|(name, _)| name.to_owned()) {
            Some(name) => Err(Fault::from(FaultReason::Unknown).under(&name).into()),
            None => Ok(Self { members, key }),
        }
    }
}
