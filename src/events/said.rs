//! What a stream says of itself.

use std::fmt;
use std::sync::Arc;

use super::frame::{Frame, Source};
use super::vocabulary::EventKind;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::time::Timestamp;

/// Why something may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// What was asked for is no position, or beyond the last.
    Cursor,
    /// It was too slow to be kept for.
    Lag,
    /// What was kept is from another start of the service.
    Restart,
    /// It is not kept any more.
    Trimmed,
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GapReason::Cursor => "cursor",
            GapReason::Lag => "lag",
            GapReason::Restart => "restart",
            GapReason::Trimmed => "trimmed",
        })
    }
}

/// The stream has begun: where what it follows ends at the moment, and from where it goes on. With the id after which it begins.
pub(crate) fn stream_open(
    at: Timestamp,
    source: Option<Arc<Source>>,
    id: Option<&str>,
    head_pos: Option<u64>,
    resumed_from: Option<&str>,
) -> Frame {
    let mut data = Object::new();
    if let Some(head_pos) = head_pos {
        data.insert("head_pos", Value::count(head_pos));
    }
    if let Some(id) = resumed_from {
        data.insert("resumed_from", id.to_owned());
    }
    Frame::new(id, EventKind::StreamOpen.name(), at, source, data)
}

/// Something is missing, or may be: from the first id to the last one, where they are known.
pub(crate) fn stream_gap(
    at: Timestamp,
    source: Option<Arc<Source>>,
    reason: GapReason,
    missed: Option<(&str, &str)>,
) -> Frame {
    let mut data = Object::from_iter([("reason", Value::from(reason.to_string()))]);
    if let Some((from, to)) = missed {
        data.insert("missed_from", from.to_owned());
        data.insert("missed_to", to.to_owned());
    }
    Frame::new(None, EventKind::StreamGap.name(), at, source, data)
}

/// Nothing has happened, and the connection is there.
pub(crate) fn heartbeat(at: Timestamp) -> Frame {
    Frame::new(None, EventKind::Heartbeat.name(), at, None, Object::new())
}

/// What was sent in that line is refused.
pub(crate) fn stream_error(at: Timestamp, code: &str, detail: &str, line: Option<u64>) -> Frame {
    let mut data = Object::from_iter([
        ("code", Value::from(code.to_owned())),
        ("detail", Value::from(detail.to_owned())),
    ]);
    if let Some(line) = line {
        data.insert("line", Value::count(line));
    }
    Frame::new(None, EventKind::StreamError.name(), at, None, data)
}
