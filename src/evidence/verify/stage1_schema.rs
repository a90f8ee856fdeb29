//! Stage 1: is it a sealed envelope of this version, and does every member have its form?

use std::borrow::Cow;

use super::code::Code;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::chain::{CHAIN, Link};
use crate::evidence::digest::Digest;
use crate::evidence::dsse;
use crate::evidence::envelope::limits::{MAX_ELEMENT_BYTES, MAX_ELEMENTS, MAX_ENVELOPE_BYTES};
use crate::evidence::envelope::{
    CANONICALIZATION, ENVELOPE_FORMAT, EnvelopeParts, Fault, FaultReason, Kind, SEALED_FORMAT,
    check_recorded, envelope_text,
};

/// A sealed envelope whose schema held, taken apart.
pub(super) struct Sealed<'v> {
    pub(super) evidence_id: &'v str,
    /// Of the envelope's canonical form.
    pub(super) envelope_digest: Digest,
    /// All elements, section by section.
    pub(super) elements: Vec<Element<'v>>,
    /// As stated.
    pub(super) links: Vec<Link>,
    /// As stated.
    pub(super) head_entry_hash: Digest,
    pub(super) seal: Option<Seal<'v>>,
    pub(super) disclosures: Vec<Disclosed<'v>>,
    /// Their types.
    pub(super) receipts: Vec<&'v str>,
}

/// One element where it stands.
pub(super) struct Element<'v> {
    pub(super) kind: Kind,
    /// In its section.
    pub(super) index: usize,
    pub(super) seq: u64,
    pub(super) members: &'v Object<'v>,
    pub(super) canonical: Cow<'v, str>,
}

/// The DSSE envelope, its base64 decoded.
pub(super) struct Seal<'v> {
    pub(super) payload_type: &'v str,
    pub(super) payload: Vec<u8>,
    pub(super) signatures: Vec<Signature<'v>>,
}

pub(super) struct Signature<'v> {
    pub(super) keyid: &'v str,
    pub(super) sig: Vec<u8>,
}

pub(super) struct Disclosed<'v> {
    pub(super) at: &'v str,
    pub(super) salt: &'v str,
    pub(super) value: &'v Value<'v>,
}

impl Element<'_> {
    /// A pointer into the sealed envelope.
    pub(super) fn at(&self) -> Option<String> {
        Some(format!("/envelope{}", self.kind.pointer(self.index)))
    }
}

impl<'v> Sealed<'v> {
    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Element<'v>> {
        self.elements.iter().filter(move |element| element.kind == kind)
    }

    /// The run's members; stage 1 saw to it that there is one.
    pub(super) fn run(&self) -> &'v Object<'v> {
        self.of_kind(Kind::Run).next().expect("stage 1 reads no envelope without a run").members
    }

    pub(super) fn outcome(&self) -> Option<&'v Object<'v>> {
        self.of_kind(Kind::Outcome).next().map(|outcome| outcome.members)
    }
}

