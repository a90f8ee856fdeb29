//! What belongs to no run's journal.

use super::super::{Read, StoreError, layout};
use super::{Embedded, Op};
use crate::evidence::digest::Digest;

impl Embedded {
    /// Durable once it returns.
    pub(super) fn write_aside(&self, ops: Vec<Op>) -> Read<()> {
        let _one = self.one_at_a_time();
        if let Some(why) = self.poisoned.get() {
            return Err(StoreError::Engine(why.clone()));
        }
        self.engine.write(ops).map_err(|error| {
            let _ = self.poisoned.set(error.to_string());
            error.into()
        })
    }

    /// All values of a range whose keys are digests.
    pub(super) fn by_digest(&self, range: (Vec<u8>, Vec<u8>)) -> Read<Vec<(Digest, String)>> {
        let mut found = Vec::new();
        self.scan(range, |key, value| {
            let value = String::from_utf8_lossy(value).into_owned();
            found.extend(layout::digest_of(key).map(|digest| (digest, value)));
            Ok(true)
        })?;
        Ok(found)
    }
}
