//! Erasure of a withheld value: its commitment stays in the chain, and nothing is left that tells what was committed to.

use super::body::{Body, JournalRecord, Notice, NoticeKind};
use crate::evidence::canonical::{self, Object};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::{Kind, pointer};
use crate::evidence::record::Element;

/// The records that have to be rewritten so that the value withheld at that place is in none of them; `None` if none is withheld
/// there. Digests of the requests that brought it are replaced by `blind` ones: they would let others try their guesses.
pub fn erase(
    records: &[JournalRecord],
    at: &str,
    mut blind: impl FnMut() -> Digest,
) -> Option<Vec<JournalRecord>> {
    let withholds = |element: &&Element| element.disclosures.iter().any(|disclosure| disclosure.at == at);
    let element = records.iter().filter_map(JournalRecord::element).find(withholds)?;
    let member = member_of(element.kind, at)?;
    let of = Subject::of(element)?;
    let rewritten = records.iter().filter_map(|record| {
        let body = match &record.body {
            Body::Element(other) if other.seq == element.seq => {
                let mut element = element.clone();
                element.disclosures.retain(|disclosure| disclosure.at != at);
                Body::Element(element)
            }
            Body::Notice(notice) if of.has(notice) => Body::Notice(without(notice, &member)?),
            _ => return None,
        };
        Some(JournalRecord { request: blind(), body, ..record.clone() })
    });
    Some(rewritten.collect())
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
    Some(Notice { members: members.canonical().into_owned(), ..notice.clone() })
}

fn read(text: &str) -> Option<Object<'static>> {
    canonical::parse(text.as_bytes(), text.len()).ok()?.as_object().cloned().map(Object::into_owned)
}
