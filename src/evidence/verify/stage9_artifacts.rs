//! Stage 9: are the files that the auditor has those that were recorded?

use std::collections::{HashMap, HashSet};

use super::code::Code;
use super::held::{GivenArtifact, Held, log_artifact_id};
use super::report::{Findings, brief};
use super::stage1_schema::Sealed;
use super::stage3_references::attempt;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Kind;

/// True if something was given, and a file for every recorded artifact (logs are not asked for).
pub(super) fn check(sealed: &Sealed<'_>, held: &Held, findings: &mut Findings) -> bool {
    let recorded = recorded(sealed);
    let given = given(&recorded, held);
    if !given.is_empty() {
        findings.checked(&[Code::ArtifactUnknown, Code::ArtifactDigestMismatch]);
        check_given(&recorded, &given, findings);
    }
    if held.require_artifacts {
        findings.checked(&[Code::ArtifactMissing]);
    }
    let ids: HashSet<&str> = given.iter().map(|given| given.artifact_id.as_str()).collect();
    let mut all_given = !given.is_empty();
    for artifact in sealed.of_kind(Kind::Artifact) {
        let id = artifact.members.text("artifact_id").unwrap_or_default();
        if ids.contains(id) {
            continue;
        }
        all_given = false;
        if held.require_artifacts {
            let detail = || format!("no file was given for {:?}", brief(id));
            findings.fail(Code::ArtifactMissing, || artifact.at(), detail);
        }
    }
    all_given
}

/// An artifact or log as recorded: its id, its digest, and its size where that was recorded.
type Recorded = (String, Digest, Option<u64>);

/// Artifacts, then logs, each in the order of its section.
fn recorded(sealed: &Sealed<'_>) -> Vec<Recorded> {
    let digest = |text: Option<&str>| text.and_then(|text| text.parse().ok());
    let artifacts = sealed.of_kind(Kind::Artifact).filter_map(|artifact| {
        let id = artifact.members.text("artifact_id")?;
        Some((id.to_owned(), digest(artifact.members.text("digest"))?, artifact.members.count("size")))
    });
    let logs = sealed.of_kind(Kind::Step).filter_map(|step| {
        let log = step.members.object("log")?;
        let id = log_artifact_id(step.members.text("step_id")?, attempt(step));
        Some((id, digest(log.text("digest"))?, log.count("bytes")))
    });
    artifacts.chain(logs).collect()
}

/// What was given by id, and what of the files has the digest of something recorded.
fn given(recorded: &[Recorded], held: &Held) -> Vec<GivenArtifact> {
    let found = recorded.iter().filter_map(|(id, digest, _)| {
        let bytes = *held.files.get(digest)?;
        Some(GivenArtifact { artifact_id: id.clone(), digest: *digest, bytes })
    });
    held.artifacts.iter().cloned().chain(found).collect()
}

fn check_given(recorded: &[Recorded], given: &[GivenArtifact], findings: &mut Findings) {
    let recorded: HashMap<&str, _> =
        recorded.iter().map(|(id, digest, size)| (id.as_str(), (digest, *size))).collect();
    for given in given {
        let id = brief(&given.artifact_id);
        match recorded.get(given.artifact_id.as_str()) {
            None => findings.fail(Code::ArtifactUnknown, || None, || format!("{id:?} is not recorded")),
            Some((digest, _)) if **digest != given.digest => {
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
