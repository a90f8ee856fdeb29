//! Stage 2: does the chain link exactly these elements, in their order, as they are?

use super::code::Code;
use super::report::{Findings, brief};
use super::stage1_schema::{Element, Sealed};
use crate::evidence::chain::{GENESIS, link};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Kind;

pub(super) fn check(sealed: &Sealed<'_>, findings: &mut Findings) {
    findings.checked(&[
        Code::ChainCoverage,
        Code::ChainOrder,
        Code::ChainEntryHashMismatch,
        Code::ChainHeadMismatch,
        Code::EnvelopeEvidenceIdMismatch,
    ]);
    let by_seq = check_coverage(sealed, findings);
    check_order(sealed, findings);
    if let Some(by_seq) = by_seq {
        findings.checked(&[Code::ChainDigestMismatch]);
        check_digests(sealed, &by_seq, findings);
        note_clock(&by_seq, findings);
    }
    check_links(sealed, findings);
    if sealed.run().text("evidence_id") != Some(sealed.evidence_id) {
        findings.fail(Code::EnvelopeEvidenceIdMismatch, || Some("/envelope/evidence_id".into()), String::new);
    }
}

/// The elements by seq, if they are exactly 0 … n−1.
fn check_coverage<'s, 'v>(sealed: &'s Sealed<'v>, findings: &mut Findings) -> Option<Vec<&'s Element<'v>>> {
    let mut by_seq: Vec<&Element<'_>> = sealed.elements.iter().collect();
    by_seq.sort_by_key(|element| element.seq);
    let gap = by_seq.iter().zip(0_u64..).find(|(element, place)| element.seq != *place);
    if let Some((element, place)) = gap {
        let detail = || format!("seq {place} expected in the order of recording, seq {} found", element.seq);
        findings.fail(Code::ChainCoverage, || element.at(), detail);
        return None;
    }
    if by_seq.len() != sealed.links.len() {
        let detail = || format!("{} elements, {} links", by_seq.len(), sealed.links.len());
        findings.fail(Code::ChainCoverage, || Some("/envelope/integrity/hash_chain".into()), detail);
        return None;
    }
    Some(by_seq)
}

fn check_order(sealed: &Sealed<'_>, findings: &mut Findings) {
    let mut before: Option<&Element<'_>> = None;
    let last = (sealed.links.len() as u64).checked_sub(1);
    for element in &sealed.elements {
        let mut fail = |detail: &dyn Fn() -> String| findings.fail(Code::ChainOrder, || element.at(), detail);
        let kind = element.members.text("type").unwrap_or_default();
        if kind != element.kind.as_str() {
            fail(&|| format!("its type is {:?}", brief(kind)));
        }
        if before.is_some_and(|before| before.kind == element.kind && before.seq >= element.seq) {
            fail(&|| "its seq is not above that of the one before".into());
        }
        if element.kind == Kind::Run && element.seq != 0 {
            fail(&|| "the run is not the first element".into());
        }
        if element.kind == Kind::Outcome && Some(element.seq) != last {
            fail(&|| "the outcome is not the last element".into());
        }
        before = Some(element);
    }
}

fn check_digests(sealed: &Sealed<'_>, by_seq: &[&Element<'_>], findings: &mut Findings) {
    for (element, link) in by_seq.iter().zip(&sealed.links) {
        if Digest::of(element.canonical.as_bytes()) != link.digest {
            let detail = || format!("{} {} is not what was recorded", element.kind, element.seq);
            findings.fail(Code::ChainDigestMismatch, || element.at(), detail);
        }
    }
}

/// Each link against the stated link before it, so that one changed link is one failure.
fn check_links(sealed: &Sealed<'_>, findings: &mut Findings) {
    let mut before = GENESIS;
    for (seq, stated) in (0_u64..).zip(&sealed.links) {
        if link(before, seq, stated.digest) != stated.entry_hash {
            let at = || Some(format!("/envelope/integrity/hash_chain/{seq}/entry_hash"));
            findings.fail(Code::ChainEntryHashMismatch, at, String::new);
        }
        before = stated.entry_hash;
    }
    if sealed.links.is_empty() || before != sealed.head_entry_hash {
        let at = || Some("/envelope/integrity/head_entry_hash".into());
        findings.fail(Code::ChainHeadMismatch, at, String::new);
    }
}

fn note_clock(by_seq: &[&Element<'_>], findings: &mut Findings) {
    let recorded_at =
        |element: &Element<'_>| element.members.text("recorded_at").unwrap_or_default().to_owned();
    for [before, after] in by_seq.array_windows() {
        if recorded_at(after) < recorded_at(before) {
            findings.note(
                Code::TimeNotAscending,
                || after.at(),
                || "recorded before the element before it".into(),
            );
        }
    }
}
