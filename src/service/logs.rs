//! Logs: appended to, read byte for byte, read by lines, deleted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tokio::sync::OwnedSemaphorePermit;

use super::{Action, Caller, Service, ServiceError};
use crate::append::{Ask, chunk_at, line_beginning};
use crate::evidence::digest::Digest;
use crate::journal::State;
use crate::logs::{Chunk, Line, Log, LogAppend, LogReceipt, Logs, lines_of};
use crate::store::{Store, StoreError};

/// How many bytes of lines are given at once.
const MAX_PAGE_BYTES: usize = 4 << 20;
/// How many places of chunks are read at once.
const PLACES_AT_ONCE: usize = 256;

/// A log that is there.
#[derive(Clone, Debug)]
pub(crate) struct FoundLog {
    pub(crate) evidence_id: String,
    number: u32,
    pub(crate) bytes: u64,
    /// Of all bytes, once nothing more is appended.
    pub(crate) digest: Option<Digest>,
}

/// A line, and which log it is of.
#[derive(Clone, Debug)]
pub(crate) struct ShownLine {
    pub(crate) step_id: String,
    pub(crate) attempt: u64,
    pub(crate) line: Line,
}

/// Some lines.
#[derive(Debug, Default)]
pub(crate) struct LinePage {
    pub(crate) lines: Vec<ShownLine>,
    /// There may be more.
    pub(crate) more: bool,
    /// To be kept until they are sent.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

impl Service {
    /// Appends bytes to a log. Durable once it returns.
    pub(crate) async fn append_log(
        &self,
        evidence_id: &str,
        append: LogAppend,
        caller: &Caller,
    ) -> Result<LogReceipt, ServiceError> {
        let bytes = append.bytes.len();
        let done = self.lanes.ask(evidence_id, Ask::Log(append), bytes, caller.name()).await?;
        done.log.ok_or_else(|| ServiceError::unavailable("no receipt"))
    }

    /// Where a log ends; 0 if there is none yet.
    pub(crate) async fn log_offset(
        &self,
        caller: &Caller,
        evidence_id: &str,
        step_id: &str,
        attempt: u64,
    ) -> Result<u64, ServiceError> {
        if !caller.may(Action::Write) {
            self.check_may_see_logs(caller, evidence_id).await?;
        }
        let logs = self.logs(evidence_id).await?;
        Ok(logs.get(step_id, attempt).map_or(0, |log| log.bytes))
    }

    /// The log of an attempt of a step, for a caller who may see it.
    pub(crate) async fn log(
        &self,
        caller: &Caller,
        evidence_id: &str,
        step_id: &str,
        attempt: u64,
    ) -> Result<FoundLog, ServiceError> {
        self.check_may_see_logs(caller, evidence_id).await?;
        let logs = self.logs(evidence_id).await?;
        let number = logs.number(step_id, attempt).ok_or(ServiceError::LogNotFound)?;
        let log = logs.numbered(number).ok_or(ServiceError::LogNotFound)?;
        check_kept(log)?;
        Ok(FoundLog {
            evidence_id: evidence_id.to_owned(),
            number,
            bytes: log.bytes,
            digest: log.ended.then(|| log.digest()),
        })
    }

    /// Bytes of a log from there on: some, at least one where there is one.
    pub(crate) async fn log_bytes(
        &self,
        log: &FoundLog,
        from: u64,
        about: usize,
    ) -> Result<Vec<u8>, ServiceError> {
        let (evidence_id, number) = (log.evidence_id.clone(), log.number);
        self.read(move |store| {
            let mut bytes = Vec::new();
            for (offset, stored) in store.log_chunks(&evidence_id, number, from, about)? {
                let chunk = decode(&stored, &evidence_id)?;
                let skipped = usize::try_from(from.saturating_sub(offset)).unwrap_or(usize::MAX);
                bytes.extend(chunk.bytes.get(skipped..).unwrap_or_default());
            }
            Ok(bytes)
        })
        .await
    }

    /// Lines of a run that have ended, from that one on.
    pub(crate) async fn lines(
        &self,
        caller: &Caller,
        evidence_id: &str,
        from: u64,
        limit: usize,
    ) -> Result<LinePage, ServiceError> {
        self.check_may_see_logs(caller, evidence_id).await?;
        let (id, place) = (evidence_id.to_owned(), self.whole_place().await?);
        let page = self.read(move |store| lines_from(store, &id, from, (limit, MAX_PAGE_BYTES))).await?;
        Ok(LinePage { place: Some(place), ..page.ok_or(ServiceError::LogDeleted)? })
    }

