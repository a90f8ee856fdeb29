//! `sealstone verify`: a verdict on sealed envelopes, by what the auditor holds.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{Failure, answer, answer_json};
use super::input::{cannot_read, digest_file, read_envelope, read_keyring};
use super::style::{BAD, DOUBT, FAINT, GOOD, RESET, STRONG, printable};
use crate::evidence::canonical;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::MAX_FILE_BYTES;
use crate::evidence::verify::{
    AxisStatus, Code, Expected, GivenArtifact, Held, Report, Status, Verdict, verify,
};

/// Exit status: 0 verified, 1 rejected, 2 unreadable (also a refused keyring), 3 integrity only (no keyring was given),
/// 4 prefix of an open run, 64 wrong arguments, 66 a file cannot be read. With several files the worst counts.
#[derive(Args)]
#[command(after_help = VERIFY_HELP)]
pub(super) struct VerifyArguments {
    /// Sealed envelopes, directories of them, or - for standard input; or the IDs of runs, to be fetched from a service
    #[arg(required = true, value_name = "FILE|DIR|ID|-")]
    paths: Vec<PathBuf>,
    /// Keys that you trust: PEM (SPKI) or a keyring (JWK set); repeatable
    #[arg(long, value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// How many distinct keys must have signed
    #[arg(long, value_name = "N", default_value = "1")]
    threshold: NonZeroUsize,
    /// A head that you kept when the run was recorded; repeatable
    #[arg(long, value_name = "SEQ:HASH", value_parser = parse_head, allow_hyphen_values = true)]
    head: Vec<(i64, Digest)>,
    /// What it must be about: evidence_id, run_id, project, result, commit_sha or envelope_digest; repeatable
    #[arg(long, value_name = "MEMBER=VALUE", value_parser = parse_expected)]
    expect: Vec<(Expected, String)>,
    /// The file that is said to be an artifact (or log:STEP#ATTEMPT); repeatable
    #[arg(long, value_name = "ID=FILE", value_parser = parse_artifact)]
    artifact: Vec<(String, PathBuf)>,
    /// A directory with the file of every artifact, found by digest
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
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
    let keyring = read_keyring(&arguments.keys)?;
    let mut given = Vec::new();
    for (artifact_id, path) in &arguments.artifact {
        let (digest, bytes) = digest_file(path)?;
        given.push(GivenArtifact { artifact_id: artifact_id.clone(), digest, bytes });
    }
    let held = Held {
        keyring,
        threshold: arguments.threshold,
        heads: arguments.head.clone(),
        expected: arguments.expect.clone(),
        artifacts: given,
        files: arguments.artifacts.as_deref().map(digest_directory).transpose()?.unwrap_or_default(),
        require_artifacts: arguments.artifacts.is_some(),
    };
    match arguments.paths.as_slice() {
        [path] if !path.is_dir() => judge_one(&held, path, arguments),
        paths => judge_many(&held, paths, arguments),
    }
}

fn judge_one(held: &Held, path: &Path, arguments: &VerifyArguments) -> Result<u8, Failure> {
    let report = verify(&arguments.read(path)?, held).into_report();
    if arguments.json {
        answer_json(&(to_json(&report) + "\n"))?
    } else {
        answer(&for_a_person(&report, held))?
    }
    Ok(report.verdict.exit_status())
}

fn judge_many(held: &Held, paths: &[PathBuf], arguments: &VerifyArguments) -> Result<u8, Failure> {
    let mut worst = None;
    let mut unread = None;
    let mut missed = |failure: Failure| {
        anstream::eprintln!("{BAD}sealstone:{RESET} {}", printable(failure.message()));
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
        anstream::eprintln!(
            "{FAINT}{others} other file(s) in {} passed over{RESET}",
            printable(&directory.display().to_string())
        );
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

fn digest_directory(directory: &Path) -> Result<HashMap<Digest, u64>, Failure> {
    let mut found = HashMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).map_err(|error| cannot_read(&directory, &error))? {
            let entry = entry.map_err(|error| cannot_read(&directory, &error))?;
            let kind = entry.file_type().map_err(|error| cannot_read(&entry.path(), &error))?;
            // Links are not followed, so that no loop is walked for ever.
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let (digest, bytes) = digest_file(&entry.path())?;
                found.insert(digest, bytes);
            }
        }
    }
    Ok(found)
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

fn parse_head(text: &str) -> Result<(i64, Digest), String> {
    let (seq, entry_hash) = text.split_once(':').ok_or("SEQ:HASH expected, like 12:sha256:…")?;
    let integer = seq.strip_prefix('-').unwrap_or(seq);
    if integer.is_empty() || !integer.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("{seq:?} is no seq"));
    }
    // Beyond what a number can hold no chain has links; such a head is not found, like any other that is not there.
    let seq = seq.parse().unwrap_or(i64::MAX);
    Ok((seq, entry_hash.parse().map_err(|error| format!("{error}"))?))
}

fn parse_expected(text: &str) -> Result<(Expected, String), String> {
    let (member, value) = text.split_once('=').ok_or("MEMBER=VALUE expected, like result=succeeded")?;
    let member = Expected::ALL.into_iter().find(|expected| expected.as_str() == member).ok_or_else(|| {
        let all: Vec<&str> = Expected::ALL.into_iter().map(Expected::as_str).collect();
        format!("{member:?} cannot be expected; one of {}", all.join(", "))
    })?;
    Ok((member, value.to_owned()))
}

fn parse_artifact(text: &str) -> Result<(String, PathBuf), String> {
    let (id, file) = text.split_once('=').ok_or("ID=FILE expected, like junit=report.xml")?;
    Ok((id.to_owned(), file.into()))
}
