//! What a stream is asked for: which events, from where, and how often it is to say that it is there.

use std::time::Duration;

use axum::http::HeaderMap;

use super::problem::Problem;
use super::query::Query;
use crate::events::{Filter, FilterUnknown};
use crate::service::{Among, Begin};

/// An id is a short one: what is longer is none.
const MAX_ID_BYTES: usize = 64;
/// How many runs or projects a stream of all runs may name.
const MAX_NAMED: usize = 1_000;
const HEARTBEAT_S: u64 = 15;

/// Which events.
pub(super) fn filter(query: &Query) -> Result<Filter, Problem> {
    let unknown = |error: FilterUnknown| Problem::new(400, "filter_unknown", error.to_string());
    match (query.one("preset")?, query.one("types")?) {
        (Some(_), Some(_)) => Err(Problem::parameter("types", "a preset or types, not both")),
        (Some(preset), None) => Filter::preset(preset).map_err(unknown),
        (None, Some(types)) => Filter::types(types.split(',')).map_err(unknown),
        (None, None) => Ok(Filter::default()),
    }
}

/// How often the stream says that it is there.
pub(super) fn heartbeat(query: &Query) -> Result<Duration, Problem> {
    Ok(Duration::from_secs(query.number("heartbeat", 5..=60)?.unwrap_or(HEARTBEAT_S)))
}

/// Where it begins. What a browser says by itself, when it comes back, goes before what it was first asked for.
pub(super) fn begin(query: &Query, headers: &HeaderMap) -> Result<Option<Begin>, Problem> {
    let shown = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let asked = query.one("last_event_id")?.map(str::to_owned);
    // An empty id is what a browser has that was given none.
    if let Some(id) = shown.or(asked).filter(|id| !id.is_empty()) {
        let short = id.len() <= MAX_ID_BYTES;
        return Ok(Some(Begin::After(if short { id } else { String::new() })));
    }
    from(query)
}

/// Where it begins, as it was first asked for.
pub(super) fn from(query: &Query) -> Result<Option<Begin>, Problem> {
    let position = |text: &str| match text {
        "earliest" => Some(Begin::Earliest),
        "latest" => Some(Begin::Latest),
        number => number.parse().ok().map(Begin::From),
    };
    let from = query.parsed("from", "a position, earliest or latest", position)?;
    let since = query.parsed("since", "a time like 2026-01-31T12:00:00.000Z", |text| text.parse().ok())?;
    Ok(from.or(since.map(Begin::Since)))
}

/// Of which runs.
pub(super) fn among(query: &Query) -> Result<Among, Problem> {
    let all = |name: &str| {
        let named: Vec<String> = query.all(name).map(str::to_owned).collect();
        match named.len() <= MAX_NAMED {
            true => Ok(named),
            false => Err(Problem::parameter(name, format!("at most {MAX_NAMED} times"))),
        }
    };
    Ok(Among { runs: all("run")?, projects: all("project")? })
}
