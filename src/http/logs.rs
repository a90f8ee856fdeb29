//! `/v1/runs/{run}/logs`: bytes in; bytes or lines out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{Answer, json, no_content, text};
use super::body::{JSON, NDJSON, check_media_type, drain_refused};
use super::gathered::{Gathered, More};
use super::guard::By;
use super::kept::kept;
use super::openapi::Operation;
use super::openapi::schema::{any_text, count, many, number, object, one_of, path_id, time};
use super::path::Path;
use super::problem::{Problem, UPLOAD_OFFSET};
use super::query::Query;
use super::range::{Wanted, wanted};
use crate::evidence::canonical::MAX_SAFE_INTEGER;
use crate::evidence::envelope::limits::is_path_id;
use crate::service::{Action, Caller, FoundLog, LinePage, LogAppend, LogReceipt, Service, Stream};

/// How many bytes of a log are read at once.
const READ_BYTES: usize = 1 << 20;
/// How many lines are given at once, and unless asked otherwise.
const MAX_LINES: u64 = 10_000;
const LINES: u64 = 1_000;

/// What is taken for the bytes of a log, and what they are given as.
const PLAIN: &str = "text/plain";
const BYTES: &str = "text/plain; charset=utf-8";

const APPEND: &[&str] = &["project", "step_id", "attempt", "stream"];

pub(super) async fn append(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    mut sent: Body,
) -> Answer {
    let appended = append_all(&service, &caller, &run, raw, &headers, &mut sent).await;
    if appended.is_err() {
        drain_refused(&headers, sent).await;
    }
    let LogReceipt { offset, lines, log_pos } = appended?;
    let answer = serde_json::json!({ "offset": offset, "lines": lines, "log_pos": log_pos });
    let mut response = json(StatusCode::OK, &answer);
    response.headers_mut().insert(UPLOAD_OFFSET, offset.into());
    Ok(response)
}

pub(super) fn about_append() -> Operation {
    let receipt = object(["offset", "lines", "log_pos"].map(|name| (name, count())));
    Operation::new("appendLog", "Writes to the log of a step's attempt, while it goes on")
        .about("The body is streamed, and recorded as it arrives; who was cut off goes on at `Upload-Offset`. What is no UTF-8 is kept as it is.")
        .needs(Action::Write)
        .of_a_run()
        .query(APPEND)
        .requires(&["step_id"])
        .header("Upload-Offset")
        .takes_any(PLAIN, any_text())
        .answers(200, "Recorded, durably; where the next bytes go.", JSON, receipt)
        .with_header("Upload-Offset", true)
        .refuses(409, &["log_ended", "log_offset_mismatch", "run_closed", "step_not_started"])
        .refuses(413, &["log_too_large"])
        .refuses(422, &["log_count"])
        .refuses(507, &["disk_full"])
}

async fn append_all(
    service: &Service,
    caller: &Caller,
    run: &str,
    raw: Option<String>,
    headers: &HeaderMap,
    sent: &mut Body,
) -> Result<LogReceipt, Problem> {
    caller.check(Action::Write)?;
    let query = Query::read(raw, APPEND)?;
    let (step_id, attempt) = step(&query)?.ok_or_else(|| Problem::parameter("step_id", "expected"))?;
    let stream = query.parsed("stream", "stdout or stderr", Stream::named)?.unwrap_or(Stream::Stdout);
    let offset = upload_offset(headers)?;
    check_media_type(headers, &[PLAIN])?;
    let evidence_id = service.find(caller, Action::Write, run, query.project()?).await?;
    let (mut next, mut gathered) = (offset, Gathered::default());
    loop {
        let came = gathered.more(sent).await;
        let bytes = gathered.take(!matches!(came, Ok(More::Yes)));
        let bytes_left = !gathered.is_empty();
        // The body may have taken its time.
        service.check_still(caller)?;
        if bytes.is_empty() && matches!(came, Ok(More::Yes)) {
            continue;
        }
        let append = LogAppend { step_id: step_id.clone(), attempt, stream, offset: next, bytes };
        let receipt = service.append_log(&evidence_id, append, caller).await?;
        // Who did not say where the first bytes go lets others write in between.
        next = next.map(|_| receipt.offset);
        match came {
            Ok(More::Yes) => {}
            _ if bytes_left => {}
            Ok(More::No) => return Ok(receipt),
            // What came before is recorded.
            Err(problem) => return Err(problem),
        }
    }
}

