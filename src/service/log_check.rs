//! Whether the logs of a store hold together: every byte read anew, against what is known of each log and what is sealed of it.

use crate::evidence::canonical;
use crate::evidence::digest::Hasher;
use crate::evidence::envelope::Kind;
use crate::journal::JournalRecord;
use crate::logs::{Chunk, Log, Logs};
use crate::store::check::Fault;
use crate::store::{Store, StoreError};

/// How many runs, and how many bytes of a log, are read at once.
const RUNS_AT_ONCE: usize = 100;
const BYTES_AT_ONCE: usize = 4 << 20;

/// What does not hold. `progress` hears how many runs were looked at so far.
pub(crate) fn check_logs(store: &dyn Store, progress: &dyn Fn(u64)) -> Result<Vec<Fault>, StoreError> {
    let (mut faults, mut seen, mut after) = (Vec::new(), 0_u64, None);
    loop {
        let (runs, next) = match store.all_runs(after.as_deref(), RUNS_AT_ONCE) {
            // Whoever checks the runs tells of it.
            Err(StoreError::Corrupt { .. }) => return Ok(faults),
            found => found?,
        };
        for (overview, _) in runs {
            check_run(store, &overview.evidence_id, &mut faults)?;
            seen = seen.saturating_add(1);
            progress(seen);
        }
        match next {
            Some(next) => after = Some(next),
            None => return Ok(faults),
        }
    }
}

fn check_run(store: &dyn Store, evidence_id: &str, faults: &mut Vec<Fault>) -> Result<(), StoreError> {
    let mut fault = |what: String| faults.push(Fault { of: evidence_id.to_owned(), what });
    let stored = store.logs(evidence_id)?;
    if stored.is_empty() {
        return Ok(());
    }
    let Some(logs) = Logs::load(stored) else {
        fault("what is known of its logs cannot be read".into());
        return Ok(());
    };
    for (number, log) in (0_u32..).zip(logs.all()) {
        if let Some(what) = wrong_in(store, evidence_id, number, log)? {
            fault(format!("the log of {} (attempt {}): {what}", log.step_id, log.attempt));
        }
    }
    let records = match store.records(evidence_id, 0, usize::MAX) {
        Err(StoreError::Corrupt { .. }) => return Ok(()),
        records => records?,
    };
    for record in &records {
        if let Some(step_id) = described_otherwise(record, &logs) {
            fault(format!("the step {step_id} does not describe the log that there is"));
        }
    }
    Ok(())
}

/// What of a log's chunks is not as it is known.
fn wrong_in(
    store: &dyn Store,
    evidence_id: &str,
    number: u32,
    log: &Log,
) -> Result<Option<String>, StoreError> {
    if log.deleted {
        return Ok(None);
    }
    let (mut hasher, mut next, mut lines) = (Hasher::default(), 0_u64, 0_u64);
    loop {
        let chunks = store.log_chunks(evidence_id, number, next, BYTES_AT_ONCE)?;
        let before = next;
        for (offset, stored) in chunks.into_iter().filter(|(offset, _)| *offset >= before) {
            let Some(chunk) = Chunk::decode(&stored).filter(|chunk| offset == next || chunk.bytes.is_empty())
            else {
                return Ok(Some(format!("its bytes from {next} on cannot be read")));
            };
            hasher.update(&chunk.bytes);
            next = offset.saturating_add(chunk.bytes.len().max(1) as u64);
            lines = lines.saturating_add(chunk.ended);
        }
        if next == before {
            break;
        }
    }
    let right = hasher.finish() == log.digest() && lines == log.lines;
    Ok((!right).then(|| "its bytes are not those that were recorded".to_owned()))
}

/// The step that a record finishes, if it says something else of its log.
fn described_otherwise(record: &JournalRecord, logs: &Logs) -> Option<String> {
    let element = record.element().filter(|element| element.kind == Kind::Step)?;
    let step = canonical::parse(element.text.as_bytes(), element.text.len()).ok()?;
    let step = step.as_object()?;
    let step_id = step.text("step_id")?;
    let log = logs.get(step_id, step.count("attempt").unwrap_or(1))?;
    // One without a digest is withheld.
    let told = step.object("log").map(|log| log.text("digest"));
    let same = |told: Option<&str>| told.is_none_or(|told| told == log.digest().to_string());
    let same = told.is_some_and(same) && log.ended;
    (!same).then(|| step_id.to_owned())
}
