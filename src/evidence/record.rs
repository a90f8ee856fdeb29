//! Elements recorded one after the other: each checked, canonical, linked, and within what the format allows.

use std::collections::BTreeMap;
use std::fmt;

use super::canonical::{Object, Value};
use super::chain::{GENESIS, Head, Link, link};
use super::consistency::{Conflict, Mark, Recorded};
use super::digest::Digest;
use super::envelope::limits::{Limits, MAX_REPORTER_BYTES};
use super::envelope::{Disclosure, Fault, Kind, PrivateMembers, check_ingest, commitment_bytes};
use super::key::SigningKey;
use super::seal::{Parts, SealError, Sealed, envelope_of, seal};
use super::time::Timestamp;

/// Why an element cannot be recorded.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordError {
    /// Anything after the outcome.
    AfterOutcome,
    /// The element does not agree with what was recorded before.
    Conflict(Conflict),
    /// The element breaks the model or its limits.
    Element(Fault),
    /// The element is larger than is allowed, as it came or with what is withheld.
    ElementTooLarge {
        /// Its size in canonical form.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// The first element is not the run, or a later one is.
    Order,
    /// There would be more elements or bytes in the run than are allowed, counting what its close still needs.
    RunFull {
        /// How many elements there may be.
        max_elements: usize,
        /// How many bytes the envelope may have.
        max_bytes: usize,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::AfterOutcome => {
                f.write_str("the run is closed; nothing can be recorded after its outcome")
            }
            RecordError::Conflict(conflict) => write!(f, "{conflict}"),
            RecordError::Element(fault) => write!(f, "{fault}"),
            RecordError::ElementTooLarge { bytes, max } => {
                write!(f, "an element of {bytes} bytes; at most {max} are allowed")
            }
            RecordError::Order => f.write_str("a record begins with its run, and has one"),
            RecordError::RunFull { max_elements, max_bytes } => write!(
                f,
                "the run is full: more than {max_elements} elements or {max_bytes} bytes, counting what its close needs; \
                 close it, and go on in a new run with a link `previous`"
            ),
        }
    }
}

impl std::error::Error for RecordError {}

impl From<Fault> for RecordError {
    fn from(fault: Fault) -> Self {
        RecordError::Element(fault)
    }
}

impl From<Conflict> for RecordError {
    fn from(conflict: Conflict) -> Self {
        RecordError::Conflict(conflict)
    }
}

/// One element as it is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// Which section it is of.
    pub kind: Kind,
    /// Its canonical form.
    pub text: String,
    /// Its link of the chain.
    pub link: Link,
    /// Its place.
    pub seq: u64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// What was withheld from it.
    pub disclosures: Vec<Disclosure>,
}

impl Element {
    /// What the chain is once it ends with this element.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, entry_hash: self.link.entry_hash }
    }
}

/// How much room something takes in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Elements.
    pub elements: usize,
    /// Bytes of the envelope, but for its frame.
    pub envelope: usize,
    /// Bytes of the envelope if nothing in it were withheld.
    pub open: usize,
    /// Bytes of the disclosures.
    pub disclosures: usize,
}

impl Size {
    /// A link with its comma, and the comma of its element.
    const LINK: usize = 181;

    /// Of one element: what it was before anything was withheld follows from what is left and what was taken.
    fn of(text: &str, disclosures: &[Disclosure]) -> Self {
        let linked = text.len().saturating_add(Self::LINK);
        let mut size = Self { elements: 1, envelope: linked, open: linked, disclosures: 0 };
        for disclosure in disclosures {
            let value = disclosure.value.canonical().len();
            size.open = size.open.saturating_add(value).saturating_sub(commitment_bytes());
            let whole = Value::from(disclosure.clone()).canonical().len();
            size.disclosures = size.disclosures.saturating_add(whole).saturating_add(1);
        }
        size
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            elements: self.elements.saturating_add(other.elements),
            envelope: self.envelope.saturating_add(other.envelope),
            open: self.open.saturating_add(other.open),
            disclosures: self.disclosures.saturating_add(other.disclosures),
        }
    }

    /// Room for either.
    pub fn at_least(self, other: Self) -> Self {
        Self {
            elements: self.elements.max(other.elements),
            envelope: self.envelope.max(other.envelope),
            open: self.open.max(other.open),
            disclosures: self.disclosures.max(other.disclosures),
        }
    }

    /// This without the other.
    pub fn minus(self, other: Self) -> Self {
        Self {
            elements: self.elements.saturating_sub(other.elements),
            envelope: self.envelope.saturating_sub(other.envelope),
            open: self.open.saturating_sub(other.open),
            disclosures: self.disclosures.saturating_sub(other.disclosures),
        }
    }

    fn fits(self, limits: &Limits) -> bool {
        let within = |used: usize, most: usize| used.saturating_add(limits.frame_bytes) <= most;
        self.elements <= limits.max_elements
            && within(self.envelope, limits.max_envelope_bytes)
            && within(self.open, limits.max_envelope_bytes)
            && within(self.envelope.saturating_add(self.disclosures), limits.max_file_bytes)
    }
}

