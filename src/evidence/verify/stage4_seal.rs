//! Stage 4: is there a seal where one must be, and is it over this envelope?

use super::code::Code;
use super::report::{Findings, brief};
use super::stage1_schema::Sealed;
use crate::evidence::canonical::{self, Object, Value};
use crate::evidence::digest::{Digest, merkle_root};
use crate::evidence::dsse::{MAX_ARTIFACT_SUBJECTS, PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE};
use crate::evidence::envelope::limits::MAX_FILE_BYTES;
use crate::evidence::envelope::{ENVELOPE_FORMAT, Kind, RESULTS};
use crate::evidence::time::Timestamp;

/// What the key holder said, read from the signed payload.
pub(super) struct Statement {
    subjects: Vec<Object<'static>>,
    envelope_digest: Digest,
    evidence_id: String,
    run_id: String,
    pub(super) project: String,
    result: String,
    entries: u64,
    head_entry_hash: Digest,
    entries_root: Digest,
    artifacts: u64,
    pub(super) sealed_at: Timestamp,
}

/// The statement, if there is one that can be read and an outcome for it to be about.
pub(super) fn check(sealed: &Sealed<'_>, findings: &mut Findings) -> Option<Statement> {
    if sealed.outcome().is_some() || sealed.seal.is_some() {
        findings.checked(&[Code::OutcomeMissing, Code::SealMissing]);
    }
    let Some(seal) = &sealed.seal else {
        if sealed.outcome().is_some() {
            findings.fail(Code::SealMissing, || None, String::new);
        }
        return None;
    };
    findings.checked(&[Code::SealPayloadType]);
    if seal.payload_type != PAYLOAD_TYPE {
        let detail = || format!("{:?}, and not {PAYLOAD_TYPE:?}", brief(seal.payload_type));
        findings.fail(Code::SealPayloadType, || Some("/seal/payloadType".into()), detail);
    }
    if sealed.outcome().is_none() {
        findings.fail(Code::OutcomeMissing, || None, String::new);
        return None;
    }
    findings.checked(&[Code::SealStatementInvalid]);
    match read_statement(&seal.payload) {
        Err(detail) => {
            findings.fail(Code::SealStatementInvalid, || Some("/seal/payload".into()), || detail);
            None
        }
        Ok(statement) => {
            check_statement(sealed, &statement, findings);
            Some(statement)
        }
    }
}

fn read_statement(payload: &[u8]) -> Result<Statement, String> {
    let statement =
        canonical::parse(payload, MAX_FILE_BYTES).map_err(|e| format!("{}: {e}", e.code.as_str()))?;
    let statement = statement.as_object().ok_or("an object expected")?;
    let predicate = statement.object("predicate").ok_or("predicate: an object expected")?;
    let is = |object: &Object<'_>, name: &str, wanted: &str| {
        let found = object.text(name) == Some(wanted);
        found.then_some(()).ok_or_else(|| format!("{name}: {wanted:?} expected"))
    };
    is(statement, "_type", STATEMENT_TYPE)?;
    is(statement, "predicateType", PREDICATE_TYPE)?;
    is(predicate, "format", ENVELOPE_FORMAT)?;
    let sealer = predicate.object("sealer").ok_or("sealer: an object expected")?;
    text(sealer, "name")?;
    text(sealer, "version")?;
    let result = text(predicate, "result")?;
    Ok(Statement {
        subjects: read_subjects(statement)
            .ok_or("subject: a list of objects with name and digest expected")?,
        envelope_digest: digest(predicate, "envelope_digest")?,
        evidence_id: text(predicate, "evidence_id")?,
        run_id: text(predicate, "run_id")?,
        project: text(predicate, "project")?,
        result: RESULTS.contains(&result.as_str()).then_some(result).ok_or("result: no such result")?,
        entries: count(predicate, "entries")?,
        head_entry_hash: digest(predicate, "head_entry_hash")?,
        entries_root: digest(predicate, "entries_root")?,
        artifacts: count(predicate, "artifacts")?,
        sealed_at: text(predicate, "sealed_at")?.parse().map_err(|e| format!("sealed_at: {e}"))?,
    })
}

fn read_subjects(statement: &Object<'_>) -> Option<Vec<Object<'static>>> {
    let subjects = statement.list("subject")?;
    let formed = |subject: &Value<'_>| {
        let subject = subject.as_object();
        subject.is_some_and(|subject| subject.text("name").is_some() && subject.object("digest").is_some())
    };
    if !subjects.iter().all(formed) {
        return None;
    }
    // More are never compared.
    let compared = subjects.iter().take(MAX_ARTIFACT_SUBJECTS.saturating_add(1)).filter_map(Value::as_object);
    Some(compared.map(|subject| subject.clone().into_owned()).collect())
}

