//! `sealstone verify`: a verdict on sealed envelopes, by what the auditor holds.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{Failure, answer, answer_json};
use super::held::HeldArguments;
use super::input::{cannot_read, read_envelope};
use super::style::{BAD, DOUBT, FAINT, GOOD, RESET, STRONG, printable, say};
use crate::evidence::canonical;
use crate::evidence::envelope::limits::MAX_FILE_BYTES;
use crate::evidence::verify::{AxisStatus, Code, Held, Report, Status, Verdict, verify};

/// Exit status: 0 verified, 1 rejected, 2 unreadable (also a refused keyring), 3 integrity only (no keyring was given),
/// 4 prefix of an open run, 64 wrong arguments, 66 a file cannot be read. With several files the worst counts.
#[derive(Args)]
#[command(after_help = VERIFY_HELP)]
pub(super) struct VerifyArguments {
    /// Sealed envelopes, directories of them, or - for standard input; or the IDs of runs, to be fetched from a service
    #[arg(required = true, value_name = "FILE|DIR|ID|-")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    held: HeldArguments,
    /// Print the report as JSON; several as lines with `path` and `report`
    #[arg(long)]
    json: bool,
    #[cfg(feature = "client")]
    #[command(flatten)]
    server: super::server::ServerArguments,
}

impl VerifyArguments {
    fn read(&self, path: &Path) -> Result<Vec<u8>, Failure> {
        #[cfg(feature = "client")]
        return super::input::read_or_fetch(path, &self.server);
        #[cfg(not(feature = "client"))]
        return read_envelope(path);
    }
}

const VERIFY_HELP: &str = "\
Exit status:
  0 verified   1 rejected   2 unreadable, or a keyring that is refused   3 integrity only: no keyring was given
  4 prefix of a run still open   64 wrong arguments   66 cannot read.   With several files the worst counts.

Nothing is fetched but a run that is named by its ID, and then it is judged like any file. Without --keys anybody could have sealed it: get the keys on another way than the file.";

pub(super) fn run(arguments: &VerifyArguments) -> Result<u8, Failure> {
    let held = arguments.held.with(arguments.held.keyring()?)?;
    match arguments.paths.as_slice() {
        [path] if !path.is_dir() => judge_one(&held, path, arguments),
        paths => judge_many(&held, paths, arguments),
    }
}

fn judge_one(held: &Held, path: &Path, arguments: &VerifyArguments) -> Result<u8, Failure> {
    let report = verify(&arguments.read(path)?, held).into_report();
    tell(&report, held, arguments.json)
}

/// Prints the report; the exit status.
pub(super) fn tell(report: &Report, held: &Held, json: bool) -> Result<u8, Failure> {
    if json {
        answer_json(&(to_json(report) + "\n"))?
    } else {
        answer(&for_a_person(report, held))?
    }
    Ok(report.verdict.exit_status())
}

fn judge_many(held: &Held, paths: &[PathBuf], arguments: &VerifyArguments) -> Result<u8, Failure> {
    let mut worst = None;
    let mut unread = None;
    let mut missed = |failure: Failure| {
        say(format_args!("{BAD}sealstone:{RESET} {}", printable(failure.message())));
        unread = Some(failure.status());
    };
    for path in paths {
        let files = if path.is_dir() { envelopes_in(path) } else { Ok(vec![path.clone()]) };
        for file in files.unwrap_or_else(|failure| {
            missed(failure);
            Vec::new()
        }) {
            match arguments.read(&file) {
                Ok(bytes) => {
                    let report = verify(&bytes, held).into_report();
                    if arguments.json {
                        answer_json(&json_line(&file, &report))?
                    } else {
                        answer(&line(&file, &report))?
                    }
                    worst = worst.max(Some(report.verdict));
                }
                Err(failure) => missed(failure),
            }
        }
    }
    // What nobody could judge counts more than what only lacks a key or an end.
    let worst =
        worst.filter(|worst| unread.is_none() || *worst >= Verdict::Unreadable).map(Verdict::exit_status);
    Ok(worst.or(unread).unwrap_or_default())
}

/// The sealed envelopes of a directory, by name: every `*.json` that is one or ought to be. Passed over is only JSON that
/// is plainly something else, such as a keyring.
fn envelopes_in(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = fs::read_dir(directory).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
    let entries = entries.map_err(|error| cannot_read(directory, &error))?;
    let mut files = Vec::new();
    let mut others = 0_usize;
    let hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    for path in entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file() && !hidden(path)) {
        if path.extension().is_some_and(|extension| extension == "json") && is_meant_as_envelope(&path) {
            files.push(path);
        } else {
            others = others.saturating_add(1);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::no_input(format!("no sealed envelopes (*.json) in {}", directory.display())));
    }
    if others > 0 {
        say(format_args!(
            "{FAINT}{others} other file(s) in {} passed over{RESET}",
            printable(&directory.display().to_string())
        ));
    }
    Ok(files)
}