/// What surrounds the recording of one element.
pub struct Circumstances<'c> {
    /// When it is recorded; an earlier moment than that of the element before counts as that one.
    pub now: Timestamp,
    /// What is withheld.
    pub private: &'c PrivateMembers,
    /// 16 fresh random bytes at each call.
    pub salt: &'c mut dyn FnMut() -> [u8; 16],
    /// What may be how large.
    pub limits: &'c Limits,
    /// Room that must be left for what the run's close will record, but for the outcome.
    pub reserve: Size,
}

/// What the next element of a run depends on: everything about those before but their texts.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    last: Option<Kind>,
    counts: BTreeMap<Kind, usize>,
    recorded: Recorded,
    head: Option<Head>,
    last_at: Option<Timestamp>,
    size: Size,
}

/// A tally as it was, to go back to.
#[derive(Clone, Debug)]
pub struct Savepoint {
    last: Option<Kind>,
    counts: BTreeMap<Kind, usize>,
    recorded: Mark,
    head: Option<Head>,
    last_at: Option<Timestamp>,
    size: Size,
}

impl Tally {
    /// The next element: `members` are those of its kind without `type`, `seq` and `recorded_at`, which are given here.
    /// Nothing is changed; [`record`](Self::record) takes it, and the members as they are recorded, which come with it.
    pub fn next(
        &self,
        kind: Kind,
        mut members: Object<'static>,
        around: &mut Circumstances<'_>,
    ) -> Result<(Element, Object<'static>), RecordError> {
        match self.last {
            None if kind != Kind::Run => return Err(RecordError::Order),
            Some(_) if kind == Kind::Run => return Err(RecordError::Order),
            Some(Kind::Outcome) => return Err(RecordError::AfterOutcome),
            _ => {}
        }
        members.insert("type", kind.as_str());
        check_ingest(kind, &members)?;
        self.recorded.check(kind, &members)?;
        let recorded_at = self.last_at.map_or(around.now, |last| last.max(around.now));
        let seq = self.next_seq();
        members.insert("recorded_at", recorded_at);
        members.insert("seq", Value::count(seq));
        let disclosures = around.private.withhold(kind, Some(self.count(kind)), &mut members, around.salt);
        let text = members.canonical().into_owned();
        let size = Size::of(&text, &disclosures);
        check_size(size, around.limits)?;
        self.check_room(kind, size, around)?;

        let digest = Digest::of(&text);
        let before = self.head.map_or(GENESIS, |head| head.entry_hash);
        let link = Link { digest, entry_hash: link(before, seq, digest) };
        Ok((Element { kind, text, link, seq, recorded_at, disclosures }, members))
    }

    /// Takes an element that [`next`](Self::next) gave, or that was read back; `members` are those of its text.
    pub fn record(&mut self, element: &Element, members: &Object<'_>) {
        self.recorded.record(element.kind, members);
        let count = self.counts.entry(element.kind).or_default();
        *count = count.saturating_add(1);
        self.size = self.size.plus(Size::of(&element.text, &element.disclosures));
        self.last = Some(element.kind);
        self.last_at = Some(element.recorded_at);
        self.head = Some(element.head());
    }

    /// How much room an element would take that has these members, whatever its place; what could not be recorded is refused.
    pub fn size_of(
        &self,
        kind: Kind,
        members: &Object<'static>,
        private: &PrivateMembers,
        limits: &Limits,
    ) -> Result<Size, RecordError> {
        let mut members = members.clone();
        members.insert("type", kind.as_str());
        check_ingest(kind, &members)?;
        self.recorded.check_citations_of(kind, &members)?;
        members.insert("recorded_at", Timestamp::from_unix_ms(0));
        members.insert("seq", Value::count(super::envelope::limits::MAX_ELEMENTS as u64));
        // Whoever will report it has a name of at most that length.
        members.insert("reported_by", Object::from_iter([("name", "x".repeat(MAX_REPORTER_BYTES))]));
        let disclosures = private.withhold(kind, None, &mut members, &mut || [0; 16]);
        let size = Size::of(&members.canonical(), &disclosures);
        check_size(size, limits).map(|()| size)
    }

