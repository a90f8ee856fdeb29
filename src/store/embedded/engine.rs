//! What an embedded store needs of an engine: ordered keys, and writes that are atomic and durable.

use std::fmt;

/// An ordered map of bytes on disk.
///
/// - `write` takes all its operations or none, and they are durable once it returns: an fsync lies between.
/// - After an error of `write` nobody knows what stands on the disk: the engine is not written to again before it is opened anew.
/// - `get` and `scan` see every write that has returned. Of one that goes on they may see some operations: who sees one sees
///   those before it.
pub(crate) trait Engine: Send + Sync {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Keys from `from` on and below `to`, in order or in reverse, until `each` returns false.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), EngineError>;

    fn write(&self, ops: Vec<Op>) -> Result<(), EngineError>;

    /// Every key and value as of now, to be read while writes go on. The caller sees to it that none is under way yet.
    fn freeze(&self) -> Result<Box<dyn Frozen>, EngineError>;

    /// Once this returns `Ok`, no file has anything of what was overwritten or deleted before the call. Writes may go on; what was
    /// frozen before must not be there any more.
    /// False if that goes only while nobody writes, from outside.
    fn compact(&self) -> Result<bool, EngineError>;
}

/// Every key and value as of one moment.
pub(crate) trait Frozen: Send {
    /// All of them in the order of the keys, until `each` returns false.
    fn each(&mut self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), EngineError>;
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Delete(Vec<u8>),
    Put(Vec<u8>, Vec<u8>),
}

/// An engine failed, in its own words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EngineError(pub(crate) String);

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EngineError {}

/// Walks an engine's own iterator.
pub(super) fn walk<K: AsRef<[u8]>, V: AsRef<[u8]>, E: fmt::Display>(
    items: impl Iterator<Item = Result<(K, V), E>>,
    each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), EngineError> {
    for item in items {
        let (key, value) = item.map_err(|error| EngineError(error.to_string()))?;
        if !each(key.as_ref(), value.as_ref()) {
            break;
        }
    }
    Ok(())
}
