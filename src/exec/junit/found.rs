//! Reports as files: which there are, whether this step wrote them, and what comes of them.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::artifact::ArtifactFile;
use super::members::observations;
use super::parse::{Allowed, parse};
use super::report::ReportError;
use super::text::Text;
use crate::evidence::canonical::Object;
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;

/// How many reports of a step are read.
const MAX_REPORTS: usize = 1_000;
/// How large one may be.
const MAX_REPORT_BYTES: u64 = 64 << 20;
/// How large all of a step may be.
const MAX_BYTES: u64 = 256 << 20;
/// Of how many suites, and of how many failed tests of a step there is an observation.
const ALLOWED: Allowed = Allowed { suites: 2_000, failed_tests: 1_000 };
/// How many reports that are not recorded as they should be are told of one by one.
const MAX_TOLD: usize = 20;
/// How much of a path is told.
const LONGEST_PATH: usize = 256;
/// How far the clock of a file system may lag behind ours: it goes from tick to tick.
const TICK_MS: i64 = 20;
/// How far a time lies behind at most that a file system keeps in whole seconds (FAT: in every other).
const COARSE_MS: i64 = 2_000;

/// What is to be recorded of one report: the file, then what cites it.
#[derive(Debug)]
pub(crate) struct Reported {
    /// The members of the artifact.
    pub(crate) artifact: Object<'static>,
    /// The members of each observation; none if the file could not be read as a report.
    pub(crate) observations: Vec<Object<'static>>,
}

/// Reads the reports of a step that began then: files, and of directories each `*.xml` in them. The second of what it gives tells,
/// report by report, what is not recorded, and why.
pub(crate) fn read_reports(
    paths: &[PathBuf],
    step_id: &str,
    began: Timestamp,
) -> (Vec<Reported>, Vec<String>) {
    let mut reading = Reading { step_id, began, allowed: ALLOWED, bytes: MAX_BYTES, ids: HashSet::new() };
    let (mut reports, mut told) = (Vec::new(), Vec::new());
    for found in find(paths) {
        let (report, problem) = match found {
            Ok(path) => {
                let (report, problem) = reading.read(&path);
                (report, problem.map(|problem| (path, problem)))
            }
            Err((path, problem)) => (None, Some((path, problem))),
        };
        reports.extend(report);
        told.extend(problem.map(|(path, problem)| {
            format!("{}: {problem}", Text::of(&path.to_string_lossy(), LONGEST_PATH).text)
        }));
    }
    let more = told.len().saturating_sub(MAX_TOLD);
    told.truncate(MAX_TOLD);
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    (reports, told)
}

/// Why there is no observation of a report.
enum Problem {
    LeftOut { files: usize },
    NoReports,
    NotRead(ReportError),
    Stale,
    TooLarge { most: u64 },
    Unreadable(io::Error),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::LeftOut { files } => {
                write!(f, "{files} more reports; at most {MAX_REPORTS} are recorded of a step")
            }
            Problem::NoReports => f.write_str("there is no *.xml in this directory"),
            Problem::NotRead(why) => write!(f, "recorded as a file alone: {why}"),
            Problem::Stale => f.write_str("not recorded: it is older than this step, and no result of it"),
            Problem::TooLarge { most } => {
                write!(f, "recorded as a file alone: more than {} MiB are not read", most >> 20)
            }
            Problem::Unreadable(error) => write!(f, "not recorded: {error}"),
        }
    }
}

/// The files that are meant, each once, in the order given, those of a directory by name.
fn find(paths: &[PathBuf]) -> Vec<Result<PathBuf, (PathBuf, Problem)>> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for path in paths {
        if !path.is_dir() {
            let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            found.extend(seen.insert(real).then(|| Ok(path.clone())));
            continue;
        }
        match in_directory(path) {
            Ok((files, left_out)) => {
                if files.is_empty() {
                    found.push(Err((path.clone(), Problem::NoReports)));
                }
                for file in files {
                    let real = fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
                    found.extend(seen.insert(real).then_some(Ok(file)));
                }
                if left_out > 0 {
                    found.push(Err((path.clone(), Problem::LeftOut { files: left_out })));
                }
            }
            Err(error) => found.push(Err((path.clone(), Problem::Unreadable(error)))),
        }
    }
    found
}

/// The first reports of a directory by name, and how many there are besides.
fn in_directory(directory: &Path) -> io::Result<(BTreeSet<PathBuf>, usize)> {
    let (mut first, mut left_out) = (BTreeSet::new(), 0_usize);
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "xml") || !path.is_file() {
            continue;
        }
        first.insert(path);
        if first.len() > MAX_REPORTS {
            first.pop_last();
            left_out = left_out.saturating_add(1);
        }
    }
    Ok((first, left_out))
}

