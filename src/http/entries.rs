//! `/v1/runs/{run}/entries`: one entry, or many, all or none.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::answer::{Answer, json};
use super::body::{JSON, NDJSON};
use super::guard::By;
use super::openapi::Operation;
use super::openapi::schema::{count, digest, many, maybe, object, refer, some};
use super::path::Path;
use super::posted::{MAX_LINES, Posted};
use super::query::{Query, idempotency_key, if_match};
use crate::evidence::chain::Head;
use crate::evidence::digest::Digest;
use crate::journal::{Append, Entry, Receipt};
use crate::service::{Action, Service};

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
    let posted = Posted::read(&headers, sent).await?;
    let evidence_id = service.find(&caller, Action::Write, &run, query.project()?).await?;
    let (entries, lines) = posted.parse("entries", Entry::parse)?;
    let append = Append { entries, if_match, key };
    let done = service.append(&evidence_id, append, posted.bytes(), &caller).await;
    let done = done.map_err(|error| lines.problem(error))?;
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
