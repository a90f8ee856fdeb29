//! Reports on their way to disk, which may be slow: who has more to tell does not wait for it.

use std::collections::VecDeque;
use std::time::Instant;

use super::telling::{Keyed, Report};
use crate::client::spool::{Spool, SpoolError, SpoolFile};
use crate::evidence::canonical::Object;
use crate::evidence::time::Timestamp;

/// What entries may have beyond the bound of the spool: logs are what is given up first.
const ROOM_FOR_ENTRIES: u64 = 64 << 20;

/// What an outbox gives out to be written, and takes back.
pub(super) struct Spilling {
    pub(super) file: Option<SpoolFile>,
    /// What is not in the file yet.
    pub(super) batch: VecDeque<(Instant, Keyed)>,
    pub(super) spool: Option<Spool>,
    /// What whoever sends it goes on from.
    pub(super) state: Object<'static>,
    pub(super) server: String,
    pub(super) run: String,
    /// Of all spool files but ours.
    pub(super) others_bytes: u64,
    /// Of logs, written.
    pub(super) log_bytes: usize,
}

impl Spilling {
    /// Durable once this returns; what fails is still in the batch.
    pub(super) fn write(&mut self, now: Timestamp) -> Result<(), SpoolError> {
        let Some(spool) = &self.spool else {
            return Err(std::io::Error::other("there is no place for a spool").into());
        };
        let held = self.file.as_ref().map_or(0, SpoolFile::bytes).saturating_add(self.others_bytes);
        if held > spool.max_bytes.saturating_add(ROOM_FOR_ENTRIES) && !self.batch.is_empty() {
            return Err(std::io::Error::other("the spool is full").into());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(begin(spool, &self.server, &self.run, self.state.clone(), now)?),
        };
        while let Some((_, keyed)) = self.batch.front() {
            file.push(keyed)?;
            if let Some((_, Keyed { report: Report::Log { bytes, .. }, .. })) = self.batch.pop_front() {
                self.log_bytes = self.log_bytes.saturating_add(bytes.len());
            }
        }
        file.sync()?;
        Ok(())
    }
}

/// A file that has what is known; on a disk that takes no more there is none.
fn begin(
    spool: &Spool,
    server: &str,
    run: &str,
    state: Object<'static>,
    now: Timestamp,
) -> Result<SpoolFile, SpoolError> {
    let mut file = spool.create(server, run, now)?;
    match file.mark(state) {
        Ok(()) => Ok(file),
        Err(error) => {
            let _ = file.remove();
            Err(error.into())
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by a panic")]
mod tests {
    use std::sync::Arc;

    use super::super::outbox::Outbox;
    use super::super::telling::{LogPlace, Stream};
    use super::*;
    use crate::client::spool::SpoolKey;

    fn outbox(directory: &std::path::Path) -> Outbox {
        let key = SpoolKey::of_token("t");
        let spool = Spool {
            directory: directory.to_owned(),
            keys: key.into(),
            max_bytes: 1 << 20,
            random: Arc::new(|| [7; 16]),
        };
        Outbox::new(Some(spool), "http://s/", "p/r")
    }

    fn tell(outbox: &mut Outbox, key: &str) {
        let report = Report::Entries { entries: Vec::new(), again: None };
        outbox.push(Keyed { key: key.to_owned(), report });
    }

    fn keys(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| {
            let front = outbox.front().unwrap();
            outbox.done(false);
            front.map(|keyed| keyed.key)
        })
        .collect()
    }

    #[test]
    fn what_comes_while_the_disk_is_at_work_is_behind_what_it_takes_or_does_not() {
        let directory = tempfile::tempdir().unwrap();
        for is_taken in [true, false] {
            let mut outbox = outbox(directory.path());
            tell(&mut outbox, "a");
            tell(&mut outbox, "b");
            outbox.front().unwrap();
            let mut spilling = outbox.begin_spill().unwrap();
            assert_eq!(outbox.len(), 2);
            let written = match is_taken {
                true => spilling.write(Timestamp::from_unix_ms(0)),
                false => Err(std::io::Error::other("full").into()),
            };
            let place = LogPlace { step_id: "s".to_owned(), attempt: 1 };
            assert_eq!(outbox.push_log((&place, Stream::Stdout, 0), b"log", || "c".to_owned()), 3);
            outbox.spilled(spilling, written);
            assert_eq!((outbox.len(), outbox.in_memory()), (3, if is_taken { 1 } else { 3 }));
            assert_eq!(keys(&mut outbox), ["a", "b", "c"]);
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_is_left_alone_for_a_while_and_not_littered() {
        let directory = tempfile::tempdir().unwrap();
        let mut outbox = outbox(directory.path());
        tell(&mut outbox, "a");
        let spilling = outbox.begin_spill().unwrap();
        outbox.spilled(spilling, Err(std::io::Error::other("full").into()));
        assert!(!outbox.should_spill() && outbox.spool_failed.is_some());
        outbox.spill(Timestamp::from_unix_ms(0));
        assert_eq!((outbox.in_memory(), &outbox.spool_failed), (0, &None));
        assert_eq!(keys(&mut outbox), ["a"]);
        assert!(
            outbox.take_file().is_none() && std::fs::read_dir(directory.path()).unwrap().next().is_none()
        );
    }
}