/// What came of reading.
pub(super) enum Reading<'v> {
    /// Not a sealed envelope of this version.
    Unreadable { code: Code, at: Option<String>, detail: String },
    /// One, but for its form.
    Invalid { at: String, detail: String },
    /// One, but over a limit.
    TooLarge { sealed: Box<Sealed<'v>>, at: Option<String>, detail: String },
    /// One.
    Sealed(Box<Sealed<'v>>),
}

/// Takes a document apart.
pub(super) fn read<'v>(document: &'v Value<'v>) -> Reading<'v> {
    if let Err(what) = check_format(document) {
        return Reading::Unreadable { code: Code::FormatUnknown, at: None, detail: what.to_owned() };
    }
    match read_sealed(document) {
        Err(fault) => Reading::Invalid { at: fault.at, detail: fault.reason.to_string() },
        Ok((sealed, envelope_bytes)) => match over_limit(&sealed, envelope_bytes) {
            Some((at, detail)) => Reading::TooLarge { sealed: Box::new(sealed), at, detail },
            None => Reading::Sealed(Box::new(sealed)),
        },
    }
}

fn check_format(document: &Value<'_>) -> Result<(), &'static str> {
    let document = document.as_object().ok_or("a JSON object expected")?;
    let envelope = document.object("envelope").ok_or("an object `envelope` expected")?;
    if document.text("format") != Some(SEALED_FORMAT) {
        return Err("`format` is not sealstone.sealed-envelope.v1");
    }
    if envelope.text("format") != Some(ENVELOPE_FORMAT) {
        return Err("`envelope.format` is not sealstone.envelope.v1");
    }
    let integrity = envelope.object("integrity");
    let other = |member, wanted| integrity.and_then(|i| i.text(member)).is_some_and(|text| text != wanted);
    if other("canonicalization", CANONICALIZATION) {
        return Err("another `canonicalization` than rfc8785-jcs");
    }
    if other("chain", CHAIN) { Err("another `chain` than sealstone.chain.v1") } else { Ok(()) }
}

fn read_sealed<'v>(document: &'v Value<'v>) -> Result<(Sealed<'v>, usize), Fault> {
    let document = as_object(document)?;
    closed(document, &["format", "envelope", "disclosures", "receipts"], &["seal"])?;
    let envelope = object(document, "envelope")?;
    let read = read_envelope(envelope).map_err(|fault| fault.under("envelope"))?;
    let (evidence_id, elements, links, head_entry_hash) = read;
    let (envelope_digest, bytes) = digest_envelope(envelope, evidence_id, &elements, &links, head_entry_hash);
    let sealed = Sealed {
        evidence_id,
        envelope_digest,
        elements,
        links,
        head_entry_hash,
        seal: match document.get("seal") {
            Some(seal) => Some(as_object(seal).and_then(read_seal).map_err(|fault| fault.under("seal"))?),
            None => None,
        },
        disclosures: each(document, "disclosures", read_disclosure)?,
        receipts: each(document, "receipts", |receipt| text(as_object(receipt)?, "type"))?,
    };
    Ok((sealed, bytes))
}

type Envelope<'v> = (&'v str, Vec<Element<'v>>, Vec<Link>, Digest);

fn read_envelope<'v>(envelope: &'v Object<'v>) -> Result<Envelope<'v>, Fault> {
    let sections = ["artifacts", "observations", "gates", "events", "redactions"];
    let required = ["format", "evidence_id", "run", "execution", "integrity"].into_iter().chain(sections);
    closed(envelope, &required.collect::<Vec<_>>(), &["outcome"])?;
    let execution = object(envelope, "execution")?;
    closed(execution, &["steps"], &[]).map_err(|fault| fault.under("execution"))?;

    let mut elements = Vec::new();
    for kind in Kind::ALL {
        let name = kind.section().rsplit('/').next().unwrap_or_default();
        let holder = if kind == Kind::Step { execution } else { envelope };
        let section = match holder.get(name) {
            Some(single) if kind.is_single() => std::slice::from_ref(single),
            Some(list) => list.as_list().ok_or_else(|| Fault::expected("a list").under(name))?,
            None => continue,
        };
        for (index, element) in section.iter().enumerate() {
            let read = read_element(kind, index, element);
            elements.push(read.map_err(|fault| Fault { at: kind.pointer(index) + &fault.at, ..fault })?);
        }
    }
    let (links, head) = object(envelope, "integrity")
        .and_then(|integrity| read_integrity(integrity).map_err(|fault| fault.under("integrity")))?;
    Ok((text(envelope, "evidence_id")?, elements, links, head))
}

fn read_element<'v>(kind: Kind, index: usize, element: &'v Value<'v>) -> Result<Element<'v>, Fault> {
    let members = as_object(element)?;
    check_recorded(kind, members)?;
    let seq = members.count("seq").ok_or_else(|| Fault::expected("an integer"))?;
    Ok(Element { kind, index, seq, members, canonical: members.canonical() })
}

fn read_integrity<'v>(integrity: &'v Object<'v>) -> Result<(Vec<Link>, Digest), Fault> {
    closed(integrity, &["canonicalization", "chain", "hash_chain", "head_entry_hash"], &[])?;
    text(integrity, "canonicalization")?;
    text(integrity, "chain")?;
    let links = each(integrity, "hash_chain", |link| {
        let link = as_object(link)?;
        closed(link, &["digest", "entry_hash"], &[])?;
        Ok(Link { digest: digest(link, "digest")?, entry_hash: digest(link, "entry_hash")? })
    })?;
    Ok((links, digest(integrity, "head_entry_hash")?))
}

fn read_seal<'v>(seal: &'v Object<'v>) -> Result<Seal<'v>, Fault> {
    closed(seal, &["payloadType", "payload", "signatures"], &[])?;
    let signatures = each(seal, "signatures", |signature| {
        let signature = as_object(signature)?;
        closed(signature, &["keyid", "sig"], &[])?;
        Ok(Signature { keyid: text(signature, "keyid")?, sig: base64(signature, "sig")? })
    })?;
    Ok(Seal { payload_type: text(seal, "payloadType")?, payload: base64(seal, "payload")?, signatures })
}

