//! `GET /v1/runs` and `GET /v1/envelopes`: what there is, the newest first, page by page.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::answer::{Answer, json, summary};
use super::body::JSON;
use super::guard::By;
use super::openapi::Operation;
use super::openapi::schema::{any_text, many, object, or_null, refer};
use super::problem::Problem;
use super::query::Query;
use crate::evidence::envelope::RESULTS;
use crate::evidence::time::Timestamp;
use crate::journal::State as RunState;
use crate::service::{Action, Page, Place, RunFilter, Service, is_evidence_id};

const RUNS: &[&str] = &[
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

const ENVELOPES: &[&str] =
    &["project", "artifact", "result", "commit_sha", "sealed_after", "sealed_before", "limit", "cursor"];

pub(super) async fn runs(
    State(service): State<Arc<Service>>,
    By(caller): By,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw.clone(), RUNS)?;
    let state = |text: &str| RunState::ALL.into_iter().find(|state| state.as_str() == text);
    let labels: Vec<String> = query.all("label").map(str::to_owned).collect();
    if labels.iter().any(|label| !label.contains(':')) {
        return Err(Problem::parameter("label", "name:value expected"));
    }
    let state = query.parsed("state", "open, closing or sealed", state)?;
    let filter = RunFilter { state, labels, ..filter(&query, "opened_after", "opened_before")? };
    let page = service.list(&caller, filter, cursor(&query)?, limit(&query)?).await?;
    Ok(answer("runs", "/v1/runs", raw, &page))
}

pub(super) fn about_runs() -> Operation {
    about("listRuns", "Runs, those opened last first", "runs", RUNS)
}

pub(super) async fn envelopes(
    State(service): State<Arc<Service>>,
    By(caller): By,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw.clone(), ENVELOPES)?;
    let digest = "a digest like sha256: and 64 hex digits";
    let artifact = query.parsed("artifact", digest, |text| text.parse().ok())?;
    let filter = filter(&query, "sealed_after", "sealed_before")?;
    let page = service.list_sealed(&caller, artifact, filter, cursor(&query)?, limit(&query)?).await?;
    Ok(answer("envelopes", "/v1/envelopes", raw, &page))
}

pub(super) fn about_envelopes() -> Operation {
    about("listEnvelopes", "Sealed envelopes, those sealed last first", "envelopes", ENVELOPES)
}

fn about(
    id: &'static str,
    summary: &'static str,
    member: &'static str,
    query: &'static [&'static str],
) -> Operation {
    let page = object([(member, many(refer("Summary"))), ("next", or_null(any_text()))]);
    Operation::new(id, summary)
        .needs(Action::Read)
        .query(query)
        .answers(200, "A page; `next` is the cursor of the one after it.", JSON, page)
        .with_header("Link", false)
        .refuses(503, &["store_unavailable"])
}

/// What both lists can be asked for.
fn filter(query: &Query, later: &str, earlier: &str) -> Result<RunFilter, Problem> {
    let own = |name| query.one(name).map(|value| value.map(str::to_owned));
    let time = |name| query.parsed(name, "a time like 2026-11-21T08:00:00.000Z", |text| text.parse().ok());
    let result = |text: &str| RESULTS.contains(&text).then(|| text.to_owned());
    Ok(RunFilter {
        project: query.project()?.map(str::to_owned),
        result: query.parsed("result", "succeeded, failed, aborted or expired", result)?,
        commit_sha: own("commit_sha")?,
        later: time(later)?,
        earlier: time(earlier)?,
        ..RunFilter::default()
    })
}

fn limit(query: &Query) -> Result<usize, Problem> {
    let limit = query.number("limit", 1..=1_000)?.unwrap_or(100);
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn cursor(query: &Query) -> Result<Option<Place>, Problem> {
    query.parsed("cursor", "a cursor from `next`", |text| {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (ms, evidence_id) = text.split_once(' ')?;
        let at = Timestamp::from_unix_ms(ms.parse().ok()?);
        is_evidence_id(evidence_id).then(|| Place { at, evidence_id: evidence_id.to_owned() })
    })
}

fn shown(place: &Place) -> String {
    URL_SAFE_NO_PAD.encode(format!("{} {}", place.at.unix_ms(), place.evidence_id))
}

fn answer(member: &str, path: &str, raw: Option<String>, page: &Page) -> Response<Body> {
    let runs: Vec<_> = page.runs.iter().map(|(overview, standing)| summary(overview, standing)).collect();
    let next = page.next.as_ref().map(shown);
    let mut response = json(StatusCode::OK, &serde_json::json!({ member: runs, "next": next }));
    if let Some(next) = next {
        let raw = raw.unwrap_or_default();
        let kept = raw.split('&').filter(|part| !part.is_empty() && !part.starts_with("cursor="));
        let query = kept.map(str::to_owned).chain([format!("cursor={next}")]).collect::<Vec<_>>().join("&");
        if let Ok(link) = HeaderValue::from_str(&format!("<{path}?{query}>; rel=\"next\"")) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    response
}
