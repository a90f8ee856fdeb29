//! Whether a store holds together: every journal, chain, index and seal in it, read anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Sealing, Store, StoreError};
use crate::evidence::canonical;
use crate::evidence::chain::{GENESIS, link};
use crate::evidence::digest::Digest;
use crate::evidence::envelope::Kind;
use crate::evidence::keyring::{Keyring, Terms};
use crate::evidence::time::Timestamp;
use crate::evidence::verify::{Held, verify};
use crate::journal::{JournalRecord, Overview, Run, Standing, State};

/// How many runs are read at once.
const PAGE: usize = 100;
/// The end of the year 9999.
const MAX_MS: i64 = 253_402_300_799_999;

/// What does not hold, and of which run (or project).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) of: String,
    pub(crate) what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.of, self.what)
    }
}

/// What was looked at, and what does not hold of it.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) runs: u64,
    pub(crate) records: u64,
    pub(crate) sealed: u64,
    /// Entries that lists should have.
    indexed: u64,
    /// Some run could not be read.
    unread: bool,
    pub(crate) faults: Vec<Fault>,
}

/// Looks at all that is stored. `progress` hears how many runs were looked at so far.
pub(crate) fn check(store: &dyn Store, progress: &dyn Fn(u64)) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    let mut known = Keyring::new();
    for key in store.registered_keys()? {
        if known.add_file(key.as_bytes()).is_err() {
            checked.fault("keys", "a registered key cannot be read");
        }
    }
    // What was stored is held together by its keys, also by one that nobody should trust any more.
    let mut keyring = Keyring::new();
    known.iter().for_each(|(_, trusted)| keyring.replace(trusted.key, Terms::default()));
    let held = Held { keyring: Some(keyring), ..Held::default() };
    let mut numbers: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut closing: BTreeSet<String> = store.closing()?.into_iter().collect();
    let looked_at = store.due(Timestamp::from_unix_ms(MAX_MS), usize::MAX)?;
    let looked_at: BTreeSet<String> = looked_at.into_iter().map(|(_, evidence_id)| evidence_id).collect();
    let mut after = None;
    loop {
        let (runs, next) = match store.all_runs(after.as_deref(), PAGE) {
            Err(StoreError::Corrupt { what, evidence_id }) => {
                checked.unread = true;
                checked.fault(
                    &evidence_id,
                    &format!("its {what} cannot be read; what is newer was not looked at"),
                );
                break;
            }
            found => found?,
        };
        for (overview, standing) in runs {
            let number = checked.run(store, &held, &overview, &standing)?;
            if let Some(number) = number
                && !numbers.entry(overview.project.clone()).or_default().insert(number)
            {
                checked.fault(&overview.evidence_id, &format!("project_seq {number} is given twice"));
            }
            if standing.state == State::Open && !looked_at.contains(&overview.evidence_id) {
                checked.fault(&overview.evidence_id, "nobody looks whether it is due to be closed");
            }
            if closing.remove(&overview.evidence_id) != (standing.state == State::Closing) {
                checked.fault(&overview.evidence_id, "the index of closing runs is wrong about it");
            }
            checked.runs = checked.runs.saturating_add(1);
            progress(checked.runs);
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    if !checked.unread && checked.indexed != store.index_entries()? {
        checked.fault("lists", "their index has entries of runs that are not so");
    }
    for evidence_id in closing {
        checked.fault(&evidence_id, "the index of closing runs names it, and it is not there");
    }
    for (project, numbers) in numbers {
        let next = store.counter(&project)?.map_or(0, |counter| counter.next);
        if !numbers.into_iter().eq(0..next) {
            checked.fault(&project, &format!("its runs are not numbered 0 to {next} without holes"));
        }
    }
    Ok(checked)
}

impl Checked {
    fn fault(&mut self, of: &str, what: &str) {
        self.faults.push(Fault { of: of.to_owned(), what: what.to_owned() });
    }

    /// One run; its number in its project, if that can be read.
    fn run(
        &mut self,
        store: &dyn Store,
        held: &Held,
        overview: &Overview,
        standing: &Standing,
    ) -> Result<Option<u64>, StoreError> {
        let id = overview.evidence_id.as_str();
        let records = match store.records(id, 0, usize::MAX) {
            Ok(records) => records,
            Err(StoreError::Corrupt { what, .. }) => {
                self.fault(id, &format!("its {what} cannot be read"));
                self.unread = true;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.records = self.records.saturating_add(records.len() as u64);
        if let Some(place) = broken_link(&records) {
            self.fault(id, &format!("its chain is broken at seq {place}"));
        }
        let number = records.first().and_then(project_seq);
        let sealing = Sealing::of(&records);
        let keys = match store.keys(id) {
            Err(StoreError::Corrupt { what, .. }) => {
                self.fault(id, &format!("its {what} cannot be read"));
                Vec::new()
            }
            keys => keys?,
        };
        match Run::load(overview.clone(), records, keys) {
            // Logs keep a run active too, and are no records.
            Ok(run) if (Standing { active_at: standing.active_at, ..run.standing() }) == *standing => {}
            _ => self.fault(id, "its journal does not lead to where it is said to stand"),
        }
        let sealing = (standing.state == State::Sealed).then_some(sealing);
        let (missing, all) = store.index_of(overview, standing, sealing.as_ref())?;
        self.indexed = self.indexed.saturating_add(all);
        if missing > 0 {
            self.fault(id, &format!("{missing} of its {all} entries are missing in the index of lists"));
        }
        if store.named_in(&overview.run_id, &overview.project)?.as_deref() != Some(id) {
            self.fault(id, "it is not found by its name");
        }
        if standing.state == State::Sealed {
            self.sealed = self.sealed.saturating_add(1);
            if let Some(what) = sealed_wrongly(store, held, id, standing)? {
                self.fault(id, &what);
            }
        }
        Ok(number)
    }
}

/// The first seq whose element, digest or hash does not follow.
fn broken_link(records: &[JournalRecord]) -> Option<u64> {
    let (mut before, mut next) = (GENESIS, 0_u64);
    for element in records.iter().filter_map(JournalRecord::element) {
        let digest = Digest::of(&element.text);
        let follows = element.seq == next
            && element.link.digest == digest
            && element.link.entry_hash == link(before, next, digest);
        if !follows {
            return Some(next);
        }
        (before, next) = (element.link.entry_hash, next.saturating_add(1));
    }
    None
}

fn project_seq(record: &JournalRecord) -> Option<u64> {
    let element = record.element().filter(|element| element.kind == Kind::Run)?;
    canonical::parse(element.text.as_bytes(), element.text.len()).ok()?.as_object()?.count("project_seq")
}

fn sealed_wrongly(
    store: &dyn Store,
    held: &Held,
    evidence_id: &str,
    standing: &Standing,
) -> Result<Option<String>, StoreError> {
    let file = match store.sealed_file(evidence_id) {
        Ok(Some(file)) => file,
        Ok(None) | Err(StoreError::Corrupt { .. }) => {
            return Ok(Some("its sealed envelope is not whole".into()));
        }
        Err(error) => return Err(error),
    };
    let judged = verify(&file, held);
    Ok(match judged.verified() {
        Some(verified) if Some(verified.envelope_digest()) == standing.envelope_digest => None,
        Some(_) => Some("its sealed envelope is another than the one that was answered".into()),
        None => {
            let first = judged.report().first_failure.as_ref().map(|check| check.code.to_string());
            Some(format!("its sealed envelope does not verify: {}", first.unwrap_or_default()))
        }
    })
}
