//! The codes of all checks, in the order of ENVELOPE.md section 7.

use std::fmt;

use serde::{Serialize, Serializer};

use super::report::Axis;

macro_rules! codes {
    ($($variant:ident, $text:literal, $axis:expr, $meaning:literal;)*) => {
        /// What is checked. The order is that of ENVELOPE.md section 7, in which the first failure is the one to tell first.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`: ", $meaning)] $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The stable text.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// What a failure means, for people.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning,)* }
            }

            /// The axis that a failure fails; none for what is not a sealed envelope at all, and for notes outside all axes.
            pub fn axis(self) -> Option<Axis> {
                match self { $(Code::$variant => $axis,)* }
            }
        }
    };
}

const INTEGRITY: Option<Axis> = Some(Axis::Integrity);
const AUTHENTICITY: Option<Axis> = Some(Axis::Authenticity);
const COMPLETENESS: Option<Axis> = Some(Axis::Completeness);
const EXPECTATIONS: Option<Axis> = Some(Axis::Expectations);
const DISCLOSURE: Option<Axis> = Some(Axis::Disclosure);
const ARTIFACTS: Option<Axis> = Some(Axis::Artifacts);

codes! {
    JsonDuplicateKey, "json.duplicate_key", None, "an object has a name twice";
    JsonLoneSurrogate, "json.lone_surrogate", None, "a text has half of a surrogate pair";
    JsonNumberOutOfRange, "json.number_out_of_range", None, "a number is beyond ±(2^53 − 1)";
    JsonSyntax, "json.syntax", None, "the file is not JSON";
    JsonTooDeep, "json.too_deep", None, "more than 64 containers are open";
    JsonTooLarge, "json.too_large", None, "the file, the envelope, an element or their number is over its limit";
    FormatUnknown, "format.unknown", None, "this is not a sealed envelope of version 1";
    SchemaInvalid, "schema.invalid", INTEGRITY, "a member is missing, unknown or of another form";
    ChainCoverage, "chain.coverage", INTEGRITY, "the elements are not exactly those that the chain links";
    ChainOrder, "chain.order", INTEGRITY, "an element stands in another section or at another place than its own";
    ChainDigestMismatch, "chain.digest_mismatch", INTEGRITY, "an element was changed after it was recorded";
    ChainEntryHashMismatch, "chain.entry_hash_mismatch", INTEGRITY, "a link does not follow from the one before";
    ChainHeadMismatch, "chain.head_mismatch", INTEGRITY, "the head is not the last link";
    EnvelopeEvidenceIdMismatch, "envelope.evidence_id_mismatch", INTEGRITY, "envelope and run have different evidence_ids";
    ReferenceDuplicateId, "reference.duplicate_id", INTEGRITY, "an id is used twice, or attempts do not ascend";
    ReferenceUnknownArtifact, "reference.unknown_artifact", INTEGRITY, "an artifact is cited that is not recorded";
    OutcomeMissing, "outcome.missing", COMPLETENESS, "there is a seal, but the run has no outcome: its end was cut off";
    SealMissing, "seal.missing", COMPLETENESS, "the run has an outcome, but nobody sealed it";
    SealPayloadType, "seal.payload_type", INTEGRITY, "the seal is over another type of payload";
    SealStatementInvalid, "seal.statement_invalid", INTEGRITY, "the sealed payload is not a statement about a run";
    SealSubjectMismatch, "seal.subject_mismatch", INTEGRITY, "the seal is over another envelope, or this one was changed";
    SealHeadMismatch, "seal.head_mismatch", INTEGRITY, "the seal names another head";
    SealEntriesMismatch, "seal.entries_mismatch", INTEGRITY, "the seal names another number of elements";
    SealRootMismatch, "seal.root_mismatch", INTEGRITY, "the seal names another Merkle root";
    SealPredicateMismatch, "seal.predicate_mismatch", INTEGRITY, "the seal names another run or result";
    SealTimeContradiction, "seal.time_contradiction", INTEGRITY, "it was sealed before something in it was recorded";
    SignatureNone, "signature.none", AUTHENTICITY, "nobody signed";
    SignatureKeyUnknown, "signature.key_unknown", AUTHENTICITY, "signed by a key that is not in the keyring";
    SignatureInvalid, "signature.invalid", AUTHENTICITY, "a signature is not that of the key it names";
    KeyRevoked, "key.revoked", AUTHENTICITY, "the key was revoked";
    KeyOutOfScope, "key.out_of_scope", AUTHENTICITY, "the key does not speak for this project";
    KeyOutsideValidity, "key.outside_validity", AUTHENTICITY, "the key did not count at that time";
    SignatureThreshold, "signature.threshold", AUTHENTICITY, "fewer keys signed than were asked for";
    PlanStepMissing, "plan.step_missing", COMPLETENESS, "a step of the plan was not recorded";
    OutcomeContradicted, "outcome.contradicted", COMPLETENESS, "the result says success, and a step or gate says otherwise";
    ExpectedHeadNotFound, "expected_head.not_found", EXPECTATIONS, "a head that you hold is not in this chain";
    ExpectedMismatch, "expected.mismatch", EXPECTATIONS, "it is not the run that you expected";
    DisclosureUnmatched, "disclosure.unmatched", DISCLOSURE, "a disclosure has no commitment to open";
    DisclosureCommitmentMismatch, "disclosure.commitment_mismatch", DISCLOSURE, "a disclosed value is not the one that was withheld";
    ArtifactUnknown, "artifact.unknown", ARTIFACTS, "a file was given for an artifact that is not recorded";
    ArtifactDigestMismatch, "artifact.digest_mismatch", ARTIFACTS, "a file is not the artifact that was recorded";
    ArtifactMissing, "artifact.missing", ARTIFACTS, "no file was given for a recorded artifact";
    PlanStepSkipped, "plan.step_skipped", COMPLETENESS, "a step of the plan was skipped";
    StepApprovalWithoutGate, "step.approval_without_gate", COMPLETENESS, "a step claims a person's approval, and no gate records one";
    TimeNotAscending, "time.not_ascending", INTEGRITY, "the clock went back while the run was recorded";
    ReceiptUnknown, "receipt.unknown", None, "a receipt of a type that this version does not know";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl From<crate::evidence::canonical::JsonCode> for Code {
    fn from(code: crate::evidence::canonical::JsonCode) -> Self {
        use crate::evidence::canonical::JsonCode;
        match code {
            JsonCode::DuplicateKey => Code::JsonDuplicateKey,
            JsonCode::LoneSurrogate => Code::JsonLoneSurrogate,
            JsonCode::NumberOutOfRange => Code::JsonNumberOutOfRange,
            JsonCode::Syntax => Code::JsonSyntax,
            JsonCode::TooDeep => Code::JsonTooDeep,
            JsonCode::TooLarge => Code::JsonTooLarge,
        }
    }
}
