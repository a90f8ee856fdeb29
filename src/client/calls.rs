//! The calls: what is sent, and what comes back.

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

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

impl Client {
    /// Opens a run, or finds the one that the same members opened.
    pub async fn open_run(&self, members: &Object<'_>) -> Result<OpenedRun, ClientError> {
        self.post(&["v1", "runs"], (JSON, members.canonical().into_owned()), None).await
    }

    /// Finds the run of that name in a project, open or not.
    pub async fn find_run(&self, project: &str, run_id: &str) -> Result<OpenedRun, ClientError> {
        self.get(&["v1", "runs", run_id], &[("project", project), ("envelope", "false")]).await
    }

    /// Records entries, all or none, at the end of a chain that ends with `if_match`, if one is given.
    pub async fn append(
        &self,
        run: &str,
        entries: &[Object<'_>],
        if_match: Option<Digest>,
    ) -> Result<Appended, ClientError> {
        let lines: String = entries.iter().map(|entry| entry.canonical().into_owned() + "\n").collect();
        self.post(&["v1", "runs", run, "entries"], (NDJSON, lines), if_match).await
    }

    /// Opens a gate.
    pub async fn open_gate(&self, run: &str, members: &Object<'_>) -> Result<Gate, ClientError> {
        self.post(&["v1", "runs", run, "gates"], (JSON, members.canonical().into_owned()), None).await
    }

    /// A gate once it is resolved, or as it is after `wait_s` seconds, at most 60.
    pub async fn gate(&self, run: &str, gate_id: &str, wait_s: u8) -> Result<Gate, ClientError> {
        self.get(&["v1", "runs", run, "gates", gate_id], &[("wait", &wait_s.to_string())]).await
    }

    /// Resolves a gate: `decision`, and perhaps `comment` and `seen_head`.
    pub async fn resolve_gate(
        &self,
        run: &str,
        gate_id: &str,
        members: &Object<'_>,
    ) -> Result<Gate, ClientError> {
        let body = (JSON, members.canonical().into_owned());
        self.post(&["v1", "runs", run, "gates", gate_id], body, None).await
    }

    /// Closes a run and has it sealed: `result`, and perhaps `reason`.
    pub async fn finalize(&self, run: &str, members: &Object<'_>) -> Result<Finalized, ClientError> {
        let body = (JSON, members.canonical().into_owned());
        self.post(&["v1", "runs", run, "finalize"], body, None).await
    }

    /// Asks the producer of a run to stop: perhaps `reason` and `force`.
    pub async fn abort(&self, run: &str, members: &Object<'_>) -> Result<(), ClientError> {
        let body = (JSON, members.canonical().into_owned());
        let _: serde_json::Value = self.post(&["v1", "runs", run, "abort"], body, None).await?;
        Ok(())
    }

    /// A run as it is, with the envelope so far.
    pub async fn snapshot(&self, run: &str) -> Result<Vec<u8>, ClientError> {
        self.bytes(&["v1", "runs", run], &[]).await
    }

    /// A sealed envelope, byte for byte.
    pub async fn envelope(&self, run: &str) -> Result<Vec<u8>, ClientError> {
        self.bytes(&["v1", "envelopes", run], &[]).await
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
        let call = Call { method: Method::POST, path, query: &[], body: None, if_match: None };
        self.call(call).await.map(drop)
    }

    /// Makes a token: `name`, `role`, and perhaps `projects` and `expires_at`. The answer has the token in it, this once.
    pub async fn create_token(&self, members: &Object<'_>) -> Result<serde_json::Value, ClientError> {
        self.post(&["v1", "tokens"], (JSON, members.canonical().into_owned()), None).await
    }

    /// All tokens, without what would let anybody in.
    pub async fn tokens(&self) -> Result<serde_json::Value, ClientError> {
        self.get(&["v1", "tokens"], &[]).await
    }

    /// Forgets a token.
    pub async fn delete_token(&self, id: &str) -> Result<(), ClientError> {
        let path = &["v1", "tokens", id];
        let call = Call { method: Method::DELETE, path, query: &[], body: None, if_match: None };
        self.call(call).await.map(drop)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: (&'static str, String),
        if_match: Option<Digest>,
    ) -> Result<T, ClientError> {
        let call = Call { method: Method::POST, path, query: &[], body: Some(body), if_match };
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
        let call = Call { method: Method::GET, path, query, body: None, if_match: None };
        Ok(self.call(call).await?.body)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(|error| ClientError::Answer { why: error.to_string() })
}
