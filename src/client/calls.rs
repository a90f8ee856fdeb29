//! The calls: what is sent, and what comes back.

use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::ClientError;
use super::http::{Call, Client};
use crate::evidence::canonical::Object;
use crate::evidence::chain::Head;
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;

/// A run that is open.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "named after the members of the answer")]
pub struct OpenedRun {
    pub run_id: String,
    pub evidence_id: String,
    pub project: String,
    pub head: Head,
    /// Seconds after which it is closed when nothing is accepted under it.
    pub idle_timeout: Option<u64>,
}

/// A run as it is, without its record.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "named after the members of the answer")]
pub struct RunState {
    pub run_id: String,
    pub evidence_id: String,
    pub project: String,
    /// `open`, `closing` or `sealed`.
    pub state: String,
    pub abort_requested: bool,
    /// Pointers to what is withheld in it.
    #[serde(default)]
    pub private: Vec<String>,
    /// What the chain is.
    pub head: Head,
    /// Seconds after which it is closed when nothing is accepted under it.
    pub idle_timeout: Option<u64>,
}

impl From<OpenedRun> for RunState {
    fn from(opened: OpenedRun) -> Self {
        let OpenedRun { run_id, evidence_id, project, head, idle_timeout } = opened;
        let (state, private) = ("open".to_owned(), Vec::new());
        Self { run_id, evidence_id, project, state, abort_requested: false, private, head, idle_timeout }
    }
}

/// Where an entry was recorded.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct EntryReceipt {
    /// Its place in the journal.
    pub pos: u64,
    /// Its place in the chain; a notice has none.
    pub seq: Option<u64>,
    /// The hash over it and all before it.
    pub entry_hash: Option<Digest>,
}

/// Entries that are durable.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Appended {
    /// One for each entry, in order.
    pub entries: Vec<EntryReceipt>,
    /// What the chain is with them.
    pub head: Head,
}

/// A run that is sealed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "named after the members of the answer")]
pub struct Finalized {
    pub evidence_id: String,
    pub envelope_digest: Digest,
    pub head: Head,
}

/// A gate as it is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Gate {
    /// Its name in the run.
    pub gate_id: String,
    /// `open` or `resolved`.
    pub state: String,
    /// `approved`, `rejected` or `unanswered`.
    pub decision: Option<String>,
    /// What was said about it.
    pub comment: Option<String>,
}

/// Some of the runs of a service.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RunPage {
    /// The newest first.
    pub runs: Vec<RunSummary>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// What a list says of a run.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "named after the members of the answer")]
pub struct RunSummary {
    pub evidence_id: String,
    pub project: String,
    pub closed_at: Option<Timestamp>,
}

/// Where a log has come to.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(super) struct LogReceipt {
    /// Where the next bytes go.
    pub(super) offset: u64,
}

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const PLAIN: &str = "text/plain";

/// What is posted.
#[derive(Default)]
struct Posted<'p> {
    query: &'p [(&'p str, &'p str)],
    body: Option<(&'static str, Bytes)>,
    if_match: Option<Digest>,
    key: Option<&'p str>,
    upload_offset: Option<u64>,
}

impl Posted<'_> {
    fn json(members: &Object<'_>) -> Self {
        Self { body: Some((JSON, members.canonical().into_owned().into())), ..Self::default() }
    }

    fn lines(lines: &[Object<'_>]) -> Self {
        let lines: String = lines.iter().map(|line| line.canonical().into_owned() + "\n").collect();
        Self { body: Some((NDJSON, lines.into())), ..Self::default() }
    }
}

/// A run as people name it (an `evidence_id`, a `run_id`, or `PROJECT/RUN_ID`), as a segment of a path and a query.
pub(super) fn named(run: &str) -> (&str, Vec<(&str, &str)>) {
    match run.rsplit_once('/') {
        // A run_id has no slash.
        Some((project, run_id)) => (run_id, vec![("project", project)]),
        None => (run, Vec::new()),
    }
}

