//! What is sent in a connection while its answer goes out: recorded line by line, as it arrives.
//!
//! It waits for nobody who reads the answer, and holds no more than what it is recording.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;

use super::answering::Answers;
use super::arriving::Arriving;
use super::body;
use super::closing::close;
use super::problem::Problem;
use crate::events::{Signal, stream_error};
use crate::evidence::canonical::Value;
use crate::journal::{Entry, NewGate, Refusal};
use crate::service::{Caller, SentLines, Service, What, work_on};

/// How many lines are recorded at once.
const MAX_LINES: usize = 1_000;

/// Records the rest of a body, whose first line has opened a run.
pub(super) struct Recorder {
    pub(super) service: Arc<Service>,
    pub(super) caller: Caller,
    pub(super) evidence_id: String,
    pub(super) arriving: Arriving,
    pub(super) answers: Arc<Answers>,
    /// There once nobody is answered any more.
    pub(super) over: oneshot::Receiver<()>,
}

impl Recorder {
    /// Records all of it, or up to a line that is refused. What has arrived when nobody is answered any more is the last.
    pub(super) async fn record(mut self) {
        let resting = Resting(self.answers.clone());
        let goes_on = self.record_all().await.unwrap_or_else(|(line, problem)| {
            let (code, detail) = (problem.code(), problem.detail());
            self.service.figures().problems.add(code, 1);
            self.answers.refused(stream_error(self.service.now(), code, detail, Some(line)));
            true
        });
        drop(resting);
        if goes_on {
            self.arriving.leave().await;
        }
    }

    /// Whether the body goes on, and nobody takes what comes.
    async fn record_all(&mut self) -> Result<bool, (u64, Problem)> {
        while more(&mut self.arriving, &self.answers, &mut self.over)
            .await
            .map_err(|problem| (self.arriving.taken.saturating_add(1), problem))?
        {
            let bytes = self.arriving.take();
            let (all, bad) = work_on(bytes.len(), || parsed(&bytes, &mut self.arriving.taken));
            for lines in all {
                let recorded = self.service.record_lines(&self.evidence_id, lines, &self.caller).await;
                self.answers.recorded(&recorded.answers, recorded.next);
                recorded.refused.map_or(Ok(()), |(line, error)| Err((line, error.into())))?;
            }
            bad.map_or(Ok(()), Err)?;
            if self.over.is_terminated() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Waits for more lines; false if there are none, or nobody is answered any more.
async fn more(
    arriving: &mut Arriving,
    answers: &Answers,
    over: &mut oneshot::Receiver<()>,
) -> Result<bool, Problem> {
    let mut wait = pin!(arriving.wait());
    poll_fn(|cx| {
        // Looked at first: a body that never pauses would go on for nobody.
        let is_over = Pin::new(&mut *over).poll(cx).is_ready();
        let arrived = wait.as_mut().poll(cx);
        // Said before anything is recorded of what has arrived.
        answers.recording(matches!(arrived, Poll::Ready(Ok(true))));
        if is_over && arrived.is_pending() { Poll::Ready(Ok(false)) } else { arrived }
    })
    .await
}

/// However the recording ends, nothing is held back for it any more.
struct Resting(Arc<Answers>);

impl Drop for Resting {
    fn drop(&mut self) {
        self.0.recording(false);
    }
}

/// The lines up to one that cannot be read, and that one. Blank ones are none, but count.
fn parsed(bytes: &[u8], number: &mut u64) -> (Vec<SentLines>, Option<(u64, Problem)>) {
    let mut all: Vec<SentLines> = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        *number = number.saturating_add(1);
        if line.trim_ascii().is_empty() {
            continue;
        }
        let what = match what(line.strip_suffix(b"\n").unwrap_or(line)) {
            Ok(what) => what,
            Err(problem) => return (all, Some((*number, problem))),
        };
        let one = SentLines { numbers: vec![*number], what, bytes: line.len() };
        let last = all.last_mut().filter(|last| last.numbers.len() < MAX_LINES);
        let alone = match last {
            Some(last) => last.join(one),
            None => Some(one),
        };
        all.extend(alone);
    }
    (all, None)
}

/// What a line asks to record.
fn what(line: &[u8]) -> Result<What, Problem> {
    match body::parse(line)? {
        Value::Object(mut members) if members.text("type") == Some("gate") => {
            members.remove("type");
            Ok(What::Gate(NewGate::parse(members.into_owned(), None)?))
        }
        Value::Object(mut members) if members.text("type") == Some("finalize") => {
            members.remove("type");
            Ok(What::Close(close(&members, None, None)?))
        }
        signal if signal.as_object().and_then(|sent| sent.text("type")).is_some_and(Signal::is_type) => {
            Ok(What::Signals(vec![Signal::parse(signal).map_err(Refusal::from)?]))
        }
        entry => Ok(What::Entries(vec![Entry::parse(entry)?])),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::{Body, Bytes};

    use super::*;

    #[tokio::test]
    async fn of_a_body_that_never_pauses_only_what_has_arrived_is_taken_for_nobody() {
        let lines = std::iter::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(b"{}\n")));
        let mut arriving = Arriving::new(Body::from_stream(tokio_stream::iter(lines)));
        let answers = Answers::new(0, 0);
        let (open, mut over) = oneshot::channel();
        assert!(more(&mut arriving, &answers, &mut over).await.unwrap() && !over.is_terminated());
        drop(open);
        arriving.take();
        assert!(more(&mut arriving, &answers, &mut over).await.unwrap() && over.is_terminated());
    }
}
