//! What a producer asks to record: its form, before anything is known of the run.

use super::refusal::Refusal;
use super::reserved::is_reserved;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::{Fault, FaultReason, Kind, contains_commitment, pointer};

/// What the service alone sets, whatever the element.
const OF_THE_SERVICE: &[&str] = &[
    "actor",
    "evidence_id",
    "log",
    "project_seq",
    "recorded_at",
    "reported_by",
    "resolved_at",
    "seq",
    "sequence",
];

/// What is known of a step only when it is finished.
const OF_THE_FINISHED: &[&str] = &["status", "exit_code", "finished_at", "duration_ms"];

/// One entry, ready to be held against a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it becomes.
    pub(super) kind: EntryKind,
    /// The members but `type`, with what can be derived.
    pub(super) members: Object<'static>,
    /// Of the canonical request: the same again is a repeat.
    pub(super) request: Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// A step begins: a notice.
    StepStarted,
    /// An element of this kind.
    Element(Kind),
}

impl Entry {
    /// Reads what was sent.
    pub fn parse(sent: &Value<'_>) -> Result<Self, Refusal> {
        let sent = sent.as_object().ok_or(Refusal::Fault(Fault::expected("an object")))?;
        let kind = match sent.text("type") {
            Some("step_started") => EntryKind::StepStarted,
            Some("step" | "step_finished") => EntryKind::Element(Kind::Step),
            Some("artifact") => EntryKind::Element(Kind::Artifact),
            Some("observation") => EntryKind::Element(Kind::Observation),
            Some("event") => EntryKind::Element(Kind::Event),
            Some("redaction") => EntryKind::Element(Kind::Redaction),
            _ => return Err(Refusal::TypeUnknown),
        };
        check_reserved(sent)?;
        let mut members = sent.clone().into_owned();
        members.remove("type");
        match kind {
            EntryKind::StepStarted => check_started(&members)?,
            EntryKind::Element(Kind::Artifact) => derive_content_uri(&mut members),
            EntryKind::Element(Kind::Event) => check_name(&members)?,
            EntryKind::Element(Kind::Redaction) => check_path(&members)?,
            EntryKind::Element(_) => {}
        }
        let name = match kind {
            EntryKind::StepStarted => "step_started",
            EntryKind::Element(kind) => kind.as_str(),
        };
        // The first attempt is the same whether it is numbered or not.
        let request = match members.count("attempt") {
            Some(1) => {
                let mut unnumbered = members.clone();
                unnumbered.remove("attempt");
                request_digest(name, &unnumbered)
            }
            _ => request_digest(name, &members),
        };
        Ok(Self { kind, members, request })
    }

    /// The number of the step's attempt; absent is the first.
    pub(super) fn attempt(&self) -> u64 {
        attempt(&self.members)
    }
}

pub(super) fn attempt(step: &Object<'_>) -> u64 {
    step.count("attempt").unwrap_or(1)
}

/// Two requests are the same if they have the same name and the same canonical members.
pub(super) fn request_digest(name: &str, members: &Object<'_>) -> Digest {
    Digest::of(format!("{name}\n{}", members.canonical()))
}

/// Refuses what only the service says, and commitments anywhere: they are made when an element is recorded.
pub(super) fn check_reserved(sent: &Object<'_>) -> Result<(), Refusal> {
    if let Some((member, _)) = sent.iter().find(|(name, _)| OF_THE_SERVICE.contains(name)) {
        return Err(Refusal::MemberReserved { member: member.to_owned() });
    }
    for (name, value) in sent.iter() {
        if contains_commitment(value) {
            return Err(Fault::from(FaultReason::Reserved).under(name).into());
        }
    }
    Ok(())
}

fn check_started(members: &Object<'_>) -> Result<(), Refusal> {
    match OF_THE_FINISHED.iter().find(|name| members.get(name).is_some()) {
        Some(name) => Err(Fault::from(FaultReason::Unknown).under(name).into()),
        None => Ok(()),
    }
}

fn check_name(members: &Object<'_>) -> Result<(), Refusal> {
    match members.text("name") {
        Some(name) if is_reserved(name) => Err(Refusal::EventNameReserved { name: name.to_owned() }),
        Some("custom:") => Err(Fault::expected("a name after custom:").under("name").into()),
        _ => Ok(()),
    }
}

fn check_path(members: &Object<'_>) -> Result<(), Refusal> {
    match members.text("path") {
        Some(path) if pointer::tokens(path).is_none() => {
            Err(Fault::expected("a JSON pointer (RFC 6901) into the envelope").under("path").into())
        }
        _ => Ok(()),
    }
}

fn derive_content_uri(members: &mut Object<'static>) {
    if members.get("content_uri").is_none()
        && let Some(hex) = members.text("digest").and_then(|digest| digest.strip_prefix("sha256:"))
    {
        let content_uri = format!("urn:sha256:{hex}");
        members.insert("content_uri", content_uri);
    }
}
