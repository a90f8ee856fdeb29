//! The lines of a body, as they arrive.

use axum::body::Body;
use http_body_util::BodyExt as _;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::body::{LARGE_BYTES, MAX_JSON_BYTES, PATIENCE, drain, place};
use super::problem::Problem;

/// A body, and what has arrived of it and was not taken yet: less than one line and what came with its end.
pub(super) struct Arriving {
    body: Body,
    bytes: Vec<u8>,
    /// How many of the bytes are whole lines.
    whole: usize,
    /// Nothing more arrives.
    ended: bool,
    /// How many lines were taken.
    pub(super) taken: u64,
    /// A place among the large bodies, and until when the rest of the line has time.
    large: Option<(SemaphorePermit<'static>, Instant)>,
}

impl Arriving {
    pub(super) fn new(body: Body) -> Self {
        Self { body, bytes: Vec::new(), whole: 0, ended: false, taken: 0, large: None }
    }

    /// Waits until a line is there as a whole, however long that takes; false if no more will be. The last line needs no line feed.
    /// One that is longer than a line may be is there at once, to be refused. Nothing is lost if it is not waited for to the end.
    pub(super) async fn wait(&mut self) -> Result<bool, Problem> {
        while self.whole == 0 {
            if self.ended || self.bytes.len() > MAX_JSON_BYTES {
                self.whole = self.bytes.len();
                break;
            }
            self.more().await?;
        }
        Ok(self.whole > 0)
    }

    async fn more(&mut self) -> Result<(), Problem> {
        if self.bytes.len() <= LARGE_BYTES {
            self.large = None;
        } else if self.large.is_none() {
            let now = Instant::now();
            self.large = Some((place().await?, now.checked_add(PATIENCE).unwrap_or(now)));
        }
        let frame = match &self.large {
            None => self.body.frame().await,
            // Many halves of large lines would fill the memory.
            Some((_, until)) => timeout_at(*until, self.body.frame()).await.map_err(|_| too_slow())?,
        };
        match frame {
            None => self.ended = true,
            Some(Ok(frame)) => {
                let data = frame.data_ref().map_or(&[][..], |data| data);
                if let Some(last) = data.iter().rposition(|byte| *byte == b'\n') {
                    self.whole = self.bytes.len().saturating_add(last).saturating_add(1);
                }
                self.bytes.extend_from_slice(data);
            }
            Some(Err(_)) => {
                let detail = "the body ended before it was complete; what was recorded before stays";
                return Err(Problem::new(400, "body_incomplete", detail));
            }
        }
        Ok(())
    }

    /// Takes all whole lines.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off(self.whole);
        self.whole = 0;
        std::mem::replace(&mut self.bytes, rest)
    }

    /// Takes the first line that is not blank; `None` if there is none.
    pub(super) async fn first(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        while self.wait().await? {
            let all = self.take();
            let end = all.iter().position(|byte| *byte == b'\n').map_or(all.len(), |at| at.saturating_add(1));
            let (line, rest) = all.split_at_checked(end).unwrap_or_default();
            self.whole = rest.len();
            self.bytes.splice(..0, rest.iter().copied());
            self.taken = self.taken.saturating_add(1);
            if !line.trim_ascii().is_empty() {
                return Ok(Some(line.to_vec()));
            }
        }
        Ok(None)
    }

    /// Nothing more of it is wanted; who still sends sees the answer.
    pub(super) async fn leave(self) {
        drain(self.body).await;
    }
}

pub(super) fn too_slow() -> Problem {
    Problem::new(408, "body_too_slow", "the line took longer than a minute to arrive")
}
