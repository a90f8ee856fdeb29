//! The data directory: whose it is, which engine is in it, and how much room is left.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::embedded::lists::index_all;
use super::embedded::{Embedded, Engine, FjallEngine, MemoryEngine, SledEngine};
use super::layout::LAYOUT;
use super::swap::Swap;
use crate::files::write_durably;

/// Which engine keeps the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineName {
    /// The default.
    Fjall,
    /// Nothing is kept.
    Memory,
    /// The other one.
    Sled,
}

impl EngineName {
    /// Those that keep anything.
    const ON_DISK: [EngineName; 2] = [EngineName::Fjall, EngineName::Sled];

    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            EngineName::Fjall => "fjall",
            EngineName::Memory => "memory",
            EngineName::Sled => "sled",
        }
    }
}

impl FromStr for EngineName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [EngineName::Fjall, EngineName::Memory, EngineName::Sled];
        let found = all.into_iter().find(|engine| engine.as_str() == text);
        found.ok_or_else(|| "fjall, sled or memory expected".to_owned())
    }
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub(crate) enum DirectoryError {
    /// The engine does not open what is there.
    Engine {
        /// Where.
        path: PathBuf,
        /// In the engine's words.
        why: String,
    },
    /// Another process serves from it.
    InUse {
        /// Which directory.
        path: PathBuf,
    },
    /// It cannot be made, read or written.
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A newer program wrote it.
    NewerLayout {
        /// Which directory.
        path: PathBuf,
        /// Its layout.
        layout: u32,
    },
    /// Another engine wrote it.
    OtherEngine {
        /// Which directory.
        path: PathBuf,
        /// Which engine did.
        engine: EngineName,
    },
    /// A restore into it did not come to its end.
    Unfinished {
        /// Which directory.
        path: PathBuf,
    },
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DirectoryError::Engine { path, why } => write!(
                f,
                "the records in {} cannot be opened: {why}; restore them from a backup, or name another --data-dir",
                path.display()
            ),
            DirectoryError::InUse { path } => write!(
                f,
                "{} is in use by another process; stop that one, or name another --data-dir",
                path.display()
            ),
            DirectoryError::Io { path, error } => {
                write!(
                    f,
                    "cannot use {}: {error}; see its owner and mode, or name another --data-dir",
                    path.display()
                )
            }
            DirectoryError::NewerLayout { path, layout } => write!(
                f,
                "{} has layout {layout}, and this program knows {LAYOUT}; use the newer program that wrote it",
                path.display()
            ),
            DirectoryError::OtherEngine { path, engine } => write!(
                f,
                "{} was written by {engine}; start with --engine {engine}, or name another --data-dir",
                path.display(),
                engine = engine.as_str()
            ),
            DirectoryError::Unfinished { path } => write!(
                f,
                "{} has records but no store.json: a restore into it did not end; remove it, and restore again",
                path.display()
            ),
        }
    }
}

impl std::error::Error for DirectoryError {}

