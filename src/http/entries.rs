//! `/v1/runs/{run}/entries`: one entry, or many, all or none.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::answer::{Answer, json};
use super::body::{self, JSON, NDJSON};
use super::guard::By;
use super::openapi::Operation;
use super::openapi::schema::{count, digest, many, maybe, object, refer, some};
use super::path::Path;
use super::problem::Problem;
use super::query::{Query, idempotency_key, if_match};
use crate::evidence::chain::Head;
use crate::evidence::digest::Digest;
use crate::journal::{Append, Entry, Receipt};
use crate::service::{Action, Service};

/// How many entries may be sent at once.
const MAX_LINES: usize = 10_000;
/// From this size on parsing is told to the scheduler, which gives the other tasks to other threads.
const LARGE_BYTES: usize = 16 << 10;

#[derive(Serialize)]
struct Appended {
    entries: Vec<EntryReceipt>,
    head: Head,
}

#[derive(Serialize)]
struct EntryReceipt {
    pos: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_hash: Option<Digest>,
}

impl From<&Receipt> for EntryReceipt {
    fn from(receipt: &Receipt) -> Self {
        let head = receipt.head;
        Self { pos: receipt.pos, seq: head.map(|h| h.seq), entry_hash: head.map(|h| h.entry_hash) }
    }
}

const QUERY: &[&str] = &["project"];

pub(super) async fn append(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    caller.check(Action::Write)?;
    let query = Query::read(raw, QUERY)?;
    let (key, if_match) = (idempotency_key(&headers)?, if_match(&headers)?);
    let many = body::media_type(&headers).as_deref() == Some(NDJSON);
    let max_bytes = if many { body::MAX_NDJSON_BYTES } else { body::MAX_JSON_BYTES };
    let sent = body::read(&headers, sent, &[JSON, NDJSON], max_bytes).await?;
    let bytes = &sent.bytes;
    let evidence_id = service.find(&caller, Action::Write, &run, query.project()?).await?;
    let parse = || if many { lines(bytes) } else { Ok(vec![(0, Entry::parse(body::parse(bytes)?)?)]) };
    let entries = if bytes.len() > LARGE_BYTES { tokio::task::block_in_place(parse)? } else { parse()? };
    let (numbers, entries): (Vec<usize>, Vec<Entry>) = entries.into_iter().unzip();
    let done = service.append(&evidence_id, Append { entries, if_match, key }, bytes.len(), &caller).await;
    let done = done.map_err(|error| {
        let line = error.entry().and_then(|entry| numbers.get(entry)).filter(|_| many);
        let problem = Problem::from(error.clone());
        line.map_or(problem.clone(), |line| problem.at_line(*line))
    })?;
    let entries = done.answer.receipts.iter().map(EntryReceipt::from).collect();
    Ok(json(StatusCode::OK, &Appended { entries, head: done.answer.head }))
}

pub(super) fn about_append() -> Operation {
    let receipt = maybe(object([("pos", count())]), [("seq", count()), ("entry_hash", digest())]);
    Operation::new("appendEntries", "Records one entry, or many, all or none")
        .about("As NDJSON the entries are a line each, at most 8 MiB. A repeated entry is answered as it was before.")
        .needs(Action::Write)
        .of_a_run()
        .query(QUERY)
        .takes(refer("Entry"))
        .takes_any(NDJSON, some(1, MAX_LINES, refer("Entry")))
        .records()
        .compares()
        .answers(
            200,
            "Recorded, durably: the place of each, and the chain's head.",
            JSON,
            object([("entries", many(receipt)), ("head", refer("Head"))]),
        )
        .refuses(409, &["artifact_exists", "attempt_order", "observation_exists", "run_closed", "step_exists"])
        .refuses(409, &["log_digest_mismatch"])
        .refuses(422, &["artifact_unknown", "event_name_reserved", "member_reserved", "name_redacted", "type_unknown"])
        .refuses(422, &["no_entries", "run_full", "too_many_entries"])
}

/// The entries of an NDJSON body with their lines; blank lines are none.
fn lines(bytes: &[u8]) -> Result<Vec<(usize, Entry)>, Problem> {
    let mut entries = Vec::new();
    for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = i.saturating_add(1);
        if line.trim_ascii().is_empty() {
            continue;
        }
        if entries.len() >= MAX_LINES {
            let detail = format!("at most {MAX_LINES} entries at once; send the rest in another request");
            return Err(Problem::new(422, "too_many_entries", detail));
        }
        let value = body::parse(line).map_err(|problem| problem.at_line(number))?;
        let entry = Entry::parse(value).map_err(|refusal| Problem::from(refusal).at_line(number))?;
        entries.push((number, entry));
    }
    if entries.is_empty() {
        return Err(Problem::new(422, "no_entries", "no entry in the body; send one a line"));
    }
    Ok(entries)
}
