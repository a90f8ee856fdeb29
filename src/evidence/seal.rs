//! Elements in, sealed envelope out, byte for byte (ENVELOPE.md sections 4 and 5).

use std::collections::BTreeMap;
use std::fmt;

use super::canonical::{Object, Value};
use super::chain::{Chain, Head};
use super::consistency::{Conflict, Recorded};
use super::digest::{Digest, merkle_root};
use super::dsse::{self, MAX_ARTIFACT_SUBJECTS, PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE};
use super::envelope::limits::{MAX_ELEMENT_BYTES, MAX_ELEMENTS, MAX_ENVELOPE_BYTES, MAX_FILE_BYTES};
use super::envelope::{
    Disclosure, ENVELOPE_FORMAT, Fault, Kind, Parts, PrivateMembers, SEALED_FORMAT, check_ingest,
    envelope_text, list,
};
use super::key::SigningKey;
use super::time::Timestamp;

/// A run's record while it grows: the canonical text of each element, chained in the order of recording.
#[derive(Clone, Debug, Default)]
pub struct Record {
    elements: Vec<(Kind, String)>,
    /// How many of each kind.
    counts: BTreeMap<Kind, usize>,
    recorded: Recorded,
    chain: Chain,
    disclosures: Vec<Disclosure>,
    facts: Facts,
    last_at: Option<Timestamp>,
    size: Size,
}

/// What the statement tells of the elements.
#[derive(Clone, Debug, Default)]
struct Facts {
    evidence_id: String,
    run_id: String,
    project: String,
    result: String,
    /// `artifact_id`, and the digits of the digest.
    artifacts: Vec<(String, String)>,
}

impl Facts {
    fn record(&mut self, kind: Kind, element: &Object<'_>) {
        let own = |member| element.text(member).unwrap_or_default().to_owned();
        match kind {
            Kind::Run => {
                (self.evidence_id, self.run_id, self.project) =
                    (own("evidence_id"), own("run_id"), own("project"))
            }
            Kind::Outcome => self.result = own("result"),
            Kind::Artifact => {
                self.artifacts
                    .push((own("artifact_id"), own("digest").trim_start_matches("sha256:").to_owned()));
            }
            _ => {}
        }
    }
}

/// Why an element cannot be recorded, or a record not sealed.
#[derive(Clone, Debug, PartialEq)]
pub enum SealError {
    /// Anything after the outcome.
    AfterOutcome,
    /// The element does not agree with what was recorded before.
    Conflict(Conflict),
    /// The first element is not the run, or a later one is.
    Order,
    /// The element breaks the model or its limits.
    Element(Fault),
    /// The element is larger than 256 KiB, as it came or with what is withheld.
    ElementTooLarge {
        /// Its size in canonical form.
        bytes: usize,
    },
    /// The envelope would be larger than 64 MiB, or have more than 100,000 elements.
    EnvelopeTooLarge,
    /// There is no key to sign with.
    NoKey,
    /// The run is not closed: there is no outcome.
    NotClosed,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::AfterOutcome => {
                f.write_str("the run is closed; nothing can be recorded after its outcome")
            }
            SealError::Conflict(conflict) => write!(f, "{conflict}"),
            SealError::Order => f.write_str("a record begins with its run, and has one"),
            SealError::Element(fault) => write!(f, "{fault}"),
            SealError::ElementTooLarge { bytes } => {
                write!(f, "an element of {bytes} bytes; at most {MAX_ELEMENT_BYTES} are allowed")
            }
            SealError::EnvelopeTooLarge => {
                write!(f, "more than {MAX_ELEMENTS} elements or {MAX_ENVELOPE_BYTES} bytes in one run")
            }
            SealError::NoKey => f.write_str("a seal needs at least one key"),
            SealError::NotClosed => f.write_str("the run has no outcome yet, so it cannot be sealed"),
        }
    }
}

impl std::error::Error for SealError {}

impl From<Fault> for SealError {
    fn from(fault: Fault) -> Self {
        SealError::Element(fault)
    }
}

