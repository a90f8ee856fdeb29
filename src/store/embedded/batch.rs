//! What a batch writes, and whether it may.

use std::collections::HashMap;

use super::{Embedded, Op, corrupt, json, lists, logs};
use crate::journal::{Overview, Standing, State};
use crate::store::{
    Batch, CHUNK_BYTES, Outcome, Read, Rewritten, SealedFile, Store as _, StoreError, layout,
};

impl Embedded {
    /// What the batch writes; `Err` if it cannot be taken. `counted` are the counters of projects as this commit leaves them.
    pub(super) fn ops(
        &self,
        batch: &Batch,
        ops: &mut Vec<Op>,
        counted: &mut HashMap<String, u64>,
    ) -> Result<(), Outcome> {
        let id = batch.evidence_id.as_str();
        let unavailable = |error: StoreError| Outcome::Unavailable(error.to_string());
        let before: Option<Standing> =
            self.get(&layout::standing(id), "standing", id).map_err(unavailable)?;
        if batch.standing.is_some() && before.as_ref().map(|before| before.pos) != batch.expected {
            return Err(Outcome::Lost);
        }
        if let Some(opened) = &batch.opened {
            let Overview { run_id, project, .. } = &opened.overview;
            let name = layout::name(run_id, project);
            let taken = self.engine.get(&name).map_err(|error| unavailable(error.into()))?;
            let next = match counted.get(project) {
                Some(next) => *next,
                None => self.counter(project).map_err(unavailable)?.map_or(0, |counter| counter.next),
            };
            // No number is given twice, and none left out.
            if taken.is_some() || next.checked_add(1) != Some(opened.counter.next) {
                return Err(Outcome::Lost);
            }
            counted.insert(project.clone(), opened.counter.next);
            ops.push(Op::Put(name, id.into()));
            ops.push(Op::Put(layout::overview(id), json(&opened.overview)));
            ops.push(Op::Put(layout::counter(project), json(&opened.counter)));
        }
        if let Some((project, key)) = &batch.open_key {
            ops.push(Op::Put(layout::opened_with(project, key), id.into()));
        }
        let records = batch.records.iter();
        ops.extend(records.map(|record| Op::Put(layout::record(id, record.pos), record.encode())));
        let keys = batch.keys.iter();
        ops.extend(keys.map(|(key, used)| Op::Put(layout::key(id, key), used.encode())));
        let chunks = batch.chunks.iter();
        ops.extend(chunks.map(|(n, chunk)| Op::Put(layout::chunk(id, *n), chunk.clone())));
        if let Some((sealed, _)) = &batch.sealed {
            ops.push(Op::Put(layout::sealed(id), json(sealed)));
        }
        logs::put(id, &batch.logs, ops);
        if let Some(at) = batch.look_at {
            ops.push(Op::Put(layout::deadline(at, id), Vec::new()));
        }
        if let Some(standing) = &batch.standing {
            self.index(batch, before.as_ref(), standing, ops).map_err(unavailable)?;
            match (before.map(|before| before.state), standing.state) {
                (Some(State::Open), State::Closing) => {
                    ops.push(Op::Put(layout::closing(id), Vec::new()));
                }
                (Some(State::Closing), State::Sealed) => ops.push(Op::Delete(layout::closing(id))),
                _ => {}
            }
            ops.push(Op::Put(layout::standing(id), json(standing)));
        }
        Ok(())
    }

    /// The sealed envelope, as it is.
    pub(super) fn file(&self, evidence_id: &str) -> Read<Option<Vec<u8>>> {
        let sealed: Option<SealedFile> =
            self.get(&layout::sealed(evidence_id), "sealed envelope", evidence_id)?;
        let Some(sealed) = sealed else { return Ok(None) };
        let mut file = Vec::with_capacity(sealed.bytes);
        for n in 0..sealed.chunks {
            let chunk = self.engine.get(&layout::chunk(evidence_id, n))?;
            file.extend(chunk.ok_or_else(|| corrupt("sealed envelope", evidence_id))?);
        }
        if file.len() == sealed.bytes { Ok(Some(file)) } else { Err(corrupt("sealed envelope", evidence_id)) }
    }

    /// What puts a sealed run in the place of what it was.
    pub(super) fn rewriting(&self, id: &str, rewritten: &Rewritten) -> Read<Vec<Op>> {
        let sealed: Option<SealedFile> = self.get(&layout::sealed(id), "sealed envelope", id)?;
        let sealed = sealed.ok_or_else(|| corrupt("sealed envelope", id))?;
        let Rewritten { overview, records, keys, file } = rewritten;
        let mut ops = vec![Op::Put(layout::overview(id), json(overview))];
        ops.extend(records.iter().map(|record| Op::Put(layout::record(id, record.pos), record.encode())));
        ops.extend(keys.iter().map(|(key, used)| Op::Put(layout::key(id, key), used.encode())));
        let mut chunks = 0_u32;
        for chunk in file.chunks(CHUNK_BYTES) {
            ops.push(Op::Put(layout::chunk(id, chunks), chunk.to_vec()));
            chunks = chunks.saturating_add(1);
        }
        ops.extend((chunks..sealed.chunks).map(|n| Op::Delete(layout::chunk(id, n))));
        ops.push(Op::Put(layout::sealed(id), json(&SealedFile { chunks, bytes: file.len(), ..sealed })));
        Ok(ops)
    }

    /// Lists find a run by how it stands; mostly that does not change.
    fn index(
        &self,
        batch: &Batch,
        before: Option<&Standing>,
        standing: &Standing,
        ops: &mut Vec<Op>,
    ) -> Read<()> {
        let same = |before: &Standing| (before.state, &before.result) == (standing.state, &standing.result);
        if before.is_some_and(same) {
            return Ok(());
        }
        let overview = match &batch.opened {
            Some(opened) => opened.overview.clone(),
            None => self
                .get(&layout::overview(&batch.evidence_id), "overview", &batch.evidence_id)?
                .ok_or_else(|| corrupt("overview", &batch.evidence_id))?,
        };
        let sealing = batch.sealed.as_ref().map(|(_, sealing)| sealing);
        lists::put(&overview, before.map(|before| (before, None)), (standing, sealing), ops);
        Ok(())
    }
}
