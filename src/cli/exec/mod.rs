//! `sealstone exec`: a command recorded as a step, and sealed on this machine or by a service.

mod local;
mod remote;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use rustix::fs::{Mode, OFlags};

use super::detected::detected;
use super::exit::Failure;
use super::local_key;
use super::machine::{now, random};
use super::quantity::Period;
use super::server::ServerArguments;
use super::spooling::{SpoolArguments, warn};
use crate::client::report::{LogPlace, Reporter};
use crate::evidence::envelope::{DEFAULT_PRIVATE, PrivateMembers};
use crate::exec::{self, ArtifactFile, Command, Execution, Log, Recording, Surroundings};

/// The evidence could not be made, and `--require-evidence` was given.
const NO_EVIDENCE: u8 = 125;

/// Runs a command as a step, passes its output and its exit status on, and seals what it did: into a file here, or by the service that
/// --server names. With --run it is a step of a run that is open there. What becomes of the evidence never changes the exit status, unless
/// --require-evidence is given.
#[derive(Args)]
#[command(after_help = EXEC_HELP)]
pub(crate) struct ExecArguments {
    /// Name of the step (default: that of the program)
    #[arg(long, value_name = "ID")]
    step: Option<String>,
    /// Kind of the step: command, lint, test, build, deploy …
    #[arg(long, value_name = "KIND", default_value = "command")]
    kind: String,
    /// Project (default: owner and name of the repository, else the directory)
    #[arg(long, value_name = "NAME", env = "SEALSTONE_PROJECT")]
    project: Option<String>,
    /// Name of the run (default: a fresh UUID)
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Make it a step of this run, which is open at the service: evidence_id, run_id or PROJECT/RUN_ID
    #[arg(long, value_name = "RUN", env = "SEALSTONE_RUN")]
    run: Option<String>,
    /// What was asked for, in words
    #[arg(long, value_name = "TEXT")]
    intent: Option<String>,
    /// A label of the run; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    /// A file that the command makes, recorded by its digest; repeatable
    #[arg(long, value_name = "[ID=]PATH", value_parser = parse_artifact)]
    artifact: Vec<ArtifactFile>,
    /// A JUnit XML report that the command makes, recorded with what it says; of a directory each *.xml in it; repeatable
    #[arg(long, value_name = "PATH")]
    junit: Vec<PathBuf>,
    /// Keep what the command writes in this file too
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Withhold what this pointer names, in place of the default, and keep it nowhere; with --server in this run, besides what the project
    /// withholds, and disclosed to auditors only; * in it is any index, "*" alone all that may be; repeatable
    #[arg(long, value_name = "POINTER")]
    private: Vec<String>,
    /// The sealed envelope (default: sealstone-evidence/EVIDENCE_ID.json; with --server only where this names a file)
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Signing key (default: ~/.local/share/sealstone/key.pem, made at first use)
    #[arg(long, value_name = "FILE", env = "SEALSTONE_KEY")]
    key: Option<OsString>,
    /// How long the command may take to end once somebody asked it to, before it is killed
    #[arg(long, value_name = "PERIOD", default_value = "10s", env = "SEALSTONE_GRACE")]
    grace: Period,
    /// Exit 125 if the evidence cannot be made
    #[arg(long)]
    require_evidence: bool,
    /// Say nothing but what went wrong
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    server: ServerArguments,
    #[command(flatten)]
    spool: SpoolArguments,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const EXEC_HELP: &str = "\
Exit status: that of the command; 127 not found, 126 not executable, 128+n ended by signal n.
125 with --require-evidence if there is no evidence, or not all of it; without, a command runs alone where it cannot
be reported (a token or --ca that cannot be used), and it is said. 64 wrong arguments, 66 a sealstone.toml that cannot be
read, before anything is run.

Recorded with it: the git checkout, and of GitHub Actions, GitLab CI, Buildkite, CircleCI, Azure Pipelines, Jenkins and
Tekton what they tell of the pipeline.

Withheld by default: /execution/steps/*/command and /run/trigger/actor. The sealed file still discloses them;
`sealstone pack` makes a copy that does not. What --private names is in the file as a commitment only.";

impl ExecArguments {
    /// The run that is joined.
    fn run(&self) -> Option<&str> {
        self.run.as_deref().filter(|run| !run.is_empty())
    }

    /// Whether something is given that only the opening of a run takes.
    fn says_what_the_run_is(&self) -> bool {
        self.run_id.is_some() || self.intent.is_some() || !self.label.is_empty() || !self.private.is_empty()
    }

    /// Where the key is; an empty variable, as CI systems like to set them, is none.
    fn key_path(&self) -> Result<PathBuf, Failure> {
        let given = self.key.as_ref().filter(|key| !key.is_empty()).map(PathBuf::from);
        given.map_or_else(local_key::default_path, Ok)
    }
}

pub(super) fn run(arguments: ExecArguments) -> Result<u8, Failure> {
    exec::survive_file_limits();
    let private = match arguments.private.as_slice() {
        [] => PrivateMembers::parse(DEFAULT_PRIVATE),
        pointers => PrivateMembers::parse(pointers.iter().map(String::as_str)),
    };
    let command = Command {
        command: arguments.command.clone(),
        step_id: arguments.step.clone(),
        kind: arguments.kind.clone(),
        project: arguments.project.clone().filter(|project| !project.is_empty()),
        run_id: arguments.run_id.clone(),
        intent: arguments.intent.clone(),
        labels: arguments.label.clone(),
        private: private.map_err(Failure::usage)?,
        private_named: arguments.private.clone(),
    };
    check_where_to_write(&arguments)?;
    let checkout = exec::checkout().unwrap_or_else(|why| {
        warn(&format!("the checkout is not recorded; git says: {why}"));
        None
    });
    let detected = detected(checkout);
    let surroundings =
        Surroundings { now: &now, salt: &random, detected: &detected, evidence_id: fresh_id() };
    let recording = Recording::open(command, &surroundings).map_err(Failure::usage)?;
    if arguments.server.is_named() || arguments.run().is_some() {
        remote::run(&arguments, recording)
    } else {
        local::run(&arguments, recording, &surroundings.evidence_id)
    }
}

/// Standard output is taken, and a key that is written over is lost, and with it the power to seal.
fn check_where_to_write(arguments: &ExecArguments) -> Result<(), Failure> {
    let key = arguments.key_path().ok().and_then(|key| fs::canonicalize(key).ok());
    for path in [&arguments.out, &arguments.log].into_iter().flatten() {
        if path == Path::new("-") {
            return Err(Failure::usage("standard output is the command's; name a file"));
        }
        if key.is_some() && fs::canonicalize(path).ok() == key {
            return Err(Failure::usage(format!("{} is the signing key; nothing was run", path.display())));
        }
    }
    Ok(())
}

/// Runs the command; only the operating system's refusal to let us watch it is an error. What it writes goes into the log, and to who is
/// told of it, `told`, by whom it can be ended, too.
fn execute(
    arguments: &ExecArguments,
    told: Option<(&Reporter, LogPlace)>,
) -> Result<(Execution, Log), Failure> {
    let file = arguments.log.as_ref().and_then(|path| {
        create_log(path)
            .inspect_err(|error| warn(&format!("cannot write the log {}: {error}", path.display())))
            .ok()
    });
    let is_kept = file.is_some() || told.is_none();
    let log = Arc::new(Mutex::new(Log::new(file)));
    let (reporter, place) = told.unzip();
    let (of_sink, of_abort, into) = (reporter.cloned().zip(place), reporter.cloned(), Arc::clone(&log));
    let sink = exec::Sink::new(move |stream, bytes: &[u8]| {
        if is_kept {
            into.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
        }
        if let Some((reporter, place)) = &of_sink {
            reporter.log(place, stream, bytes);
        }
    });
    let abort = async {
        match of_abort {
            Some(reporter) => reporter.abort_requested().await,
            None => std::future::pending().await,
        }
    };
    let grace = Duration::from_millis(u64::try_from(arguments.grace.ms).unwrap_or_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let execution =
        runtime.and_then(|runtime| runtime.block_on(exec::run(&arguments.command, sink, abort, grace, &now)));
    let execution =
        execution.map_err(|error| Failure::new(NO_EVIDENCE, format!("cannot watch the command: {error}")))?;
    if let exec::Ended::NotStarted(error) = &execution.ended {
        let program = arguments.command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
        warn(&format!("cannot run {program}: {error}"));
    }
    if let Some(error) = &execution.output_failed {
        warn(&format!("what the command wrote could not all be passed on: {error}"));
    }
    let mut log = std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner));
    if let Err(error) = log.finish() {
        warn(&format!("the log is not complete: {error}"));
    }
    Ok((execution, log))
}

/// Nobody waits for who reads a FIFO.
fn create_log(path: &Path) -> io::Result<File> {
    if !fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo()) {
        return File::create(path);
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fifo = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::fs::fcntl_setfl(&fifo, OFlags::empty())?;
    Ok(fifo.into())
}

/// Records what the command made. One that never began made nothing: what lies there is older.
fn record_files(
    arguments: &ExecArguments,
    recording: &mut Recording<'_>,
    execution: &Execution,
    is_hurried: &dyn Fn() -> bool,
) {
    if matches!(execution.ended, exec::Ended::NotStarted(_)) {
        return;
    }
    for file in &arguments.artifact {
        let recorded = match is_hurried() {
            true => {
                recording.leave_out(file);
                Err("a signal came first".to_owned())
            }
            false => recording.artifact(file),
        };
        if let Err(why) = recorded {
            warn(&format!("artifact {} is not recorded: {why}", file.path.display()));
        }
    }
    if is_hurried() {
        return;
    }
    for why in recording.junit(&arguments.junit, execution.started_at) {
        warn(&format!("JUnit report {why}"));
    }
}

/// A fresh UUIDv7.
pub(super) fn fresh_id() -> String {
    let ms = u64::try_from(now().unix_ms()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(ms, &random()).into_uuid().to_string()
}

pub(super) fn parse_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE expected, like team=core")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_artifact(text: &str) -> Result<ArtifactFile, String> {
    Ok(match text.split_once('=') {
        Some((id, path)) => ArtifactFile { artifact_id: Some(id.to_owned()), path: path.into() },
        None => ArtifactFile { artifact_id: None, path: text.into() },
    })
}
