//! `/v1/runs`: open, list, look.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::answer::{Answer, json, put, summary, text};
use super::body;
use super::guard::By;
use super::kept::kept;
use super::openapi::Operation;
use super::openapi::schema::{
    any_text, element, id, many, maybe, object, one_of, or_null, path_id, refer, uri, uuid,
};
use super::path::Path;
use super::problem::Problem;
use super::query::{Query, idempotency_key};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::envelope::{Kind, RESULTS};
use crate::journal::{OF_THE_SERVICE, Opening, State as RunState};
use crate::service::{Action, RunFilter, Service, is_evidence_id};

pub(super) async fn open(
    State(service): State<Arc<Service>>,
    By(caller): By,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    caller.check(Action::Write)?;
    let key = idempotency_key(&headers)?;
    let sent = body::read(&headers, sent, &[body::JSON], body::MAX_JSON_BYTES).await?;
    let opening = Opening::parse(body::parse(&sent.bytes)?)?;
    let (overview, standing, created) = service.open(opening, key, sent.bytes.len(), &caller).await?;
    let own = format!("/v1/runs/{}", overview.evidence_id);
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let opened = serde_json::json!({
        "run_id": overview.run_id,
        "evidence_id": overview.evidence_id,
        "project": overview.project,
        "head": standing.head,
        "links": { "self": own, "events": format!("{own}/events"), "page": format!("/?run={}", overview.evidence_id) },
    });
    let mut response = json(status, &opened);
    if let Ok(location) = HeaderValue::from_str(&own) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

pub(super) fn about_open() -> Operation {
    let opening = element(Kind::Run, OF_THE_SERVICE, &["run_id"]);
    let opened = object([
        ("run_id", id()),
        ("evidence_id", uuid()),
        ("project", path_id()),
        ("head", refer("Head")),
        ("links", object(["self", "events", "page"].map(|name| (name, uri())))),
    ]);
    let next = ["getRun", "appendEntries", "openGate", "finalizeRun", "abortRun"];
    Operation::new("openRun", "Opens a run")
        .about("The same `run_id` with the same body finds the same run.")
        .needs(Action::Write)
        .takes(maybe(opening, [("type", one_of(["run"]))]))
        .records()
        .answers(200, "The run, opened before by the same request.", body::JSON, opened.clone())
        .answers(201, "The run, opened now.", body::JSON, opened)
        .with_header("Location", true)
        .links(&next, &[("run", "$response.body#/evidence_id")])
        .refuses(403, &["project_forbidden"])
        .refuses(409, &["run_exists"])
        .refuses(422, &["member_reserved"])
}

const LIST: &[&str] = &[
    "project",
    "state",
    "result",
    "commit_sha",
    "label",
    "opened_after",
    "opened_before",
    "limit",
    "cursor",
];

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    By(caller): By,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw.clone(), LIST)?;
    let own = |name| query.one(name).map(|value| value.map(str::to_owned));
    let time = |name| query.parsed(name, "a time like 2026-11-21T08:00:00.000Z", |text| text.parse().ok());
    let state = |text: &str| RunState::ALL.into_iter().find(|state| state.as_str() == text);
    let result = |text: &str| RESULTS.contains(&text).then(|| text.to_owned());
    let mut labels = Vec::new();
    for label in query.all("label") {
        let (name, value) =
            label.split_once(':').ok_or_else(|| Problem::parameter("label", "name:value expected"))?;
        labels.push((name.to_owned(), value.to_owned()));
    }
    let filter = RunFilter {
        project: query.project()?.map(str::to_owned),
        state: query.parsed("state", "open, closing or sealed", state)?,
        result: query.parsed("result", "succeeded, failed, aborted or expired", result)?,
        commit_sha: own("commit_sha")?,
        labels,
        opened_after: time("opened_after")?,
        opened_before: time("opened_before")?,
    };
    let limit = |text: &str| text.parse().ok().filter(|n| (1..=1_000).contains(n));
    let limit: usize = query.parsed("limit", "a number from 1 to 1000", limit)?.unwrap_or(100);
    let cursor = |text: &str| is_evidence_id(text).then(|| text.to_owned());
    let after = query.parsed("cursor", "a cursor from `next`", cursor)?;
    let page = service.list(&caller, filter, after, limit).await?;
    let runs: Vec<_> = page.runs.iter().map(|(overview, standing)| summary(overview, standing)).collect();
    let mut response = json(StatusCode::OK, &serde_json::json!({ "runs": runs, "next": page.next }));
    if let Some(next) = page.next {
        let raw = raw.unwrap_or_default();
        let kept = raw.split('&').filter(|part| !part.is_empty() && !part.starts_with("cursor="));
        let query = kept.map(str::to_owned).chain([format!("cursor={next}")]).collect::<Vec<_>>().join("&");
        if let Ok(link) = HeaderValue::from_str(&format!("</v1/runs?{query}>; rel=\"next\"")) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response)
}

pub(super) fn about_list() -> Operation {
    let page = object([("runs", many(refer("Summary"))), ("next", or_null(any_text()))]);
    Operation::new("listRuns", "The newest runs")
        .needs(Action::Read)
        .query(LIST)
        .answers(200, "A page; `next` is the cursor of the one after it.", body::JSON, page)
        .with_header("Link", false)
        .refuses(503, &["store_unavailable"])
}

const SNAPSHOT: &[&str] = &["project", "envelope"];

pub(super) async fn snapshot(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw, SNAPSHOT)?;
    let with_envelope = query.parsed("envelope", "true or false", |text| text.parse().ok())?.unwrap_or(true);
    let evidence_id = service.find(&caller, Action::Read, &run, query.project()?).await?;
    let snapshot = service.snapshot(&evidence_id, with_envelope).await?;
    let mut shown = summary(&snapshot.overview, &snapshot.standing);
    let objects = |objects: Vec<Object<'static>>| Value::from(objects);
    put(&mut shown, "pending_steps", plain(&objects(snapshot.pending_steps)));
    put(&mut shown, "open_gates", plain(&objects(snapshot.open_gates)));
    let mut body = shown.to_string();
    let Some((envelope, place)) = snapshot.envelope else {
        return Ok(text(StatusCode::OK, body, "application/json"));
    };
    // The envelope goes in as the text that it is.
    body.pop();
    body.push_str(",\"envelope\":");
    body.push_str(&envelope);
    body.push('}');
    Ok(text(StatusCode::OK, kept(body.into_bytes(), place), "application/json"))
}

pub(super) fn about_snapshot() -> Operation {
    Operation::new("getRun", "A run as it is")
        .needs(Action::Read)
        .of_a_run()
        .query(SNAPSHOT)
        .answers(200, "The summary, what waits, and the envelope so far.", body::JSON, refer("Snapshot"))
        .refuses(503, &["busy"])
}

/// The same value for serde_json.
pub(super) fn plain(value: &Value<'_>) -> serde_json::Value {
    serde_json::to_value(value).expect("every Value has text for names")
}
