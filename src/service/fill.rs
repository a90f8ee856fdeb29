//! Runs that nobody reported, written through the store: to measure how it does with many.

use std::thread;

use crate::evidence::canonical;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::Limits;
use crate::evidence::key::SigningKey;
use crate::evidence::seal::{Sealed, seal};
use crate::evidence::time::Timestamp;
use crate::journal::{Append, Around, Close, Entry, JournalRecord, Opening, Run, Settings};
use crate::store::{Batch, CHUNK_BYTES, Counter, Opened, Outcome, SealedFile, Sealing, Store};

use super::sealer::with_parts;

/// How many runs are made before they are written.
const AT_ONCE: u64 = 2_048;
/// How many projects they are of.
const PROJECTS: u64 = 10;
/// How far they are apart in time, in milliseconds.
const APART_MS: i64 = 1_000;

/// Writes so many sealed runs of a step and an artifact into a store without runs, the last one as old as `now`. `progress` hears
/// how many there are so far.
pub(crate) fn fill(
    store: &dyn Store,
    key: &SigningKey,
    runs: u64,
    now: Timestamp,
    progress: &dyn Fn(u64),
) -> Result<(), String> {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let mut done = 0;
    while done < runs {
        let end = runs.min(done.saturating_add(AT_ONCE));
        let share = end.saturating_sub(done).div_ceil(threads).max(1);
        let batches = thread::scope(|scope| {
            let starts = (done..end).step_by(usize::try_from(share).unwrap_or(usize::MAX));
            let made: Vec<_> = starts
                .map(|start| {
                    let some = start..end.min(start.saturating_add(share));
                    scope.spawn(move || some.map(|n| made(n, runs, now, key)).collect::<Result<Vec<_>, _>>())
                })
                .collect();
            let joined =
                made.into_iter().map(|made| made.join().unwrap_or_else(|_| Err("a thread died".into())));
            joined.collect::<Result<Vec<Vec<Batch>>, String>>()
        })?;
        for outcome in store.commit(&batches.concat()) {
            if outcome != Outcome::Done {
                return Err(format!("{outcome:?}; the store has to have no runs"));
            }
        }
        done = end;
        progress(done);
    }
    Ok(())
}

/// All that is stored of the n-th run, in one batch.
fn made(n: u64, of: u64, now: Timestamp, key: &SigningKey) -> Result<Batch, String> {
    let back = i64::try_from(of.saturating_sub(n)).unwrap_or(i64::MAX).saturating_mul(APART_MS);
    let at = Timestamp::from_unix_ms(now.unix_ms().saturating_sub(back));
    let digest = Digest::of(n.to_be_bytes());
    let random: [u8; 10] = digest.as_bytes().first_chunk().copied().unwrap_or_default();
    let ms = u64::try_from(at.unix_ms()).unwrap_or_default();
    let evidence_id = uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid().to_string();
    let (project, number) =
        (n.checked_rem(PROJECTS).unwrap_or_default(), n.checked_div(PROJECTS).unwrap_or_default());
    let result = if n.is_multiple_of(50) { "failed" } else { "succeeded" };
    let (limits, salt) = (Limits::default(), &mut || [0; 16]);
    let around = &mut Around { now: at, salt, limits: &limits, by: Some("fill"), logs: &|_, _| None };
    let sent = format!(
        "{{\"project\":\"team/project-{project}\",\"run_id\":\"run-{n}\",\"labels\":{{\"branch\":\"b{}\"}},\
         \"subject\":{{\"commit_sha\":\"{}\"}}}}",
        n.checked_rem(997).unwrap_or_default(),
        Digest::of(n.div_ceil(3).to_be_bytes()).to_hex(),
    );
    let opening = Opening::parse(parsed(&sent)?).map_err(told)?;
    let sequence = format!("00000000-0000-7000-8000-{project:012}");
    let opened =
        opening.open(&evidence_id, (&sequence, number), Settings::default(), around).map_err(told)?;
    let (mut run, mut records) = opened;
    let entries = [
        format!("{{\"type\":\"artifact\",\"artifact_id\":\"build\",\"digest\":\"{digest}\",\"name\":\"build.tar\"}}"),
        "{\"type\":\"step\",\"step_id\":\"unit\",\"kind\":\"test\",\"status\":\"passed\",\"artifact_ids\":[\"build\"]}".to_owned(),
    ];
    let entries = entries.iter().map(|entry| Entry::parse(parsed(entry)?).map_err(told));
    let append = Append { entries: entries.collect::<Result<_, String>>()?, if_match: None, key: None };
    records.extend(run.append(append, around).map_err(|(refusal, _)| told(refusal))?.records);
    let close = Close { result: result.to_owned(), reason: None, if_match: None, key: None };
    records.extend(run.close(close, around).map_err(told)?.records);
    sealed(run, records, Counter { sequence, next: number.saturating_add(1) }, key)
}

fn sealed(
    mut run: Run,
    mut records: Vec<JournalRecord>,
    counter: Counter,
    key: &SigningKey,
) -> Result<Batch, String> {
    let at = run.overview().opened_at;
    let sealed = with_parts(&records, |parts| seal(parts, at, &[key])).map_err(told)?;
    let Sealed { envelope_digest, file, .. } = sealed;
    records.extend(run.record_seal(envelope_digest, at));
    let chunks: Vec<(u32, Vec<u8>)> =
        (0..).zip(file.as_bytes().chunks(CHUNK_BYTES).map(<[u8]>::to_vec)).collect();
    let stored =
        SealedFile { envelope_digest, chunks: u32::try_from(chunks.len()).map_err(told)?, bytes: file.len() };
    Ok(Batch {
        evidence_id: run.overview().evidence_id.clone(),
        opened: Some(Opened { overview: run.overview().clone(), counter }),
        sealed: Some((stored, Sealing::of(&records))),
        standing: Some(run.standing()),
        records,
        chunks,
        ..Batch::default()
    })
}

fn parsed(text: &str) -> Result<canonical::Value<'_>, String> {
    canonical::parse(text.as_bytes(), text.len()).map_err(told)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