const OFFSET: &[&str] = &["project", "step_id", "attempt"];

/// Where the next bytes of a log go.
pub(super) async fn offset(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw, OFFSET)?;
    let (step_id, attempt) = step(&query)?.ok_or_else(|| Problem::parameter("step_id", "expected"))?;
    let evidence_id = service.find(&caller, Action::Read, &run, query.project()?).await?;
    let offset = service.log_offset(&caller, &evidence_id, &step_id, attempt).await?;
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(UPLOAD_OFFSET, offset.into());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

pub(super) fn about_offset() -> Operation {
    Operation::new("getLogOffset", "Where the next bytes of a log go")
        .needs(Action::Read)
        .of_a_run()
        .query(OFFSET)
        .requires(&["step_id"])
        .answers_nothing(200, "There; 0 where there is no log yet.")
        .with_header("Upload-Offset", true)
}

const READ: &[&str] = &["project", "step_id", "attempt", "from", "limit", "from_line", "lines"];

pub(super) async fn read(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let query = Query::read(raw, READ)?;
    let evidence_id = service.find(&caller, Action::Read, &run, query.project()?).await?;
    let (from_line, count) =
        (query.number("from_line", 0..=MAX_SAFE_INTEGER)?, query.number("lines", 1..=MAX_LINES)?);
    let (from, limit) = (query.number("from", 0..=MAX_SAFE_INTEGER)?, query.number("limit", 1..=MAX_LINES)?);
    let at_once = |count: Option<u64>| usize::try_from(count.unwrap_or(LINES)).unwrap_or(usize::MAX);
    match step(&query)? {
        None => {
            if from_line.or(count).is_some() {
                return Err(Problem::parameter("from_line, lines", "are for one log; add step_id"));
            }
            let page = service.lines(&caller, &evidence_id, from.unwrap_or(0), at_once(limit)).await?;
            Ok(lines(page))
        }
        Some(_) if from.or(limit).is_some() => {
            Err(Problem::parameter("from, limit", "are for all logs; say from_line and lines"))
        }
        Some((step_id, attempt)) if from_line.or(count).is_some() => {
            let log = (step_id.as_str(), attempt);
            let from = from_line.unwrap_or(0);
            let page = service.lines_of_log(&caller, &evidence_id, log, from, at_once(count)).await?;
            Ok(lines(page))
        }
        Some((step_id, attempt)) => {
            let log = service.log(&caller, &evidence_id, &step_id, attempt).await?;
            Ok(bytes(service, caller, log, &headers))
        }
    }
}

pub(super) fn about_read() -> Operation {
    let line = object([
        ("log_pos", count()),
        ("step_id", path_id()),
        ("attempt", count()),
        ("line", count()),
        ("stream", one_of(["stdout", "stderr"])),
        ("at", time()),
        ("text", any_text()),
    ]);
    Operation::new("getLogs", "Lines of all logs, lines of one, or its bytes")
        .about("Without `step_id` the run's lines as NDJSON, by `from` and `limit`. With it the exact bytes, or a `Range` of them; with `from_line` or `lines` too, its lines. Where a project withholds the descriptions of logs, it withholds them.")
        .needs(Action::Read)
        .of_a_run()
        .query(READ)
        .takes_for("limit", number(1, MAX_LINES, LINES))
        .header("Range")
        .header("If-Range")
        .answers(206, "The bytes of that range.", BYTES, any_text())
        .answers_nothing(416, "None of the bytes is there.")
        .with_header("Content-Range", true)
        .with_header("Accept-Ranges", true)
        .answers(200, "Lines, or all bytes.", NDJSON, many(line))
        .or_answers(200, BYTES, any_text())
        .with_header("ETag", false)
        .with_header("Sealstone-More", false)
        .refuses(404, &["log_not_found"])
        .refuses(410, &["log_deleted"])
}

const FORGET: &[&str] = &["project"];

pub(super) async fn forget(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw, FORGET)?;
    let evidence_id = service.find(&caller, Action::Administer, &run, query.project()?).await?;
    service.delete_logs(&caller, &evidence_id).await?;
    Ok(no_content())
}

