//! A body that is recorded while it arrives.

use std::time::{Duration, Instant};

use axum::body::Body;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::problem::Problem;
use crate::service::MAX_CHUNK_BYTES;

/// How long bytes wait for more of them before they are recorded.
const GATHERED: Duration = Duration::from_millis(100);
/// How long a body may pause.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a body goes on.
pub(super) enum More {
    No,
    Yes,
}

/// Bytes of a body that wait to be recorded.
#[derive(Default)]
pub(super) struct Gathered {
    bytes: Vec<u8>,
    ended: bool,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes what arrives, until there is a chunk of it, or the first of it has waited long enough.
    pub(super) async fn more(&mut self, sent: &mut Body) -> Result<More, Problem> {
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
    pub(super) fn take(&mut self, ended: bool) -> Vec<u8> {
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
