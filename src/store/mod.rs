//! Where journals are kept. The contract, which every store keeps:
//!
//! - [`Store::commit`] takes batches, one a run at most, and gives an outcome for each. `Done` is durable: it was written and
//!   fsync-ed before the call returned. A batch is taken whole or not at all, and so is its effect on every index.
//! - A batch names the last record that its writer knew ([`Batch::expected`]); if the run has moved on, it is `Lost` and nothing
//!   of it is written. One batch's failure is no other's.
//!   Bytes of logs move no record: that they are appended once is for the one lane of the run.
//! - `Unavailable` has written nothing. `Poisoned` may have written anything that was not acknowledged; nothing is taken from then
//!   on, until the store is opened again and finds out what stands there.
//! - What is read was committed: readers see a run up to its [`Standing`], which is written last of its batch, never beyond.
//! - The runs of a project are numbered without holes: an opening that does not take the next number is `Lost`.
//! - Records never change, but for values that are erased from them ([`Store::rewrite`]). Nothing but [`layout`] encodes a stored key.

pub(crate) mod backup;
pub(crate) mod check;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by a panic"
)]
pub(crate) mod contract;
pub(crate) mod copies;
pub(crate) mod directory;
pub(crate) mod embedded;
pub(crate) mod layout;
pub(crate) mod list;
mod swap;

use std::fmt;

pub(crate) use self::list::{Page, Query};
use crate::evidence::canonical;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Kind;
use crate::evidence::time::Timestamp;
use crate::journal::{JournalRecord, KeyUse, Overview, Pos, Settings, Standing};

/// What is added to one run at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) evidence_id: String,
    /// The last record that the writer knew; `None` for a run that is opened.
    pub(crate) expected: Option<Pos>,
    pub(crate) opened: Option<Opened>,
    /// A project, and an idempotency key that stands for opening this run.
    pub(crate) open_key: Option<(String, String)>,
    pub(crate) records: Vec<JournalRecord>,
    pub(crate) keys: Vec<(String, KeyUse)>,
    /// Where the run stands with these records. Without, only chunks are written.
    pub(crate) standing: Option<Standing>,
    /// When somebody has to look whether the run is due.
    pub(crate) look_at: Option<Timestamp>,
    /// Of the sealed envelope's file; they count once `sealed` is written.
    pub(crate) chunks: Vec<(u32, Vec<u8>)>,
    pub(crate) sealed: Option<(SealedFile, Sealing)>,
    pub(crate) logs: LogBatch,
}

/// What is added to the logs of a run. What the bytes mean is for who reads them.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogBatch {
    /// Number of the log, place in it.
    pub(crate) chunks: Vec<(u32, u64, Vec<u8>)>,
    pub(crate) ends: Vec<LineEnd>,
    /// What is known of a log, by its number.
    pub(crate) logs: Vec<(u32, Vec<u8>)>,
}

/// A chunk of a log in which lines end: by the first of them it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineEnd {
    /// The first one's place among the lines of the run.
    pub(crate) log_pos: u64,
    /// The first one's place among the lines of the log.
    pub(crate) line: u64,
    pub(crate) log: u32,
    /// Where the chunk stands in the log.
    pub(crate) offset: u64,
}

impl Batch {
    /// About how many bytes it writes.
    pub(crate) fn bytes(&self) -> usize {
        let records =
            self.records.iter().map(|r| r.element().map_or(256, |e| e.text.len().saturating_add(256)));
        let chunks = self.chunks.iter().map(|(_, chunk)| chunk.len());
        let logs = self.logs.chunks.iter().map(|(.., chunk)| chunk.len().saturating_add(512));
        records.chain(chunks).chain(logs).fold(512, usize::saturating_add)
    }
}

/// What is written once for a run.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) overview: Overview,
    /// The project's counter after it.
    pub(crate) counter: Counter,
}

/// How many runs a project has had.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Counter {
    /// The counter's own name, a UUID.
    pub(crate) sequence: String,
    /// The number that the next run gets.
    pub(crate) next: u64,
}

/// What lists have to know of a sealed envelope.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sealing {
    /// Of its artifacts, each once.
    pub(crate) artifacts: Vec<Digest>,
}

impl Sealing {
    /// What the records of a journal say.
    pub(crate) fn of(records: &[JournalRecord]) -> Self {
        let artifacts =
            records.iter().filter_map(JournalRecord::element).filter(|e| e.kind == Kind::Artifact);
        let mut artifacts: Vec<Digest> =
            artifacts.filter_map(|element| artifact_digest(&element.text)).collect();
        artifacts.sort_unstable();
        artifacts.dedup();
        Self { artifacts }
    }
}

fn artifact_digest(text: &str) -> Option<Digest> {
    canonical::parse(text.as_bytes(), text.len()).ok()?.as_object()?.text("digest")?.parse().ok()
}

/// A stored sealed envelope.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct SealedFile {
    pub(crate) envelope_digest: Digest,
    pub(crate) chunks: u32,
    pub(crate) bytes: usize,
}

/// How large a chunk of a stored file is.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// A sealed run without a value that was erased.
#[derive(Clone, Debug)]
pub(crate) struct Rewritten {
    pub(crate) overview: Overview,
    /// Those that have changed.
    pub(crate) records: Vec<JournalRecord>,
    /// Those that have changed.
    pub(crate) keys: Vec<(String, KeyUse)>,
    /// The sealed envelope.
    pub(crate) file: Vec<u8>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Durable.
    Done,
    /// Somebody else was first.
    Lost,
    /// Nothing was written: why.
    Unavailable(String),
    /// Too little disk is left, so nothing was written.
    DiskFull { free_bytes: u64, min_free_bytes: u64 },
    /// Nothing is taken any more: why.
    Poisoned(String),
}

