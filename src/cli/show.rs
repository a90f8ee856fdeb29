//! `sealstone show`: a run as a person reads it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::exit::{Failure, UNREADABLE, answer, answer_json};
#[cfg(not(feature = "client"))]
use super::input::read_envelope;
#[cfg(feature = "client")]
use super::input::read_or_fetch;
use super::observed::{self, observed};
use super::style::{BAD, DOUBT, FAINT, GOOD, RESET, STRONG, bytes, duration, mark, printable};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::commitment;
use crate::evidence::envelope::{Kind, WITHHELD};
use crate::evidence::verify::{Held, Judged, Verdict, verify};

/// How much of a value is shown, in characters.
const LONGEST: usize = 200;

/// Shows steps, gates, artifacts and observations of a sealed envelope. It says what is claimed; `verify` says what holds.
#[derive(Args)]
pub(super) struct ShowArguments {
    /// A sealed envelope, or - for standard input; or the ID of a run, to be fetched from a service
    #[arg(value_name = "FILE|ID|-")]
    file: PathBuf,
    /// Print the envelope as indented JSON
    #[arg(long)]
    json: bool,
    #[cfg(feature = "client")]
    #[command(flatten)]
    server: super::server::ServerArguments,
}

pub(super) fn run(arguments: &ShowArguments) -> Result<u8, Failure> {
    #[cfg(feature = "client")]
    let file = read_or_fetch(&arguments.file, &arguments.server)?;
    #[cfg(not(feature = "client"))]
    let file = read_envelope(&arguments.file)?;
    let judged = verify(&file, &Held::default());
    let Some(document) = judged.claimed() else {
        let first = judged.report().first_failure.as_ref();
        let why = first.map_or_else(String::new, |first| {
            format!("{}: {}", first.code, first.detail.as_deref().unwrap_or(first.code.meaning()))
        });
        return Err(Failure::new(UNREADABLE, format!("{}: {why}", arguments.file.display())));
    };
    let envelope = document.get("envelope").unwrap_or(&Value::Null);
    if arguments.json {
        let json = serde_json::to_string_pretty(envelope).expect("an envelope has text for names");
        answer_json(&(json + "\n"))?;
        return Ok(0);
    }
    let disclosures = document.list("disclosures").unwrap_or_default().iter().filter_map(Value::as_object);
    let mut disclosed = HashMap::new();
    for disclosure in disclosures {
        if let Some(at) = disclosure.text("at") {
            // The first counts, as for the verifier.
            disclosed.entry(at).or_insert(disclosure);
        }
    }
    let page = Page { judged: &judged, disclosed, envelope: document.object("envelope").unwrap_or(document) };
    answer(&page.text())?;
    Ok(0)
}

struct Page<'p, 'a> {
    judged: &'p Judged<'a>,
    /// By pointer.
    disclosed: HashMap<&'p str, &'p Object<'a>>,
    envelope: &'p Object<'a>,
}

impl Page<'_, '_> {
    fn text(&self) -> String {
        let mut out = String::new();
        self.head(&mut out);
        self.section(&mut out, Kind::Step, "steps", Self::step);
        self.section(&mut out, Kind::Gate, "gates", Self::gate);
        self.section(&mut out, Kind::Artifact, "artifacts", Self::artifact);
        self.section(&mut out, Kind::Observation, "observations", Self::observation);
        self.section(&mut out, Kind::Event, "events", Self::event);
        self.section(&mut out, Kind::Redaction, "redactions", Self::redaction);
        self.foot(&mut out);
        out
    }