/// What is left of the step's bounds.
struct Reading<'r> {
    step_id: &'r str,
    began: Timestamp,
    allowed: Allowed,
    bytes: u64,
    /// The artifact ids that are taken: two paths may give one.
    ids: HashSet<String>,
}

impl Reading<'_> {
    fn read(&mut self, path: &Path) -> (Option<Reported>, Option<Problem>) {
        match self.try_read(path) {
            Ok((reported, problem)) => (Some(reported), problem),
            Err(problem) => (None, Some(problem)),
        }
    }

    fn try_read(&mut self, path: &Path) -> Result<(Reported, Option<Problem>), Problem> {
        if self.ids.len() >= MAX_REPORTS {
            return Err(Problem::LeftOut { files: 1 });
        }
        // Asked first: opening a FIFO waits for a writer.
        let metadata = fs::metadata(path).map_err(Problem::Unreadable)?;
        if !metadata.is_file() {
            return Err(Problem::Unreadable(io::Error::other("not a regular file")));
        }
        let modified = metadata.modified().map_err(Problem::Unreadable)?;
        if is_stale(unix_ns(modified), self.began) {
            return Err(Problem::Stale);
        }
        let file = self.named(path);
        let most = MAX_REPORT_BYTES.min(self.bytes);
        let mut bytes = Vec::new();
        let opened = File::open(path).map_err(Problem::Unreadable)?;
        opened.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(Problem::Unreadable)?;
        if bytes.len() as u64 > most {
            let artifact = file.members(Some(self.step_id)).map_err(Problem::Unreadable)?;
            return Ok((Reported { artifact, observations: Vec::new() }, Some(Problem::TooLarge { most })));
        }
        self.bytes = self.bytes.saturating_sub(bytes.len() as u64);
        // The digest is of the very bytes that are read.
        let artifact = file.described(Digest::of(&bytes), bytes.len() as u64, Some(self.step_id));
        Ok(match parse(&bytes, self.allowed) {
            Ok(report) => {
                self.allowed.suites = self.allowed.suites.saturating_sub(report.suites.len());
                self.allowed.failed_tests = self.allowed.failed_tests.saturating_sub(report.failed.len());
                let observations = observations(&report, &file.artifact_id(), self.step_id);
                (Reported { artifact, observations }, None)
            }
            Err(why) => (Reported { artifact, observations: Vec::new() }, Some(Problem::NotRead(why))),
        })
    }

    /// The file under the id that is made of its path; with a digest of the path where another has that id.
    fn named(&mut self, path: &Path) -> ArtifactFile {
        let mut file = ArtifactFile { artifact_id: None, path: path.to_owned() };
        let mut id = file.artifact_id();
        if !self.ids.insert(id.clone()) {
            let digest = Digest::of(path.as_os_str().as_encoded_bytes()).to_hex();
            id = format!("{id}-{}", digest.get(..16).unwrap_or_default());
            self.ids.insert(id.clone());
            file.artifact_id = Some(id);
        }
        file
    }
}

fn unix_ns(time: SystemTime) -> i128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_nanos().cast_signed(),
        Err(before) => before.duration().as_nanos().cast_signed().saturating_neg(),
    }
}

/// Whether a file was last written before that, however coarsely its file system tells the time.
fn is_stale(modified_ns: i128, began: Timestamp) -> bool {
    const NS_PER_MS: i128 = 1_000_000;
    let coarse = modified_ns.checked_rem(1_000 * NS_PER_MS) == Some(0);
    let lag_ms = if coarse { COARSE_MS } else { TICK_MS };
    let earliest_ms = began.unix_ms().saturating_sub(lag_ms);
    modified_ns < i128::from(earliest_ms).saturating_mul(NS_PER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_before_the_step_is_stale_whatever_the_file_system_keeps_of_the_time() {
        let began = Timestamp::from_unix_ms(10_500);
        let stale = |ns: i128| is_stale(ns, began);
        // A clock that ticks: a little behind.
        assert!(!stale(10_500_000_000) && !stale(10_499_000_001) && !stale(99_000_000_001));
        assert!(stale(10_400_000_001) && stale(1) && stale(-1));
        // Whole seconds, every other on FAT: 10 was 10 to 12.
        assert!(!stale(10_000_000_000) && !stale(9_000_000_000));
        assert!(stale(8_000_000_000) && stale(0));
    }
}
