//! One engine's directory takes the place of another, and a kill at any step leaves one of the two.
//!
//! | what is there | which step was interrupted | what is done |
//! | --- | --- | --- |
//! | `fjall`, `fjall.new` | the new one was being written | the new one is dropped |
//! | `fjall.old`, `fjall.new` | the old one was put aside | the new one, which is whole, takes its place |
//! | `fjall`, `fjall.old` | the old one was being removed | the old one is dropped |

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The places of an engine's directory.
pub(super) struct Swap {
    current: PathBuf,
    fresh: PathBuf,
    old: PathBuf,
}

impl Swap {
    /// Of the engine of that name in that directory.
    pub(super) fn new(directory: &Path, name: &str) -> Self {
        let place = |ending: &str| directory.join(format!("{name}{ending}"));
        Self { current: place(""), fresh: place(".new"), old: place(".old") }
    }

    /// What is in use.
    pub(super) fn current(&self) -> &Path {
        &self.current
    }

    /// Where the one is written that shall take its place.
    pub(super) fn fresh(&self) -> &Path {
        &self.fresh
    }

    /// Puts the new one in the place of the old, and removes that. Nobody may have either open.
    pub(super) fn put_in_place(&self) -> io::Result<()> {
        // Whole on the disk before the old one goes.
        rustix::fs::syncfs(File::open(&self.fresh)?)?;
        self.step(&self.current, &self.old)?;
        self.settle()
    }

    /// Finishes or drops what was interrupted.
    pub(super) fn settle(&self) -> io::Result<()> {
        let is = |path: &Path| path.try_exists();
        if !is(&self.current)? && is(&self.old)? {
            let whole = if is(&self.fresh)? { &self.fresh } else { &self.old };
            self.step(whole, &self.current)?;
        }
        for left in [&self.fresh, &self.old] {
            if is(left)? {
                fs::remove_dir_all(left)?;
                self.sync()?;
            }
        }
        Ok(())
    }

    /// A rename that is durable once it returns.
    fn step(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        File::open(crate::files::directory_of(&self.current))?.sync_all()
    }
}
