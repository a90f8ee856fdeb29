//! Stage 5: did enough trusted keys sign, each on its terms?

use std::collections::{HashMap, HashSet};

use super::code::Code;
use super::held::Held;
use super::report::{Findings, brief};
use super::stage1_schema::{Sealed, Signature};
use super::stage4_seal::Statement;
use crate::evidence::dsse::pre_authentication_encoding;
use crate::evidence::keyring::Keyring;

/// True if signatures were looked at: there is a seal, and a keyring was given.
pub(super) fn check(
    sealed: &Sealed<'_>,
    statement: Option<&Statement>,
    held: &Held,
    findings: &mut Findings,
) -> bool {
    let (Some(seal), Some(keyring)) = (&sealed.seal, &held.keyring) else { return false };
    findings.checked(&[Code::SignatureNone, Code::SignatureInvalid, Code::SignatureThreshold]);
    let message = pre_authentication_encoding(seal.payload_type, &seal.payload);
    let mut counted = HashSet::new();
    let mut refused = Vec::new();
    // Each judgement hashes the whole payload: the same signature is judged once.
    let mut judged = HashMap::new();
    for (i, signature) in seal.signatures.iter().enumerate() {
        let verdict = judged.entry((signature.keyid, signature.sig.as_slice()));
        match *verdict.or_insert_with(|| judge(signature, keyring, &message, statement)) {
            Ok(()) => drop(counted.insert(signature.keyid)),
            Err(code) => refused.push((i, signature.keyid, code)),
        }
    }
    let enough = counted.len() >= held.threshold.get();
    for (i, keyid, code) in refused {
        let at = || Some(format!("/seal/signatures/{i}"));
        let detail = || format!("keyid {:?}", brief(keyid));
        if enough { findings.note(code, at, detail) } else { findings.fail(code, at, detail) }
    }
    if seal.signatures.is_empty() {
        findings.fail(Code::SignatureNone, || Some("/seal/signatures".into()), String::new);
    }
    if !enough && !counted.is_empty() {
        let detail = || format!("{} of {} keys", counted.len(), held.threshold);
        findings.fail(Code::SignatureThreshold, || Some("/seal/signatures".into()), detail);
    }
    true
}

/// Whether the signature's key counts; if not, the first reason in the format's order.
/// Without a statement there is nothing to hold the terms against, but a revoked key never counts.
fn judge(
    signature: &Signature<'_>,
    keyring: &Keyring,
    message: &[u8],
    statement: Option<&Statement>,
) -> Result<(), Code> {
    let trusted = keyring.get(signature.keyid).ok_or(Code::SignatureKeyUnknown)?;
    let hold = |held: bool, code: Code| if held { Ok(()) } else { Err(code) };
    hold(trusted.key.verify(message, &signature.sig), Code::SignatureInvalid)?;
    hold(!trusted.terms.revoked, Code::KeyRevoked)?;
    let Some(statement) = statement else { return Ok(()) };
    hold(trusted.terms.covers_project(&statement.project), Code::KeyOutOfScope)?;
    hold(trusted.terms.covers_time(statement.sealed_at), Code::KeyOutsideValidity)
}
