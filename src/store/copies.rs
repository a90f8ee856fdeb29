//! Copies of all that is stored: taken while it is written to, brought into another engine, and the store without what was deleted.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::StoreError;
use super::backup::{Amount, BackupError, Reader};
use super::directory::{DataDirectory, DirectoryError, EngineName, free_bytes, open_engine};
use super::embedded::{Engine, EngineError, Frozen, Op};

/// How much is written at once.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// What a new engine takes before there is anything in it, and then some.
const ROOM_BYTES: u64 = 128 << 20;

/// What a store can do with all of itself. One at a time, else [`StoreError::Busy`].
pub(crate) trait Copies {
    /// All that is stored, as of now. It can be read while writes go on.
    fn freeze(&self) -> Result<Box<dyn Frozen>, StoreError>;
    /// Once this returns `Ok`, no file of the engine has anything of what was overwritten or deleted before the call. Takes room
    /// for a second copy, and as long as writing one; writes go on meanwhile. False if the engine can be compacted only while no
    /// service runs ([`compact`]).
    fn compact(&self) -> Result<bool, StoreError>;
}

/// Why a copy was not made.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// The backup is not good.
    Backup(BackupError),
    /// The data directory cannot be used.
    Directory(DirectoryError),
    /// The engine failed.
    Engine(EngineError),
    /// There are records already.
    HasStore(PathBuf),
    /// There is too little room for a second copy.
    NoRoom { path: PathBuf, needed_bytes: u64, free_bytes: u64 },
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CopyError::Backup(error) => write!(f, "{error}"),
            CopyError::Directory(error) => write!(f, "{error}"),
            CopyError::Engine(error) => write!(f, "the engine failed: {error}"),
            CopyError::HasStore(path) => {
                write!(f, "{} has records in it already; name a --data-dir that has none", path.display())
            }
            CopyError::NoRoom { path, needed_bytes, free_bytes } => write!(
                f,
                "a second copy of the records needs about {needed_bytes} bytes of the disk of {}, and {free_bytes} are free; make room",
                path.display()
            ),
        }
    }
}

impl std::error::Error for CopyError {}

impl From<BackupError> for CopyError {
    fn from(error: BackupError) -> Self {
        CopyError::Backup(error)
    }
}

impl From<DirectoryError> for CopyError {
    fn from(error: DirectoryError) -> Self {
        CopyError::Directory(error)
    }
}

impl From<EngineError> for CopyError {
    fn from(error: EngineError) -> Self {
        CopyError::Engine(error)
    }
}

/// Restores a backup into a directory that has no store. `store.json` is written last: until then nobody takes what is there for
/// records; and what was begun and failed is removed.
pub(crate) fn restore(
    source: impl Read,
    path: &Path,
    engine: EngineName,
    progress: &dyn Fn(Amount),
) -> Result<Amount, CopyError> {
    let mut backup = Reader::open(source)?;
    let directory = DataDirectory::open(path)?;
    if !directory.is_empty()? {
        return Err(CopyError::HasStore(path.to_owned()));
    }
    let place = directory.engine_path(engine);
    if let Err(error) = fill(&mut backup, engine, &place, progress) {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&place);
        return Err(error);
    }
    directory.describe(engine, backup.head().layout)?;
    Ok(backup.amount())
}

fn fill<R: Read>(
    backup: &mut Reader<R>,
    engine: EngineName,
    place: &Path,
    progress: &dyn Fn(Amount),
) -> Result<(), CopyError> {
    let engine = open_engine(engine, place)?;
    let mut batches = Batches::new(&*engine);
    while let Some((key, value)) = backup.next()? {
        batches.put(key, value)?;
        progress(backup.amount());
    }
    Ok(batches.finish()?)
}

/// Puts, a few megabytes at a time.
struct Batches<'e> {
    engine: &'e dyn Engine,
    ops: Vec<Op>,
    bytes: usize,
}

