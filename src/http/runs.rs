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
    element, id, maybe, object, one_of, path_id, period, private, refer, uri, uuid,
};
use super::path::Path;
use super::query::{Query, idempotency_key};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::envelope::{Kind, OF_THE_SERVICE};
use crate::journal::Opening;
use crate::service::{Action, Service};

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
        "idle_timeout": service.idle_timeout_s(&overview),
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
        ("idle_timeout", period()),
        ("links", object(["self", "events", "page"].map(|name| (name, uri())))),
    ]);
    let next = ["getRun", "appendEntries", "openGate", "finalizeRun", "abortRun"];
    Operation::new("openRun", "Opens a run")
        .about("The same `run_id` with the same body finds the same run. `private` names what is withheld in this run besides what its project withholds: it is disclosed to who may see all, and to nobody else. The run is closed as expired when nothing was accepted under it for `idle_timeout` seconds.")
        .needs(Action::Write)
        .takes(maybe(opening, [("type", one_of(["run"])), ("private", private())]))
        .records()
        .answers(200, "The run, opened before by the same request.", body::JSON, opened.clone())
        .answers(201, "The run, opened now.", body::JSON, opened)
        .with_header("Location", true)
        .links(&next, &[("run", "$response.body#/evidence_id")])
        .refuses(403, &["project_forbidden"])
        .refuses(409, &["run_exists"])
        .refuses(422, &["member_reserved", "name_redacted"])
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
    put(&mut shown, "idle_timeout", service.idle_timeout_s(&snapshot.overview));
    put(&mut shown, "private", snapshot.overview.settings.private.clone());
    let objects = |objects: Vec<Object<'static>>| Value::from(objects);
    put(&mut shown, "pending_steps", plain(&objects(snapshot.pending_steps)));
    put(&mut shown, "open_gates", plain(&objects(snapshot.open_gates)));
    if let Some(progress) = snapshot.progress {
        put(&mut shown, "progress", plain(&body::parse(progress.data().as_bytes())?));
    }
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
