//! Every member of every element, on one screen (ENVELOPE.md section 3).

use super::kind::Kind;

/// What the value of a member must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// Any JSON.
    Any,
    Bool,
    /// An integer ≥ 0.
    Count,
    Digest,
    /// An integer, or null.
    ExitCode,
    /// Text; at ingest an id without `/`.
    Id,
    /// An object of text.
    Labels,
    List(&'static Form),
    /// An object of anything.
    Map,
    Object(&'static [Member]),
    OneOf(&'static [&'static str]),
    /// Text; at ingest an id that may have `/`.
    PathId,
    /// Text: names of members, and indexes.
    Pointer,
    /// An integer ≥ 1.
    Positive,
    /// Free text.
    Text,
    Time,
    /// Text that names a sort of thing, or somebody, or that follows from other members.
    Word,
}

/// One member of an element, or of an object in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) required: bool,
    /// It, or anything in it, may be withheld.
    pub(crate) private: bool,
}

const fn must(name: &'static str, form: Form) -> Member {
    Member { name, form, required: true, private: false }
}

const fn may(name: &'static str, form: Form) -> Member {
    Member { name, form, required: false, private: false }
}

const fn private(member: Member) -> Member {
    Member { private: true, ..member }
}

/// What every element has from the beginning.
pub(crate) const COMMON: &[Member] =
    &[must("type", Form::Word), may("reported_by", Form::Object(&[must("name", Form::Word)]))];

/// What every element gets when it is recorded.
pub(crate) const RECORDED: &[Member] = &[must("seq", Form::Count), must("recorded_at", Form::Time)];

/// What the service alone sets, whatever the element.
pub const OF_THE_SERVICE: &[&str] = &[
    "actor",
    "evidence_id",
    "log",
    "project_seq",
    "recorded_at",
    "reported_by",
    "resolved_at",
    "seq",
    "sequence",
];

/// What is known of a step only when it is finished.
pub const OF_THE_FINISHED: &[&str] = &["status", "exit_code", "finished_at", "duration_ms"];

const RUN: &[Member] = &[
    must("run_id", Form::Id),
    must("evidence_id", Form::Id),
    must("project", Form::PathId),
    private(may("subject", Form::Object(SUBJECT))),
    private(may("intent", Form::Text)),
    may("plan", Form::List(&Form::PathId)),
    private(may("producer", Form::Object(PRODUCER))),
    private(may("runner_context", Form::Object(RUNNER_CONTEXT))),
    private(may("trigger", Form::Object(TRIGGER))),
    private(may("labels", Form::Labels)),
    may("links", Form::List(&Form::Object(LINK))),
    may("sequence", Form::Word),
    may("project_seq", Form::Count),
];

const SUBJECT: &[Member] = &[
    may("repo_url", Form::Text),
    may("commit_sha", Form::Text),
    may("ref", Form::Text),
    may("dirty", Form::Bool),
    may("meta", Form::Map),
];

const PRODUCER: &[Member] = &[may("name", Form::Text), may("version", Form::Text)];

const RUNNER_CONTEXT: &[Member] = &[
    may("runner_type", Form::OneOf(&["local", "ci", "worker"])),
    may("os", Form::Text),
    may("arch", Form::Text),
    may("toolchain", Form::Map),
];

const TRIGGER: &[Member] = &[
    may("provider", Form::Text),
    may("event", Form::Text),
    may("delivery_id", Form::Text),
    may("actor", Form::Text),
    may("url", Form::Text),
];

const LINK: &[Member] = &[
    must("rel", Form::OneOf(&["rerun_of", "parent", "previous", "other"])),
    must("evidence_id", Form::Id),
    may("envelope_digest", Form::Digest),
];

const STEP: &[Member] = &[
    must("step_id", Form::PathId),
    must("kind", Form::Word),
    must("status", Form::OneOf(&["passed", "failed", "skipped", "canceled", "incomplete"])),
    private(may("name", Form::Text)),
    may("exit_code", Form::ExitCode),
    may("attempt", Form::Positive),
    may("allowed_to_fail", Form::Bool),
    may("phase", Form::Text),
    may("started_at", Form::Time),
    may("finished_at", Form::Time),
    may("duration_ms", Form::Count),
    private(may("command", Form::List(&Form::Text))),
    private(may("message", Form::Text)),
    private(may("log", Form::Object(LOG))),
    may("artifact_ids", Form::List(&Form::PathId)),
    private(may("data", Form::Map)),
];

const LOG: &[Member] =
    &[must("digest", Form::Digest), must("bytes", Form::Count), must("lines", Form::Count)];

const ARTIFACT: &[Member] = &[
    must("artifact_id", Form::PathId),
    must("digest", Form::Digest),
    must("content_uri", Form::Word),
    private(may("name", Form::Text)),
    may("kind", Form::Word),
    may("media_type", Form::Text),
    may("size", Form::Count),
    may("step_id", Form::PathId),
    private(may("location_hints", Form::List(&Form::Text))),
];

const OBSERVATION: &[Member] = &[
    must("observation_id", Form::Id),
    must("name", Form::Text),
    private(must("value", Form::Any)),
    must("basis_artifact_ids", Form::List(&Form::PathId)),
    may("step_id", Form::PathId),
];

const GATE: &[Member] = &[
    must("gate_id", Form::Id),
    private(must("reason", Form::Text)),
    must("opened_at", Form::Time),
    must("decision", Form::OneOf(&["approved", "rejected", "unanswered"])),
    private(may("actor", Form::Word)),
    private(may("comment", Form::Text)),
    may("resolved_at", Form::Time),
    may("step_id", Form::PathId),
    may("seen_head", Form::Digest),
];

const EVENT: &[Member] = &[
    must("name", Form::Id),
    may("phase", Form::Text),
    may("step_id", Form::PathId),
    private(may("message", Form::Text)),
    private(may("data", Form::Map)),
];

const REDACTION: &[Member] = &[
    must("rule_id", Form::Id),
    must("path", Form::Pointer),
    must("match_type", Form::OneOf(&["regex", "exact", "detector"])),
    must("match_count", Form::Positive),
    may("masked_len", Form::Count),
    may("action", Form::OneOf(&["masked", "removed", "withheld"])),
];

const OUTCOME: &[Member] = &[must("result", Form::OneOf(RESULTS)), private(may("reason", Form::Text))];

/// How a run can end.
pub(crate) const RESULTS: &[&str] = &["succeeded", "failed", "aborted", "expired"];

impl Kind {
    /// The members besides [`COMMON`] and [`RECORDED`].
    pub(crate) fn members(self) -> &'static [Member] {
        match self {
            Kind::Run => RUN,
            Kind::Step => STEP,
            Kind::Artifact => ARTIFACT,
            Kind::Observation => OBSERVATION,
            Kind::Gate => GATE,
            Kind::Event => EVENT,
            Kind::Redaction => REDACTION,
            Kind::Outcome => OUTCOME,
        }
    }
}
