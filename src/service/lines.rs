//! Lines: what is sent piece by piece in one connection, recorded in its order, and nothing after one that is refused.

use super::{Caller, Service, ServiceError};
use crate::append::Done;
use crate::journal::{Append, Close, Entry, NewGate, Pos};

/// Lines of one kind that came one after the other.
pub(crate) struct Lines {
    /// The number of each in its connection.
    pub(crate) numbers: Vec<u64>,
    pub(crate) what: What,
    /// About how large they are.
    pub(crate) bytes: usize,
}

/// What is to be recorded.
pub(crate) enum What {
    /// One line each.
    Entries(Vec<Entry>),
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
    /// The line that was refused: of it, and of those after it, nothing is recorded.
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
    pub(crate) async fn record_lines(&self, evidence_id: &str, lines: Lines, caller: &Caller) -> Recorded {
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
        Lines { numbers, what, bytes }: Lines,
        caller: &Caller,
    ) -> Result<Recorded, ServiceError> {
        match what {
            What::Entries(entries) => {
                Ok(self.record_entries(evidence_id, &numbers, &entries, bytes, caller).await)
            }
            What::Gate(gate) => {
                let (done, _) = self.open_gate(evidence_id, gate, bytes, caller).await?;
                Ok(Recorded::of(&done, &numbers))
            }
            What::Close(close) => {
                self.finalize(evidence_id, close, bytes, caller).await?;
                // The last record is the seal, and the one before it the outcome, whoever asked for them first.
                let seal = self.standing(evidence_id).await?.1.pos;
                let places = [seal.saturating_sub(1), seal].into_iter();
                let answers = places.zip(numbers.iter().copied().cycle()).collect();
                Ok(Recorded { answers, next: seal.saturating_add(1), refused: None })
            }
        }
    }

    /// All in one, as long as none is refused; then those before it.
    async fn record_entries(
        &self,
        evidence_id: &str,
        numbers: &[u64],
        entries: &[Entry],
        bytes: usize,
        caller: &Caller,
    ) -> Recorded {
        let (mut good, mut refused) = (entries, None);
        while !good.is_empty() {
            let append = Append { entries: good.to_vec(), if_match: None, key: None };
            match self.append(evidence_id, append, bytes, caller).await {
                Ok(done) => return Recorded { refused, ..Recorded::of(&done, numbers) },
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
}
