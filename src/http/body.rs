//! Request bodies: their media type, their size, strict JSON.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::Problem;
use crate::evidence::canonical::{self, Object, Value};
use crate::evidence::envelope::limits::MAX_TEXT_BYTES;
use crate::evidence::envelope::pointer;

/// One JSON value.
pub(super) const JSON: &str = "application/json";
/// A JSON value a line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// An entry is at most 256 KiB canonical; other spellings may be longer.
pub(super) const MAX_JSON_BYTES: usize = 1 << 20;
/// How many bytes many entries may have.
pub(super) const MAX_NDJSON_BYTES: usize = 8 << 20;

/// How long a body may take to arrive, and to find a place among the large ones.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_FOR_A_PLACE: Duration = Duration::from_secs(10);
/// Beyond this size a body needs a place, so that many large ones do not fill the memory.
pub(super) const LARGE_BYTES: usize = 256 << 10;
/// How much of a refused body is taken, and how long.
const MAX_DRAINED_BYTES: usize = 32 << 20;
const PATIENCE_TO_DRAIN: Duration = Duration::from_secs(2);
const LARGE_AT_ONCE: usize = 16;
static LARGE: Semaphore = Semaphore::const_new(LARGE_AT_ONCE);

/// A body, with its place among the large ones until it is answered.
pub(super) struct Sent {
    pub(super) bytes: Vec<u8>,
    _place: Option<SemaphorePermit<'static>>,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The media type of a body in lower case; `None` unless it is told once, in UTF-8, and not compressed.
pub(super) fn media_type(headers: &HeaderMap) -> Option<String> {
    let mut told = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None, None) = (told.next(), told.next(), headers.get(header::CONTENT_ENCODING)) else {
        return None;
    };
    let value = value.to_str().ok()?.to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next()?.to_owned();
    let charset = parts.find_map(|part| part.strip_prefix("charset="));
    charset.is_none_or(|charset| charset.trim_matches('"') == "utf-8").then_some(media_type)
}

pub(super) fn check_media_type(headers: &HeaderMap, wanted: &[&str]) -> Result<(), Problem> {
    if media_type(headers).is_some_and(|found| wanted.contains(&found.as_str())) {
        return Ok(());
    }
    let detail = format!("send the body once as {}, in UTF-8, not compressed", wanted.join(" or "));
    Err(Problem::new(415, "media_type_unsupported", detail))
}

/// The bytes of a body of one of these types, at most so many.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    wanted: &[&str],
    max_bytes: usize,
) -> Result<Sent, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let checked = match announced.is_some_and(|bytes: usize| bytes > max_bytes) {
        true => Err(too_large(max_bytes)),
        false => check_media_type(headers, wanted),
    };
    let read = match checked {
        Ok(()) => match tokio::time::timeout(PATIENCE, collect(&mut body, max_bytes)).await {
            Ok(collected) => collected,
            Err(_) => Err(Problem::new(408, "body_too_slow", "the body took longer than a minute to arrive")),
        },
        Err(problem) => Err(problem),
    };
    if read.is_err() {
        drain_refused(headers, body).await;
    }
    read
}

/// Takes the rest of a body that is refused, unless who sends it waits for leave to.
pub(super) async fn drain_refused(headers: &HeaderMap, body: Body) {
    if !headers.contains_key(header::EXPECT) {
        drain(body).await;
    }
}

/// Takes the rest of a body that is refused, within reason: who still sends would not see the answer.
pub(super) async fn drain(mut body: Body) {
    let mut left = MAX_DRAINED_BYTES;
    let rest = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len()));
            if left == 0 {
                break;
            }
        }
    };
    // What takes longer is not waited for.
    let _ = tokio::time::timeout(PATIENCE_TO_DRAIN, rest).await;
}

async fn collect(body: &mut Body, max_bytes: usize) -> Result<Sent, Problem> {
    let incomplete = || Problem::new(400, "body_incomplete", "the body ended before it was complete");
    let mut sent = Sent { bytes: Vec::new(), _place: None };
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| incomplete())?.into_data() else { continue };
        if sent.bytes.len().saturating_add(data.len()) > max_bytes {
            return Err(too_large(max_bytes));
        }
        if sent._place.is_none() && sent.bytes.len().saturating_add(data.len()) > LARGE_BYTES {
            sent._place = Some(place().await?);
        }
        sent.bytes.extend_from_slice(&data);
    }
    Ok(sent)
}

