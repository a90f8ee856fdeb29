//! `/v1/runs/{run}/events` and `/v1/events`: hints, as they happen.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};

use super::answer::{Answer, no_content, text};
use super::body::JSON;
use super::follow::{among, begin, filter, from, heartbeat};
use super::guard::By;
use super::impatient::Patience;
use super::kept::kept;
use super::openapi::Operation;
use super::openapi::schema::{any_text, count, either, flag, id, many, object, one_of, path_id, refer};
use super::path::Path;
use super::problem::Problem;
use super::query::Query;
use super::sse::{EVENT_STREAM, event_stream};
use crate::events::Filter;
use crate::evidence::canonical::MAX_SAFE_INTEGER;
use crate::service::{Action, Begin, EventPage, Service};

/// How many events a page has at most, and unless asked otherwise.
const MAX_EVENTS: u64 = 1_000;
const EVENTS: u64 = 100;

const OF_A_RUN: &[&str] =
    &["project", "preset", "types", "heartbeat", "last_event_id", "from", "since", "limit"];

pub(super) async fn of_run(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    patience: Patience,
    headers: HeaderMap,
) -> Answer {
    let query = Query::read(raw, OF_A_RUN)?;
    let filter = filter(&query)?;
    let evidence_id = service.find(&caller, Action::Read, &run, query.project()?).await?;
    if wants_page(&headers) {
        return page(&service, &evidence_id, filter, &query).await;
    }
    let (heartbeat, begin) = (heartbeat(&query)?, begin(&query, &headers)?);
    match service.follow_run(service.seat()?, &evidence_id, filter, begin).await? {
        Some(followed) => Ok(event_stream(service, caller, followed, heartbeat, &patience, None)),
        // The one answer after which a browser does not come back.
        None => Ok(no_content()),
    }
}

pub(super) fn about_of_run() -> Operation {
    let page = object([("events", many(refer("Event"))), ("next", count()), ("closed", flag())]);
    Operation::new("getRunEvents", "Follows the events of a run, or gives a page of them")
        .about("As `text/event-stream` every record once, in order, from where it is asked for, and signals as they come; it ends after `run_finalized`. With `Accept: application/json` a page, from `from` or `since`: at most `limit` events, 4 MiB of them, from 10,000 records; `next` is where the next one begins, which may have more though this one has none.")
        .needs(Action::Read)
        .of_a_run()
        .query(OF_A_RUN)
        .takes_for("from", begin_of())
        .header("Last-Event-ID")
        .answers(200, "The stream, to the end of the run; or a page.", EVENT_STREAM, any_text())
        .or_answers(200, JSON, page)
        .answers_nothing(204, "The run is sealed, and there is nothing after where the stream would begin.")
        .refuses(400, &["filter_unknown"])
        .refuses(503, &["busy", "subscribers_full"])
}

/// Where a stream may begin.
pub(super) fn begin_of() -> serde_json::Value {
    either(count(), one_of(["earliest", "latest"]))
}

/// Whether JSON is asked for, and no stream.
fn wants_page(headers: &HeaderMap) -> bool {
    let told = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let told = told.collect::<Vec<_>>().join(",").to_ascii_lowercase();
    let accepts = |wanted: &str| {
        told.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts.next() == Some(wanted) && parts.all(|part| part.trim_end_matches(['.', '0']) != "q=")
        })
    };
    accepts(JSON) && !accepts(EVENT_STREAM)
}

/// A page is no stream: what only a stream can heed is refused.
async fn page(service: &Service, evidence_id: &str, filter: Filter, query: &Query) -> Answer {
    for name in ["heartbeat", "last_event_id"] {
        if query.one(name)?.is_some() {
            return Err(Problem::parameter(name, "is for streams; a page begins at from or since"));
        }
    }
    let begin = match from(query)? {
        Some(Begin::From(at)) if at > MAX_SAFE_INTEGER => {
            return Err(Problem::parameter("from", format!("at most {MAX_SAFE_INTEGER} expected")));
        }
        begin => begin,
    };
    let limit = query.number("limit", 1..=MAX_EVENTS)?.unwrap_or(EVENTS);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let EventPage { events, next, closed, place } = service.events(evidence_id, filter, begin, limit).await?;
    let mut body = String::from("{\"events\":[");
    for (n, frame) in events.iter().enumerate() {
        body.push_str(if n > 0 { "," } else { "" });
        body.push_str(frame.data());
    }
    body.push_str(&format!("],\"next\":{next},\"closed\":{closed}}}"));
    Ok(text(StatusCode::OK, kept(body.into_bytes(), place), JSON))
}

const OF_ALL: &[&str] = &["run", "project", "preset", "types", "heartbeat", "last_event_id", "from", "since"];

pub(super) async fn of_all(
    State(service): State<Arc<Service>>,
    By(caller): By,
    RawQuery(raw): RawQuery,
    patience: Patience,
    headers: HeaderMap,
) -> Answer {
    let query = Query::read(raw, OF_ALL)?;
    let (filter, among) = (filter(&query)?, among(&query)?);
    let (heartbeat, begin) = (heartbeat(&query)?, begin(&query, &headers)?);
    let followed = service.follow_runs(&caller, among, filter, begin)?;
    Ok(event_stream(service, caller, followed, heartbeat, &patience, None))
}

pub(super) fn about_of_all() -> Operation {
    Operation::new(
        "getEvents",
        "Follows the events of all runs that the caller sees, or of those that are named",
    )
    .about(
        "Nothing from before unless it is asked for; what is not in memory any more is told as `stream_gap`.",
    )
    .needs(Action::Read)
    .query(OF_ALL)
    .takes_for("run", many(id()))
    .takes_for("project", many(path_id()))
    .takes_for("from", begin_of())
    .header("Last-Event-ID")
    .answers(200, "The stream.", EVENT_STREAM, any_text())
    .refuses(400, &["filter_unknown"])
    .refuses(503, &["subscribers_full"])
}
