//! An engine without a disk: for tests, and for a service whose records may go with it.

use std::collections::BTreeMap;
use std::sync::RwLock;

use super::engine::{Engine, EngineError, Frozen, Op};

/// Keys and values in memory.
#[derive(Default)]
pub(crate) struct MemoryEngine(RwLock<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Engine for MemoryEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.0.read().map_err(died)?.get(key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError> {
        // Copied, so that `each` may read on.
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = match from < to {
            true => {
                let map = self.0.read().map_err(died)?;
                map.range(from.to_vec()..to.to_vec()).map(|(k, v)| (k.clone(), v.clone())).collect()
            }
            false => Vec::new(),
        };
        if reverse {
            found.reverse();
        }
        for (key, value) in found {
            if !each(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, ops: Vec<Op>) -> Result<(), EngineError> {
        let mut map = self.0.write().map_err(died)?;
        for op in ops {
            match op {
                Op::Delete(key) => drop(map.remove(&key)),
                Op::Put(key, value) => drop(map.insert(key, value)),
            }
        }
        Ok(())
    }

    fn freeze(&self) -> Result<Box<dyn Frozen>, EngineError> {
        Ok(Box::new(self.0.read().map_err(died)?.clone()))
    }

    fn compact(&self) -> Result<bool, EngineError> {
        Ok(true)
    }
}

impl Frozen for BTreeMap<Vec<u8>, Vec<u8>> {
    fn each(&mut self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), EngineError> {
        let _enough = self.iter().all(|(key, value)| each(key, value));
        Ok(())
    }
}

fn died<T>(_: T) -> EngineError {
    EngineError("a writer died".into())
}
