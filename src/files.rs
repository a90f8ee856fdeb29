//! Files: digested at any size, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::evidence::digest::{Digest, Hasher};

/// The digest of a regular file, and how many bytes it has.
pub(crate) fn digest_file(path: &Path) -> io::Result<(Digest, u64)> {
    // Asked first: opening a FIFO waits for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut file = File::open(path)?;
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

/// Writes beside, then renames: the file is whole and durable once this returns, or it is as it was. A link is followed, and stays.
/// What is no regular file (a device, a FIFO), or leads to an open stream such as /dev/stdout, is written to and never replaced.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if is_no_file(path) {
        return OpenOptions::new().append(true).open(path)?.write_all(bytes);
    }
    replace(path, bytes, 0o666)
}

/// Like [`write_durably`], for its owner alone, and never into a stream.
pub(crate) fn write_privately(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, 0o600)
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut draft = Draft::new(path, mode)?;
    draft.file.write_all(bytes)?;
    draft.keep()
}

/// A file that is written beside its name, and gets it once it is whole; dropped before, it was never there. A link is followed.
pub(crate) struct Draft {
    pub(crate) file: File,
    draft: PathBuf,
    target: PathBuf,
}

impl Draft {
    /// With these mode bits, less those of the umask.
    pub(crate) fn new(path: &Path, mode: u32) -> io::Result<Self> {
        if is_no_file(path) {
            return Err(io::Error::other("not a regular file"));
        }
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let draft = directory_of(&target).join(format!(".sealstone-{}.tmp", fresh_name()?));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&draft)?;
        Ok(Self { file, draft, target })
    }

    /// Gives it its name. It is durable once this returns.
    pub(crate) fn keep(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.draft, &self.target)?;
        File::open(directory_of(&self.target))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // One that was kept has another name by now.
        let _ = fs::remove_file(&self.draft);
    }
}

/// The directory that a path is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name that nobody can guess.
pub(crate) fn fresh_name() -> io::Result<String> {
    let mut random = [0; 12];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A device, a FIFO, a directory, an open stream: nothing that another file may take the place of.
fn is_no_file(path: &Path) -> bool {
    leads_to_stream(path) || fs::metadata(path).is_ok_and(|found| !found.is_file())
}

/// Whether the path, or a link on its way, is in /dev or /proc.
fn leads_to_stream(path: &Path) -> bool {
    const MOST_LINKS: usize = 40;
    let mut path: PathBuf = path.to_owned();
    for _ in 0..MOST_LINKS {
        if path.starts_with("/dev") || path.starts_with("/proc") {
            return true;
        }
        match fs::read_link(&path) {
            Ok(target) => path = directory_of(&path).join(target),
            Err(_) => return false,
        }
    }
    true
}