fn text(object: &Object<'_>, name: &str) -> Result<String, String> {
    object.text(name).map(str::to_owned).ok_or_else(|| format!("{name}: text expected"))
}

fn count(object: &Object<'_>, name: &str) -> Result<u64, String> {
    object.count(name).ok_or_else(|| format!("{name}: an integer, 0 or more, expected"))
}

fn digest(object: &Object<'_>, name: &str) -> Result<Digest, String> {
    text(object, name)?.parse().map_err(|e| format!("{name}: {e}"))
}

fn check_statement(sealed: &Sealed<'_>, statement: &Statement, findings: &mut Findings) {
    findings.checked(&[
        Code::SealSubjectMismatch,
        Code::SealHeadMismatch,
        Code::SealEntriesMismatch,
        Code::SealRootMismatch,
        Code::SealPredicateMismatch,
        Code::SealTimeContradiction,
    ]);
    let mut hold = |held: bool, code: Code, detail: &dyn Fn() -> String| {
        if !held {
            findings.fail(code, || Some("/seal/payload".into()), detail);
        }
    };
    hold(statement.envelope_digest == sealed.envelope_digest, Code::SealSubjectMismatch, &|| {
        format!("sealed was {}, this envelope is {}", statement.envelope_digest, sealed.envelope_digest)
    });
    hold(subjects_begin_as_they_must(sealed, statement), Code::SealSubjectMismatch, &|| {
        "the subjects are not this envelope and its artifacts".into()
    });
    hold(statement.head_entry_hash == sealed.head_entry_hash, Code::SealHeadMismatch, &String::new);
    let links = sealed.links.len() as u64;
    hold(statement.entries == links, Code::SealEntriesMismatch, &|| {
        format!("{} elements were sealed, {links} are here", statement.entries)
    });
    let root = merkle_root(sealed.links.iter().map(|link| link.digest));
    hold(statement.entries_root == root, Code::SealRootMismatch, &String::new);

    let artifacts = sealed.of_kind(Kind::Artifact).count() as u64;
    let result = sealed.outcome().and_then(|outcome| outcome.text("result")).unwrap_or_default();
    let named = [
        ("evidence_id", statement.evidence_id.as_str(), sealed.evidence_id),
        ("run_id", &statement.run_id, sealed.run().text("run_id").unwrap_or_default()),
        ("project", &statement.project, sealed.run().text("project").unwrap_or_default()),
        ("result", &statement.result, result),
    ];
    for (member, said, is) in named {
        hold(said == is, Code::SealPredicateMismatch, &|| {
            format!("{member}: sealed was {:?}, here is {:?}", brief(said), brief(is))
        });
    }
    hold(statement.artifacts == artifacts, Code::SealPredicateMismatch, &|| {
        format!("artifacts: {} were sealed, {artifacts} are here", statement.artifacts)
    });
    let sealed_at = statement.sealed_at.to_string();
    for element in &sealed.elements {
        let recorded_at = element.members.text("recorded_at").unwrap_or_default();
        hold(recorded_at <= sealed_at.as_str(), Code::SealTimeContradiction, &|| {
            format!("sealed at {sealed_at}, {} {} recorded at {recorded_at}", element.kind, element.seq)
        });
    }
}

/// The run, and the first 1,023 artifacts in the order of their section; more may follow.
fn subjects_begin_as_they_must(sealed: &Sealed<'_>, statement: &Statement) -> bool {
    let run = (format!("run/{}", sealed.evidence_id), sealed.envelope_digest.to_hex());
    let artifacts = sealed.of_kind(Kind::Artifact).take(MAX_ARTIFACT_SUBJECTS).map(|artifact| {
        let [id, digest] =
            ["artifact_id", "digest"].map(|name| artifact.members.text(name).unwrap_or_default());
        (format!("artifact/{id}"), digest.trim_start_matches("sha256:").to_owned())
    });
    let mut said = statement.subjects.iter();
    std::iter::once(run).chain(artifacts).all(|(name, sha256)| {
        said.next().is_some_and(|subject| {
            let digest = subject.object("digest");
            let only_these = subject.len() == 2 && digest.is_some_and(|digest| digest.len() == 1);
            only_these
                && subject.text("name") == Some(&name)
                && digest.and_then(|d| d.text("sha256")) == Some(&sha256)
        })
    })
}
