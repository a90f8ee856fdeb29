//! Copies of an embedded store, one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Embedded, EngineError, Frozen};
use crate::store::StoreError;
use crate::store::copies::Copies;

/// The turn of one who makes a copy, until this is dropped.
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(copying: &Arc<AtomicBool>) -> Result<Self, StoreError> {
        match copying.swap(true, Ordering::AcqRel) {
            true => Err(StoreError::Busy),
            false => Ok(Self(copying.clone())),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

struct FrozenInTurn {
    frozen: Box<dyn Frozen>,
    _turn: Turn,
}

impl Frozen for FrozenInTurn {
    fn each(&mut self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), EngineError> {
        self.frozen.each(each)
    }
}

impl Copies for Embedded {
    fn freeze(&self) -> Result<Box<dyn Frozen>, StoreError> {
        let turn = Turn::take(&self.copying)?;
        let _one = self.one_at_a_time();
        // What stands there then is known once it is opened again.
        if let Some(why) = self.poisoned.get() {
            return Err(StoreError::Engine(why.clone()));
        }
        Ok(Box::new(FrozenInTurn { frozen: self.engine.freeze()?, _turn: turn }))
    }

    fn compact(&self) -> Result<bool, StoreError> {
        let _turn = Turn::take(&self.copying)?;
        Ok(self.engine.compact()?)
    }
}
