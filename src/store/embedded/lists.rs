//! Lists in an engine: one index serves a query, project beside project, the newest first.

use std::collections::{BinaryHeap, VecDeque};

use super::{Embedded, Op, corrupt, json};
use crate::journal::{Overview, Standing};
use crate::store::list::{Page, Query, entries};
use crate::store::{AllRuns, Read, Sealing, Store as _, StoreError, layout};

/// How many places are read ahead in one project, at first and at most.
const AHEAD: usize = 2;
const MAX_AHEAD: usize = 256;
/// How many bytes of overviews are read for one page.
const MAX_PAGE_BYTES: usize = 8 << 20;

/// The newest runs that a query takes.
pub(super) fn newest(store: &Embedded, query: &Query<'_>) -> Read<Page> {
    let mut sources = sources(store, query)?;
    let mut heap = BinaryHeap::new();
    for (n, source) in sources.iter_mut().enumerate() {
        heap.extend(source.next(store)?.map(|place| (place, n)));
    }
    let (mut page, mut seen, mut bytes) = (Page::default(), 0_usize, 0_usize);
    while let Some((place, n)) = heap.pop() {
        if let Some(source) = sources.get_mut(n) {
            heap.extend(source.next(store)?.map(|place| (place, n)));
        }
        seen = seen.saturating_add(1);
        let found = layout::place_of(&place).ok_or_else(|| corrupt("index", "runs"))?;
        if let Some((overview, standing)) = store.run(&found.evidence_id)?
            && (query.wanted)(&overview, &standing)
        {
            bytes = bytes.saturating_add(json(&overview.labels).len().saturating_add(1 << 10));
            page.runs.push((overview, standing));
        }
        if page.runs.len() >= query.limit || seen >= query.candidates || bytes >= MAX_PAGE_BYTES {
            page.next = (!heap.is_empty()).then_some(found);
            break;
        }
    }
    Ok(page)
}

/// One project's stretch of an index, read from its end.
struct Source {
    from: Vec<u8>,
    /// What was not read yet is below.
    to: Vec<u8>,
    ahead: VecDeque<Vec<u8>>,
    count: usize,
    ended: bool,
}

impl Source {
    fn next(&mut self, store: &Embedded) -> Read<Option<Vec<u8>>> {
        if self.ahead.is_empty() && !self.ended {
            let (ahead, count) = (&mut self.ahead, self.count);
            let mut last = None;
            store.engine.scan(&self.from, &self.to, true, &mut |key, _| {
                ahead.push_back(layout::place_in(key).to_vec());
                last = Some(key.to_vec());
                ahead.len() < count
            })?;
            self.ended = self.ahead.len() < count;
            self.count = count.saturating_mul(4).min(MAX_AHEAD);
            self.to = last.unwrap_or_else(|| self.from.clone());
        }
        Ok(self.ahead.pop_front())
    }
}

fn sources(store: &Embedded, query: &Query<'_>) -> Read<Vec<Source>> {
    let mut projects: Vec<String> = Vec::new();
    match query.project {
        Some(project) => projects.extend((query.projects)(project).then(|| project.to_owned())),
        None => store.scan(layout::counters(), |key, _| {
            let project = layout::project_counted(key).filter(|project| (query.projects)(project));
            projects.extend(project);
            Ok(true)
        })?,
    }
    let source = |project: &String| {
        let (from, to) =
            layout::index_range(project, &query.dimension, (query.later, query.earlier), query.after);
        Source { from, to, ahead: VecDeque::new(), count: AHEAD, ended: false }
    };
    Ok(projects.iter().map(source).collect())
}