fn read_disclosure<'v>(disclosure: &'v Value<'v>) -> Result<Disclosed<'v>, Fault> {
    let disclosure = as_object(disclosure)?;
    closed(disclosure, &["at", "salt", "value"], &[])?;
    let salt = text(disclosure, "salt")?;
    if !is_salt(salt) {
        return Err(Fault::expected("16 bytes in base64url without padding").under("salt"));
    }
    Ok(Disclosed { at: text(disclosure, "at")?, salt, value: get(disclosure, "value")? })
}

/// 22 characters of base64url of which the last has no stray bits.
fn is_salt(salt: &str) -> bool {
    let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    salt.len() == 22 && salt.bytes().all(in_alphabet) && salt.ends_with(['A', 'Q', 'g', 'w'])
}

/// The digest of JCS(envelope), and its size. Text that is canonical as it stands is taken as it stands.
fn digest_envelope(
    envelope: &Object<'_>,
    evidence_id: &str,
    elements: &[Element<'_>],
    links: &[Link],
    head_entry_hash: Digest,
) -> (Digest, usize) {
    let text = match envelope.canonical_source() {
        Some(source) => Cow::Borrowed(source),
        None => {
            let elements: Vec<_> =
                elements.iter().map(|element| (element.kind, &*element.canonical)).collect();
            Cow::Owned(envelope_text(&EnvelopeParts {
                evidence_id,
                elements: &elements,
                links,
                head_entry_hash,
            }))
        }
    };
    (Digest::of(text.as_bytes()), text.len())
}

fn over_limit(sealed: &Sealed<'_>, envelope_bytes: usize) -> Option<(Option<String>, String)> {
    let count = sealed.links.len().max(sealed.elements.len());
    if count > MAX_ELEMENTS {
        return Some((None, format!("{count} elements; at most {MAX_ELEMENTS} are allowed")));
    }
    if envelope_bytes > MAX_ENVELOPE_BYTES {
        return Some((
            None,
            format!("an envelope of {envelope_bytes} bytes; at most {MAX_ENVELOPE_BYTES} are allowed"),
        ));
    }
    let large = sealed.elements.iter().find(|element| element.canonical.len() > MAX_ELEMENT_BYTES)?;
    let bytes = large.canonical.len();
    Some((large.at(), format!("an element of {bytes} bytes; at most {MAX_ELEMENT_BYTES} are allowed")))
}

fn closed(object: &Object<'_>, required: &[&str], optional: &[&str]) -> Result<(), Fault> {
    if let Some(missing) = required.iter().find(|name| object.get(name).is_none()) {
        return Err(Fault::from(FaultReason::Missing).under(missing));
    }
    match object.iter().find(|(name, _)| !required.contains(name) && !optional.contains(name)) {
        Some((unknown, _)) => Err(Fault::from(FaultReason::Unknown).under(unknown)),
        None => Ok(()),
    }
}

fn get<'v>(object: &'v Object<'v>, name: &str) -> Result<&'v Value<'v>, Fault> {
    object.get(name).ok_or_else(|| Fault::from(FaultReason::Missing).under(name))
}

fn as_object<'v>(value: &'v Value<'v>) -> Result<&'v Object<'v>, Fault> {
    value.as_object().ok_or_else(|| Fault::expected("an object"))
}

fn object<'v>(holder: &'v Object<'v>, name: &str) -> Result<&'v Object<'v>, Fault> {
    get(holder, name)?.as_object().ok_or_else(|| Fault::expected("an object").under(name))
}

fn text<'v>(holder: &'v Object<'v>, name: &str) -> Result<&'v str, Fault> {
    get(holder, name)?.as_text().ok_or_else(|| Fault::expected("text").under(name))
}

fn digest(holder: &Object<'_>, name: &str) -> Result<Digest, Fault> {
    let digest = holder.text(name).and_then(|text| text.parse().ok());
    digest.ok_or_else(|| Fault::expected("sha256: and 64 lower-case hex digits").under(name))
}

fn base64(holder: &Object<'_>, name: &str) -> Result<Vec<u8>, Fault> {
    let bytes = holder.text(name).and_then(dsse::decode_base64);
    bytes.ok_or_else(|| Fault::expected("standard padded base64").under(name))
}

fn each<'v, T>(
    holder: &'v Object<'v>,
    name: &str,
    read: impl Fn(&'v Value<'v>) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let items = get(holder, name)?.as_list().ok_or_else(|| Fault::expected("a list").under(name))?;
    let read = |(i, item)| read(item).map_err(|fault| fault.under(&format!("{i}")).under(name));
    items.iter().enumerate().map(read).collect()
}
