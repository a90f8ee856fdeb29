//! Stage 8: does each disclosed value match the commitment at its place?

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::code::Code;
use super::report::{Findings, brief};
use super::stage1_schema::{Disclosed, Sealed};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::{Digest, commitment};
use crate::evidence::envelope::{Kind, contains_commitment, locate, pointer, stated_commitment};

/// What is disclosed and matches its commitment, and how much is not disclosed.
pub(super) struct Shown<'v> {
    values: HashMap<&'v str, &'v Value<'v>>,
    pub(super) withheld: u64,
}

impl<'v> Shown<'v> {
    /// The value at this pointer into the envelope.
    pub(super) fn value(&self, at: &str) -> Option<&'v Value<'v>> {
        self.values.get(at).copied()
    }
}

pub(super) fn check<'v>(sealed: &Sealed<'v>, findings: &mut Findings) -> Shown<'v> {
    if !sealed.disclosures.is_empty() {
        findings.checked(&[Code::DisclosureUnmatched, Code::DisclosureCommitmentMismatch]);
    }
    let elements: Elements<'_> = sealed.elements.iter().map(|e| ((e.kind, e.index), e.members)).collect();
    // A place has one pointer, so that one place is opened once.
    let mut opened: HashMap<&str, Option<&Value<'_>>> = HashMap::new();
    for (i, disclosed) in sealed.disclosures.iter().enumerate() {
        let here = || Some(format!("/disclosures/{i}"));
        match (commitment_at(&elements, disclosed.at), opened.entry(disclosed.at)) {
            (Some(committed), Entry::Vacant(place)) if matches(disclosed, committed) => {
                place.insert(Some(disclosed.value));
            }
            (Some(_), Entry::Vacant(place)) => {
                place.insert(None);
                let detail = || format!("not the value of {:?}", brief(disclosed.at));
                findings.fail(Code::DisclosureCommitmentMismatch, here, detail);
            }
            _ => {
                let detail =
                    || format!("no commitment, or one disclosed already, at {:?}", brief(disclosed.at));
                findings.fail(Code::DisclosureUnmatched, here, detail);
            }
        }
    }
    let committed: u64 = sealed.elements.iter().map(|element| count_in(element.members)).sum();
    let withheld = committed.saturating_sub(opened.len() as u64);
    Shown { values: opened.into_iter().filter_map(|(at, value)| Some((at, value?))).collect(), withheld }
}

type Elements<'v> = HashMap<(Kind, usize), &'v Object<'v>>;

/// The commitment at a pointer into the envelope.
fn commitment_at(elements: &Elements<'_>, at: &str) -> Option<Digest> {
    let (kind, index, path) = locate(&pointer::tokens(at)?)?;
    let index = if kind.is_single() { 0 } else { pointer::index(&index)? };
    let (member, inner) = path.split_first()?;
    let mut value = elements.get(&(kind, index))?.get(member)?;
    for token in inner {
        value = match value {
            Value::Object(object) => object.get(token)?,
            Value::List(items) => items.get(pointer::index(token)?)?,
            _ => return None,
        };
    }
    stated_commitment(value)
}

fn matches(disclosed: &Disclosed<'_>, committed: Digest) -> bool {
    !contains_commitment(disclosed.value) && commitment(disclosed.salt, disclosed.value) == committed
}

/// How many commitments there are; nothing stands inside one.
fn count_in(object: &Object<'_>) -> u64 {
    object.iter().map(|(_, value)| count(value)).sum()
}

fn count(value: &Value<'_>) -> u64 {
    match value {
        Value::Object(object) if stated_commitment(value).is_none() => count_in(object),
        Value::Object(_) => 1,
        Value::List(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}