    /// Lines of one log that have ended, from that one on.
    pub(crate) async fn lines_of_log(
        &self,
        caller: &Caller,
        evidence_id: &str,
        (step_id, attempt): (&str, u64),
        from: u64,
        limit: usize,
    ) -> Result<LinePage, ServiceError> {
        let found = self.log(caller, evidence_id, step_id, attempt).await?;
        let (logs, place) = (self.logs(evidence_id).await?, self.whole_place().await?);
        let page = self.read(move |store| {
            let log = (found.evidence_id.as_str(), found.number);
            lines_of_one(store, log, logs.numbered(log.1), from, (limit, MAX_PAGE_BYTES))
        });
        Ok(LinePage { place: Some(place), ..page.await?.ok_or(ServiceError::LogDeleted)? })
    }

    /// Deletes the bytes and lines of a sealed run's logs; their digests stay in the envelope. Durable once it returns.
    pub(crate) async fn delete_logs(&self, caller: &Caller, evidence_id: &str) -> Result<(), ServiceError> {
        caller.check(Action::Administer)?;
        let (_, standing) = self.standing(evidence_id).await?;
        if standing.state != State::Sealed {
            return Err(ServiceError::NotYet { state: standing.state });
        }
        self.forget_logs(evidence_id).await
    }

    /// Deletes logs, a stretch at a time, so that writers get their turn.
    pub(super) async fn forget_logs(&self, evidence_id: &str) -> Result<(), ServiceError> {
        let id = evidence_id.to_owned();
        let known = self.read(move |store| store.logs(&id)).await?;
        let known: Vec<Vec<u8>> =
            known.iter().filter_map(|log| Some(Log::decode(log)?.deleted().encode())).collect();
        let mut known = Some(known);
        loop {
            // What is known of them changes first.
            let (id, known) = (evidence_id.to_owned(), known.take().unwrap_or_default());
            let more = self.read(move |store| store.forget_logs(&id, &known)).await?;
            self.hub.log_deleted(evidence_id);
            if !more {
                return Ok(());
            }
        }
    }

    pub(super) async fn logs(&self, evidence_id: &str) -> Result<Logs, ServiceError> {
        let evidence_id = evidence_id.to_owned();
        self.read(move |store| {
            let logs = Logs::load(store.logs(&evidence_id)?);
            logs.ok_or(StoreError::Corrupt { what: "log", evidence_id })
        })
        .await
    }

