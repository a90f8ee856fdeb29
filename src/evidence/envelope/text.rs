//! The canonical text of an envelope, put together from the canonical texts of its elements.

use super::Kind;
use crate::evidence::canonical::Value;
use crate::evidence::chain::{CHAIN, Link};
use crate::evidence::digest::Digest;

/// `format` of an envelope.
pub const ENVELOPE_FORMAT: &str = "sealstone.envelope.v1";
/// `format` of a sealed envelope.
pub const SEALED_FORMAT: &str = "sealstone.sealed-envelope.v1";
/// `canonicalization` of an envelope.
pub const CANONICALIZATION: &str = "rfc8785-jcs";

/// What an envelope is made of. Elements are in their sections' order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EnvelopeParts<'a> {
    pub(crate) evidence_id: &'a str,
    pub(crate) elements: &'a [(Kind, &'a str)],
    pub(crate) links: &'a [Link],
    pub(crate) head_entry_hash: Digest,
}

/// RFC 8785 form of the envelope; its members stand in the order that RFC 8785 gives them.
pub(crate) fn envelope_text(parts: &EnvelopeParts<'_>) -> String {
    let elements: usize = parts.elements.iter().map(|(_, text)| text.len().saturating_add(1)).sum();
    let links = parts.links.len().saturating_mul(180);
    let mut out = String::with_capacity(elements.saturating_add(links).saturating_add(512));
    out.push_str("{\"artifacts\":");
    section(&mut out, parts, Kind::Artifact);
    out.push_str(",\"events\":");
    section(&mut out, parts, Kind::Event);
    out.push_str(",\"evidence_id\":");
    out.push_str(&Value::from(parts.evidence_id).canonical());
    out.push_str(",\"execution\":{\"steps\":");
    section(&mut out, parts, Kind::Step);
    out.push_str("},\"format\":\"");
    out.push_str(ENVELOPE_FORMAT);
    out.push_str("\",\"gates\":");
    section(&mut out, parts, Kind::Gate);
    out.push_str(",\"integrity\":");
    integrity(&mut out, parts);
    out.push_str(",\"observations\":");
    section(&mut out, parts, Kind::Observation);
    if let Some((_, outcome)) = parts.elements.iter().find(|(kind, _)| *kind == Kind::Outcome) {
        out.push_str(",\"outcome\":");
        out.push_str(outcome);
    }
    out.push_str(",\"redactions\":");
    section(&mut out, parts, Kind::Redaction);
    out.push_str(",\"run\":");
    if let Some((_, run)) = parts.elements.iter().find(|(kind, _)| *kind == Kind::Run) {
        out.push_str(run);
    }
    out.push('}');
    out
}

fn section(out: &mut String, parts: &EnvelopeParts<'_>, section: Kind) {
    let elements = parts.elements.iter().filter(|(kind, _)| *kind == section);
    list(out, elements, |out, (_, text)| out.push_str(text));
}

fn integrity(out: &mut String, parts: &EnvelopeParts<'_>) {
    out.push_str("{\"canonicalization\":\"");
    out.push_str(CANONICALIZATION);
    out.push_str("\",\"chain\":\"");
    out.push_str(CHAIN);
    out.push_str("\",\"hash_chain\":");
    list(out, parts.links.iter(), |out, link| {
        out.push_str("{\"digest\":\"");
        out.push_str(&link.digest.to_string());
        out.push_str("\",\"entry_hash\":\"");
        out.push_str(&link.entry_hash.to_string());
        out.push_str("\"}");
    });
    out.push_str(",\"head_entry_hash\":\"");
    out.push_str(&parts.head_entry_hash.to_string());
    out.push_str("\"}");
}

/// A JSON array of what `write` writes for each item.
pub(crate) fn list<T>(out: &mut String, items: impl Iterator<Item = T>, write: impl Fn(&mut String, T)) {
    out.push('[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}
