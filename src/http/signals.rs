//! `/v1/runs/{run}/signals`: hints of a producer, one or many, told and not recorded.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};

use super::answer::{Answer, json};
use super::body::{JSON, NDJSON};
use super::guard::By;
use super::openapi::Operation;
use super::openapi::schema::{count, object, refer, some};
use super::path::Path;
use super::posted::{MAX_LINES, Posted};
use super::query::Query;
use crate::events::Signal;
use crate::service::{Action, Service};

const QUERY: &[&str] = &["project"];

pub(super) async fn send(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    caller.check(Action::Write)?;
    let query = Query::read(raw, QUERY)?;
    let posted = Posted::read(&headers, sent).await?;
    let evidence_id = service.find(&caller, Action::Write, &run, query.project()?).await?;
    let (signals, lines) = posted.parse("signals", |sent| Ok(Signal::parse(sent)?))?;
    let signaled = service.signal(&evidence_id, signals, posted.bytes(), &caller).await;
    let signaled = signaled.map_err(|error| lines.problem(error))?;
    let told = serde_json::json!({ "taken": signaled.taken, "dropped": signaled.dropped });
    Ok(json(StatusCode::ACCEPTED, &told))
}

pub(super) fn about_send() -> Operation {
    Operation::new("sendSignals", "Tells who watches of something that is not recorded")
        .about("One signal, or many, a line each, all or none: at most 8 MiB. Those that the project does not take are dropped.")
        .needs(Action::Write)
        .of_a_run()
        .query(QUERY)
        .takes(refer("Signal"))
        .takes_any(NDJSON, some(1, MAX_LINES, refer("Signal")))
        .answers(
            202,
            "How many were taken, and how many dropped.",
            JSON,
            object([("taken", count()), ("dropped", count())]),
        )
        .refuses(409, &["run_closed"])
        .refuses(413, &["element_too_large"])
        .refuses(422, &["member_invalid", "name_redacted", "no_signals", "too_many_signals"])
        .refuses(507, &["disk_full"])
}