fn is_meant_as_envelope(path: &Path) -> bool {
    let Ok(bytes) = read_envelope(path) else { return true };
    match canonical::parse(&bytes, MAX_FILE_BYTES) {
        Ok(value) => value.as_object().is_some_and(|object| {
            object.get("envelope").is_some()
                || object.text("format").is_some_and(|f| f.starts_with("sealstone.sealed"))
        }),
        Err(_) => true,
    }
}

fn to_json(report: &Report) -> String {
    serde_json::to_string(report).expect("a report has text for names")
}

fn json_line(path: &Path, report: &Report) -> String {
    let path = serde_json::Value::from(path.display().to_string());
    format!("{{\"path\":{path},\"report\":{}}}\n", to_json(report))
}

fn colour(verdict: Verdict) -> anstyle::Style {
    match verdict {
        Verdict::Verified => GOOD,
        Verdict::IntegrityOnly | Verdict::Prefix => DOUBT,
        Verdict::Rejected | Verdict::Unreadable => BAD,
    }
}

fn line(path: &Path, report: &Report) -> String {
    let verdict = report.verdict;
    let mut line = format!(
        "{}{:<14}{RESET} {}",
        colour(verdict),
        verdict.as_str(),
        printable(&path.display().to_string())
    );
    if let Some(first) = &report.first_failure {
        let _ = write!(line, "  {}", first.code);
    } else if let (Some(project), Some(run_id)) = (&report.project, &report.run_id) {
        let _ = write!(line, "  {} {}", printable(project), printable(run_id));
    }
    line + "\n"
}

fn for_a_person(report: &Report, held: &Held) -> String {
    let mut out = format!("{}{}{RESET}", colour(report.verdict), report.verdict.as_str().replace('_', " "));
    let _ = writeln!(out, "{}", explained(report, held));
    if let Some(first) = &report.first_failure {
        let at = first.at.as_deref().map(|at| format!(" at {}", printable(at))).unwrap_or_default();
        let _ = writeln!(out, "  first failure  {STRONG}{}{RESET}{at}: {}", first.code, first.code.meaning());
        if let Some(detail) = &first.detail {
            let _ = writeln!(out, "                 {}", printable(detail));
        }
        let more: Vec<&str> = report.failed().skip(1).map(Code::as_str).collect();
        if !more.is_empty() {
            let _ = writeln!(out, "  also failed    {}", more.join(", "));
        }
    }
    if report.evidence_id.is_some() {
        facts(&mut out, report);
    }
    for check in report.checks.iter().filter(|check| check.status == Status::Note) {
        let detail =
            check.detail.as_deref().map(|detail| format!(" ({})", printable(detail))).unwrap_or_default();
        let _ =
            writeln!(out, "  {DOUBT}note{RESET}           {}: {}{detail}", check.code, check.code.meaning());
    }
    if report.verdict != Verdict::Unreadable {
        let _ = writeln!(out, "{FAINT}  not proven     {}{RESET}", report.does_not_prove.join("; "));
    }
    out
}

fn explained(report: &Report, held: &Held) -> &'static str {
    match report.verdict {
        Verdict::Verified => ": it is whole, unchanged, and sealed by a key that you trust",
        Verdict::IntegrityOnly => {
            ": it is whole and unchanged, but anybody could have sealed it; give --keys"
        }
        Verdict::Prefix if held.heads.is_empty() => ": a run still open; anybody can write one; give --head",
        Verdict::Prefix => ": a run still open, with the heads that you hold",
        Verdict::Rejected => ": do not rely on it",
        Verdict::Unreadable => ": not a sealed envelope",
    }
}

fn facts(out: &mut String, report: &Report) {
    let claim = if report.verdict == Verdict::Verified { "" } else { " (claimed)" };
    let facts = [
        ("run", &report.run_id),
        ("project", &report.project),
        ("result", &report.result),
        ("evidence_id", &report.evidence_id),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            let _ = writeln!(out, "  {name:<14} {}{claim}", printable(fact));
        }
    }
    if let Some(digest) = report.envelope_digest {
        let _ = writeln!(out, "  envelope       {digest}");
    }
    if report.withheld > 0 {
        let _ = writeln!(out, "  withheld       {} value(s)", report.withheld);
    }
    let axes = &report.axes;
    let axes = [
        ("integrity", axes.integrity),
        ("authenticity", axes.authenticity),
        ("completeness", axes.completeness),
        ("expectations", axes.expectations),
        ("disclosure", axes.disclosure),
        ("artifacts", axes.artifacts),
    ];
    let shown = axes.map(|(name, status)| match status {
        AxisStatus::Pass => format!("{GOOD}{name} ✓{RESET}"),
        AxisStatus::Fail => format!("{BAD}{name} ✗{RESET}"),
        AxisStatus::NotChecked => format!("{FAINT}{name} –{RESET}"),
    });
    let _ = writeln!(out, "  checked        {}", shown.join("  "));
}
