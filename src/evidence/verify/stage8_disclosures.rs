//! Stage 8: does each disclosed value match the commitment at its place?

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::code::Code;
use super::report::Findings;
use super::stage1_schema::{Disclosed, Sealed};
use crate::evidence::canonical::Value;
use crate::evidence::digest::{Digest, commitment};
use crate::evidence::envelope::{contains_commitment, pointer, stated_commitment};

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
    let mut open = HashMap::new();
    for element in &sealed.elements {
        for (name, value) in element.members.iter().filter(|(_, value)| contains_commitment(value)) {
            let mut at = format!("{}/{}", element.kind.pointer(element.index), pointer::escape(name));
            collect(value, &mut at, &mut open);
        }
    }
    if !sealed.disclosures.is_empty() {
        findings.checked(&[Code::DisclosureUnmatched, Code::DisclosureCommitmentMismatch]);
    }
    let mut values = HashMap::new();
    for (i, disclosed) in sealed.disclosures.iter().enumerate() {
        let here = || Some(format!("/disclosures/{i}"));
        match open.entry(disclosed.at.to_owned()) {
            Entry::Vacant(_) => {
                let detail = || format!("no commitment, or one disclosed already, at {:?}", disclosed.at);
                findings.fail(Code::DisclosureUnmatched, here, detail);
            }
            Entry::Occupied(committed) => {
                if matches(disclosed, committed.remove()) {
                    values.insert(disclosed.at, disclosed.value);
                } else {
                    let detail = || format!("not the value of {:?}", disclosed.at);
                    findings.fail(Code::DisclosureCommitmentMismatch, here, detail);
                }
            }
        }
    }
    Shown { values, withheld: open.len() as u64 }
}

fn matches(disclosed: &Disclosed<'_>, committed: Digest) -> bool {
    !contains_commitment(disclosed.value) && commitment(disclosed.salt, disclosed.value) == committed
}

/// All commitments in a value, by pointer. `at` is the value's own, and is the same again afterwards.
fn collect(value: &Value<'_>, at: &mut String, found: &mut HashMap<String, Digest>) {
    if let Some(digest) = stated_commitment(value) {
        found.insert(at.clone(), digest);
        return;
    }
    let here = at.len();
    let mut descend = |token: &str, value: &Value<'_>| {
        at.push('/');
        at.push_str(token);
        collect(value, at, found);
        at.truncate(here);
    };
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(name, value)| descend(&pointer::escape(name), value))
        }
        Value::List(items) => items.iter().enumerate().for_each(|(i, item)| descend(&i.to_string(), item)),
        _ => {}
    }
}
