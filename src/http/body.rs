//! Request bodies: their media type, their size, strict JSON.

use std::sync::LazyLock;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::Semaphore;

use super::problem::Problem;
use crate::evidence::canonical::{self, Object, Value};

/// One JSON value.
pub(super) const JSON: &str = "application/json";
/// A JSON value a line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// An entry is at most 256 KiB canonical; other spellings may be longer.
pub(super) const MAX_JSON_BYTES: usize = 1 << 20;
/// How many bytes many entries may have.
pub(super) const MAX_NDJSON_BYTES: usize = 8 << 20;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bodies beyond this size wait for each other, so that many large ones do not fill the memory.
const LARGE_BYTES: usize = 256 << 10;
const LARGE_AT_ONCE: usize = 16;
static LARGE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(LARGE_AT_ONCE));

/// The media type of a body, without parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Refuses a body that is not of one of these types.
pub(super) fn check_media_type(headers: &HeaderMap, wanted: &[&str]) -> Result<(), Problem> {
    let found = media_type(headers);
    if wanted.contains(&found.as_str()) {
        return Ok(());
    }
    let detail = format!("the body is {found:?}; send it as {}", wanted.join(" or "));
    Err(Problem::new(415, "media_type_unsupported", detail))
}

/// The bytes of a body, at most so many.
pub(super) async fn read(headers: &HeaderMap, body: Body, max_bytes: usize) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(413, "body_too_large", format!("a body may have {max_bytes} bytes here"));
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: usize| bytes > max_bytes) {
        return Err(too_large());
    }
    let _permit = match announced {
        Some(bytes) if bytes <= LARGE_BYTES => None,
        _ => LARGE.acquire().await.ok(),
    };
    match tokio::time::timeout(PATIENCE, Limited::new(body, max_bytes).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(400, "body_incomplete", "the body ended before it was complete")),
        Err(_) => Err(Problem::new(408, "body_too_slow", "the body took longer than a minute to arrive")),
    }
}

/// The one JSON object of a body. An absent body without a type is an empty object.
pub(super) async fn object(headers: &HeaderMap, body: Body) -> Result<(Object<'static>, usize), Problem> {
    if headers.get(header::CONTENT_TYPE).is_none() {
        let bytes = read(headers, body, MAX_JSON_BYTES).await?;
        return match bytes.is_empty() {
            true => Ok((Object::new(), 0)),
            false => Err(check_media_type(headers, &[JSON]).err().unwrap_or_else(not_an_object)),
        };
    }
    check_media_type(headers, &[JSON])?;
    let bytes = read(headers, body, MAX_JSON_BYTES).await?;
    match parse(&bytes)? {
        Value::Object(object) => Ok((object.into_owned(), bytes.len())),
        _ => Err(not_an_object()),
    }
}

pub(super) fn parse(bytes: &[u8]) -> Result<Value<'_>, Problem> {
    canonical::parse(bytes, MAX_NDJSON_BYTES).map_err(|error| Problem::json(&error))
}

pub(super) fn not_an_object() -> Problem {
    Problem::new(422, "member_invalid", "a JSON object expected")
}

/// The text of a member, absent or text.
pub(super) fn text(object: &Object<'_>, member: &str) -> Result<Option<String>, Problem> {
    match object.get(member) {
        None => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text.clone().into_owned())),
        Some(_) => Err(invalid(member, "text expected")),
    }
}

/// A member that is not what it must be.
pub(super) fn invalid(member: &str, detail: &str) -> Problem {
    use crate::evidence::envelope::pointer::escape;
    let mut problem = Problem::new(422, "member_invalid", format!("/{member}: {detail}"));
    problem.set_pointer(format!("/{}", escape(member)));
    problem
}

/// Refuses members beyond these.
pub(super) fn check_known(object: &Object<'_>, known: &[&str]) -> Result<(), Problem> {
    match object.iter().find(|(name, _)| !known.contains(name)) {
        Some((name, _)) => Err(invalid(name, "no such member here")),
        None => Ok(()),
    }
}
