//! `/v1/stream`: a whole run in one connection. What is sent is recorded line by line, and the answer is the run's event stream.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::{Answer, no_content};
use super::answering::{Answering, Answers};
use super::arriving::{Arriving, too_slow};
use super::body::{self, NDJSON, PATIENCE};
use super::duplex::Recorder;
use super::events::begin_of;
use super::follow::{begin, filter, heartbeat};
use super::guard::By;
use super::impatient::Patience;
use super::openapi::Operation;
use super::openapi::schema::{any_text, many, object};
use super::problem::Problem;
use super::query::Query;
use super::sse::{EVENT_STREAM, event_stream};
use crate::journal::{Opening, Overview, Standing};
use crate::service::{Action, Caller, Followed, Service};

const QUERY: &[&str] = &["preset", "types", "heartbeat", "last_event_id", "from", "since"];

/// A run that the first line has opened, or found.
struct Begun {
    evidence_id: String,
    standing: Standing,
    /// `None` if nothing will ever come of it.
    followed: Option<Followed>,
    heartbeat: Duration,
}

pub(super) async fn both(
    State(service): State<Arc<Service>>,
    By(caller): By,
    RawQuery(raw): RawQuery,
    patience: Patience,
    headers: HeaderMap,
    sent: Body,
) -> Answer {
    let mut arriving = Arriving::new(sent);
    let begun = begun(&service, &caller, raw, &headers, &mut arriving).await;
    let Ok(Begun { evidence_id, standing, followed: Some(followed), heartbeat }) = begun else {
        // Who waits for the answer to go on gets it at once, and who does not can finish.
        if !headers.contains_key(header::EXPECT) {
            tokio::spawn(arriving.leave());
        }
        return begun.map(|_| no_content());
    };
    let next = standing.pos.saturating_add(1);
    let answers = Answers::new(next, followed.subscription.at());
    answers.recorded(&[(0, arriving.taken)], next);
    let (open, over) = oneshot::channel();
    let answering = Answering::new(answers.clone(), open);
    let recorder =
        Recorder { service: service.clone(), caller: caller.clone(), evidence_id, arriving, answers, over };
    tokio::spawn(recorder.record());
    Ok(event_stream(service, caller, followed, heartbeat, &patience, Some(answering)))
}

async fn begun(
    service: &Arc<Service>,
    caller: &Caller,
    raw: Option<String>,
    headers: &HeaderMap,
    arriving: &mut Arriving,
) -> Result<Begun, Problem> {
    caller.check(Action::Write)?;
    let query = Query::read(raw, QUERY)?;
    let (filter, heartbeat, begin) = (filter(&query)?, heartbeat(&query)?, begin(&query, headers)?);
    body::check_media_type(headers, &[NDJSON])?;
    let line = timeout(PATIENCE, arriving.first()).await.map_err(|_| too_slow())??;
    let line = line.ok_or_else(|| {
        Problem::new(
            422,
            "no_entries",
            "no line in the body; the first one opens the run: {\"type\":\"run\", …}",
        )
    })?;
    let number = usize::try_from(arriving.taken).unwrap_or(usize::MAX);
    let opening = opening(&line).map_err(|problem| problem.at_line(number))?;
    // Nothing is opened that could not be followed.
    let seat = service.seat()?;
    let opened = service.open(opening, None, line.len(), caller).await;
    let (overview, standing, _) = opened.map_err(|error| Problem::from(error).at_line(number))?;
    let Overview { evidence_id, .. } = overview;
    let followed = service.follow_run(seat, &evidence_id, filter, begin).await?;
    Ok(Begun { evidence_id, standing, followed, heartbeat })
}

fn opening(line: &[u8]) -> Result<Opening, Problem> {
    let value = body::parse(line)?;
    if value.as_object().and_then(|members| members.text("type")) != Some("run") {
        return Err(body::invalid("type", "the first line opens the run: \"run\" expected"));
    }
    Ok(Opening::parse(value)?)
}

pub(super) fn about_both() -> Operation {
    Operation::new("streamRun", "A whole run in one connection")
        .about("The body is NDJSON, recorded line by line as it arrives: first `{\"type\":\"run\", …}`, which opens a run or finds the same, then entries, signals, gates (`{\"type\":\"gate\", …}`) and `{\"type\":\"finalize\", …}`. The answer is the run's event stream, to `run_finalized`; the event that answers a line has its number, `line`, and no id where the stream was past it. A line that is refused is answered with `stream_error` {`code`, `detail`, `line`}, and the end: nothing after it is recorded, and the run stays open. With the code `seal_pending` it is closed, its end was told before, and it is sealed as soon as that can be done.")
        .needs(Action::Write)
        .query(QUERY)
        .takes_for("from", begin_of())
        .header("Last-Event-ID")
        .takes_any(NDJSON, many(object([("type", any_text())])))
        .parses()
        .answers(200, "The run's event stream.", EVENT_STREAM, any_text())
        .answers_nothing(204, "The run is sealed, and there is nothing after where the stream would begin.")
        .refuses(400, &["filter_unknown"])
        .refuses(403, &["project_forbidden"])
        .refuses(409, &["run_exists"])
        .refuses(413, &["element_too_large"])
        .refuses(422, &["member_invalid", "member_reserved", "name_redacted", "no_entries"])
        .refuses(503, &["store_unavailable", "subscribers_full"])
        .refuses(507, &["disk_full"])
}