impl<'e> Batches<'e> {
    fn new(engine: &'e dyn Engine) -> Self {
        Self { engine, ops: Vec::new(), bytes: 0 }
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), EngineError> {
        let bytes = key.len().saturating_add(value.len());
        if self.bytes.saturating_add(bytes) > MAX_BATCH_BYTES {
            self.engine.write(std::mem::take(&mut self.ops))?;
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.ops.push(Op::Put(key, value));
        Ok(())
    }

    fn finish(self) -> Result<(), EngineError> {
        if self.ops.is_empty() { Ok(()) } else { self.engine.write(self.ops) }
    }
}

/// Writes the records anew beside the old, and puts them in their place: afterwards no file of the directory has anything of what
/// was deleted or overwritten. Killed at any step, the next who opens the directory finishes or drops it
/// (`Swap::settle`).
pub(crate) fn compact(directory: &DataDirectory, progress: &dyn Fn(Amount)) -> Result<Amount, CopyError> {
    // What does not open is not written anew; and what was interrupted before is settled.
    drop(directory.store_as_it_is()?);
    let (engine, _) = directory.described()?;
    let swap = directory.swap(engine);
    let in_place = |error| DirectoryError::Io { path: directory.path().to_owned(), error };
    check_room(directory.path(), swap.current())?;
    let amount = rewrite(engine, swap.current(), swap.fresh(), progress);
    if amount.is_err() {
        let _ = swap.settle();
    }
    let amount = amount?;
    swap.put_in_place().map_err(in_place)?;
    Ok(amount)
}

fn rewrite(
    engine: EngineName,
    from: &Path,
    to: &Path,
    progress: &dyn Fn(Amount),
) -> Result<Amount, CopyError> {
    let (from, to) = (open_engine(engine, from)?, open_engine(engine, to)?);
    let mut batches = Batches::new(&*to);
    let (mut amount, mut written) = (Amount::default(), Ok(()));
    // Every key begins with a letter.
    from.scan(&[], &[0xff], false, &mut |key, value| {
        written = batches.put(key.to_vec(), value.to_vec());
        let bytes = key.len().saturating_add(value.len()) as u64;
        amount = Amount { pairs: amount.pairs.saturating_add(1), bytes: amount.bytes.saturating_add(bytes) };
        progress(amount);
        written.is_ok()
    })?;
    written?;
    batches.finish()?;
    Ok(amount)
}

fn check_room(directory: &Path, engine: &Path) -> Result<(), CopyError> {
    let failed = |error| DirectoryError::Io { path: directory.to_owned(), error };
    // While it is written, a part of it stands in a journal and in a table.
    let used = used_bytes(engine).map_err(failed)?;
    let needed_bytes = used.saturating_add(used.min(512 << 20)).saturating_add(ROOM_BYTES);
    let free_bytes = free_bytes(directory).map_err(failed)?;
    match free_bytes < needed_bytes {
        true => Err(CopyError::NoRoom { path: directory.to_owned(), needed_bytes, free_bytes }),
        false => Ok(()),
    }
}

/// What the files below a directory take on the disk.
fn used_bytes(directory: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut used = 0_u64;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        used = used.saturating_add(match metadata.is_dir() {
            true => used_bytes(&entry.path())?,
            false => metadata.blocks().saturating_mul(512),
        });
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::time::Timestamp;
    use crate::store::backup::write;
    use crate::store::embedded::{Embedded, MemoryEngine};
    use crate::store::layout::LAYOUT;

    const SECRET: &[u8] = b"a-value-that-nobody-may-find-again";
    const ENGINES: [EngineName; 2] = [EngineName::Fjall, EngineName::Sled];

    fn key(n: u32) -> Vec<u8> {
        [b"k".as_slice(), &n.to_be_bytes()].concat()
    }

    fn put_secrets(engine: &dyn Engine) {
        let values =
            |value: fn(u32) -> Vec<u8>| (0..300).map(|n| Op::Put(key(n), value(n))).collect::<Vec<_>>();
        let secret = |n: u32| [SECRET, n.to_string().as_bytes()].concat();
        engine.write(values(secret)).unwrap();
    }

    /// Overwrites or deletes every secret.
    fn erase_secrets(engine: &dyn Engine) {
        put_secrets(engine);
        engine.write((0..150).map(|n| Op::Put(key(n), n.to_string().into())).collect()).unwrap();
        engine.write((150..300).map(|n| Op::Delete(key(n))).collect()).unwrap();
    }

    fn kept(engine: &dyn Engine) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut kept = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| {
            kept.push((key.to_vec(), value.to_vec()));
            true
        };
        engine.scan(&[], &[0xff], false, &mut each).unwrap();
        kept
    }

