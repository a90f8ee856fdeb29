//! Lines: what is sent piece by piece in one connection, recorded in its order, and nothing after one that is refused.

use super::{Caller, Service, ServiceError};
use crate::append::{Ask, Done};
use crate::events::Signal;
use crate::journal::{Append, Close, Entry, NewGate, Pos, State};

/// Lines of one kind that came one after the other.
pub(crate) struct SentLines {
    /// The number of each in its connection.
    pub(crate) numbers: Vec<u64>,
    pub(crate) what: What,
    /// About how large they are.
    pub(crate) bytes: usize,
}

impl SentLines {
    /// Takes in what came next; gives it back if it is not of the kind.
    pub(crate) fn join(&mut self, next: SentLines) -> Option<SentLines> {
        match (&mut self.what, next.what) {
            (What::Entries(all), What::Entries(mut more)) => all.append(&mut more),
            (What::Signals(all), What::Signals(mut more)) => all.append(&mut more),
            (_, what) => return Some(SentLines { what, ..next }),
        }
        self.numbers.extend(next.numbers);
        self.bytes = self.bytes.saturating_add(next.bytes);
        None
    }
}

/// What is to be recorded.
pub(crate) enum What {
    /// One line each.
    Entries(Vec<Entry>),
    /// One line each.
    Signals(Vec<Signal>),
    /// One line.
    Gate(NewGate),
    /// One line.
    Close(Close),
}

/// What became of some lines.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    /// The places of records, and the numbers of the lines that they answer.
    pub(crate) answers: Vec<(Pos, u64)>,
    /// No record of a later line stands before this place.
    pub(crate) next: Pos,
    /// The line that was refused: of it, and of those after it, nothing is recorded; but the close of a run that could not be sealed.
    pub(crate) refused: Option<(u64, ServiceError)>,
}

impl Recorded {
    fn of(done: &Done, numbers: &[u64]) -> Self {
        let places = done.answer.receipts.iter().map(|receipt| receipt.pos);
        Self {
            answers: places.zip(numbers.iter().copied()).collect(),
            next: done.standing.pos.saturating_add(1),
            refused: None,
        }
    }
}

impl Service {
    /// Records lines up to the first that is refused. Durable once it returns.
    pub(crate) async fn record_lines(
        &self,
        evidence_id: &str,
        lines: SentLines,
        caller: &Caller,
    ) -> Recorded {
        let first = lines.numbers.first().copied().unwrap_or_default();
        let recorded = match self.check_still(caller) {
            Ok(()) => self.record(evidence_id, lines, caller).await,
            Err(error) => Err(error),
        };
        recorded.unwrap_or_else(|error| Recorded { refused: Some((first, error)), ..Recorded::default() })
    }

    async fn record(
        &self,
        evidence_id: &str,
        SentLines { numbers, what, bytes }: SentLines,
        caller: &Caller,
    ) -> Result<Recorded, ServiceError> {
        let numbers = numbers.as_slice();
        match what {
            What::Entries(entries) => {
                let record = |entries| async move {
                    let append = Append { entries, if_match: None, key: None };
                    let done = self.append(evidence_id, append, bytes, caller).await?;
                    Ok(Recorded::of(&done, numbers))
                };
                Ok(record_good(numbers, &entries, record).await)
            }
            What::Signals(signals) => {
                let record = |signals| async move {
                    // There is no record that would answer them.
                    let signaled = self.signal(evidence_id, signals, bytes, caller).await?;
                    Ok(Recorded { next: signaled.next, ..Recorded::default() })
                };
                Ok(record_good(numbers, &signals, record).await)
            }
            What::Gate(gate) => {
                let done = self.lanes.ask(evidence_id, Ask::OpenGate(gate), bytes, caller.name()).await?;
                Ok(Recorded::of(&done, numbers))
            }
            What::Close(close) => {
                let standing = self.close(evidence_id, close, bytes, caller).await?;
                let sealed = self.sealed(evidence_id, &standing).await;
                // The last record is the outcome, and the one after it the seal, whoever asked for them first.
                let outcome = standing.pos.saturating_sub(u64::from(standing.state == State::Sealed));
                let last = outcome.saturating_add(u64::from(sealed.is_ok()));
                let line = numbers.first().copied().unwrap_or_default();
                Ok(Recorded {
                    answers: (outcome..=last).map(|pos| (pos, line)).collect(),
                    next: last.saturating_add(1),
                    refused: sealed.err().map(|error| (line, error)),
                })
            }
        }
    }
}

/// Records all in one, as long as none is refused; then those before it.
async fn record_good<T: Clone, F>(numbers: &[u64], all: &[T], record: impl Fn(Vec<T>) -> F) -> Recorded
where
    F: Future<Output = Result<Recorded, ServiceError>>,
{
    let (mut good, mut refused) = (all, None);
    while !good.is_empty() {
        match record(good.to_vec()).await {
            Ok(recorded) => return Recorded { refused, ..recorded },
            Err(error) => {
                let bad = error.entry().unwrap_or(0);
                refused = Some((numbers.get(bad).copied().unwrap_or_default(), error));
                // Every time fewer, whatever was said.
                good = good.get(..bad).filter(|fewer| fewer.len() < good.len()).unwrap_or_default();
            }
        }
    }
    Recorded { refused, ..Recorded::default() }
}
