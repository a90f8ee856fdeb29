//! Files: digested at any size, written whole or not at all.

#[cfg(feature = "client")]
use std::fs;
use std::fs::File;
#[cfg(feature = "client")]
use std::io::Write as _;
use std::io::{self, Read as _};
use std::path::Path;

use crate::evidence::digest::{Digest, Hasher};

/// The digest of a regular file, and how many bytes it has.
pub(crate) fn digest_file(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let (mut hasher, mut size, mut buffer) = (Hasher::default(), 0_u64, vec![0; 128 << 10]);
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((hasher.finish(), size));
        }
        hasher.update(buffer.get(..n).unwrap_or_default());
        size = size.saturating_add(n as u64);
    }
}

/// Writes beside, then renames: the file is whole and durable once this returns, or it is as it was. What is no regular
/// file (a device, a FIFO) is written to, and not replaced.
#[cfg(feature = "client")]
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::other("not a file name"))?.to_string_lossy();
    let draft = directory.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&draft)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // What is left of it is of no use; the first error is the one to tell.
        let _ = fs::remove_file(&draft);
    }
    written.and_then(|()| File::open(directory)?.sync_all())
}
