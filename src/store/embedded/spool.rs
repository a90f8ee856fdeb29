//! Keys and values in a temporary file that has no name: it is gone with who reads it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::engine::{EngineError, Frozen};
use crate::files::fresh_name;
use crate::store::directory::free_bytes;

/// Called with each key and value.
type Each<'e> = dyn FnMut(&[u8], &[u8]) -> bool + 'e;

/// What was written to it, to be read once.
pub(super) struct Spool {
    file: File,
    pairs: u64,
}

impl Spool {
    /// Takes all that the source has, if the disk has so much left.
    pub(super) fn fill(
        directory: &Path,
        needed_bytes: u64,
        source: impl FnOnce(&mut Each<'_>) -> Result<(), EngineError>,
    ) -> Result<Self, EngineError> {
        let free_bytes = free_bytes(directory).map_err(told)?;
        if free_bytes < needed_bytes {
            let why =
                format!("a copy needs {needed_bytes} bytes of disk, and {free_bytes} are free; make room");
            return Err(EngineError(why));
        }
        let mut out = BufWriter::new(nameless(directory).map_err(told)?);
        let (mut pairs, mut written) = (0_u64, Ok(()));
        source(&mut |key, value| {
            written = put(&mut out, key).and_then(|()| put(&mut out, value));
            pairs = pairs.saturating_add(1);
            written.is_ok()
        })?;
        written.map_err(told)?;
        let mut file = out.into_inner().map_err(told)?;
        file.rewind().map_err(told)?;
        Ok(Self { file, pairs })
    }
}

impl Frozen for Spool {
    fn each(&mut self, each: &mut Each<'_>) -> Result<(), EngineError> {
        self.file.rewind().map_err(told)?;
        let mut source = BufReader::new(&self.file);
        for _ in 0..self.pairs {
            let (key, value) = (take(&mut source).map_err(told)?, take(&mut source).map_err(told)?);
            if !each(&key, &value) {
                break;
            }
        }
        Ok(())
    }
}

fn nameless(directory: &Path) -> io::Result<File> {
    let path = directory.join(format!(".sealstone-{}.tmp", fresh_name()?));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

fn put(out: &mut impl io::Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(&(bytes.len() as u64).to_be_bytes())?;
    out.write_all(bytes)
}

fn take(source: &mut impl io::Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    source.read_exact(&mut length)?;
    let length = u64::from_be_bytes(length);
    let mut bytes = Vec::new();
    source.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn told(error: impl std::fmt::Display) -> EngineError {
    EngineError(error.to_string())
}
