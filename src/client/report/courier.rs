//! What becomes of a report at the service: answered, refused, or still to be sent.

use bytes::Bytes;

use super::state::{State, place_of};
use super::telling::{Again, Keyed, LogPlace, Report, Stream};
use crate::client::calls::{Appended, Finalized, RunState};
use crate::client::error::ClientError;
use crate::client::http::{Client, NO_PROBLEM};
use crate::evidence::canonical::{Object, Value};

/// How often a name or a run that is taken is tried again with another.
const MAX_OTHERS: u64 = 1_000;

/// Why a report was not delivered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Undelivered {
    /// The service is away or cannot take it now.
    Later { why: String },
    /// The service does not let us in, or does not know the run: somebody has to do something.
    Held { why: String },
    /// The service refused it for good.
    Refused { why: String },
    /// Where it is kept, it cannot be read.
    Unreadable { why: String },
}

/// What the service answered so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The run that was opened.
    pub(crate) opened: Option<RunState>,
    /// Where the last entries stand.
    pub(crate) appended: Option<Appended>,
    /// The seal.
    pub(crate) sealed: Option<Finalized>,
    /// What was refused, and why.
    pub(crate) refused: Vec<String>,
    /// What else a person should know.
    pub(crate) notes: Vec<String>,
}

/// Sends the reports of one producer to one run, in order. The same reports sent again are recorded once.
pub(crate) struct Courier<'c> {
    pub(super) client: &'c Client,
    /// The run as the producer names it.
    run: String,
    pub(super) state: State,
    /// The state, when it was asked for the last time.
    noted: State,
    pub(crate) told: Told,
}

impl<'c> Courier<'c> {
    /// For reports to that run, of which those were delivered before, as far as `state` says.
    pub(crate) fn new(client: &'c Client, run: &str, state: Option<&Object<'_>>) -> Self {
        let state = state.map(State::read).unwrap_or_default();
        Self { client, run: run.to_owned(), noted: state.clone(), state, told: Told::default() }
    }

    /// What goes on, and what does no more.
    fn remember(&mut self, keyed: &Keyed) {
        if let Report::Entries { entries, .. } = &keyed.report {
            entries.iter().for_each(|entry| self.remember_entry(entry));
        }
    }

    fn remember_entry(&mut self, entry: &Object<'static>) {
        let Some(place) = place_of(entry) else { return };
        match entry.text("type") {
            Some("step_started") => drop(self.state.started.insert(place, entry.clone())),
            Some("step") => drop(self.state.started.remove(&place)),
            _ => {}
        }
    }

    /// The run that takes what is sent now.
    pub(crate) fn run(&self) -> &str {
        self.state.moved_to.as_deref().unwrap_or(&self.run)
    }

