//! `sealstone exec`: a command recorded, sealed and verified on this machine.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;

use super::detected::detected;
use super::exit::Failure;
use super::input::read_keyring;
use super::local_key;
use super::machine::{now, random};
use super::signing_key;
use super::style::{DOUBT, FAINT, GOOD, RESET, printable};
use crate::evidence::envelope::{DEFAULT_PRIVATE, PrivateMembers};
use crate::evidence::key::SigningKey;
use crate::evidence::keyring::{Keyring, Terms};
use crate::evidence::seal::Sealed;
use crate::evidence::verify::{Held, verify};
use crate::exec::{self, ArtifactFile, Command, Execution, Log, Recording, Surroundings};
use crate::files::{directory_of, write_durably};

/// The evidence could not be made, and `--require-evidence` was given.
const NO_EVIDENCE: u8 = 125;
/// Where sealed envelopes go that no `--out` names.
const DIRECTORY: &str = "sealstone-evidence";

/// Runs a command as a step, passes its output and its exit status on, and seals what it did into a file. What becomes of
/// the evidence never changes the exit status, unless --require-evidence is given.
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
    /// What was asked for, in words
    #[arg(long, value_name = "TEXT")]
    intent: Option<String>,
    /// A label of the run; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    /// A file that the command makes, recorded by its digest; repeatable
    #[arg(long, value_name = "[ID=]PATH", value_parser = parse_artifact)]
    artifact: Vec<ArtifactFile>,
    /// Keep what the command writes in this file too
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Withhold what this pointer names, in place of the default; * in it is any index, "*" alone all that may be; repeatable
    #[arg(long, value_name = "POINTER")]
    private: Vec<String>,
    /// The sealed envelope (default: sealstone-evidence/EVIDENCE_ID.json)
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Signing key (default: ~/.local/share/sealstone/key.pem, made at first use)
    #[arg(long, value_name = "FILE", env = "SEALSTONE_KEY")]
    key: Option<OsString>,
    /// Exit 125 if the evidence cannot be made
    #[arg(long)]
    require_evidence: bool,
    /// Say nothing but what went wrong
    #[arg(long, short)]
    quiet: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const EXEC_HELP: &str = "\
Exit status: that of the command; 127 not found, 126 not executable, 128+n ended by signal n.
125 with --require-evidence if there is no evidence; 64 wrong arguments, before anything is run.

Recorded with it: the git checkout, and of GitHub Actions, GitLab CI, Buildkite, CircleCI, Azure Pipelines, Jenkins and
Tekton what they tell of the pipeline.

