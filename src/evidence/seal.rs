//! A closed record in, sealed envelope out, byte for byte (ENVELOPE.md sections 4 and 5).

use std::fmt;

use super::canonical::{self, Object, Value};
use super::chain::{GENESIS, Link};
use super::digest::{Digest, merkle_root};
use super::dsse::{self, MAX_ARTIFACT_SUBJECTS, PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE};
use super::envelope::limits::{MAX_ELEMENT_BYTES, MAX_ENVELOPE_BYTES};
use super::envelope::{Disclosure, ENVELOPE_FORMAT, EnvelopeParts, Kind, SEALED_FORMAT, envelope_text, list};
use super::key::SigningKey;
use super::time::Timestamp;

/// Why a record cannot be sealed.
#[derive(Clone, Debug, PartialEq)]
pub enum SealError {
    /// The envelope would be larger than 64 MiB.
    EnvelopeTooLarge {
        /// Its size in canonical form.
        bytes: usize,
    },
    /// There is no key to sign with.
    NoKey,
    /// The run is not closed: there is no outcome.
    NotClosed,
    /// An element's text is not what this program records.
    Unreadable {
        /// The element's place.
        seq: usize,
    },
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::EnvelopeTooLarge { bytes } => {
                write!(f, "an envelope of {bytes} bytes; at most {MAX_ENVELOPE_BYTES} are allowed")
            }
            SealError::NoKey => f.write_str("a seal needs at least one key"),
            SealError::NotClosed => f.write_str("the run has no outcome yet, so it cannot be sealed"),
            SealError::Unreadable { seq } => write!(f, "element {seq} is not canonical text of its kind"),
        }
    }
}

impl std::error::Error for SealError {}

/// What a sealed envelope is made of, each in the order of recording.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The canonical texts.
    pub elements: &'a [(Kind, &'a str)],
    /// The chain.
    pub links: &'a [Link],
    /// What was withheld.
    pub disclosures: &'a [Disclosure],
}

/// The canonical text of the envelope of these parts.
pub fn envelope_of(parts: &Parts<'_>) -> String {
    let run = parts.elements.first().and_then(|(_, text)| read(text));
    envelope_text(&EnvelopeParts {
        evidence_id: run.as_ref().and_then(|run| run.text("evidence_id")).unwrap_or_default(),
        elements: parts.elements,
        links: parts.links,
        head_entry_hash: parts.links.last().map_or(GENESIS, |last| last.entry_hash),
    })
}

/// Seals a closed record with these keys. `now` is when; `sealed_at` is not before the outcome.
pub fn seal(parts: &Parts<'_>, now: Timestamp, keys: &[&SigningKey]) -> Result<Sealed, SealError> {
    if keys.is_empty() {
        return Err(SealError::NoKey);
    }
    let facts = Facts::of(parts)?;
    let envelope = envelope_of(parts);
    if envelope.len() > MAX_ENVELOPE_BYTES {
        return Err(SealError::EnvelopeTooLarge { bytes: envelope.len() });
    }
    let envelope_digest = Digest::of(&envelope);
    let statement = statement(&facts, parts.links, envelope_digest, facts.closed_at.max(now));
    let seal = sign(statement.canonical().as_bytes(), keys);
    let disclosures: Vec<Value<'_>> = parts.disclosures.iter().cloned().map(Value::from).collect();
    let file = sealed_text(&disclosures, &envelope, &[], &seal.canonical());
    Ok(Sealed { evidence_id: facts.evidence_id, envelope_digest, file })
}

/// What the statement tells of the elements.
struct Facts {
    evidence_id: String,
    run_id: String,
    project: String,
    result: String,
    closed_at: Timestamp,
    /// `artifact_id`, and the digits of the digest.
    artifacts: Vec<(String, String)>,
}

impl Facts {
    fn of(parts: &Parts<'_>) -> Result<Self, SealError> {
        let own = |element: &Object<'_>, member: &str| element.text(member).unwrap_or_default().to_owned();
        let (Some((Kind::Run, run)), Some((Kind::Outcome, outcome))) =
            (parts.elements.first(), parts.elements.last())
        else {
            return Err(SealError::NotClosed);
        };
        let last = parts.elements.len().saturating_sub(1);
        let (run, outcome) = (read_element(0, run)?, read_element(last, outcome)?);
        let closed_at = outcome.text("recorded_at").and_then(|time| time.parse().ok());
        let mut artifacts = Vec::new();
        for (seq, (_, text)) in
            parts.elements.iter().enumerate().filter(|(_, (kind, _))| *kind == Kind::Artifact)
        {
            let artifact = read_element(seq, text)?;
            let digits = own(&artifact, "digest").trim_start_matches("sha256:").to_owned();
            artifacts.push((own(&artifact, "artifact_id"), digits));
        }
        Ok(Self {
            evidence_id: own(&run, "evidence_id"),
            run_id: own(&run, "run_id"),
            project: own(&run, "project"),
            result: own(&outcome, "result"),
            closed_at: closed_at.ok_or(SealError::Unreadable { seq: last })?,
            artifacts,
        })
    }
}