/// Why a store does not answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StoreError {
    /// Another copy of it is being made.
    Busy,
    /// What is stored is not what this program stores.
    Corrupt { what: &'static str, evidence_id: String },
    /// The engine failed.
    Engine(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Busy => f.write_str("another copy of the records is being made; try again later"),
            StoreError::Corrupt { what, evidence_id } => {
                write!(
                    f,
                    "the stored {what} of {evidence_id} cannot be read; restore the data directory from a backup"
                )
            }
            StoreError::Engine(why) => write!(f, "the store does not answer: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// Runs, and where to go on.
pub(crate) type AllRuns = (Vec<(Overview, Standing)>, Option<String>);

type Read<T> = Result<T, StoreError>;

/// A store of journals. Calls block.
pub(crate) trait Store: copies::Copies + Send + Sync {
    fn commit(&self, batches: &[Batch]) -> Vec<Outcome>;
    /// Whether it takes anything.
    fn health(&self) -> Result<(), String>;

    fn run(&self, evidence_id: &str) -> Read<Option<(Overview, Standing)>>;
    /// Committed records from that place on, at most so many.
    fn records(&self, evidence_id: &str, from: Pos, limit: usize) -> Read<Vec<JournalRecord>>;
    fn keys(&self, evidence_id: &str) -> Read<Vec<(String, KeyUse)>>;
    /// The run of that name in that project.
    fn named_in(&self, run_id: &str, project: &str) -> Read<Option<String>>;
    /// Some of the runs of that name in projects that are `wanted`: project and evidence_id.
    fn named(&self, run_id: &str, wanted: &dyn Fn(&str) -> bool) -> Read<Vec<(String, String)>>;
    fn counter(&self, project: &str) -> Read<Option<Counter>>;
    /// The run that was opened with that key.
    fn opened_with(&self, project: &str, key: &str) -> Read<Option<String>>;
    /// The newest runs that a query takes.
    fn newest(&self, query: &Query<'_>) -> Read<Page>;
    /// Some runs in the order of their evidence_ids, after that one; the last one's evidence_id if there may be more.
    fn all_runs(&self, after: Option<&str>, limit: usize) -> Read<AllRuns>;
    /// Of the entries under which lists find a run: how many are missing, and how many it should have.
    fn index_of(
        &self,
        overview: &Overview,
        standing: &Standing,
        sealing: Option<&Sealing>,
    ) -> Read<(u64, u64)>;
    /// How many entries of all runs there are.
    fn index_entries(&self) -> Read<u64>;

    /// Runs that somebody has to look at by then, the earliest first.
    fn due(&self, until: Timestamp, limit: usize) -> Read<Vec<(Timestamp, String)>>;
    /// Puts off when somebody has to look at a run, or for good. Need not be durable: what is lost is looked at again.
    fn put_off(&self, due: &(Timestamp, String), to: Option<Timestamp>) -> Read<()>;
    /// Runs that are closed and not sealed.
    fn closing(&self) -> Read<Vec<String>>;
    fn sealed_file(&self, evidence_id: &str) -> Read<Option<Vec<u8>>>;

    /// What is known of the logs of a run, in the order of their numbers.
    fn logs(&self, evidence_id: &str) -> Read<Vec<Vec<u8>>>;
    /// What is known of the log of that number.
    fn log(&self, evidence_id: &str, log: u32) -> Read<Option<Vec<u8>>>;
    /// Chunks of a log with their places, from the one that holds that byte on: at least one, then up to so many bytes.
    fn log_chunks(&self, evidence_id: &str, log: u32, from: u64, bytes: usize) -> Read<Vec<(u64, Vec<u8>)>>;
    /// Chunks in which lines of the run end, from the one on that has that line.
    fn line_ends(&self, evidence_id: &str, log_pos: u64, limit: usize) -> Read<Vec<LineEnd>>;
    /// Where the chunk stands in which that line of a log ends; the last one before, if it has not ended.
    fn line_of_log(&self, evidence_id: &str, log: u32, line: u64) -> Read<Option<u64>>;
    /// Keeps that of each log, and forgets some of the bytes and lines of all; false once nothing is left of them.
    fn forget_logs(&self, evidence_id: &str, logs: &[Vec<u8>]) -> Read<bool>;

    /// Puts these in the place of what there was, all or none: the one way in which records change. Durable once it returns.
    fn rewrite(&self, evidence_id: &str, rewritten: &Rewritten) -> Read<()>;

    /// Keeps a public key, as a keyring of its own.
    fn register_key(&self, keyid: &str, jwks: &str) -> Read<()>;
    fn registered_keys(&self) -> Read<Vec<String>>;

    fn settings(&self, project: &str) -> Read<Option<Settings>>;
    fn put_settings(&self, project: &str, settings: &Settings) -> Read<()>;

    /// Keeps what is known of a token, as JSON, under its digest.
    fn put_token(&self, digest: Digest, token: &str) -> Read<()>;
    fn delete_token(&self, digest: Digest) -> Read<()>;
    fn tokens(&self) -> Read<Vec<(Digest, String)>>;

    /// Keeps what is known of a session, as JSON, under its digest, and forgets others, in one write.
    fn change_sessions(&self, new: Option<(Digest, &str)>, gone: &[Digest]) -> Read<()>;
    fn sessions(&self) -> Read<Vec<(Digest, String)>>;
}
