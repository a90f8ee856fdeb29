//! `/v1/runs/{run}/logs`: bytes in; bytes or lines out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{Answer, json, text};
use super::body::{check_media_type, drain};
use super::guard::By;
use super::kept::kept;
use super::path::Path;
use super::problem::{Problem, UPLOAD_OFFSET};
use super::query::Query;
use super::range::{Wanted, wanted};
use crate::evidence::envelope::limits::is_path_id;
use crate::service::{
    Action, Caller, FoundLog, LinePage, LogAppend, LogReceipt, MAX_CHUNK_BYTES, Service, Stream,
};

/// How long bytes wait for more of them before they are recorded.
const GATHERED: Duration = Duration::from_millis(100);
/// How long a body may pause.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many bytes of a log are read at once.
const READ_BYTES: usize = 1 << 20;
/// How many lines are given at once, and unless asked otherwise.
const MAX_LINES: u64 = 10_000;
const LINES: u64 = 1_000;

pub(super) async fn append(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
    mut sent: Body,
) -> Answer {
    let appended = append_all(&service, &caller, &run, raw, &headers, &mut sent).await;
    if appended.is_err() && headers.get(header::EXPECT).is_none() {
        drain(sent).await;
    }
    let LogReceipt { offset, lines, log_pos } = appended?;
    let answer = serde_json::json!({ "offset": offset, "lines": lines, "log_pos": log_pos });
    let mut response = json(StatusCode::OK, &answer);
    response.headers_mut().insert(UPLOAD_OFFSET, offset.into());
    Ok(response)
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
    let query = Query::read(raw, &["project", "step_id", "attempt", "stream"])?;
    let (step_id, attempt) = step(&query)?.ok_or_else(|| Problem::parameter("step_id", "expected"))?;
    let stream = query.parsed("stream", "stdout or stderr", Stream::named)?.unwrap_or(Stream::Stdout);
    let offset = upload_offset(headers)?;
    check_media_type(headers, &["text/plain"])?;
    let evidence_id = service.find(caller, Action::Write, run, query.one("project")?).await?;
    let (mut next, mut gathered) = (offset, Gathered::default());
    loop {
        let came = gathered.more(sent).await;
        let bytes = gathered.take(!matches!(came, Ok(More::Yes)));
        let bytes_left = !gathered.bytes.is_empty();
        // The body may have taken its time.
        service.check_still(caller)?;
        if bytes.is_empty() && matches!(came, Ok(More::Yes)) {
            continue;
        }
        let (step_id, masked) = (step_id.clone(), BTreeMap::new());
        let append = LogAppend { step_id, attempt, stream, offset: next, bytes, masked };
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

/// Whether a body goes on.
enum More {
    No,
    Yes,
}

/// Bytes of a body that wait to be recorded.
#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    ended: bool,
}

impl Gathered {
    /// Takes what arrives, until there is a chunk of it, or the first of it has waited long enough.
    async fn more(&mut self, sent: &mut Body) -> Result<More, Problem> {
        let mut until = None;
        while self.bytes.len() < MAX_CHUNK_BYTES && !self.ended {
            let patience =
                until.map_or(PATIENCE, |until: Instant| until.saturating_duration_since(Instant::now()));
            match timeout(patience, sent.frame()).await {
                Ok(Some(Ok(frame))) => {
                    self.bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                    until = until.or_else(|| Instant::now().checked_add(GATHERED));
                }
                Ok(Some(Err(_))) => {
                    self.ended = true;
                    let detail =
                        "the body ended before it was complete; ask where the log ends, and go on there";
                    return Err(Problem::new(400, "body_incomplete", detail));
                }
                Ok(None) => self.ended = true,
                Err(_) if until.is_some() => return Ok(More::Yes),
                Err(_) => {
                    self.ended = true;
                    let detail =
                        "the body paused for longer than a minute; ask where the log ends, and go on there";
                    return Err(Problem::new(408, "body_too_slow", detail));
                }
            }
        }
        Ok(if self.ended { More::No } else { More::Yes })
    }

    /// What is to be recorded now: whole lines, so that rules find what they match; at the end all, and of a line that is as long as
    /// a chunk what there is.
    fn take(&mut self, ended: bool) -> Vec<u8> {
        let most = self.bytes.len().min(MAX_CHUNK_BYTES);
        let line_feed = self.bytes.iter().take(most).rposition(|byte| *byte == b'\n');
        let taken = match line_feed {
            _ if ended && most == self.bytes.len() => most,
            Some(place) => place.saturating_add(1),
            None if most < MAX_CHUNK_BYTES => 0,
            None => most,
        };
        let rest = self.bytes.split_off(taken);
        std::mem::replace(&mut self.bytes, rest)
    }
}

/// Where the next bytes of a log go.
pub(super) async fn offset(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw, &["project", "step_id", "attempt"])?;
    let (step_id, attempt) = step(&query)?.ok_or_else(|| Problem::parameter("step_id", "expected"))?;
    let evidence_id = service.find(&caller, Action::Read, &run, query.one("project")?).await?;
    let offset = service.log_offset(&caller, &evidence_id, &step_id, attempt).await?;
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(UPLOAD_OFFSET, offset.into());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

pub(super) async fn read(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let query = Query::read(raw, &["project", "step_id", "attempt", "from", "limit", "from_line", "lines"])?;
    let evidence_id = service.find(&caller, Action::Read, &run, query.one("project")?).await?;
    let (from_line, count) =
        (query.number("from_line", 0..=u64::MAX)?, query.number("lines", 1..=MAX_LINES)?);
    let (from, limit) = (query.number("from", 0..=u64::MAX)?, query.number("limit", 1..=MAX_LINES)?);
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

pub(super) async fn forget(
    State(service): State<Arc<Service>>,
    By(caller): By,
    Path(run): Path<String>,
    RawQuery(raw): RawQuery,
) -> Answer {
    let query = Query::read(raw, &["project"])?;
    let evidence_id = service.find(&caller, Action::Administer, &run, query.one("project")?).await?;
    service.delete_logs(&caller, &evidence_id).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
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
    let mut response = text(StatusCode::OK, body, "application/x-ndjson");
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
    let mut response = text(status, stretch(service, caller, log, first, end), "text/plain; charset=utf-8");
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
