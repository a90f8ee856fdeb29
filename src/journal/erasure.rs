//! Erasure of a withheld value: its commitment stays in the chain, and nothing is left that tells what was committed to.

use std::collections::{BTreeMap, BTreeSet};

use super::body::{Body, JournalRecord, Notice, NoticeKind};
use crate::evidence::canonical::{self, Object};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::{Kind, pointer};
use crate::evidence::record::Element;

/// What has to be rewritten so that a value is gone.
#[derive(Clone, Debug, PartialEq)]
pub struct Erased {
    /// Without the value, and without the digests of the requests that brought it: they would let others try their guesses.
    pub records: Vec<JournalRecord>,
    /// Those digests.
    pub requests: BTreeSet<Digest>,
}

/// Erases the value withheld at that place; `None` if none is. `blind` gives what stands in place of a digest.
pub fn erase(records: &[JournalRecord], at: &str, mut blind: impl FnMut() -> Digest) -> Option<Erased> {
    let withholds = |element: &&Element| element.disclosures.iter().any(|disclosure| disclosure.at == at);
    let element = records.iter().filter_map(JournalRecord::element).find(withholds)?;
    let member = member_of(element.kind, at)?;
    let of = Subject::of(element)?;
    let mut bodies: BTreeMap<u64, Body> = BTreeMap::new();
    for record in records {
        match &record.body {
            Body::Element(other) if other.seq == element.seq => {
                let mut element = element.clone();
                element.disclosures.retain(|disclosure| disclosure.at != at);
                bodies.insert(record.pos, Body::Element(element));
            }
            Body::Notice(notice) if of.has(notice) => {
                let rest = without(notice, &member).map(Body::Notice);
                bodies.extend(rest.map(|rest| (record.pos, rest)));
            }
            _ => {}
        }
    }
    let brought = records.iter().filter(|record| bodies.contains_key(&record.pos));
    let requests: BTreeSet<Digest> = brought.map(|record| record.request).collect();
    // What else came of the same requests tells as much of them.
    let concerned = records.iter().filter(|record| requests.contains(&record.request));
    let records = concerned.map(|record| JournalRecord {
        request: blind(),
        body: bodies.remove(&record.pos).unwrap_or_else(|| record.body.clone()),
        ..record.clone()
    });
    Some(Erased { records: records.collect(), requests })
}

/// The member of the element that the pointer leads into.
fn member_of(kind: Kind, at: &str) -> Option<String> {
    let section = kind.section().split('/').skip(1).count();
    let inner = if kind.is_single() { section } else { section.saturating_add(1) };
    pointer::tokens(at)?.into_iter().nth(inner)
}

/// What an element and the notices before it are about.
#[derive(PartialEq)]
enum Subject {
    Gate(String),
    Run,
    Step(String, u64),
}

impl Subject {
    fn of(element: &Element) -> Option<Self> {
        let members = read(&element.text)?;
        Some(match element.kind {
            Kind::Step => step(&members),
            Kind::Gate => gate(&members),
            _ => Subject::Run,
        })
    }

    fn has(&self, notice: &Notice) -> bool {
        let Some(members) = read(&notice.members) else { return false };
        *self
            == match notice.kind {
                NoticeKind::StepStarted => step(&members),
                NoticeKind::GateOpened => gate(&members),
                NoticeKind::AbortRequested => Subject::Run,
            }
    }
}

fn step(members: &Object<'_>) -> Subject {
    let step_id = members.text("step_id").unwrap_or_default().to_owned();
    Subject::Step(step_id, members.count("attempt").unwrap_or(1))
}

fn gate(members: &Object<'_>) -> Subject {
    Subject::Gate(members.text("gate_id").unwrap_or_default().to_owned())
}

/// The notice without that member, all of it: `None` if it has none.
fn without(notice: &Notice, member: &str) -> Option<Notice> {
    let mut members = read(&notice.members)?;
    members.remove(member)?;
    let mut redacted = notice.redacted.clone();
    redacted.retain(|redacted| redacted.member() != member);
    Some(Notice { members: members.canonical().into_owned(), redacted, ..notice.clone() })
}

fn read(text: &str) -> Option<Object<'static>> {
    canonical::parse(text.as_bytes(), text.len()).ok()?.as_object().cloned().map(Object::into_owned)
}
