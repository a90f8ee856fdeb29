//! `/v1/runs/{run}/logs/stream` and `/v1/logs/stream`: log lines, as they arrive.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;

use super::answer::{Answer, no_content};
use super::events::begin_of;
use super::follow::{among, begin, heartbeat};
use super::guard::By;
use super::impatient::Patience;
use super::openapi::Operation;
use super::openapi::schema::{any_text, id, many, path_id};
use super::path::Path;
use super::query::Query;
use super::sse::{EVENT_STREAM, event_stream};
use crate::service::{Action, Service};

const OF_A_RUN: &[&str] = &["project", "heartbeat", "last_event_id", "from", "since"];

pub(super) async fn of_run(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    patience: Patience,
    headers: HeaderMap,
) -> Answer {
    let query = Query::read(raw, OF_A_RUN)?;
    let (heartbeat, begin) = (heartbeat(&query)?, begin(&query, &headers)?);
    let evidence_id = service.find(&caller, Action::Read, &run, query.project()?).await?;
    match service.follow_log(&caller, &evidence_id, begin).await? {
        Some(followed) => Ok(event_stream(service, caller, followed, heartbeat, &patience, None)),
        // The one answer after which a browser does not come back.
        None => Ok(no_content()),
    }
}

pub(super) fn about_of_run() -> Operation {
    Operation::new("getLogStream", "Follows the log lines of a run")
        .about("Events `log`, whose `id` is the `log_pos`: every line once, in the order in which they end; nothing from before unless it is asked for. It ends with the run's seal, or when the logs are deleted. Where a project withholds the descriptions of logs, it withholds them.")
        .needs(Action::Read)
        .of_a_run()
        .query(OF_A_RUN)
        .takes_for("from", begin_of())
        .header("Last-Event-ID")
        .answers(200, "The stream, to the seal of the run.", EVENT_STREAM, any_text())
        .answers_nothing(204, "The run is sealed, and there is nothing after where the stream would begin.")
        .refuses(410, &["log_deleted"])
        .refuses(503, &["subscribers_full"])
}

const OF_ALL: &[&str] = &["run", "project", "heartbeat", "last_event_id", "from", "since"];

pub(super) async fn of_all(
    State(service): State<Arc<Service>>,
    By(caller): By,
    RawQuery(raw): RawQuery,
    patience: Patience,
    headers: HeaderMap,
) -> Answer {
    let query = Query::read(raw, OF_ALL)?;
    let (heartbeat, begin) = (heartbeat(&query)?, begin(&query, &headers)?);
    let followed = service.follow_logs(&caller, among(&query)?, begin)?;
    Ok(event_stream(service, caller, followed, heartbeat, &patience, None))
}

pub(super) fn about_of_all() -> Operation {
    Operation::new(
        "getLogsStream",
        "Follows the log lines of all runs that the caller sees, or of those that are named",
    )
    .about("Nothing from before unless it is asked for; what is not in memory any more is told as `stream_gap`. Runs whose logs are withheld from the caller are left out.")
    .needs(Action::Read)
    .query(OF_ALL)
    .takes_for("run", many(id()))
    .takes_for("project", many(path_id()))
    .takes_for("from", begin_of())
    .header("Last-Event-ID")
    .answers(200, "The stream.", EVENT_STREAM, any_text())
    .refuses(503, &["subscribers_full"])
}
