//! What was streamed of the record, to be held against what was sealed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::style::{BAD, FAINT, RESET, printable, say};
use crate::evidence::canonical::Value as Evidence;
use crate::evidence::digest::Digest;
use crate::evidence::verify::{Code, Expected, Held, Judged};

/// Elements by their place in the chain; what else the stream said of the envelope.
#[derive(Default)]
pub(super) struct Seen {
    heads: BTreeSet<(i64, Digest)>,
    evidence_id: Option<String>,
    envelope_digest: Option<String>,
}

impl Seen {
    pub(super) fn take(&mut self, event: &Value) {
        let text = |name: &str| event.get(name)?.as_str();
        let head = || Some((event.get("seq")?.as_i64()?, text("entry_hash")?.parse().ok()?));
        self.heads.extend(head());
        if text("type") == Some("run_finalized") {
            self.envelope_digest = text("envelope_digest").map(str::to_owned);
        }
        if self.evidence_id.is_none() {
            self.evidence_id = text("evidence_id").map(str::to_owned);
        }
    }

    pub(super) fn evidence_id(&self) -> Option<&str> {
        self.evidence_id.as_deref()
    }

    /// Has the verifier look for all of it, as it does for heads that were kept.
    pub(super) fn expect_in(&self, held: &mut Held) {
        held.heads.extend(&self.heads);
        let expected =
            [(Expected::EvidenceId, &self.evidence_id), (Expected::EnvelopeDigest, &self.envelope_digest)];
        held.expected.extend(expected.into_iter().filter_map(|(member, text)| Some((member, text.clone()?))));
    }

    /// Where the seal first differs from it. Of a stream that was not filtered each element has to be there.
    pub(super) fn difference(&self, judged: &Judged<'_>, is_filtered: bool) -> Option<String> {
        let links = links(judged)?;
        let differs = self
            .heads
            .iter()
            .find(|(seq, entry_hash)| sealed_at(&links, *seq) != Some(entry_hash.to_string().as_str()));
        if let Some((seq, entry_hash)) = differs {
            let sealed = sealed_at(&links, *seq).unwrap_or("nothing");
            return Some(format!(
                "the element with seq {seq} was streamed with the entry_hash {entry_hash}; sealed is {sealed}"
            ));
        }
        let came: BTreeSet<i64> = self.heads.iter().map(|(seq, _)| *seq).collect();
        let missing = (0_i64..).zip(&links).map(|(seq, _)| seq).find(|seq| !came.contains(seq));
        if let Some(seq) = missing.filter(|_| !is_filtered) {
            return Some(format!("the element with seq {seq} is sealed, and was not streamed"));
        }
        let of_the_envelope = judged.report().failed().find(|code| *code == Code::ExpectedMismatch)?;
        Some(format!("{}: another envelope was announced", of_the_envelope.as_str()))
    }

    pub(super) fn tell(&self, judged: &Judged<'_>, difference: Option<&str>) {
        let all = links(judged).map_or(0, |links| links.len());
        match difference {
            Some(difference) => say(format_args!(
                "{BAD}what was streamed is not what was sealed:{RESET} {}",
                printable(difference)
            )),
            None => say(format_args!(
                "{FAINT}{} of {all} elements were streamed, each with the entry_hash that is sealed{RESET}",
                self.heads.len()
            )),
        }
    }
}

/// The chain as it is stated.
fn links<'j>(judged: &'j Judged<'_>) -> Option<Vec<&'j str>> {
    let integrity = judged.claimed()?.object("envelope")?.object("integrity")?;
    let entry_hash = |link: &'j Evidence<'_>| link.as_object()?.text("entry_hash");
    Some(integrity.list("hash_chain")?.iter().filter_map(entry_hash).collect())
}

fn sealed_at<'l>(links: &[&'l str], seq: i64) -> Option<&'l str> {
    links.get(usize::try_from(seq).ok()?).copied()
}