    fn head(&self, out: &mut String) {
        let empty = Object::new();
        let run = self.envelope.object("run").unwrap_or(&empty);
        let outcome = self.envelope.object("outcome");
        let result = outcome.and_then(|outcome| outcome.text("result")).unwrap_or("still open");
        let of = |name| printable(run.text(name).unwrap_or_default());
        let _ = writeln!(out, "{STRONG}{}{RESET}  {}  {}", of("project"), of("run_id"), coloured(result));
        let line = |out: &mut String, name: &str, text: Option<String>| {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                let _ = writeln!(out, "  {name:<12} {text}");
            }
        };
        line(out, "reason", outcome.and_then(|outcome| self.told(outcome, "reason", "/outcome")));
        line(out, "evidence_id", Some(of("evidence_id")));
        line(out, "opened", Some(of("recorded_at")));
        line(out, "closed", outcome.and_then(|outcome| outcome.text("recorded_at")).map(printable));
        line(out, "intent", self.told(run, "intent", "/run"));
        line(out, "subject", self.told(run, "subject", "/run"));
        line(out, "runner", self.told(run, "runner_context", "/run"));
        line(out, "trigger", self.told(run, "trigger", "/run"));
        line(out, "labels", self.told(run, "labels", "/run"));
        line(out, "plan", run.get("plan").map(plain));
        line(out, "reported by", run.object("reported_by").and_then(|by| by.text("name")).map(printable));
    }

    fn section(
        &self,
        out: &mut String,
        kind: Kind,
        title: &str,
        write: fn(&Self, &mut String, &Object<'_>, &str),
    ) {
        let path = kind.section().trim_start_matches('/');
        let holder = if kind == Kind::Step { self.envelope.object("execution") } else { Some(self.envelope) };
        let name = path.rsplit('/').next().unwrap_or_default();
        let elements = holder.and_then(|holder| holder.list(name)).unwrap_or_default();
        if elements.is_empty() {
            return;
        }
        let _ = writeln!(out, "\n{STRONG}{title}{RESET} ({})", elements.len());
        for (i, element) in elements.iter().enumerate().filter_map(|(i, e)| Some((i, e.as_object()?))) {
            out.push_str("  ");
            write(self, out, element, &kind.pointer(i));
            out.push('\n');
        }
    }

    fn step(&self, out: &mut String, step: &Object<'_>, at: &str) {
        let status = step.text("status").unwrap_or_default();
        let attempt = step.count("attempt").filter(|n| *n > 1).map(|n| format!(" #{n}")).unwrap_or_default();
        let time = step.count("duration_ms").map(duration).unwrap_or_default();
        let id = format!("{}{attempt}", printable(step.text("step_id").unwrap_or_default()));
        let kind = printable(step.text("kind").unwrap_or_default());
        let _ = write!(out, "{} {id:<24} {kind:<14} {time:>10}", mark(status));
        if let Some(Value::Number(code)) = step.get("exit_code") {
            let _ = write!(out, "  exit {}", code.get());
        }
        if !matches!(status, "passed" | "failed") {
            let _ = write!(out, "  {status}");
        }
        for name in ["name", "command", "message"] {
            self.more(out, step, name, at);
        }
        if let Some(size) = step.object("log").and_then(|log| log.count("bytes")) {
            let _ = write!(out, "  {FAINT}log {}{RESET}", bytes(size));
        }
    }

    fn gate(&self, out: &mut String, gate: &Object<'_>, at: &str) {
        let decision = gate.text("decision").unwrap_or_default();
        let _ = write!(
            out,
            "{} {:<24} {decision}",
            mark(decision),
            printable(gate.text("gate_id").unwrap_or_default())
        );
        for name in ["actor", "reason", "comment"] {
            self.more(out, gate, name, at);
        }
    }

    fn artifact(&self, out: &mut String, artifact: &Object<'_>, at: &str) {
        let size = artifact.count("size").map(bytes).unwrap_or_default();
        let digest = artifact.text("digest").unwrap_or_default();
        let id = printable(artifact.text("artifact_id").unwrap_or_default());
        let _ = write!(out, "{id:<26} {size:>10}  {digest}");
        self.more(out, artifact, "name", at);
    }

    fn observation(&self, out: &mut String, observation: &Object<'_>, at: &str) {
        let name = observation.text("name").unwrap_or_default();
        let _ = write!(out, "{:<26}", printable(name));
        if let Some(value) = self.told_as(observation, "value", at, |value| observed(name, value)) {
            let _ = write!(out, "  {value}");
        }
        match observation.list("basis_artifact_ids").unwrap_or_default() {
            [] => out.push_str("  (informational)"),
            basis => {
                let basis: Vec<String> = basis.iter().map(plain).collect();
                let _ = write!(out, "  {FAINT}from {}{RESET}", basis.join(", "));
            }
        }
    }

    fn event(&self, out: &mut String, event: &Object<'_>, at: &str) {
        let of = |name| printable(event.text(name).unwrap_or_default());
        let _ = write!(out, "{}  {:<22}", of("recorded_at"), of("name"));
        for name in ["phase", "step_id", "message", "data"] {
            self.more(out, event, name, at);
        }
    }

    fn redaction(&self, out: &mut String, redaction: &Object<'_>, _at: &str) {
        let of = |name| printable(redaction.text(name).unwrap_or_default());
        let _ = write!(
            out,
            "{:<26} {} × {}",
            of("rule_id"),
            redaction.count("match_count").unwrap_or(0),
            of("path")
        );
    }

    fn foot(&self, out: &mut String) {
        let report = &self.judged.report();
        match (&report.first_failure, report.verdict) {
            (Some(first), _) => {
                let _ = writeln!(
                    out,
                    "\n{BAD}{}{RESET}: {}; do not rely on it",
                    first.code,
                    first.code.meaning()
                );
            }
            (None, Verdict::Prefix) => {
                let _ = writeln!(
                    out,
                    "\n{DOUBT}still open{RESET}: the chain so far is unbroken, and nobody has sealed it yet"
                );
            }
            (None, _) => {
                let _ = writeln!(
                    out,
                    "\n{FAINT}The chain is unbroken. Who sealed it is for `sealstone verify --keys` to say.{RESET}"
                );
            }
        }
    }

    fn more(&self, out: &mut String, element: &Object<'_>, name: &str, at: &str) {
        if let Some(text) = self.told(element, name, at) {
            let _ = write!(out, "  {text}");
        }
    }

    fn told(&self, element: &Object<'_>, name: &str, at: &str) -> Option<String> {
        self.told_as(element, name, at, plain)
    }

    /// A member as it is written; a withheld one by its disclosure, if there is one.
    fn told_as(
        &self,
        element: &Object<'_>,
        name: &str,
        at: &str,
        write: impl Fn(&Value<'_>) -> String,
    ) -> Option<String> {
        let value = element.get(name)?;
        let Some(committed) = value.as_object().and_then(|object| object.get(WITHHELD)) else {
            return Some(write(value));
        };
        let disclosure = self.disclosed.get(format!("{at}/{name}").as_str());
        let opened =
            disclosure.and_then(|disclosure| Some((disclosure.text("salt")?, disclosure.get("value")?)));
        Some(match opened {
            None => format!("{FAINT}(withheld){RESET}"),
            Some((salt, value)) if committed.as_text() == Some(&commitment(salt, value).to_string()) => {
                write(value)
            }
            Some(_) => format!("{BAD}(withheld; what is disclosed is another value){RESET}"),
        })
    }
}

fn plain(value: &Value<'_>) -> String {
    observed::plain(value, LONGEST)
}

fn coloured(result: &str) -> String {
    let colour = match result {
        "succeeded" => GOOD,
        "failed" => BAD,
        _ => DOUBT,
    };
    format!("{colour}{result}{RESET}")
}
