//! Logs in an engine: chunks by place, and the lines that end in them.

use super::{Embedded, Op, corrupt};
use crate::store::{LineEnd, LogBatch, Read, layout};

/// How many keys are forgotten in one write.
const FORGOTTEN_AT_ONCE: usize = 4_096;

pub(super) fn put(evidence_id: &str, batch: &LogBatch, ops: &mut Vec<Op>) {
    for (log, offset, chunk) in &batch.chunks {
        ops.push(Op::Put(layout::log_chunk(evidence_id, *log, *offset), chunk.clone()));
    }
    for end in &batch.ends {
        ops.push(Op::Put(layout::line(evidence_id, end.log_pos), layout::line_end(end)));
        let line = layout::line_of_log(evidence_id, end.log, end.line);
        ops.push(Op::Put(line, end.offset.to_be_bytes().to_vec()));
    }
    for (log, known) in &batch.logs {
        ops.push(Op::Put(layout::log(evidence_id, *log), known.clone()));
    }
}

pub(super) fn known(store: &Embedded, evidence_id: &str) -> Read<Vec<Vec<u8>>> {
    let mut logs = Vec::new();
    store.scan(layout::logs(evidence_id), |_, value| {
        logs.push(value.to_vec());
        Ok(true)
    })?;
    Ok(logs)
}

pub(super) fn chunks(
    store: &Embedded,
    evidence_id: &str,
    log: u32,
    from: u64,
    bytes: usize,
) -> Read<Vec<(u64, Vec<u8>)>> {
    let first = layout::log_chunk(evidence_id, log, 0);
    let first =
        store.last_in(&first, &layout::log_chunk(evidence_id, log, from))?.map_or(first, |(key, _)| key);
    let (mut chunks, mut taken) = (Vec::new(), 0_usize);
    store.scan((first, layout::log_chunk(evidence_id, log, u64::MAX)), |key, value| {
        let offset = layout::offset_of(key).ok_or_else(|| corrupt("log", evidence_id))?;
        taken = taken.saturating_add(value.len());
        chunks.push((offset, value.to_vec()));
        Ok(taken < bytes)
    })?;
    Ok(chunks)
}

pub(super) fn line_ends(
    store: &Embedded,
    evidence_id: &str,
    log_pos: u64,
    limit: usize,
) -> Read<Vec<LineEnd>> {
    let first = layout::line(evidence_id, 0);
    let first = store.last_in(&first, &layout::line(evidence_id, log_pos))?.map_or(first, |(key, _)| key);
    let mut ends = Vec::new();
    store.scan((first, layout::line(evidence_id, u64::MAX)), |key, value| {
        ends.push(layout::line_end_of(key, value).ok_or_else(|| corrupt("log", evidence_id))?);
        Ok(ends.len() < limit)
    })?;
    Ok(ends)
}

pub(super) fn line_of_log(store: &Embedded, evidence_id: &str, log: u32, line: u64) -> Read<Option<u64>> {
    let first = layout::line_of_log(evidence_id, log, 0);
    let found = store.last_in(&first, &layout::line_of_log(evidence_id, log, line))?;
    Ok(found.and_then(|(_, value)| layout::offset_of(&value)))
}

pub(super) fn forget(store: &Embedded, evidence_id: &str, known: &[Vec<u8>]) -> Read<bool> {
    let mut ops = Vec::new();
    for range in layout::bytes_and_lines(evidence_id) {
        store.scan(range, |key, _| {
            ops.push(Op::Delete(key.to_vec()));
            Ok(ops.len() < FORGOTTEN_AT_ONCE)
        })?;
    }
    let more = !ops.is_empty();
    for (log, known) in (0_u32..).zip(known) {
        ops.push(Op::Put(layout::log(evidence_id, log), known.clone()));
    }
    store.write_aside(ops)?;
    Ok(more)
}

impl Embedded {
    /// The last key from `from` on up to `to` itself.
    fn last_in(&self, from: &[u8], to: &[u8]) -> Read<Option<(Vec<u8>, Vec<u8>)>> {
        let (mut found, beyond) = (None, [to, &[0]].concat());
        self.engine.scan(from, &beyond, true, &mut |key, value| {
            found = Some((key.to_vec(), value.to_vec()));
            false
        })?;
        Ok(found)
    }
}
