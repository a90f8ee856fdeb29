//! What a producer asks to record: its form, before anything is known of the run.

use super::masks::Masks;
use super::redacted::{Masked, Redacted};
use super::refusal::Refusal;
use super::reserved::is_reserved;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::{
    Fault, FaultReason, Kind, OF_THE_FINISHED, OF_THE_SERVICE, contains_commitment, pointer,
};

/// One entry, ready to be held against a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it becomes.
    pub(super) kind: EntryKind,
    /// The members but `type`, with what can be derived.
    pub(super) members: Object<'static>,
    /// Of the canonical request: the same again is a repeat.
    pub(super) request: Digest,
    /// What the producer says its log's digest is.
    pub(super) log_digest: Option<Digest>,
    /// What was masked in the members.
    pub(super) redacted: Vec<Redacted>,
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
    pub fn parse(sent: Value<'_>) -> Result<Self, Refusal> {
        let Value::Object(mut sent) = sent else { return Err(Fault::expected("an object").into()) };
        let kind = match sent.text("type") {
            Some("step_started") => EntryKind::StepStarted,
            Some("step" | "step_finished") => EntryKind::Element(Kind::Step),
            Some("artifact") => EntryKind::Element(Kind::Artifact),
            Some("observation") => EntryKind::Element(Kind::Observation),
            Some("event") => EntryKind::Element(Kind::Event),
            Some("redaction") => EntryKind::Element(Kind::Redaction),
            _ => return Err(Refusal::TypeUnknown),
        };
        let log_digest = match kind {
            EntryKind::Element(Kind::Step) => take_log_digest(&mut sent),
            _ => None,
        };
        check_reserved(&sent)?;
        match kind {
            EntryKind::StepStarted => check_started(&sent)?,
            EntryKind::Element(Kind::Artifact) => derive_content_uri(&mut sent),
            EntryKind::Element(Kind::Event) => check_name(&sent)?,
            EntryKind::Element(Kind::Redaction) => check_path(&sent)?,
            EntryKind::Element(_) => {}
        }
        let request = request_of(&sent, log_digest);
        let mut members = sent.into_owned();
        members.remove("type");
        Ok(Self { kind, members, request, log_digest, redacted: Vec::new() })
    }

    /// Masks the members; how long the texts are in which something was found. Then what was asked is what was masked: the
    /// digest of a text that has a secret in it would let others guess at it.
    pub(super) fn mask(&mut self, masks: &Masks) -> Result<usize, Refusal> {
        let (kind, name) = match self.kind {
            EntryKind::StepStarted => (Kind::Step, "step_started"),
            EntryKind::Element(kind) => (kind, kind.as_str()),
        };
        let Masked { members, redacted, bytes } = masks.mask(kind, std::mem::take(&mut self.members))?;
        if !redacted.is_empty() {
            let mut asked = members.clone();
            asked.insert("type", name);
            self.request = request_of(&asked, self.log_digest);
        }
        (self.members, self.redacted) = (members, redacted);
        Ok(bytes)
    }

    /// The number of the step's attempt; absent is the first.
    pub(super) fn attempt(&self) -> u64 {
        attempt(&self.members)
    }
}

pub(super) fn attempt(step: &Object<'_>) -> u64 {
    step.count("attempt").unwrap_or(1)
}

/// What is spelled in two ways is one request: `step_finished` is a step, and the first attempt needs no number.
fn request_of(sent: &Object<'_>, log_digest: Option<Digest>) -> Digest {
    let (alias, first) = (sent.text("type") == Some("step_finished"), sent.count("attempt") == Some(1));
    let members = match alias || first {
        false => Digest::of(sent.canonical().as_bytes()),
        true => {
            let mut plain = sent.clone();
            if alias {
                plain.insert("type", "step");
            }
            if first {
                plain.remove("attempt");
            }
            Digest::of(plain.canonical().as_bytes())
        }
    };
    match log_digest {
        Some(log) => Digest::of_parts([members.as_bytes().as_slice(), log.as_bytes()]),
        None => members,
    }
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

/// A log is the service's to describe; its digest alone may be sent, to be held against it.
fn take_log_digest(sent: &mut Object<'_>) -> Option<Digest> {
    let log = sent.get("log")?.as_object()?;
    let digest = log.text("digest").filter(|_| log.iter().count() == 1)?.parse().ok()?;
    sent.remove("log");
    Some(digest)
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

fn derive_content_uri(members: &mut Object<'_>) {
    if members.get("content_uri").is_none()
        && let Some(hex) = members.text("digest").and_then(|digest| digest.strip_prefix("sha256:"))
    {
        let content_uri = format!("urn:sha256:{hex}");
        members.insert("content_uri", content_uri);
    }
}