fn too_large(max_bytes: usize) -> Problem {
    Problem::new(413, "body_too_large", format!("a body may have {max_bytes} bytes here"))
}

pub(super) async fn place() -> Result<SemaphorePermit<'static>, Problem> {
    match tokio::time::timeout(PATIENCE_FOR_A_PLACE, LARGE.acquire()).await {
        Ok(Ok(place)) => Ok(place),
        _ => Err(Problem::new(503, "busy", "too many large bodies at once; try again")),
    }
}

/// The one JSON object of a body. An absent body without a type is an empty object.
pub(super) async fn object(headers: &HeaderMap, body: Body) -> Result<(Object<'static>, usize), Problem> {
    if headers.get(header::CONTENT_TYPE).is_none() && body.is_end_stream() {
        return Ok((Object::new(), 0));
    }
    let sent = read(headers, body, &[JSON], MAX_JSON_BYTES).await?;
    match parse(&sent.bytes)? {
        Value::Object(object) => Ok((object.into_owned(), sent.bytes.len())),
        _ => Err(invalid_at(String::new(), "a JSON object expected")),
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Value<'_>, Problem> {
    canonical::parse(bytes, MAX_JSON_BYTES).map_err(|error| Problem::json(&error))
}

/// The text of a member, absent or text, as long as a text may be: also where nothing is recorded of it.
pub(super) fn text(object: &Object<'_>, member: &str) -> Result<Option<String>, Problem> {
    match object.get(member) {
        None => Ok(None),
        Some(Value::Text(text)) if text.len() > MAX_TEXT_BYTES => {
            Err(invalid(member, &format!("a text may have {MAX_TEXT_BYTES} bytes")))
        }
        Some(Value::Text(text)) => Ok(Some(text.clone().into_owned())),
        Some(_) => Err(invalid(member, "text expected")),
    }
}

/// A member that is not what it must be.
pub(super) fn invalid(member: &str, detail: &str) -> Problem {
    invalid_at(format!("/{}", pointer::escape(member)), detail)
}

fn invalid_at(pointer: String, detail: &str) -> Problem {
    let mut problem = Problem::new(422, "member_invalid", format!("{pointer}: {detail}"));
    problem.set_pointer(pointer);
    problem
}

/// Refuses members beyond these.
pub(super) fn check_known(object: &Object<'_>, known: &[&str]) -> Result<(), Problem> {
    match object.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => Err(invalid(name, "no such member here")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Bytes;
    use axum::http::HeaderValue;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    type Pieces = mpsc::Sender<Result<Bytes, Infallible>>;

    fn body() -> (Pieces, HeaderMap, Body) {
        let (sender, receiver) = mpsc::channel(1);
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(JSON))]);
        (sender, headers, Body::from_stream(ReceiverStream::new(receiver)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_refused_after_a_minute() {
        let (sender, headers, body) = body();
        sender.send(Ok(Bytes::from_static(b"{"))).await.unwrap();
        let refused = read(&headers, body, &[JSON], MAX_JSON_BYTES).await.err();
        assert_eq!(refused.map(|problem| problem.status()), Some(408));
        drop(sender);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_large_bodies_at_once_some_wait_and_then_are_told_to_come_back() {
        let places: Vec<_> = (0..LARGE_AT_ONCE).map(|_| LARGE.try_acquire().unwrap()).collect();
        let large = || {
            let (sender, headers, body) = body();
            let piece = Bytes::from(vec![b' '; LARGE_BYTES + 1]);
            tokio::spawn(async move { sender.send(Ok(piece)).await });
            async move { read(&headers, body, &[JSON], MAX_JSON_BYTES).await }
        };
        assert_eq!(large().await.err().map(|problem| problem.status()), Some(503));
        drop(places);
        assert!(large().await.is_ok());
    }
}