pub(super) fn about_forget() -> Operation {
    Operation::new("deleteLogs", "Deletes the logs of a sealed run")
        .about("Their digests stay in its envelope.")
        .needs(Action::Administer)
        .of_a_run()
        .query(FORGET)
        .answers_nothing(204, "Deleted.")
        .refuses(409, &["run_not_sealed"])
}

/// A line each, and whether there may be more of them.
fn lines(page: LinePage) -> Response<Body> {
    let mut out = String::new();
    for shown in &page.lines {
        let line = serde_json::json!({
            "log_pos": shown.line.log_pos,
            "step_id": shown.step_id,
            "attempt": shown.attempt,
            "line": shown.line.line,
            "stream": shown.line.stream.as_str(),
            "at": shown.line.at,
            "text": shown.line.text,
        });
        out.push_str(&line.to_string());
        out.push('\n');
    }
    let body = match page.place {
        Some(place) => kept(out.into_bytes(), place),
        None => out.into(),
    };
    let mut response = text(StatusCode::OK, body, NDJSON);
    let more = HeaderValue::from_static(if page.more { "true" } else { "false" });
    response.headers_mut().insert("sealstone-more", more);
    response
}

/// The exact bytes, or a range of them, read while they are sent.
fn bytes(service: Arc<Service>, caller: Caller, log: FoundLog, headers: &HeaderMap) -> Response<Body> {
    let tag = log.digest.map(|digest| format!("\"{digest}\""));
    let wanted = wanted(headers, log.bytes, tag.as_deref());
    let total = log.bytes;
    let (status, first, end) = match wanted {
        Wanted::All => (StatusCode::OK, 0, total),
        Wanted::Part(first, last) => (StatusCode::PARTIAL_CONTENT, first, last.saturating_add(1)),
        Wanted::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
    };
    let mut response = text(status, stretch(service, caller, log, first, end), BYTES);
    let headers = response.headers_mut();
    let range = match wanted {
        Wanted::All => None,
        Wanted::Part(first, last) => Some(format!("bytes {first}-{last}/{total}")),
        Wanted::Nothing => Some(format!("bytes */{total}")),
    };
    let told = [(header::CONTENT_RANGE, range), (header::ETAG, tag)];
    for (name, value) in told.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        headers.extend(HeaderValue::from_str(&value).ok().map(|value| (name, value)));
    }
    headers.insert(header::CONTENT_LENGTH, end.saturating_sub(first).into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // Whatever a step wrote, no browser is to take it for a page.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Bytes of a log from `first` up to `end`, a piece ahead of the connection.
fn stretch(service: Arc<Service>, caller: Caller, log: FoundLog, first: u64, end: u64) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut next = first;
        while next < end {
            // Who lost their token meanwhile has no right to the rest.
            let read = match service.check_still(&caller) {
                Ok(()) => service.log_bytes(&log, next, READ_BYTES).await,
                Err(gone) => Err(gone),
            };
            let read = match read {
                Ok(read) if read.is_empty() => Err(std::io::Error::other("the log ends too early")),
                Ok(mut read) => {
                    read.truncate(usize::try_from(end.saturating_sub(next)).unwrap_or(usize::MAX));
                    Ok(read)
                }
                Err(error) => Err(std::io::Error::other(error)),
            };
            next = next.saturating_add(read.as_ref().map_or(u64::MAX, |read| read.len() as u64));
            // Nobody may listen any more.
            if sender.send(read).await.is_err() {
                break;
            }
        }
    });
    Body::from_stream(ReceiverStream::new(receiver))
}

/// The attempt of a step that a query names.
fn step(query: &Query) -> Result<Option<(String, u64)>, Problem> {
    let attempt = query.number("attempt", 1..=u64::from(u32::MAX))?;
    match query.parsed("step_id", "a step_id", |text| is_path_id(text).then(|| text.to_owned()))? {
        Some(step_id) => Ok(Some((step_id, attempt.unwrap_or(1)))),
        None if attempt.is_some() => Err(Problem::parameter("attempt", "is of a step; add step_id")),
        None => Ok(None),
    }
}

/// `Upload-Offset`: where the bytes go.
fn upload_offset(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut values = headers.get_all(UPLOAD_OFFSET).iter();
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let number = |value: &HeaderValue| value.to_str().ok().filter(digits).and_then(|text| text.parse().ok());
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if number(value).is_some() => Ok(number(value)),
        _ => Err(Problem::parameter("Upload-Offset", "one number of bytes expected")),
    }
}
