//! What becomes of entries: recorded, under another name where theirs is taken, or refused each by itself.

use super::courier::{Courier, Undelivered, code, undelivered};
use super::state::{Named, place_of};
use super::telling::{Again, LogPlace};
use crate::client::error::ClientError;
use crate::evidence::canonical::{Object, Value};

/// How often a name that is taken is tried again with another.
const MAX_OTHERS: u64 = 1_000;

/// What is to be done before entries that were not recorded are sent again.
enum Next {
    /// The run is closed.
    MoveOn,
    /// A later attempt ended first, so that ours was over: how it ended is told of its next.
    Attempt(LogPlace),
    /// The name of the step is taken.
    Rename(LogPlace, Again),
    /// The id is taken.
    Number(Named),
    /// It cites an artifact that was recorded in the run before.
    Uncite(String),
    /// A step that was not told to begin has no kind to inherit.
    Kind,
    /// One that is refused does not keep the others back.
    Each,
    /// Nothing helps.
    GiveUp,
}

impl Next {
    /// That, if it was not tried too often.
    fn within(self, taken: u64, has_kind: bool) -> Self {
        match self {
            Next::MoveOn | Next::Each => self,
            Next::Kind if has_kind => Next::GiveUp,
            _ if taken >= MAX_OTHERS => Next::GiveUp,
            next => next,
        }
    }
}

impl Courier<'_> {
    pub(super) async fn record(
        &mut self,
        key: &str,
        entries: &[Object<'static>],
        again: Option<Again>,
    ) -> Result<(), Undelivered> {
        let mut taken: u64 = 0;
        let mut kind: Option<String> = None;
        loop {
            let mut sent: Vec<Object<'_>> = entries.iter().map(|entry| self.state.as_sent(entry)).collect();
            if let (Some(kind), [entry]) = (&kind, sent.as_mut_slice()) {
                entry.insert("kind", kind.clone());
            }
            let error = match self.client.append_as(self.run(), &sent, &self.key(key, taken)).await {
                Ok(appended) => {
                    self.told.appended = Some(appended);
                    return Ok(());
                }
                Err(error) => error,
            };
            match self.next(&error, entries, &sent, again).within(taken, kind.is_some()) {
                Next::MoveOn => {
                    self.move_on(None).await?;
                    continue;
                }
                Next::Each => return self.record_each(key, entries).await,
                Next::GiveUp => return Err(self.refused(entries, error)),
                Next::Kind => {
                    let [entry] = sent.as_slice() else { return Err(self.refused(entries, error)) };
                    kind = Some(self.kind_before(entry).await?);
                }
                Next::Number(named) => {
                    if self.number == 0 {
                        let note = "ids of artifacts or observations that others have in the run got a number behind them";
                        self.told.notes.push(note.to_owned());
                    }
                    // Mostly the number that was free before is free again.
                    taken = taken.max(self.number.saturating_sub(2));
                    self.number = taken.saturating_add(2);
                    self.state.number(named, self.number);
                }
                Next::Attempt(place) => self.state.next_attempt(&place),
                Next::Rename(place, again) => self.state.rename(place, again, taken.saturating_add(1)),
                Next::Uncite(artifact_id) => drop(self.state.lost.insert(artifact_id)),
            }
            taken = taken.saturating_add(1);
        }
    }

    /// What the answer means.
    fn next(
        &self,
        error: &ClientError,
        entries: &[Object<'static>],
        sent: &[Object<'_>],
        again: Option<Again>,
    ) -> Next {
        let [entry] = entries else {
            return match (code(error), error) {
                ("run_closed", _) => Next::MoveOn,
                (_, ClientError::Refused { .. }) if entries.len() > 1 => Next::Each,
                _ => Next::GiveUp,
            };
        };
        match code(error) {
            "run_closed" => Next::MoveOn,
            "artifact_exists" | "observation_exists" => Named::of(entry).map_or(Next::GiveUp, Next::Number),
            "artifact_unknown" if self.state.moves > 0 => {
                unknown(error, sent).map_or(Next::GiveUp, Next::Uncite)
            }
            code @ ("step_exists" | "attempt_order" | "idempotency_key_reused") => match again {
                // With a name that was taken before, and is sent anew, the key is known for another body.
                Some(again) => place_of(entry).map_or(Next::GiveUp, |place| Next::Rename(place, again)),
                None if code != "idempotency_key_reused" => {
                    self.begun(entry).map_or(Next::GiveUp, Next::Attempt)
                }
                None => Next::GiveUp,
            },
            _ if is_missing(error, "/kind") && entry.get("kind").is_none() => Next::Kind,
            _ => Next::GiveUp,
        }
    }

    /// The step whose end it tells, if this producer began it.
    fn begun(&self, entry: &Object<'_>) -> Option<LogPlace> {
        let place = place_of(entry).filter(|_| entry.text("type") == Some("step"));
        place.filter(|place| self.state.started.contains_key(place))
    }

    async fn record_each(&mut self, key: &str, entries: &[Object<'static>]) -> Result<(), Undelivered> {
        for (n, entry) in entries.iter().enumerate() {
            let key = format!("{key}.{n}");
            match Box::pin(self.record(&key, std::slice::from_ref(entry), None)).await {
                Err(Undelivered::Refused { why }) => self.told.refused.push(why),
                told => told?,
            }
        }
        Ok(())
    }

    /// What is refused for good is told by its name.
    fn refused(&mut self, entries: &[Object<'static>], error: ClientError) -> Undelivered {
        let undelivered = undelivered(error);
        let (Undelivered::Refused { why }, [entry]) = (&undelivered, entries) else { return undelivered };
        if let Some(artifact_id) = entry.text("artifact_id") {
            self.state.lost.insert(artifact_id.to_owned());
        }
        let id = ["step_id", "artifact_id", "observation_id", "name"].iter().find_map(|id| entry.text(id));
        let kind = entry.text("type").unwrap_or("entry");
        Undelivered::Refused { why: format!("{kind} {}: {why}", id.unwrap_or_default()) }
    }
}

/// The artifact that an entry cites and nobody recorded.
fn unknown(error: &ClientError, sent: &[Object<'_>]) -> Option<String> {
    let ClientError::Refused { detail, .. } = error else { return None };
    let cited = sent.iter().flat_map(|entry| {
        ["artifact_ids", "basis_artifact_ids"].into_iter().flat_map(|ids| entry.list(ids).unwrap_or_default())
    });
    let mut cited = cited.filter_map(Value::as_text);
    cited.find(|id| detail.contains(&format!("{id:?}"))).map(str::to_owned)
}

fn is_missing(error: &ClientError, member: &str) -> bool {
    matches!(error, ClientError::Refused { pointer: Some(pointer), .. } if pointer == member)
}
