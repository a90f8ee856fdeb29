//! The records of a journal, and their stored form.

use super::redacted::Redacted;
use crate::evidence::canonical::{self, Object, Value};
use crate::evidence::chain::{Head, Link};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::{Disclosure, Kind};
use crate::evidence::record::Element;
use crate::evidence::time::Timestamp;

/// The place of a record in its run's journal, from 0.
pub type Pos = u64;

/// One record: an element of the envelope, or a notice that is not evidence itself.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalRecord {
    /// Its place.
    pub pos: Pos,
    /// When it was recorded.
    pub at: Timestamp,
    /// Of the request that asked for it.
    pub request: Digest,
    /// What it is.
    pub body: Body,
}

/// What a record is.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// An element, linked.
    Element(Element),
    /// Something that matters to who watches.
    Notice(Notice),
    /// The run is sealed: always the last record.
    Sealed {
        /// Of the envelope that was sealed.
        envelope_digest: Digest,
    },
}

/// What is told, and is not itself evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Of what.
    pub kind: NoticeKind,
    /// Its members, canonical.
    pub members: String,
    /// What was masked in them, for the element that it becomes.
    pub redacted: Vec<Redacted>,
}

/// What a notice tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Somebody asked the producer to stop.
    AbortRequested,
    /// The run needs input.
    GateOpened,
    /// A step began.
    StepStarted,
}

/// What was answered for one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The record's place in the journal.
    pub pos: Pos,
    /// The element's place and hash; a notice has none.
    pub head: Option<Head>,
}

/// What an idempotency key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Of the request.
    pub request: Digest,
    /// Where its entries stand: first and last places of stretches, in the order of the answer.
    pub stretches: Vec<(Pos, Pos)>,
    /// What the chain was after it.
    pub head: Head,
}

impl KeyUse {
    /// Of the entries that were answered.
    pub fn new(request: Digest, receipts: &[Receipt], head: Head) -> Self {
        let mut stretches: Vec<(Pos, Pos)> = Vec::new();
        for Receipt { pos, .. } in receipts {
            match stretches.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(*pos) => *last = *pos,
                _ => stretches.push((*pos, *pos)),
            }
        }
        Self { request, stretches, head }
    }

    /// The places, in the order of the answer.
    pub fn positions(&self) -> impl Iterator<Item = Pos> {
        self.stretches.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.request.as_bytes());
        out.extend(self.head.seq.to_be_bytes());
        out.extend(self.head.entry_hash.as_bytes());
        for (first, last) in &self.stretches {
            out.extend(first.to_be_bytes());
            out.extend(last.to_be_bytes());
        }
        out
    }

    /// Reads the stored form; `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let request = reader.digest()?;
        let head = Head { seq: reader.number()?, entry_hash: reader.digest()? };
        let mut stretches = Vec::new();
        while !reader.0.is_empty() {
            stretches.push((reader.number()?, reader.number()?));
        }
        Some(Self { request, stretches, head })
    }
}

const SEALED: u8 = 0x20;
const NOTICES: [(u8, NoticeKind); 3] =
    [(0x10, NoticeKind::StepStarted), (0x11, NoticeKind::GateOpened), (0x12, NoticeKind::AbortRequested)];

impl JournalRecord {
    /// The stored form: a tag, what all records have, then what this one has. Element tags are their place in [`Kind::ALL`].
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.push(self.tag());
        out.extend(self.at.unix_ms().to_be_bytes());
        out.extend(self.request.as_bytes());
        match &self.body {
            Body::Element(element) => {
                out.extend(element.seq.to_be_bytes());
                out.extend(element.link.digest.as_bytes());
                out.extend(element.link.entry_hash.as_bytes());
                put_text(&mut out, &element.text);
                for disclosure in &element.disclosures {
                    put_text(&mut out, &Value::from(disclosure.clone()).canonical());
                }
            }
            Body::Notice(notice) => {
                put_text(&mut out, &notice.members);
                if !notice.redacted.is_empty() {
                    put_text(&mut out, &Redacted::encode(&notice.redacted));
                }
            }
            Body::Sealed { envelope_digest } => out.extend(envelope_digest.as_bytes()),
        }
        out
    }

    /// Reads the stored form; `None` if it is none.
    pub fn decode(pos: Pos, bytes: &[u8]) -> Option<Self> {
        let (&tag, rest) = bytes.split_first()?;
        let mut reader = Reader(rest);
        let at = Timestamp::from_unix_ms(i64::from_be_bytes(reader.array()?));
        let request = reader.digest()?;
        let body = if let Some(kind) = Kind::ALL.get(usize::from(tag)) {
            let seq = reader.number()?;
            let link = Link { digest: reader.digest()?, entry_hash: reader.digest()? };
            let text = reader.text()?;
            let mut disclosures = Vec::new();
            while !reader.0.is_empty() {
                disclosures.push(read_disclosure(&reader.text()?)?);
            }
            Body::Element(Element { kind: *kind, text, link, seq, recorded_at: at, disclosures })
        } else if let Some((_, kind)) = NOTICES.iter().find(|(notice, _)| *notice == tag) {
            let members = reader.text()?;
            let redacted = if reader.0.is_empty() { Vec::new() } else { read_redacted(&reader.text()?)? };
            Body::Notice(Notice { kind: *kind, members, redacted })
        } else if tag == SEALED {
            Body::Sealed { envelope_digest: reader.digest()? }
        } else {
            return None;
        };
        Some(Self { pos, at, request, body })
    }

    /// The element, if it is one.
    pub fn element(&self) -> Option<&Element> {
        match &self.body {
            Body::Element(element) => Some(element),
            _ => None,
        }
    }

    /// What is answered for it.
    pub fn receipt(&self) -> Receipt {
        Receipt { pos: self.pos, head: self.element().map(Element::head) }
    }

    fn tag(&self) -> u8 {
        match &self.body {
            Body::Element(element) => {
                let place = Kind::ALL.iter().position(|kind| *kind == element.kind);
                place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
            }
            Body::Notice(notice) => {
                NOTICES.iter().find(|(_, kind)| *kind == notice.kind).map_or(u8::MAX, |(tag, _)| *tag)
            }
            Body::Sealed { .. } => SEALED,
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_be_bytes());
    out.extend(text.as_bytes());
}

fn read_disclosure(text: &str) -> Option<Disclosure> {
    let value = canonical::parse(text.as_bytes(), text.len()).ok()?;
    let object: &Object<'_> = value.as_object()?;
    Some(Disclosure {
        at: object.text("at")?.to_owned(),
        salt: object.text("salt")?.to_owned(),
        value: object.get("value")?.clone().into_owned(),
    })
}

fn read_redacted(text: &str) -> Option<Vec<Redacted>> {
    Redacted::decode(&canonical::parse(text.as_bytes(), text.len()).ok()?)
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn digest(&mut self) -> Option<Digest> {
        self.array().map(Digest::from_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let bytes = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.take(bytes)?).ok().map(str::to_owned)
    }
}
