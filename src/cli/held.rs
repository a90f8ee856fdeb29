//! What the person who judges holds: keys, heads, expectations, files.

use std::collections::HashMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::Failure;
use super::input::{cannot_read, digest_file, read_keyring};
use crate::evidence::digest::Digest;
use crate::evidence::keyring::Keyring;
use crate::evidence::verify::{Expected, GivenArtifact, Held};

#[derive(Args)]
pub(super) struct HeldArguments {
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
}

impl HeldArguments {
    /// The keys; `None` without any.
    pub(super) fn keyring(&self) -> Result<Option<Keyring>, Failure> {
        read_keyring(&self.keys)
    }

    /// Those keys, and all else.
    pub(super) fn with(&self, keyring: Option<Keyring>) -> Result<Held, Failure> {
        let mut given = Vec::new();
        for (artifact_id, path) in &self.artifact {
            let (digest, bytes) = digest_file(path)?;
            given.push(GivenArtifact { artifact_id: artifact_id.clone(), digest, bytes });
        }
        Ok(Held {
            keyring,
            threshold: self.threshold,
            heads: self.head.clone(),
            expected: self.expect.clone(),
            artifacts: given,
            files: self.artifacts.as_deref().map(digest_directory).transpose()?.unwrap_or_default(),
            require_artifacts: self.artifacts.is_some(),
        })
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