/// Where `run` names a run, it is an `evidence_id`, a `run_id`, or `PROJECT/RUN_ID`.
impl Client {
    /// Opens a run, or finds the one that the same members opened.
    pub async fn open_run(&self, members: &Object<'_>) -> Result<OpenedRun, ClientError> {
        self.open_run_as(members, None).await
    }

    pub(super) async fn open_run_as(
        &self,
        members: &Object<'_>,
        key: Option<&str>,
    ) -> Result<OpenedRun, ClientError> {
        self.post(&["v1", "runs"], Posted { key, ..Posted::json(members) }).await
    }

    /// Records entries, all or none, at the end of a chain that ends with `if_match`, if one is given.
    pub async fn append(
        &self,
        run: &str,
        entries: &[Object<'_>],
        if_match: Option<Digest>,
    ) -> Result<Appended, ClientError> {
        self.post_to(run, &["entries"], Posted { if_match, ..Posted::lines(entries) }).await
    }

    pub(super) async fn append_as(
        &self,
        run: &str,
        entries: &[Object<'_>],
        key: &str,
    ) -> Result<Appended, ClientError> {
        self.post_to(run, &["entries"], Posted { key: Some(key), ..Posted::lines(entries) }).await
    }

    /// Appends to the log of a step's attempt, there. Durable once it returns.
    pub(super) async fn append_log(
        &self,
        run: &str,
        (step_id, attempt, stream): (&str, u64, &str),
        offset: u64,
        bytes: Bytes,
    ) -> Result<LogReceipt, ClientError> {
        let attempt = attempt.to_string();
        let query = &[("step_id", step_id), ("attempt", &attempt), ("stream", stream)];
        let body = Some((PLAIN, bytes));
        let posted = Posted { query, body, upload_offset: Some(offset), ..Posted::default() };
        self.post_to(run, &["logs"], posted).await
    }

    /// Where the log of a step's attempt ends, whether the run is open or not.
    pub(super) async fn log_end(
        &self,
        run: &str,
        (step_id, attempt): (&str, u64),
    ) -> Result<u64, ClientError> {
        let (run, mut query) = named(run);
        let attempt = attempt.to_string();
        query.extend([("step_id", step_id), ("attempt", &attempt)]);
        let path = &["v1", "runs", run, "logs"];
        let call = Call { method: Method::HEAD, path, query: &query, ..Call::default() };
        let end = self.call(call).await?.upload_offset;
        end.ok_or_else(|| ClientError::Answer { why: "it does not say where the log ends".into() })
    }

    /// Tells who watches; nothing is recorded.
    pub async fn signal(&self, run: &str, signals: &[Object<'_>]) -> Result<(), ClientError> {
        let _: serde_json::Value = self.post_to(run, &["signals"], Posted::lines(signals)).await?;
        Ok(())
    }

    /// Opens a gate.
    pub async fn open_gate(&self, run: &str, members: &Object<'_>) -> Result<Gate, ClientError> {
        self.post_to(run, &["gates"], Posted::json(members)).await
    }

    /// A gate once it is resolved, or as it is after `wait_s` seconds, at most 60.
    pub async fn gate(&self, run: &str, gate_id: &str, wait_s: u8) -> Result<Gate, ClientError> {
        let (run, mut query) = named(run);
        let wait = wait_s.to_string();
        query.push(("wait", &wait));
        self.get(&["v1", "runs", run, "gates", gate_id], &query).await
    }

    /// Resolves a gate: `decision`, and perhaps `comment` and `seen_head`.
    pub async fn resolve_gate(
        &self,
        run: &str,
        gate_id: &str,
        members: &Object<'_>,
    ) -> Result<Gate, ClientError> {
        self.post_to(run, &["gates", gate_id], Posted::json(members)).await
    }

    /// Closes a run and has it sealed: `result`, and perhaps `reason`.
    pub async fn finalize(&self, run: &str, members: &Object<'_>) -> Result<Finalized, ClientError> {
        self.post_to(run, &["finalize"], Posted::json(members)).await
    }

    pub(super) async fn finalize_as(
        &self,
        run: &str,
        members: &Object<'_>,
        key: &str,
    ) -> Result<Finalized, ClientError> {
        self.post_to(run, &["finalize"], Posted { key: Some(key), ..Posted::json(members) }).await
    }

    /// Asks the producer of a run to stop: perhaps `reason` and `force`.
    pub async fn abort(&self, run: &str, members: &Object<'_>) -> Result<(), ClientError> {
        let _: serde_json::Value = self.post_to(run, &["abort"], Posted::json(members)).await?;
        Ok(())
    }

    /// A run as it is, with the envelope so far.
    pub async fn snapshot(&self, run: &str) -> Result<Vec<u8>, ClientError> {
        let (run, query) = named(run);
        self.bytes(&["v1", "runs", run], &query).await
    }

    /// A run as it is, without its record.
    pub async fn run(&self, run: &str) -> Result<RunState, ClientError> {
        let (run, mut query) = named(run);
        query.push(("envelope", "false"));
        self.get(&["v1", "runs", run], &query).await
    }

    /// A sealed envelope, byte for byte.
    pub async fn envelope(&self, run: &str) -> Result<Vec<u8>, ClientError> {
        let (run, query) = named(run);
        self.bytes(&["v1", "envelopes", run], &query).await
    }

    /// The keyring of the service. It says what the service says: compare it with one that you got on another way.
    pub async fn keys(&self) -> Result<Vec<u8>, ClientError> {
        self.bytes(&["v1", "keys"], &[]).await
    }

    /// A page of runs, newest first: `project`, `state`, `result`, `opened_after`, `limit`, `cursor` and so on, as the route has them.
    pub async fn runs(&self, query: &[(&str, &str)]) -> Result<RunPage, ClientError> {
        self.get(&["v1", "runs"], query).await
    }

    /// A sealed envelope with all that is withheld in it; refused to whose role may not see that.
    pub async fn full_envelope(&self, evidence_id: &str) -> Result<Vec<u8>, ClientError> {
        self.bytes(&["v1", "envelopes", evidence_id], &[("disclosures", "all")]).await
    }

    /// A backup of all that the service has stored, handed on as it comes. It is whole if its own end says so, not before.
    pub async fn backup(&self, into: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<(), ClientError> {
        self.pour(&["v1", "backup"], into).await
    }

    /// Has the service remove from its files what was deleted, overwritten or erased. Durable once it returns.
    pub async fn compact(&self) -> Result<(), ClientError> {
        let path = &["v1", "compaction"];
        let call = Call { method: Method::POST, path, ..Call::default() };
        self.call(call).await.map(drop)
    }

    /// Makes a token: `name`, `role`, and perhaps `projects` and `expires_at`. The answer has the token in it, this once.
    pub async fn create_token(&self, members: &Object<'_>) -> Result<serde_json::Value, ClientError> {
        self.post(&["v1", "tokens"], Posted::json(members)).await
    }

    /// All tokens, without what would let anybody in.
    pub async fn tokens(&self) -> Result<serde_json::Value, ClientError> {
        self.get(&["v1", "tokens"], &[]).await
    }

    /// Forgets a token.
    pub async fn delete_token(&self, id: &str) -> Result<(), ClientError> {
        let path = &["v1", "tokens", id];
        let call = Call { method: Method::DELETE, path, ..Call::default() };
        self.call(call).await.map(drop)
    }

    async fn post_to<T: DeserializeOwned>(
        &self,
        run: &str,
        below: &[&str],
        posted: Posted<'_>,
    ) -> Result<T, ClientError> {
        let (run, mut query) = named(run);
        query.extend(posted.query);
        let path = [&["v1", "runs", run], below].concat();
        self.post(&path, Posted { query: &query, ..posted }).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &[&str], posted: Posted<'_>) -> Result<T, ClientError> {
        let Posted { query, body, if_match, key, upload_offset } = posted;
        let call = Call { method: Method::POST, path, query, body, if_match, key, upload_offset };
        read(&self.call(call).await?.body)
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        read(&self.bytes(path, query).await?)
    }

    async fn bytes(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<u8>, ClientError> {
        let call = Call { path, query, ..Call::default() };
        Ok(self.call(call).await?.body)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Answer { why: error.to_string() })
}