impl Record {
    /// A record without elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records one element: the members of its kind without `type`, `seq` and `recorded_at`, which are given here.
    /// `recorded_at` never goes back: an earlier `now` counts as the one before. `salt` gives 16 fresh random bytes
    /// at each call. On an error nothing is recorded.
    pub fn push(
        &mut self,
        kind: Kind,
        mut members: Object<'static>,
        now: Timestamp,
        private: &PrivateMembers,
        salt: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<Head, SealError> {
        match self.elements.last() {
            None if kind != Kind::Run => return Err(SealError::Order),
            Some(_) if kind == Kind::Run => return Err(SealError::Order),
            Some((Kind::Outcome, _)) => return Err(SealError::AfterOutcome),
            _ => {}
        }
        members.insert("type", kind.as_str());
        check_ingest(kind, &members)?;
        self.recorded.check(kind, &members).map_err(SealError::Conflict)?;
        let recorded_at = self.last_at.map_or(now, |last| last.max(now));
        members.insert("recorded_at", recorded_at);
        members.insert("seq", Value::count(self.chain.next_seq()));
        let mut text = members.canonical().into_owned();
        let before = text.len();
        check_size(before)?;

        let count = self.counts.get(&kind).copied().unwrap_or_default();
        let disclosures = private.withhold(kind, count, &mut members, salt);
        if !disclosures.is_empty() {
            text = members.canonical().into_owned();
            check_size(text.len())?;
        }
        let size = self.size.with(before, text.len(), &disclosures);
        size.check(self.elements.len(), kind)?;

        self.facts.record(kind, &members);
        self.recorded.record(kind, &members);
        self.counts.insert(kind, count.saturating_add(1));
        self.size = size;
        self.last_at = Some(recorded_at);
        self.disclosures.extend(disclosures);
        let head = self.chain.push(Digest::of(&text));
        self.elements.push((kind, text));
        Ok(head)
    }

    /// The canonical text of the envelope so far.
    pub fn envelope_text(&self) -> String {
        let elements: Vec<(Kind, &str)> =
            self.elements.iter().map(|(kind, text)| (*kind, text.as_str())).collect();
        let head = self.chain.links().last().map_or(super::chain::GENESIS, |last| last.entry_hash);
        envelope_text(&Parts {
            evidence_id: &self.facts.evidence_id,
            elements: &elements,
            links: self.chain.links(),
            head_entry_hash: head,
        })
    }

    /// Seals the record with these keys. `now` is when; `sealed_at` is not before anything recorded.
    pub fn seal(&self, now: Timestamp, keys: &[&SigningKey]) -> Result<Sealed, SealError> {
        if !matches!(self.elements.last(), Some((Kind::Outcome, _))) {
            return Err(SealError::NotClosed);
        }
        if keys.is_empty() {
            return Err(SealError::NoKey);
        }
        let envelope = self.envelope_text();
        if envelope.len() > MAX_ENVELOPE_BYTES {
            return Err(SealError::EnvelopeTooLarge);
        }
        let envelope_digest = Digest::of(&envelope);
        let sealed_at = self.last_at.map_or(now, |last| last.max(now));
        let statement = self.statement(envelope_digest, sealed_at);
        let seal = sign(statement.canonical().as_bytes(), keys);
        let disclosures: Vec<Value<'_>> = self.disclosures.iter().cloned().map(Value::from).collect();
        let file = sealed_text(&disclosures, &envelope, &[], &seal.canonical());
        Ok(Sealed { evidence_id: self.facts.evidence_id.clone(), envelope_digest, file })
    }

    /// The in-toto Statement over this envelope.
    fn statement(&self, envelope_digest: Digest, sealed_at: Timestamp) -> Object<'static> {
        let facts = &self.facts;
        let run = subject(format!("run/{}", facts.evidence_id), envelope_digest.to_hex());
        let named = facts.artifacts.iter().take(MAX_ARTIFACT_SUBJECTS);
        let named =
            named.map(|(artifact_id, sha256)| subject(format!("artifact/{artifact_id}"), sha256.clone()));
        let subjects: Vec<Object<'_>> = std::iter::once(run).chain(named).collect();
        let links = self.chain.links();
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
            (
                "sealer",
                Object::from_iter([("name", "sealstone"), ("version", env!("CARGO_PKG_VERSION"))]).into(),
            ),
        ]);
        Object::from_iter([
            ("_type", STATEMENT_TYPE.into()),
            ("subject", Value::from(subjects)),
            ("predicateType", PREDICATE_TYPE.into()),
            ("predicate", predicate.into()),
        ])
    }
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

/// How much of the limits a record has used.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// Of the envelope, in bytes, but for its frame.
    envelope: usize,
    /// Of the envelope if nothing in it were withheld.
    open: usize,
    /// Of the disclosures, in bytes.
    disclosures: usize,
}

impl Size {
    /// What stands around elements in an envelope, and around envelope and disclosures in a file: names, the payload, one signature a key.
    const FRAME: usize = 1 << 20;
    /// A link with its comma.
    const LINK: usize = 181;

    fn with(self, before: usize, after: usize, disclosures: &[Disclosure]) -> Self {
        let disclosed =
            disclosures.iter().map(|disclosure| Value::from(disclosure.clone()).canonical().len());
        Self {
            envelope: self.envelope.saturating_add(after).saturating_add(Self::LINK),
            open: self.open.saturating_add(before).saturating_add(Self::LINK),
            disclosures: disclosed
                .fold(self.disclosures, |sum, bytes| sum.saturating_add(bytes).saturating_add(1)),
        }
    }

    /// Whether an element may be the next of `elements`. Any but the outcome leaves room for one.
    fn check(self, elements: usize, kind: Kind) -> Result<(), SealError> {
        let (count, bytes) =
            if kind == Kind::Outcome { (1, 0) } else { (2, MAX_ELEMENT_BYTES.saturating_add(Self::LINK)) };
        let reserved = Self::FRAME.saturating_add(bytes);
        let fits = |used: usize, most: usize| used.saturating_add(reserved) <= most;
        let fits = elements.saturating_add(count) <= MAX_ELEMENTS
            && fits(self.envelope, MAX_ENVELOPE_BYTES)
            && fits(self.open, MAX_ENVELOPE_BYTES)
            && fits(self.envelope.saturating_add(self.disclosures), MAX_FILE_BYTES);
        if fits { Ok(()) } else { Err(SealError::EnvelopeTooLarge) }
    }
}

fn subject(name: String, sha256: String) -> Object<'static> {
    let digest = Object::from_iter([("sha256", sha256)]);
    Object::from_iter([("name", Value::from(name)), ("digest", digest.into())])
}

fn check_size(bytes: usize) -> Result<(), SealError> {
    if bytes > MAX_ELEMENT_BYTES { Err(SealError::ElementTooLarge { bytes }) } else { Ok(()) }
}
