//! Stage 7: is it what the auditor expects?

use super::code::Code;
use super::held::{Expected, Held};
use super::report::Findings;
use super::stage1_schema::Sealed;
use super::stage8_disclosures::Shown;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::envelope::is_commitment;

pub(super) fn check(sealed: &Sealed<'_>, shown: &Shown<'_>, held: &Held, findings: &mut Findings) {
    if !held.heads.is_empty() {
        findings.checked(&[Code::ExpectedHeadNotFound]);
    }
    for (seq, entry_hash) in &held.heads {
        let stated = usize::try_from(*seq).ok().and_then(|seq| sealed.links.get(seq));
        if stated.is_none_or(|stated| stated.entry_hash != *entry_hash) {
            let at = || stated.map(|_| format!("/envelope/integrity/hash_chain/{seq}/entry_hash"));
            findings.fail(Code::ExpectedHeadNotFound, at, || format!("{entry_hash} expected at seq {seq}"));
        }
    }
    if !held.expected.is_empty() {
        findings.checked(&[Code::ExpectedMismatch]);
    }
    for (member, wanted) in &held.expected {
        let found = fact(sealed, shown, *member);
        if found.as_deref() != Some(wanted) {
            let found = found.map_or_else(|| "nothing".to_owned(), |found| format!("{found:?}"));
            let detail = || format!("{} is {found}, {wanted:?} expected", member.as_str());
            findings.fail(Code::ExpectedMismatch, || None, detail);
        }
    }
}

fn fact(sealed: &Sealed<'_>, shown: &Shown<'_>, member: Expected) -> Option<String> {
    let own = |text: &str| text.to_owned();
    match member {
        Expected::CommitSha => commit_sha(sealed.run(), shown).map(own),
        Expected::EnvelopeDigest => Some(sealed.envelope_digest.to_string()),
        Expected::EvidenceId => Some(own(sealed.evidence_id)),
        Expected::Project => sealed.run().text("project").map(own),
        Expected::Result => sealed.outcome().and_then(|outcome| outcome.text("result")).map(own),
        Expected::RunId => sealed.run().text("run_id").map(own),
    }
}

/// A withheld one counts when it is disclosed and matches its commitment.
fn commit_sha<'s>(run: &'s Object<'_>, shown: &'s Shown<'_>) -> Option<&'s str> {
    let open =
        |value: &'s Value<'s>, at: &str| if is_commitment(value) { shown.value(at) } else { Some(value) };
    let subject = open(run.get("subject")?, "/run/subject")?.as_object()?;
    open(subject.get("commit_sha")?, "/run/subject/commit_sha")?.as_text()
}
