//! What becomes of a log: its bytes are told from where the service has them, wherever its step goes on.

use bytes::Bytes;

use super::courier::{Courier, Undelivered, code, undelivered};
use super::telling::{LogPlace, Stream};
use crate::client::error::ClientError;

/// Bytes of a log that the service may not have.
struct Rest {
    /// Of the first, as the producer counts.
    offset: u64,
    bytes: Bytes,
}

impl Rest {
    /// So many of them, at most, are there.
    fn pass(&mut self, there: u64) {
        let there = usize::try_from(there).unwrap_or(usize::MAX).min(self.bytes.len());
        self.offset = self.offset.saturating_add(there as u64);
        self.bytes = self.bytes.split_off(there);
    }
}

/// What is to be done before bytes that were not taken are sent again.
enum Next {
    /// The service has that many.
    From(u64),
    /// The run may have been closed behind all of this, which is sent again.
    Closed,
    /// Its step was told to be over, so all of it was there; or a later attempt ended first.
    Ended,
    /// Its step goes on, and was not told to begin.
    Begin,
    /// Nothing helps.
    GiveUp,
}

impl Courier<'_> {
    pub(super) async fn log(
        &mut self,
        place: &LogPlace,
        stream: Stream,
        offset: u64,
        bytes: Bytes,
    ) -> Result<(), Undelivered> {
        let (mut rest, mut has_begun) = (Rest { offset, bytes }, false);
        loop {
            // What stands in the run or the attempt before.
            rest.pass(self.state.base(place).saturating_sub(rest.offset));
            if rest.bytes.is_empty() {
                return Ok(());
            }
            let at = rest.offset.saturating_sub(self.state.base(place));
            let sent = self.state.renamed(place);
            let whose = (sent.step_id.as_str(), sent.attempt, stream.as_str());
            let Err(error) = self.client.append_log(self.run(), whose, at, rest.bytes.clone()).await else {
                return Ok(());
            };
            match self.after(&error, at, place) {
                Next::From(end) => {
                    rest.pass(end.saturating_sub(at));
                    if end < at {
                        // What is missing there was not kept here.
                        self.state.set_base(place, rest.offset.saturating_sub(end));
                    }
                }
                Next::Closed => {
                    rest.pass(self.end_of(&sent).await?.saturating_sub(at));
                    if !rest.bytes.is_empty() {
                        self.move_on(Some((place, rest.offset))).await?;
                    }
                }
                Next::Ended => {
                    rest.pass(self.end_of(&sent).await?.saturating_sub(at));
                    if rest.bytes.is_empty() || !self.state.started.contains_key(place) {
                        return Ok(());
                    }
                    self.begin_again((place, rest.offset)).await?;
                }
                Next::Begin if !has_begun => {
                    has_begun = true;
                    self.begin_first((place, rest.offset)).await?;
                }
                Next::Begin | Next::GiveUp => return Err(refused(error, place)),
            }
        }
    }

    /// What the answer means.
    fn after(&self, error: &ClientError, at: u64, place: &LogPlace) -> Next {
        match (code(error), error) {
            ("log_offset_mismatch", ClientError::Refused { upload_offset: Some(end), .. }) if *end != at => {
                Next::From(*end)
            }
            ("run_closed", _) => Next::Closed,
            ("log_ended", _) => Next::Ended,
            ("step_not_started", _) if self.state.started.contains_key(place) => Next::Begin,
            _ => Next::GiveUp,
        }
    }

    async fn end_of(&self, LogPlace { step_id, attempt }: &LogPlace) -> Result<u64, Undelivered> {
        self.client.log_end(self.run(), (step_id, *attempt)).await.map_err(undelivered)
    }
}

fn refused(error: ClientError, place: &LogPlace) -> Undelivered {
    match undelivered(error) {
        Undelivered::Refused { why } => {
            Undelivered::Refused { why: format!("log of {}: {why}", place.step_id) }
        }
        other => other,
    }
}