/// What a change of where a run stands writes.
pub(super) fn put(
    overview: &Overview,
    before: Option<(&Standing, Option<&Sealing>)>,
    after: (&Standing, Option<&Sealing>),
    ops: &mut Vec<Op>,
) {
    let keys = |(standing, sealing): (&Standing, Option<&Sealing>)| -> Vec<Vec<u8>> {
        let key = |(dimension, at)| layout::index(&overview.project, &dimension, at, &overview.evidence_id);
        entries(overview, standing, sealing).into_iter().map(key).collect()
    };
    let (before, after) = (before.map(keys).unwrap_or_default(), keys(after));
    ops.extend(before.iter().filter(|key| !after.contains(key)).map(|key| Op::Delete(key.clone())));
    let known: std::collections::BTreeSet<&Vec<u8>> = before.iter().collect();
    ops.extend(after.iter().filter(|key| !known.contains(key)).map(|key| Op::Put(key.clone(), Vec::new())));
}

/// How many of a run's entries are missing, and how many it has.
pub(super) fn missing(
    store: &Embedded,
    overview: &Overview,
    standing: &Standing,
    sealing: Option<&Sealing>,
) -> Read<(u64, u64)> {
    let (mut missing, mut all) = (0_u64, 0_u64);
    for (dimension, at) in entries(overview, standing, sealing) {
        let key = layout::index(&overview.project, &dimension, at, &overview.evidence_id);
        all = all.saturating_add(1);
        missing = missing.saturating_add(u64::from(store.engine.get(&key)?.is_none()));
    }
    Ok((missing, all))
}

/// How many entries there are.
pub(super) fn count(store: &Embedded) -> Read<u64> {
    let mut count = 0_u64;
    store.scan(layout::all_indexed(), |_, _| {
        count = count.saturating_add(1);
        Ok(true)
    })?;
    Ok(count)
}

/// Some runs in the order of their evidence_ids, after that one; the last one's evidence_id if there may be more.
pub(super) fn all(store: &Embedded, after: Option<&str>, limit: usize) -> Read<AllRuns> {
    let (mut from, to) = layout::overviews();
    if let Some(after) = after {
        from = [layout::overview(after), vec![0]].concat();
    }
    let (mut found, mut last) = (Vec::new(), None);
    store.scan((from, to), |key, value| {
        let id = layout::evidence_id_of(key).unwrap_or_default();
        let overview: Overview = serde_json::from_slice(value).map_err(|_| corrupt("overview", &id))?;
        let standing = store.get(&layout::standing(&id), "standing", &id)?;
        last = Some(id);
        found.extend(standing.map(|standing| (overview, standing)));
        Ok(found.len() < limit)
    })?;
    let more = found.len() >= limit;
    Ok((found, last.filter(|_| more)))
}

/// Writes the entries of all runs anew, for a layout that had none. Done twice it changes nothing. What cannot be read has none:
/// a check tells of it.
pub(in crate::store) fn index_all(store: &Embedded) -> Result<(), StoreError> {
    let mut ops = Vec::new();
    store.scan(layout::all_indexed(), |key, _| {
        ops.push(Op::Delete(key.to_vec()));
        flush(store, &mut ops, WRITTEN_AT_ONCE).map(|()| true)
    })?;
    store.scan(layout::overviews(), |key, value| {
        let id = layout::evidence_id_of(key).unwrap_or_default();
        let standing: Read<Option<Standing>> = store.get(&layout::standing(&id), "standing", &id);
        if let (Ok(overview), Ok(Some(standing))) = (serde_json::from_slice::<Overview>(value), standing) {
            let sealing = standing.envelope_digest.map(|_| {
                let records = store.records(&id, 0, usize::MAX);
                records.map(|records| Sealing::of(&records)).unwrap_or_default()
            });
            put(&overview, None, (&standing, sealing.as_ref()), &mut ops);
        }
        flush(store, &mut ops, WRITTEN_AT_ONCE).map(|()| true)
    })?;
    flush(store, &mut ops, 0)
}

/// How many keys are written at once.
const WRITTEN_AT_ONCE: usize = 8_192;

/// Writes them, if there are more.
fn flush(store: &Embedded, ops: &mut Vec<Op>, more_than: usize) -> Read<()> {
    if ops.len() > more_than { store.write_aside(std::mem::take(ops)) } else { Ok(()) }
}