    /// To go on from, later or elsewhere.
    pub(crate) fn state(&self) -> Object<'static> {
        self.state.write()
    }

    /// That, if it is not what it was when this was asked before.
    pub(crate) fn news(&mut self) -> Option<Object<'static>> {
        if self.noted == self.state {
            return None;
        }
        self.noted.clone_from(&self.state);
        Some(self.state())
    }

    /// Whether it tells how a step ended that this producer began.
    fn has_begun(&self, entry: &Object<'static>) -> bool {
        entry.text("type") == Some("step")
            && place_of(entry).is_some_and(|place| self.state.started.contains_key(&place))
    }

    /// Sends one report, and whatever else its way needs.
    pub(crate) async fn deliver(&mut self, keyed: &Keyed) -> Result<(), Undelivered> {
        let key = keyed.key.as_str();
        match &keyed.report {
            _ if self.state.is_refused => {
                return Err(Undelivered::Refused { why: "what was told of it".to_owned() });
            }
            Report::Opening { members, join } => self.open(key, members, *join).await?,
            Report::Entries { entries, again } => self.record(key, entries, *again).await?,
            Report::Log { place, stream, offset, bytes } => {
                self.log(place, *stream, *offset, Bytes::copy_from_slice(bytes)).await?;
            }
            Report::Finalize(members) => self.finalize(key, members).await?,
        }
        self.remember(keyed);
        Ok(())
    }

    async fn open(&mut self, key: &str, members: &Object<'static>, join: bool) -> Result<(), Undelivered> {
        let opened = self.client.open_run_as(members, Some(key)).await;
        self.told.opened = Some(match opened {
            Err(ClientError::Refused { code, .. }) if join && code == "run_exists" => {
                let note = format!("another job opened {}; what it said of the run stands", self.run);
                self.told.notes.push(note);
                self.client.run(&self.run).await.map_err(undelivered)?
            }
            opened => opened.map_err(|error| self.not_opened(error))?.into(),
        });
        Ok(())
    }

    /// Nothing that follows has a place.
    fn not_opened(&mut self, error: ClientError) -> Undelivered {
        let undelivered = undelivered(error);
        let Undelivered::Refused { why } = undelivered else { return undelivered };
        self.state.is_refused = true;
        Undelivered::Refused { why: format!("the run {}: {why}", self.run) }
    }

    async fn record(
        &mut self,
        key: &str,
        entries: &[Object<'static>],
        again: Option<Again>,
    ) -> Result<(), Undelivered> {
        let mut taken: u64 = 0;
        let mut kind = None;
        loop {
            let mut sent: Vec<Object<'_>> = entries.iter().map(|entry| self.state.as_sent(entry)).collect();
            if let (Some(kind), [entry]) = (kind, sent.as_mut_slice()) {
                entry.insert("kind", kind);
            }
            let error = match self.client.append_as(self.run(), &sent, &self.key(key, taken)).await {
                Ok(appended) => {
                    self.told.appended = Some(appended);
                    return Ok(());
                }
                Err(error) => error,
            };
            match (code(&error), entries) {
                ("run_closed", _) => self.move_on().await?,
                // A later attempt ended first, so that ours was over: how it ended is told of its next.
                ("step_exists" | "attempt_order", [entry])
                    if again.is_none() && taken < MAX_OTHERS && self.has_begun(entry) =>
                {
                    taken = taken.saturating_add(1);
                    place_of(entry).iter().for_each(|place| self.state.next_attempt(place));
                }
                // It was recorded in the run before.
                ("artifact_unknown", [_]) if self.state.moves > 0 && taken < MAX_OTHERS => {
                    let Some(artifact_id) = unknown(&error, &sent) else {
                        return Err(self.refused(entries, error));
                    };
                    taken = taken.saturating_add(1);
                    self.state.lost.insert(artifact_id);
                }
                // With a name that was taken before, and is sent anew, the key is known for another body.
                ("step_exists" | "attempt_order" | "idempotency_key_reused", [entry])
                    if again.is_some() && taken < MAX_OTHERS =>
                {
                    taken = taken.saturating_add(1);
                    if let (Some(again), Some(place)) = (again, place_of(entry)) {
                        self.state.rename(place, again, taken);
                    }
                }
                // A step that was not told to begin has no kind to inherit.
                (_, [entry])
                    if kind.is_none() && is_missing(&error, "/kind") && entry.get("kind").is_none() =>
                {
                    (kind, taken) = (Some("command"), taken.saturating_add(1));
                }
                // One that is refused does not keep the others back.
                (_, [_, _, ..]) if matches!(error, ClientError::Refused { .. }) => {
                    return self.record_each(key, entries).await;
                }
                _ => return Err(self.refused(entries, error)),
            }
        }
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

    async fn log(
        &mut self,
        place: &LogPlace,
        stream: Stream,
        offset: u64,
        mut bytes: Bytes,
    ) -> Result<(), Undelivered> {
        let mut offset = offset;
        while !bytes.is_empty() {
            // What stands in the run or the attempt before.
            let before = self.state.base(place).saturating_sub(offset);
            let before = usize::try_from(before).unwrap_or(usize::MAX).min(bytes.len());
            if before > 0 {
                bytes = bytes.split_off(before);
                offset = offset.saturating_add(before as u64);
                continue;
            }
            let at = offset.saturating_sub(self.state.base(place));
            let LogPlace { step_id, attempt } = self.state.renamed(place);
            let whose = (step_id.as_str(), attempt, stream.as_str());
            let error = match self.client.append_log(self.run(), whose, at, bytes.clone()).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            // What is there is there.
            let mut pass = |end: u64| {
                let there = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(bytes.len());
                offset = offset.saturating_add(there as u64);
                bytes = bytes.split_off(there);
            };
            match (code(&error), &error) {
                ("log_offset_mismatch", ClientError::Refused { upload_offset: Some(end), .. })
                    if *end != at =>
                {
                    pass(*end);
                    if *end < at {
                        // What is missing there was not kept here.
                        self.state.set_base(place, offset.saturating_sub(*end));
                    }
                }
                ("run_closed", _) => {
                    // It may have been closed behind all of this, which is sent again.
                    let end = self.client.log_end(self.run(), (&step_id, attempt)).await;
                    pass(end.map_err(undelivered)?);
                    if !bytes.is_empty() {
                        self.move_on().await?;
                        self.state.set_base(place, offset);
                    }
                }
                // Its step was told to be over, so all of it was there; or a later attempt ended first.
                ("log_ended", _) => {
                    let end = self.client.log_end(self.run(), (&step_id, attempt)).await;
                    pass(end.map_err(undelivered)?);
                    if bytes.is_empty() || !self.state.started.contains_key(place) {
                        return Ok(());
                    }
                    self.begin_again(place).await?;
                    self.state.set_base(place, offset);
                }
                _ => {
                    return Err(match undelivered(error) {
                        Undelivered::Refused { why } => {
                            Undelivered::Refused { why: format!("log of {}: {why}", place.step_id) }
                        }
                        other => other,
                    });
                }
            }
        }
        Ok(())
    }

    async fn finalize(&mut self, key: &str, members: &Object<'static>) -> Result<(), Undelivered> {
        let mut moved = false;
        loop {
            let error = match self.client.finalize_as(self.run(), members, &self.key(key, 0)).await {
                Ok(sealed) => {
                    self.told.sealed = Some(sealed);
                    return Ok(());
                }
                Err(error) => error,
            };
            // What came after the end may have a run that others opened for it.
            if code(&error) == "run_closed" && !moved && self.follow().await? {
                moved = true;
                continue;
            }
            return Err(match undelivered(error) {
                Undelivered::Refused { why } => {
                    Undelivered::Refused { why: format!("the end of the run: {why}") }
                }
                other => other,
            });
        }
    }

    /// The key of a report as it is sent: another body has another key.
    fn key(&self, key: &str, taken: u64) -> String {
        match (self.state.moves, taken) {
            (0, 0) => key.to_owned(),
            (moves, taken) => format!("{key}-{moves}-{taken}"),
        }
    }
}

fn code(error: &ClientError) -> &str {
    match error {
        ClientError::Refused { code, .. } => code,
        _ => "",
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

pub(super) fn undelivered(error: ClientError) -> Undelivered {
    match error {
        // Not the service, but something before it: a proxy, a sign-in page, a balancer with nothing behind it.
        ClientError::Refused { status, ref code, ref detail, .. } if code == NO_PROBLEM => {
            Undelivered::Later {
                why: format!("{status} {detail}, which is no answer of a Sealstone service"),
            }
        }
        // Something on the way cut it off.
        ClientError::Refused { ref code, .. } if code == "body_incomplete" => {
            Undelivered::Later { why: error.to_string() }
        }
        ClientError::Refused { status: 401 | 403 | 404, .. } | ClientError::Untrusted { .. } => {
            Undelivered::Held { why: error.to_string() }
        }
        ClientError::Refused { ref code, .. } if code == "run_ambiguous" => {
            Undelivered::Held { why: error.to_string() }
        }
        ClientError::Refused { .. } => Undelivered::Refused { why: error.to_string() },
        ClientError::Away { why, .. } => Undelivered::Later { why },
        other => Undelivered::Later { why: other.to_string() },
    }
}
