//! Names that events of producers may not have, because the service's own are called so (API.md section 3).

const RESERVED: &[&str] = &[
    "abort_requested",
    "approval.recorded",
    "approval.required",
    "artifact.written",
    "artifact_written",
    "cancelled",
    "complete",
    "error",
    "heartbeat",
    "input_recorded",
    "log",
    "message",
    "needs_input",
    "observation_recorded",
    "open",
    "phase.finished",
    "phase.started",
    "progress",
    "redaction_recorded",
    "run.canceled",
    "run.completed",
    "run.created",
    "run.failed",
    "run_aborted",
    "run_completed",
    "run_expired",
    "run_failed",
    "run_finalized",
    "run_started",
    "started",
    "step",
    "step_finished",
    "step_started",
    "stream_error",
    "stream_gap",
    "stream_open",
    "token",
    "validation.failed",
    "validation.passed",
    "validation.started",
];

/// Whether an event entry may not be named so.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}