    /// The last element's place and hash.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// How many elements of that kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// What later elements are held against.
    pub fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    /// Remembers how things are.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint {
            last: self.last,
            counts: self.counts.clone(),
            recorded: self.recorded.mark(),
            head: self.head,
            last_at: self.last_at,
            size: self.size,
        }
    }

    /// Makes things as they were.
    pub fn revert(&mut self, to: Savepoint) {
        self.recorded.revert(to.recorded);
        (self.last, self.counts, self.head, self.last_at, self.size) =
            (to.last, to.counts, to.head, to.last_at, to.size);
    }

    /// Forgets all savepoints.
    pub fn settle(&mut self) {
        self.recorded.settle();
    }

    fn next_seq(&self) -> u64 {
        self.head.map_or(0, |head| head.seq.saturating_add(1))
    }

    /// Whether there is room for that much and an outcome, as large as one may be.
    pub fn check_reserve(&self, reserve: Size, limits: &Limits) -> Result<(), RecordError> {
        let bytes = limits.max_element_bytes.saturating_add(Size::LINK);
        let outcome = Size { elements: 1, envelope: bytes, open: bytes, disclosures: bytes };
        self.check_fit(reserve.plus(outcome), limits)
    }

    fn check_room(&self, kind: Kind, size: Size, around: &Circumstances<'_>) -> Result<(), RecordError> {
        match kind {
            Kind::Outcome => self.check_fit(size, around.limits),
            _ => self.check_reserve(around.reserve.plus(size), around.limits),
        }
    }

    fn check_fit(&self, more: Size, limits: &Limits) -> Result<(), RecordError> {
        match self.size.plus(more).fits(limits) {
            true => Ok(()),
            false => Err(RecordError::RunFull {
                max_elements: limits.max_elements,
                max_bytes: limits.max_envelope_bytes,
            }),
        }
    }
}

fn check_size(size: Size, limits: &Limits) -> Result<(), RecordError> {
    let bytes = size.envelope.max(size.open).saturating_sub(Size::LINK);
    let max = limits.max_element_bytes;
    if bytes > max { Err(RecordError::ElementTooLarge { bytes, max }) } else { Ok(()) }
}

/// A run's record that is kept in memory while it grows.
#[derive(Clone, Debug, Default)]
pub struct Record {
    tally: Tally,
    elements: Vec<(Kind, String)>,
    links: Vec<Link>,
    disclosures: Vec<Disclosure>,
}

impl Record {
    /// A record without elements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records one element; see [`Tally::next`]. On an error nothing is recorded.
    pub fn push(
        &mut self,
        kind: Kind,
        members: Object<'static>,
        now: Timestamp,
        private: &PrivateMembers,
        salt: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<Head, RecordError> {
        let limits = &Limits::default();
        let reserve = Size::default();
        let around = &mut Circumstances { now, private, salt, limits, reserve };
        let (element, members) = self.tally.next(kind, members, around)?;
        self.tally.record(&element, &members);
        self.tally.settle();
        self.links.push(element.link);
        let head = element.head();
        self.disclosures.extend(element.disclosures);
        self.elements.push((kind, element.text));
        Ok(head)
    }

    /// The canonical text of the envelope so far.
    pub fn envelope_text(&self) -> String {
        self.with_parts(envelope_of)
    }

    /// Seals the record with these keys. `now` is when; `sealed_at` is not before anything recorded.
    pub fn seal(&self, now: Timestamp, keys: &[&SigningKey]) -> Result<Sealed, SealError> {
        self.with_parts(|parts| seal(parts, now, keys))
    }

    fn with_parts<T>(&self, take: impl FnOnce(&Parts<'_>) -> T) -> T {
        let elements: Vec<(Kind, &str)> =
            self.elements.iter().map(|(kind, text)| (*kind, text.as_str())).collect();
        take(&Parts { elements: &elements, links: &self.links, disclosures: &self.disclosures })
    }
}