/// What stands in `store.json`.
#[derive(Serialize, Deserialize)]
struct StoreFile {
    engine: EngineName,
    layout: u32,
}

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Makes it if there is none, for its owner alone, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| DirectoryError::Io { path, error }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io(path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(io(&lock_path)(error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens one that is there already, with records in it.
    pub(crate) fn open_existing(path: &Path) -> Result<Self, DirectoryError> {
        let store_file = path.join("store.json");
        match fs::metadata(&store_file) {
            Ok(_) => Self::open(path),
            Err(error) => Err(DirectoryError::Io { path: store_file, error }),
        }
    }

    /// Opens the store that is in it, or one of the default engine.
    pub(crate) fn store_as_it_is(&self) -> Result<Embedded, DirectoryError> {
        let engine = fs::read(self.path.join("store.json")).ok();
        let engine = engine.and_then(|bytes| serde_json::from_slice::<StoreFile>(&bytes).ok());
        self.store(engine.map_or(EngineName::Fjall, |found| found.engine))
    }

    /// Opens the store in it.
    pub(crate) fn store(&self, engine: EngineName) -> Result<Embedded, DirectoryError> {
        if engine == EngineName::Memory {
            return Ok(Embedded::new(Box::new(MemoryEngine::default())));
        }
        let store_file = self.path.join("store.json");
        let layout = match fs::read(&store_file) {
            Ok(bytes) => self.check(&store_file, &bytes, engine)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_empty()? => {
                self.describe(engine, LAYOUT)?;
                LAYOUT
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DirectoryError::Unfinished { path: self.path.clone() });
            }
            Err(error) => return Err(DirectoryError::Io { path: store_file, error }),
        };
        self.swap(engine)
            .settle()
            .map_err(|error| DirectoryError::Io { path: self.engine_path(engine), error })?;
        let path = self.engine_path(engine);
        let store = Embedded::new(open_engine(engine, &path)?);
        if layout < LAYOUT {
            // Layout 1 had no index. A kill in between begins it anew.
            index_all(&store).map_err(|error| DirectoryError::Engine { path, why: error.to_string() })?;
            self.describe(engine, LAYOUT)?;
        }
        Ok(store)
    }

    /// Where the records of an engine are.
    pub(super) fn engine_path(&self, engine: EngineName) -> PathBuf {
        self.path.join(engine.as_str())
    }

    pub(super) fn swap(&self, engine: EngineName) -> Swap {
        Swap::new(&self.path, engine.as_str())
    }

    /// Whether there is neither a store in it nor a part of one.
    pub(super) fn is_empty(&self) -> Result<bool, DirectoryError> {
        let mut places = vec![self.path.join("store.json")];
        places.extend(EngineName::ON_DISK.map(|engine| self.engine_path(engine)));
        for path in places {
            match path.try_exists() {
                Ok(false) => {}
                Ok(true) => return Ok(false),
                Err(error) => return Err(DirectoryError::Io { path, error }),
            }
        }
        Ok(true)
    }

    /// Says durably which store is in it.
    pub(super) fn describe(&self, engine: EngineName, layout: u32) -> Result<(), DirectoryError> {
        let text = serde_json::to_string(&StoreFile { engine, layout }).expect("two plain members") + "\n";
        let path = self.path.join("store.json");
        write_durably(&path, text.as_bytes()).map_err(|error| DirectoryError::Io { path, error })
    }

    /// Which store is in it, and of which layout.
    pub(crate) fn described(&self) -> Result<(EngineName, u32), DirectoryError> {
        let path = self.path.join("store.json");
        let found = fs::read(&path)
            .and_then(|bytes| serde_json::from_slice::<StoreFile>(&bytes).map_err(io::Error::other));
        found.map(|found| (found.engine, found.layout)).map_err(|error| DirectoryError::Io { path, error })
    }

    fn check(&self, store_file: &Path, bytes: &[u8], wanted: EngineName) -> Result<u32, DirectoryError> {
        // A newer layout may have other members: its number is all that is read of it.
        let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
        let layout = value.get("layout").and_then(serde_json::Value::as_u64);
        let layout = layout.map(|layout| u32::try_from(layout).unwrap_or(u32::MAX));
        if let Some(layout) = layout.filter(|layout| *layout > LAYOUT) {
            return Err(DirectoryError::NewerLayout { path: self.path.clone(), layout });
        }
        let unreadable = |error: serde_json::Error| DirectoryError::Io {
            path: store_file.to_owned(),
            error: io::Error::other(error),
        };
        let found: StoreFile = serde_json::from_slice(bytes).map_err(unreadable)?;
        if found.engine == wanted {
            Ok(found.layout)
        } else {
            Err(DirectoryError::OtherEngine { path: self.path.clone(), engine: found.engine })
        }
    }
}

/// Opens the engine of a directory of its own.
pub(super) fn open_engine(engine: EngineName, path: &Path) -> Result<Box<dyn Engine>, DirectoryError> {
    let opened: Result<Box<dyn Engine>, _> = match engine {
        EngineName::Fjall => FjallEngine::open(path).map(|engine| Box::new(engine) as _),
        EngineName::Memory => Ok(Box::new(MemoryEngine::default()) as _),
        EngineName::Sled => SledEngine::open(path).map(|engine| Box::new(engine) as _),
    };
    opened.map_err(|error| DirectoryError::Engine { path: path.to_owned(), why: error.to_string() })
}

/// How many bytes the file system of that path has left for us.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
