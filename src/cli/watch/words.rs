//! Events as a person reads them.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::style::{BAD, DOUBT, FAINT, RESET, STRONG, bytes, duration, mark, printable};
use crate::evidence::envelope::WITHHELD;
use crate::evidence::envelope::limits::is_id;

/// The lines that an event is told in; none where there is nothing to tell. `run` is what the run is called here.
pub(super) fn told(event: &Value, run: &str) -> Option<String> {
    let of = |name| text(event, name);
    Some(match event.get("type")?.as_str()? {
        "stream_open" | "heartbeat" | "token" | "progress" => return None,
        "run_started" => format!("{STRONG}{} {}{RESET}", of("project"), of("run_id")),
        "step_started" => format!("{FAINT}▸ {}{}{RESET}", of("step_id"), after(event, "kind")),
        "step_finished" => step(event),
        "artifact_written" => {
            let size = event.get("size").and_then(Value::as_u64).map(bytes).unwrap_or_default();
            format!("  artifact {}  {size}  {FAINT}{}{RESET}", of("artifact_id"), of("digest"))
        }
        "observation_recorded" => format!("  {} = {}", of("name"), of("value")),
        "redaction_recorded" => format!("  {FAINT}masked by {} in {}{RESET}", of("rule_id"), of("path")),
        "needs_input" => gate(event, run),
        "input_recorded" => {
            let decision = of("decision");
            let more = format!("{}{}", after(event, "actor"), after(event, "comment"));
            format!("{} gate {} {decision}{more}", mark(&decision), of("gate_id"))
        }
        "abort_requested" => format!("{DOUBT}asked to stop{RESET}{}", after(event, "reason")),
        "run_completed" | "run_failed" | "run_aborted" | "run_expired" => {
            let result = of("result");
            format!("{} {STRONG}{result}{RESET}{}", mark(&result), after(event, "reason"))
        }
        "run_finalized" => format!("{FAINT}sealed as {}{RESET}", of("envelope_digest")),
        "stream_gap" => format!("{DOUBT}something may have been missed{RESET}{}", after(event, "reason")),
        "stream_error" => format!("{BAD}{}{RESET}{}", of("code"), after(event, "detail")),
        "log" => format!("{FAINT}{} │{RESET} {}", of("step_id"), of("text")),
        _ => format!("  {}{}{}", of("type"), after(event, "step_id"), after(event, "message")),
    })
}

fn step(event: &Value) -> String {
    let status = text(event, "status");
    let mut line = format!("{} {}{}", mark(&status), text(event, "step_id"), after(event, "kind"));
    if let Some(ms) = event.get("duration_ms").and_then(Value::as_u64) {
        let _ = write!(line, "  {}", duration(ms));
    }
    if let Some(code) = event.get("exit_code").and_then(Value::as_i64) {
        let _ = write!(line, "  exit {code}");
    }
    if !matches!(status.as_str(), "passed" | "failed") {
        let _ = write!(line, "  {status}");
    }
    line + &after(event, "message")
}

/// Somebody has to do something: what, and how. A command is there to be copied: it has ids alone, in which no shell finds more.
fn gate(event: &Value, run: &str) -> String {
    let asked = format!("{DOUBT}needs input:{RESET} {STRONG}{}{RESET}", text(event, "reason"));
    match event.get("gate_id").and_then(Value::as_str) {
        Some(gate_id) if is_id(gate_id) && is_id(run) => {
            format!("{asked}\n  sealstone run gate {gate_id} --run {run} --approve   (or --reject)")
        }
        _ => asked,
    }
}

/// How far something is: a share, a message, or both.
pub(super) fn progress(event: &Value) -> String {
    let fraction = event.get("fraction").and_then(Value::as_f64);
    let share = fraction.map(|fraction| format!("{:>3.0} %", fraction.clamp(0.0, 1.0) * 100.0));
    let message = event.get("message").map(|_| text(event, "message"));
    share.into_iter().chain(message).collect::<Vec<_>>().join("  ")
}

/// A member with what keeps it apart; nothing without it.
fn after(event: &Value, name: &str) -> String {
    match text(event, name) {
        none if none.is_empty() => none,
        text => format!("  {text}"),
    }
}

/// A member in one line, with nothing in it that a terminal would act on.
pub(super) fn text(event: &Value, name: &str) -> String {
    match event.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => printable(text),
        Some(value) if value.get(WITHHELD).is_some() => "(withheld)".into(),
        Some(value) => printable(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain(event: Value) -> String {
        anstream::adapter::strip_str(&told(&event, "r1").unwrap_or_default()).to_string()
    }

    #[test]
    fn what_happens_is_told_in_a_line() {
        let step = json!({"type": "step_finished", "step_id": "unit", "kind": "test", "status": "passed", "exit_code": 0, "duration_ms": 1500});
        assert_eq!(plain(step), "✓ unit  test  1.5 s  exit 0");
        assert_eq!(
            plain(json!({"type": "run_failed", "result": "failed", "reason": "unit"})),
            "✗ failed  unit"
        );
        assert_eq!(plain(json!({"type": "checkpoint", "message": "half"})), "  checkpoint  half");
        assert_eq!(plain(json!({"type": "heartbeat"})) + &plain(json!({})), "");
        let withheld =
            json!({"type": "observation_recorded", "name": "n", "value": {"$withheld": "sha256:…"}});
        assert_eq!(plain(withheld), "  n = (withheld)");
        assert_eq!(progress(&json!({"fraction": 0.455, "message": "compiling"})), " 46 %  compiling");
    }

    #[test]
    fn a_gate_says_how_it_is_answered() {
        let gate = plain(json!({"type": "needs_input", "gate_id": "gate-1", "reason": "ship it?"}));
        assert_eq!(
            gate,
            "needs input: ship it?\n  sealstone run gate gate-1 --run r1 --approve   (or --reject)"
        );
    }

    #[test]
    fn no_command_is_told_that_would_do_something_else() {
        let asked = |gate_id: &str, run: &str| {
            let gate = json!({"type": "needs_input", "gate_id": gate_id, "reason": "ship it?"});
            anstream::adapter::strip_str(&told(&gate, run).unwrap_or_default()).to_string()
        };
        for bad in ["", "g; reboot", "$(reboot)", "`x`", "--force", "a b", "g\nreboot", "'", "é"] {
            assert_eq!(asked(bad, "r1"), "needs input: ship it?", "{bad}");
            assert_eq!(asked("gate-1", bad), "needs input: ship it?", "{bad}");
        }
    }

    #[test]
    fn nothing_that_is_streamed_commands_the_terminal() {
        let names = [
            "step_id", "status", "message", "kind", "reason", "gate_id", "text", "name", "value", "result",
            "project", "digest",
        ];
        for kind in [
            "run_started",
            "step_finished",
            "needs_input",
            "input_recorded",
            "log",
            "custom:x\u{1b}[2J",
            "observation_recorded",
        ] {
            let mut event = json!({ "type": kind });
            names.iter().for_each(|name| event[*name] = "\u{1b}]0;x\u{7}\r\n\u{202e}".into());
            let told = plain(event);
            assert!(!told.chars().any(|c| c.is_control() || c == '\u{202e}'), "{told:?}");
        }
    }
}