fn read_element(seq: usize, text: &str) -> Result<Object<'_>, SealError> {
    read(text).ok_or(SealError::Unreadable { seq })
}

fn read(text: &str) -> Option<Object<'_>> {
    match canonical::parse(text.as_bytes(), MAX_ELEMENT_BYTES) {
        Ok(Value::Object(element)) => Some(element),
        _ => None,
    }
}

/// The in-toto Statement over this envelope.
fn statement(
    facts: &Facts,
    links: &[Link],
    envelope_digest: Digest,
    sealed_at: Timestamp,
) -> Object<'static> {
    let run = subject(format!("run/{}", facts.evidence_id), envelope_digest.to_hex());
    let named = facts.artifacts.iter().take(MAX_ARTIFACT_SUBJECTS);
    let named = named.map(|(artifact_id, sha256)| subject(format!("artifact/{artifact_id}"), sha256.clone()));
    let subjects: Vec<Object<'_>> = std::iter::once(run).chain(named).collect();
    let predicate = Object::from_iter([
        ("format", ENVELOPE_FORMAT.into()),
        ("envelope_digest", envelope_digest.into()),
        ("evidence_id", facts.evidence_id.clone().into()),
        ("run_id", facts.run_id.clone().into()),
        ("project", facts.project.clone().into()),
        ("result", facts.result.clone().into()),
        ("entries", Value::count(links.len() as u64)),
        ("head_entry_hash", links.last().map_or(Value::Null, |last| last.entry_hash.into())),
        ("entries_root", merkle_root(links.iter().map(|link| link.digest)).into()),
        ("artifacts", Value::count(facts.artifacts.len() as u64)),
        ("sealed_at", sealed_at.into()),
        ("sealer", Object::from_iter([("name", "sealstone"), ("version", env!("CARGO_PKG_VERSION"))]).into()),
    ]);
    Object::from_iter([
        ("_type", STATEMENT_TYPE.into()),
        ("subject", Value::from(subjects)),
        ("predicateType", PREDICATE_TYPE.into()),
        ("predicate", predicate.into()),
    ])
}

/// A sealed envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Which run it is of.
    pub evidence_id: String,
    /// The digest of the envelope in it.
    pub envelope_digest: Digest,
    /// The file, in canonical form.
    pub file: String,
}

/// The same sealed envelope with only those disclosures whose pointer is to be kept: what is sealed is not touched.
/// The document must have passed [`verify`](super::verify::verify) without `schema.invalid`; `None` if it is no sealed envelope.
pub fn with_disclosures(document: &Object<'_>, keep: impl Fn(&str) -> bool) -> Option<String> {
    let kept = |disclosure: &&Value<'_>| disclosure.as_object().and_then(|d| d.text("at")).is_some_and(&keep);
    let disclosures: Vec<Value<'_>> = document.list("disclosures")?.iter().filter(kept).cloned().collect();
    let seal = document.object("seal")?.canonical();
    Some(sealed_text(
        &disclosures,
        &document.object("envelope")?.canonical(),
        document.list("receipts")?,
        &seal,
    ))
}

fn sealed_text(disclosures: &[Value<'_>], envelope: &str, receipts: &[Value<'_>], seal: &str) -> String {
    let value = |out: &mut String, value: &Value<'_>| out.push_str(&value.canonical());
    let mut out = String::with_capacity(envelope.len().saturating_add(seal.len()).saturating_add(512));
    out.push_str("{\"disclosures\":");
    list(&mut out, disclosures.iter(), value);
    out.push_str(",\"envelope\":");
    out.push_str(envelope);
    out.push_str(",\"format\":\"");
    out.push_str(SEALED_FORMAT);
    out.push_str("\",\"receipts\":");
    list(&mut out, receipts.iter(), value);
    out.push_str(",\"seal\":");
    out.push_str(seal);
    out.push('}');
    out
}

fn sign(payload: &[u8], keys: &[&SigningKey]) -> Object<'static> {
    let message = dsse::pre_authentication_encoding(PAYLOAD_TYPE, payload);
    let signatures = keys.iter().map(|key| {
        let sig = dsse::encode_base64(&key.sign(&message));
        Object::from_iter([("keyid", key.public().keyid()), ("sig", sig)])
    });
    Object::from_iter([
        ("payloadType", PAYLOAD_TYPE.into()),
        ("payload", dsse::encode_base64(payload).into()),
        ("signatures", Value::from(signatures.collect::<Vec<_>>())),
    ])
}

fn subject(name: String, sha256: String) -> Object<'static> {
    let digest = Object::from_iter([("sha256", sha256)]);
    Object::from_iter([("name", Value::from(name)), ("digest", digest.into())])
}