Withheld by default: /execution/steps/*/command and /run/trigger/actor. The sealed file still discloses them;
`sealstone pack` makes a copy that does not.";

impl ExecArguments {
    /// Where the key is; an empty variable, as CI systems like to set them, is none.
    fn key_path(&self) -> Result<PathBuf, Failure> {
        let given = self.key.as_ref().filter(|key| !key.is_empty()).map(PathBuf::from);
        given.map_or_else(local_key::default_path, Ok)
    }
}

pub(super) fn run(arguments: ExecArguments) -> Result<u8, Failure> {
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
    };
    check_where_to_write(&arguments)?;
    let checkout = exec::checkout().unwrap_or_else(|why| {
        warn(&format!("the checkout is not recorded; git says: {why}"));
        None
    });
    let detected = detected(checkout);
    let surroundings =
        Surroundings { now: &now, salt: &random, detected: &detected, evidence_id: fresh_evidence_id() };
    let recording = Recording::open(command, &surroundings).map_err(Failure::usage)?;
    let prepared = Evidence::prepare(&arguments, &surroundings.evidence_id);
    if let (Err(failure), true) = (&prepared, arguments.require_evidence) {
        return Err(Failure::new(NO_EVIDENCE, format!("{}; nothing was run", failure.message())));
    }

    let (execution, log) = execute(&arguments)?;
    exec::end_on_signal();
    let sealed = prepared.and_then(|evidence| evidence.seal(recording, &execution, &log, &arguments));
    match sealed {
        Ok(()) => Ok(execution.ended.status()),
        Err(failure) => {
            warn(&format!("no evidence of this run: {}", failure.message()));
            Ok(if arguments.require_evidence { NO_EVIDENCE } else { execution.ended.status() })
        }
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

/// Runs the command; only the operating system's refusal to let us watch it is an error.
fn execute(arguments: &ExecArguments) -> Result<(Execution, Log), Failure> {
    let file = arguments.log.as_ref().and_then(|path| {
        File::create(path)
            .inspect_err(|error| warn(&format!("cannot write the log {}: {error}", path.display())))
            .ok()
    });
    let log = Arc::new(Mutex::new(Log::new(file)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let execution =
        runtime.and_then(|runtime| runtime.block_on(exec::run(&arguments.command, Arc::clone(&log), &now)));
    let execution =
        execution.map_err(|error| Failure::new(NO_EVIDENCE, format!("cannot watch the command: {error}")))?;
    if let exec::Ended::NotStarted(error) = &execution.ended {
        let program = arguments.command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
        warn(&format!("cannot run {program}: {error}"));
    }
    let mut log = std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner));
    if let Err(error) = log.finish() {
        warn(&format!("the log is not complete: {error}"));
    }
    Ok((execution, log))
}

/// What sealing needs, looked for before the command runs.
struct Evidence {
    key: SigningKey,
    key_path: PathBuf,
    out: PathBuf,
    made_key: bool,
}

impl Evidence {
    fn prepare(arguments: &ExecArguments, evidence_id: &str) -> Result<Self, Failure> {
        let key_path = arguments.key_path()?;
        let (key, made_key) = signing_key::read_or_make(&key_path)?;
        signing_key::check_counts(&key, &key_path, now())?;
        let out = match &arguments.out {
            Some(out) => out.clone(),
            None => default_directory()
                .map_err(|error| cannot_write(Path::new(DIRECTORY), &error))?
                .join(format!("{evidence_id}.json")),
        };
        let directory = fs::metadata(directory_of(&out)).map_err(|error| cannot_write(&out, &error))?;
        if !directory.is_dir() {
            return Err(cannot_write(&out, &io::Error::from(io::ErrorKind::NotADirectory)));
        }
        Ok(Self { key, key_path, out, made_key })
    }

    fn seal(
        &self,
        mut recording: Recording<'_>,
        execution: &Execution,
        log: &Log,
        arguments: &ExecArguments,
    ) -> Result<(), Failure> {
        // A command that never began made nothing: what lies there is older.
        let began = !matches!(execution.ended, exec::Ended::NotStarted(_));
        for file in arguments.artifact.iter().filter(|_| began) {
            if let Err(why) = recording.artifact(file) {
                warn(&format!("artifact {} is not recorded: {why}", file.path.display()));
            }
        }
        recording.close(execution, log).map_err(|error| Failure::new(NO_EVIDENCE, error))?;
        let sealed = recording.seal(&self.key).map_err(|error| Failure::new(NO_EVIDENCE, error))?;
        self.verify(&sealed)?;
        write_durably(&self.out, sealed.file.as_bytes()).map_err(|error| cannot_write(&self.out, &error))?;
        if !arguments.quiet {
            self.tell(&sealed);
        }
        Ok(())
    }

    /// Nothing is given out that does not verify.
    fn verify(&self, sealed: &Sealed) -> Result<(), Failure> {
        let mut keyring = Keyring::new();
        keyring.add(self.key.public(), Terms::default()).map_err(|error| Failure::new(NO_EVIDENCE, error))?;
        let held = Held { keyring: Some(keyring), ..Held::default() };
        let judged = verify(sealed.file.as_bytes(), &held);
        match judged.verified() {
            Some(_) => Ok(()),
            None => {
                let first = judged
                    .report()
                    .first_failure
                    .as_ref()
                    .map(|first| first.code.as_str())
                    .unwrap_or_default();
                Err(Failure::new(
                    NO_EVIDENCE,
                    format!("what was sealed does not verify ({first}); please report this"),
                ))
            }
        }
    }

    fn tell(&self, sealed: &Sealed) {
        let out = printable(&self.out.display().to_string());
        if self.made_key {
            let path = printable(&self.key_path.display().to_string());
            anstream::eprintln!("{FAINT}sealstone: made the signing key {path}; keep it secret{RESET}");
        }
        anstream::eprintln!(
            "{GOOD}sealed and verified{RESET} {out}\n{FAINT}envelope {}{RESET}",
            sealed.envelope_digest
        );
        let keyring = local_key::keyring_path(&self.key_path);
        let keyid = self.key.public().keyid();
        let lists = |keyring: &Path| {
            read_keyring(&[keyring])
                .is_ok_and(|keyring| keyring.is_some_and(|keyring| keyring.get(&keyid).is_some()))
        };
        if keyring.exists() && lists(&keyring) {
            let keyring = printable(&keyring.display().to_string());
            anstream::eprintln!("{FAINT}check it anywhere: sealstone verify {out} --keys {keyring}{RESET}");
        } else {
            anstream::eprintln!("{FAINT}signed by {keyid}; give auditors the public half of your key{RESET}");
        }
    }
}

/// The directory of sealed envelopes; git is told to pass it over, so that evidence does not make a checkout dirty.
fn default_directory() -> io::Result<PathBuf> {
    let directory = PathBuf::from(DIRECTORY);
    fs::create_dir_all(&directory)?;
    // Only where nothing is, not even a link that leads elsewhere.
    match OpenOptions::new().write(true).create_new(true).open(directory.join(".gitignore")) {
        Ok(mut file) => file.write_all(b"*\n")?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    Ok(directory)
}

fn warn(message: &str) {
    anstream::eprintln!("{DOUBT}sealstone:{RESET} {}", printable(message));
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(NO_EVIDENCE, format!("cannot write {}: {error}", path.display()))
}

fn fresh_evidence_id() -> String {
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
