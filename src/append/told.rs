//! Who follows logs is told of the lines that a batch has ended, once it is durable.

use super::lane::Loaded;
use super::work_on;
use crate::events::{Frame, Hub, ToldLine, ToldRun};
use crate::logs::{Chunk, Line, OpenLine, lines_of};
use crate::store::{LogBatch, Store, StoreError};

/// About how much an event has besides the bytes of its line.
const AROUND_BYTES: usize = 384;

/// Tells of the lines that end in what was added to the logs of a run.
pub(super) fn tell_lines(hub: &Hub, store: &dyn Store, loaded: &Loaded, added: &LogBatch) {
    let Some(first) = added.ends.first() else { return };
    let lines = first.log_pos..loaded.logs.next_pos();
    let bytes = added.chunks.iter().map(|(.., stored)| stored.len()).fold(0, usize::saturating_add);
    hub.logged(&loaded.run.overview().evidence_id, lines, |max_bytes| {
        work_on(bytes, || newest(store, loaded, added, max_bytes))
    });
}

/// Frames of the last lines, without a hole. None before one whose beginning cannot be read.
fn newest(store: &dyn Store, loaded: &Loaded, added: &LogBatch, max_bytes: usize) -> Vec<Frame> {
    let run = ToldRun::of(loaded.run.overview());
    let evidence_id = &loaded.run.overview().evidence_id;
    let (mut stretches, mut bytes_left) = (Vec::new(), max_bytes);
    for (number, _, stored) in added.chunks.iter().rev() {
        let (Some(chunk), Some(log)) = (Chunk::decode(stored), loaded.logs.numbered(*number)) else { break };
        let fit = u64::try_from(bytes_left.div_euclid(AROUND_BYTES)).unwrap_or(u64::MAX);
        let skipped = chunk.ended.saturating_sub(fit);
        let before = match chunk.ended {
            0 => continue,
            _ if skipped > 0 || chunk.open.bytes == 0 => Ok(Vec::new()),
            _ => tokio::task::block_in_place(|| line_beginning(store, evidence_id, *number, chunk.open)),
        };
        let Ok(before) = before else { break };
        let frame = |line| line_frame(&run, (&log.step_id, log.attempt), &line);
        let frames: Vec<Frame> = lines_of(&chunk, &before, skipped).map(frame).collect();
        let told = frames.len().saturating_mul(AROUND_BYTES).saturating_add(chunk.bytes.len());
        bytes_left = bytes_left.saturating_sub(told);
        stretches.push(frames);
        if skipped > 0 {
            break;
        }
    }
    stretches.into_iter().rev().flatten().collect()
}

/// The event that a line of the log of an attempt of a step is.
pub(crate) fn line_frame(run: &ToldRun, (step_id, attempt): (&str, u64), line: &Line) -> Frame {
    let Line { log_pos, stream, at, ref text, .. } = *line;
    run.line_frame(&ToldLine { log_pos, step_id, attempt, stream: stream.as_str(), at, text })
}

/// The chunk of a log that stands there.
pub(crate) fn chunk_at(
    store: &dyn Store,
    evidence_id: &str,
    log: u32,
    offset: u64,
) -> Result<Chunk, StoreError> {
    let found = store.log_chunks(evidence_id, log, offset, 1)?;
    let chunk = found.first().and_then(|(_, stored)| Chunk::decode(stored));
    chunk.ok_or_else(|| StoreError::Corrupt { what: "log", evidence_id: evidence_id.to_owned() })
}

/// What there is of an open line, gathered back from chunk to chunk.
pub(crate) fn line_beginning(
    store: &dyn Store,
    evidence_id: &str,
    log: u32,
    open: OpenLine,
) -> Result<Vec<u8>, StoreError> {
    let (mut pieces, mut at) = (Vec::new(), open);
    while at.bytes > 0 {
        let chunk = chunk_at(store, evidence_id, log, at.chunk)?;
        let skipped = usize::try_from(open.from.saturating_sub(at.chunk)).unwrap_or(usize::MAX);
        pieces.push(chunk.bytes.get(skipped..).unwrap_or_default().to_vec());
        // Each chunk leads to one before it, or is the first.
        at = if at.chunk <= open.from || chunk.open.chunk >= at.chunk {
            OpenLine::default()
        } else {
            chunk.open
        };
    }
    pieces.reverse();
    Ok(pieces.concat())
}