    /// Where the description of logs is withheld, so are the logs.
    pub(super) async fn check_may_see_logs(
        &self,
        caller: &Caller,
        evidence_id: &str,
    ) -> Result<(), ServiceError> {
        let (overview, _) = self.standing(evidence_id).await?;
        if overview.settings.withholds_logs() { caller.check(Action::Disclose) } else { Ok(()) }
    }
}

pub(super) fn check_kept(log: &Log) -> Result<(), ServiceError> {
    if log.deleted { Err(ServiceError::LogDeleted) } else { Ok(()) }
}

fn decode(stored: &[u8], evidence_id: &str) -> Result<Chunk, StoreError> {
    let corrupt = || StoreError::Corrupt { what: "log", evidence_id: evidence_id.to_owned() };
    Chunk::decode(stored).ok_or_else(corrupt)
}

fn read_log(stored: &[u8], evidence_id: &str) -> Result<Log, StoreError> {
    let corrupt = || StoreError::Corrupt { what: "log", evidence_id: evidence_id.to_owned() };
    Log::decode(stored).ok_or_else(corrupt)
}

/// About how long a text is in JSON: some characters are written as six.
fn bytes_shown(text: &str) -> usize {
    let shown = |byte| match byte {
        0..=31 => 6,
        b'"' | b'\\' => 2,
        _ => 1,
    };
    text.bytes().map(shown).fold(0, usize::saturating_add)
}

/// Lines of a run that have ended, from that one on: some, at most so many, of about so many bytes. `None` if they are not kept any more.
pub(super) fn lines_from(
    store: &dyn Store,
    evidence_id: &str,
    from: u64,
    most: (usize, usize),
) -> Result<Option<LinePage>, StoreError> {
    // All logs of a run are deleted together.
    unless_deleted(store, (evidence_id, 0), kept_lines_from(store, evidence_id, from, most))
}

/// What was read, but of a log that is not kept any more: what begins to be deleted meanwhile may be whole or not.
fn unless_deleted<T>(
    store: &dyn Store,
    (evidence_id, number): (&str, u32),
    read: Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    match store.log(evidence_id, number)?.map(|log| read_log(&log, evidence_id)).transpose()? {
        Some(log) if log.deleted => Ok(None),
        _ => read.map(Some),
    }
}

/// Lines of one log as it is known, likewise.
pub(super) fn lines_of_one(
    store: &dyn Store,
    number: (&str, u32),
    log: Option<&Log>,
    from: u64,
    most: (usize, usize),
) -> Result<Option<LinePage>, StoreError> {
    unless_deleted(store, number, kept_lines_of_one(store, number, log, from, most))
}

fn kept_lines_of_one(
    store: &dyn Store,
    (evidence_id, number): (&str, u32),
    log: Option<&Log>,
    from: u64,
    most: (usize, usize),
) -> Result<LinePage, StoreError> {
    let mut page = Gathering::new(store, evidence_id, most);
    let Some(log) = log else { return Ok(page.page) };
    let mut next = from;
    while next < log.lines
        && let Some(offset) = store.line_of_log(evidence_id, number, next)?
    {
        let before = |chunk: &Chunk| next.saturating_sub(chunk.first_line);
        let (_, full) = page.take(log, (number, offset), before)?;
        if full || page.next_line <= next {
            break;
        }
        next = page.next_line;
    }
    Ok(page.page)
}

fn kept_lines_from(
    store: &dyn Store,
    evidence_id: &str,
    from: u64,
    most: (usize, usize),
) -> Result<LinePage, StoreError> {
    // Of the many that a run may have, those that are needed.
    let mut logs = BTreeMap::new();
    let mut page = Gathering::new(store, evidence_id, most);
    let mut next = from;
    loop {
        let ends = store.line_ends(evidence_id, next, PLACES_AT_ONCE)?;
        for end in &ends {
            let log = match logs.entry(end.log) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place
                    .insert(read_log(&store.log(evidence_id, end.log)?.unwrap_or_default(), evidence_id)?),
            };
            let before = |chunk: &Chunk| next.saturating_sub(chunk.first_pos);
            let (ended, full) = page.take(log, (end.log, end.offset), before)?;
            next = next.max(end.log_pos.saturating_add(ended));
            if full {
                return Ok(page.page);
            }
        }
        if ends.len() < PLACES_AT_ONCE {
            return Ok(page.page);
        }
    }
}

/// Lines that are gathered until there are enough.
struct Gathering<'s> {
    store: &'s dyn Store,
    evidence_id: &'s str,
    page: LinePage,
    bytes: usize,
    /// How many lines, and about how many bytes of them, are enough.
    most: (usize, usize),
    /// The line of the log after the last that ended in a chunk.
    next_line: u64,
}

impl<'s> Gathering<'s> {
    fn new(store: &'s dyn Store, evidence_id: &'s str, most: (usize, usize)) -> Self {
        Self { store, evidence_id, page: LinePage::default(), bytes: 0, most, next_line: 0 }
    }

    /// Takes the lines that end in a chunk, but for those before the wanted ones: how many end in it, and whether there are enough.
    fn take(
        &mut self,
        log: &Log,
        (number, offset): (u32, u64),
        before: impl Fn(&Chunk) -> u64,
    ) -> Result<(u64, bool), StoreError> {
        let chunk = chunk_at(self.store, self.evidence_id, number, offset)?;
        let skipped = before(&chunk);
        let beginning = match skipped {
            0 => line_beginning(self.store, self.evidence_id, number, chunk.open)?,
            _ => Vec::new(),
        };
        self.next_line = chunk.first_line.saturating_add(chunk.ended);
        for line in lines_of(&chunk, &beginning, skipped) {
            let bytes = self.bytes.saturating_add(bytes_shown(&line.text).saturating_add(256));
            let lines = self.page.lines.len();
            if lines >= self.most.0 || (lines > 0 && bytes > self.most.1) {
                self.page.more = true;
                return Ok((chunk.ended, true));
            }
            self.bytes = bytes;
            self.page.lines.push(ShownLine { step_id: log.step_id.clone(), attempt: log.attempt, line });
        }
        Ok((chunk.ended, false))
    }
}
