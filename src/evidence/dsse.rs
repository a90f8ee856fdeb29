//! DSSE v1 and the in-toto Statement inside it (ENVELOPE.md section 5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The payload type of every seal.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// `_type` of the payload.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of the payload.
pub const PREDICATE_TYPE: &str = "https://sealstone.dev/run-evidence/v1";
/// How many artifacts are named as subjects, beside the run.
pub const MAX_ARTIFACT_SUBJECTS: usize = 1_023;

/// DSSE's pre-authentication encoding: the bytes that are signed.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// Standard padded base64 without stray bits: each byte string has one spelling.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Standard padded base64.
pub fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