    fn expected() -> Vec<(Vec<u8>, Vec<u8>)> {
        (0..150).map(|n: u32| (key(n), n.to_string().into())).collect()
    }

    /// The files below a directory that have the secret in them.
    fn with_secret(directory: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(with_secret(&path));
            } else if fs::read(&path).unwrap().windows(SECRET.len()).any(|bytes| bytes == SECRET) {
                found.push(path);
            }
        }
        found
    }

    fn directory_with_erased(place: &Path, engine: EngineName) -> DataDirectory {
        let directory = DataDirectory::open(place).unwrap();
        drop(directory.store(engine).unwrap());
        erase_secrets(&*open_engine(engine, &directory.engine_path(engine)).unwrap());
        directory
    }

    #[test]
    fn what_was_overwritten_or_deleted_is_in_no_file_after_a_compaction_while_it_is_in_use() {
        let place = tempfile::TempDir::new().unwrap();
        let engine = open_engine(EngineName::Fjall, place.path()).unwrap();
        // In tables first, as what was recorded long ago; then in a journal too.
        put_secrets(&*engine);
        engine.compact().unwrap();
        assert!(!with_secret(&place.path().join("keyspaces")).is_empty());
        erase_secrets(&*engine);
        assert!(with_secret(place.path()).len() > 1);
        let writing = std::sync::atomic::AtomicBool::new(true);
        std::thread::scope(|scope| {
            let (engine, still) = (&*engine, &writing);
            scope.spawn(move || {
                for n in 0..u32::MAX {
                    if !still.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    engine
                        .write(vec![Op::Put([b"other", key(n).as_slice()].concat(), vec![7; 700])])
                        .unwrap();
                }
            });
            let compacted = engine.compact();
            writing.store(false, std::sync::atomic::Ordering::SeqCst);
            compacted.unwrap();
        });
        assert_eq!(with_secret(place.path()), Vec::<PathBuf>::new());
        // Twice in a row, and at rest; and all is there when it is opened again.
        engine.compact().unwrap();
        let others = kept(&*engine).len();
        drop(engine);
        let engine = open_engine(EngineName::Fjall, place.path()).unwrap();
        assert_eq!(kept(&*engine).len(), others);
        let kept: Vec<_> = kept(&*engine).into_iter().filter(|(key, _)| key.starts_with(b"k")).collect();
        assert_eq!(kept, expected());
    }

    #[test]
    fn what_was_overwritten_or_deleted_is_in_no_file_after_an_offline_compaction() {
        for engine in ENGINES {
            let place = tempfile::TempDir::new().unwrap();
            let directory = directory_with_erased(place.path(), engine);
            assert_ne!(with_secret(place.path()), Vec::<PathBuf>::new(), "{engine:?}");
            let amount = compact(&directory, &|_| {}).unwrap();
            assert_eq!(amount.pairs, 150);
            assert_eq!(with_secret(place.path()), Vec::<PathBuf>::new(), "{engine:?}");
            drop(directory.store(engine).unwrap());
            assert_eq!(kept(&*open_engine(engine, &directory.engine_path(engine)).unwrap()), expected());
        }
    }

    #[test]
    fn a_compaction_killed_at_any_step_leaves_the_old_records_or_the_new() {
        for engine in ENGINES {
            for step in 0..5 {
                let place = tempfile::TempDir::new().unwrap();
                let directory = directory_with_erased(place.path(), engine);
                let (at, name) = (|name: &str| place.path().join(name), engine.as_str());
                let (new, old) = (at(&format!("{name}.new")), at(&format!("{name}.old")));
                let current = at(name);
                let whole = |path: &Path| {
                    rewrite(engine, &current, path, &|_| {}).unwrap();
                };
                match step {
                    // The new one was begun.
                    0 => fs::create_dir(&new).and_then(|()| fs::write(new.join("x"), SECRET)).unwrap(),
                    1 => whole(&new),
                    // The old one was put aside, the new one put in its place, the old one half removed.
                    2 => {
                        whole(&new);
                        fs::rename(&current, &old).unwrap();
                    }
                    step => {
                        whole(&new);
                        fs::rename(&current, &old).unwrap();
                        fs::rename(&new, &current).unwrap();
                        if step == 4 {
                            let some = fs::read_dir(&old).unwrap().map(|entry| entry.unwrap().path());
                            some.filter(|path| path.is_file())
                                .take(2)
                                .for_each(|path| fs::remove_file(path).unwrap());
                        }
                    }
                }
                drop(directory.store(engine).unwrap());
                assert!(!new.exists() && !old.exists(), "{engine:?} at {step}");
                assert_eq!(
                    kept(&*open_engine(engine, &current).unwrap()),
                    expected(),
                    "{engine:?} at {step}"
                );
                assert_eq!(with_secret(place.path()).is_empty(), step > 1, "{engine:?} at {step}");
                compact(&directory, &|_| {}).unwrap();
                assert_eq!(with_secret(place.path()), Vec::<PathBuf>::new());
            }
        }
    }

    #[test]
    fn copies_are_made_one_at_a_time() {
        let store = Embedded::new(Box::new(MemoryEngine::default()));
        let frozen = store.freeze().unwrap();
        assert_eq!(store.freeze().err(), Some(StoreError::Busy));
        assert_eq!(store.compact(), Err(StoreError::Busy));
        drop(frozen);
        assert_eq!(store.compact(), Ok(true));
        store.freeze().unwrap();
    }

    #[test]
    fn what_is_frozen_stays_as_it_was_while_writes_go_on() {
        for engine in [EngineName::Fjall, EngineName::Sled, EngineName::Memory] {
            let place = tempfile::TempDir::new().unwrap();
            let engine = open_engine(engine, &place.path().join("engine")).unwrap();
            erase_secrets(&*engine);
            let mut frozen = engine.freeze().unwrap();
            engine.write((0..400).map(|n| Op::Put(key(n), b"later".to_vec())).collect()).unwrap();
            for _ in 0..2 {
                let mut seen = Vec::new();
                let mut each = |key: &[u8], value: &[u8]| {
                    seen.push((key.to_vec(), value.to_vec()));
                    true
                };
                frozen.each(&mut each).unwrap();
                assert_eq!(seen, expected());
            }
        }
    }

    #[test]
    fn a_restore_that_fails_leaves_nothing_that_is_taken_for_records() {
        let place = tempfile::TempDir::new().unwrap();
        let engine = open_engine(EngineName::Memory, place.path()).unwrap();
        erase_secrets(&*engine);
        let mut whole = Vec::new();
        let at = Timestamp::from_unix_ms(0);
        write(&mut *engine.freeze().unwrap(), LAYOUT, at, &mut whole, &|_| {}).unwrap();
        let target = place.path().join("restored");
        for length in (0..whole.len()).step_by(97) {
            assert!(
                restore(&whole[..length], &target, EngineName::Fjall, &|_| {}).is_err(),
                "cut at {length}"
            );
            assert!(!target.join("store.json").exists() && !target.join("fjall").exists());
        }
        let restored = restore(whole.as_slice(), &target, EngineName::Fjall, &|_| {}).unwrap();
        assert_eq!(restored.pairs, 150);
        let again = restore(whole.as_slice(), &target, EngineName::Sled, &|_| {});
        assert!(matches!(again, Err(CopyError::HasStore(_))), "{again:?}");
        // One of an older layout is restored as it is, and brought up to date when it is opened.
        let mut older = Vec::new();
        write(&mut *MemoryEngine::default().freeze().unwrap(), 1, at, &mut older, &|_| {}).unwrap();
        let old = place.path().join("old");
        restore(older.as_slice(), &old, EngineName::Fjall, &|_| {}).unwrap();
        let directory = DataDirectory::open(&old).unwrap();
        assert_eq!(directory.described().unwrap(), (EngineName::Fjall, 1));
        drop(directory.store_as_it_is().unwrap());
        assert_eq!(directory.described().unwrap(), (EngineName::Fjall, LAYOUT));
        // Killed before the end, there are records and no store.json: nobody takes them.
        fs::remove_file(target.join("store.json")).unwrap();
        let opened = DataDirectory::open(&target).unwrap().store(EngineName::Fjall);
        assert!(matches!(opened, Err(DirectoryError::Unfinished { .. })));
    }
}
