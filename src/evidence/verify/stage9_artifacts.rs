//! Stage 9: are the files that the auditor has those that were recorded?

use std::collections::{HashMap, HashSet};

use super::code::Code;
use super::held::{Held, log_artifact_id};
use super::report::Findings;
use super::stage1_schema::Sealed;
use super::stage3_references::attempt;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Kind;

/// True if something was given, and a file for every recorded artifact (logs are not asked for).
pub(super) fn check(sealed: &Sealed<'_>, held: &Held, findings: &mut Findings) -> bool {
    let given: HashSet<&str> = held.artifacts.iter().map(|given| given.artifact_id.as_str()).collect();
    if !given.is_empty() {
        findings.checked(&[Code::ArtifactUnknown, Code::ArtifactDigestMismatch]);
        check_given(sealed, held, findings);
    }
    if held.require_artifacts {
        findings.checked(&[Code::ArtifactMissing]);
    }
    let mut all_given = !given.is_empty();
    for artifact in sealed.of_kind(Kind::Artifact) {
        let id = artifact.members.text("artifact_id").unwrap_or_default();
        if given.contains(id) {
            continue;
        }
        all_given = false;
        if held.require_artifacts {
            findings.fail(
                Code::ArtifactMissing,
                || artifact.at(),
                || format!("no file was given for {id:?}"),
            );
        }
    }
    all_given
}

/// The digest and the size that were recorded under an id; the size need not have been.
type Recorded = HashMap<String, (Digest, Option<u64>)>;

fn check_given(sealed: &Sealed<'_>, held: &Held, findings: &mut Findings) {
    let recorded = recorded(sealed);
    for given in &held.artifacts {
        let id = &given.artifact_id;
        match recorded.get(id) {
            None => findings.fail(Code::ArtifactUnknown, || None, || format!("{id:?} is not recorded")),
            Some((digest, _)) if *digest != given.digest => {
                let detail = || format!("{id:?} has the digest {}, {digest} was recorded", given.digest);
                findings.fail(Code::ArtifactDigestMismatch, || None, detail);
            }
            Some((_, size)) => {
                if let Some(size) = size.filter(|size| *size != given.bytes) {
                    let detail = || format!("{id:?} has {} bytes, {size} were recorded", given.bytes);
                    findings.fail(Code::ArtifactDigestMismatch, || None, detail);
                }
            }
        }
    }
}

fn recorded(sealed: &Sealed<'_>) -> Recorded {
    let digest = |text: Option<&str>| text.and_then(|text| text.parse().ok());
    let artifacts = sealed.of_kind(Kind::Artifact).filter_map(|artifact| {
        let id = artifact.members.text("artifact_id")?;
        Some((id.to_owned(), (digest(artifact.members.text("digest"))?, artifact.members.count("size"))))
    });
    let logs = sealed.of_kind(Kind::Step).filter_map(|step| {
        let log = step.members.object("log")?;
        let id = log_artifact_id(step.members.text("step_id")?, attempt(step));
        Some((id, (digest(log.text("digest"))?, log.count("bytes"))))
    });
    artifacts.chain(logs).collect()
}
