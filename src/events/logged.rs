//! Events of what is logged: lines as frames.

use super::frame::Frame;
use super::told::ToldRun;
use super::vocabulary::EventKind;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::time::Timestamp;

/// A line of a log that is told.
pub(crate) struct ToldLine<'l> {
    pub(crate) log_pos: u64,
    pub(crate) step_id: &'l str,
    pub(crate) attempt: u64,
    pub(crate) stream: &'l str,
    pub(crate) at: Timestamp,
    pub(crate) text: &'l str,
}

impl ToldRun {
    /// The event that a line is: all of it, however long.
    pub(crate) fn line_frame(&self, line: &ToldLine<'_>) -> Frame {
        let data = Object::from_iter([
            ("log_pos", Value::count(line.log_pos)),
            ("step_id", Value::from(line.step_id)),
            ("attempt", Value::count(line.attempt)),
            ("stream", Value::from(line.stream)),
            ("text", Value::from(line.text)),
        ]);
        let id = line.log_pos.to_string();
        Frame::new(Some(&id), EventKind::Log.name(), line.at, Some(self.source().clone()), data)
    }
}
