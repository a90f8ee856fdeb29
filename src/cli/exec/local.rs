//! `exec` without a service: the run is sealed into a file, on this machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::super::exit::Failure;
use super::super::input::read_keyring;
use super::super::local_key;
use super::super::machine::now;
use super::super::signing_key;
use super::super::spooling::warn;
use super::super::style::{FAINT, GOOD, RESET, printable, say};
use super::{ExecArguments, NO_EVIDENCE};
use crate::evidence::canonical;
use crate::evidence::envelope::limits::MAX_FILE_BYTES;
use crate::evidence::key::SigningKey;
use crate::evidence::keyring::{Keyring, Terms};
use crate::evidence::seal::{Sealed, with_disclosures};
use crate::evidence::verify::{Held, verify};
use crate::exec::{self, Execution, Log, Recording};
use crate::files::{directory_of, write_durably};

/// Where sealed envelopes go that no `--out` names.
const DIRECTORY: &str = "sealstone-evidence";

/// Runs the command, and seals what came of it.
pub(super) fn run(
    arguments: &ExecArguments,
    recording: Recording<'_>,
    evidence_id: &str,
) -> Result<u8, Failure> {
    let prepared = Evidence::prepare(arguments, evidence_id);
    if let (Err(failure), true) = (&prepared, arguments.require_evidence) {
        return Err(Failure::new(NO_EVIDENCE, format!("{}; nothing was run", failure.message())));
    }
    let (execution, log) = super::execute(arguments, None)?;
    exec::end_on_signal();
    let sealed = prepared.and_then(|evidence| evidence.seal(recording, &execution, &log, arguments));
    match sealed {
        Ok(()) => Ok(execution.ended.status()),
        Err(failure) => {
            warn(&format!("no evidence of this run: {}", failure.message()));
            Ok(if arguments.require_evidence { NO_EVIDENCE } else { execution.ended.status() })
        }
    }
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
        super::record_files(arguments, &mut recording, execution, &|| false);
        recording.close(execution, log).map_err(|error| Failure::new(NO_EVIDENCE, error))?;
        let mut sealed = recording.seal(&self.key).map_err(|error| Failure::new(NO_EVIDENCE, error))?;
        if !arguments.private.is_empty() {
            sealed = undisclosed(sealed)?;
        }
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
            say(format_args!("{FAINT}sealstone: made the signing key {path}; keep it secret{RESET}"));
        }
        say(format_args!(
            "{GOOD}sealed and verified{RESET} {out}\n{FAINT}envelope {}{RESET}",
            sealed.envelope_digest
        ));
        let keyring = local_key::keyring_path(&self.key_path);
        let keyid = self.key.public().keyid();
        let lists = |keyring: &Path| {
            read_keyring(&[keyring])
                .is_ok_and(|keyring| keyring.is_some_and(|keyring| keyring.get(&keyid).is_some()))
        };
        if keyring.exists() && lists(&keyring) {
            let keyring = printable(&keyring.display().to_string());
            say(format_args!("{FAINT}check it anywhere: sealstone verify {out} --keys {keyring}{RESET}"));
        } else {
            say(format_args!("{FAINT}signed by {keyid}; give auditors the public half of your key{RESET}"));
        }
    }
}

/// The same without what is withheld in it: who named that has it kept nowhere.
fn undisclosed(sealed: Sealed) -> Result<Sealed, Failure> {
    let document = canonical::parse(sealed.file.as_bytes(), MAX_FILE_BYTES).ok();
    let file = document.as_ref().and_then(|file| with_disclosures(file.as_object()?, |_| false));
    let file = file.ok_or_else(|| Failure::new(NO_EVIDENCE, "what is withheld would be in the file"))?;
    Ok(Sealed { file, ..sealed })
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

pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(NO_EVIDENCE, format!("cannot write {}: {error}", path.display()))
}
