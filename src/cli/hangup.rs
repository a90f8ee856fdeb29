//! SIGHUP: the service takes key and keyring anew, or ends with its terminal.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Failure;
use super::style::{BAD, FAINT, RESET, printable};
use super::{key_file, signing_key};
use crate::evidence::key::SigningKey;
use crate::evidence::keyring::Keyring;

/// From now on hands what stands at that path to `take` at each SIGHUP, and tells what became of it. Who takes or refuses says so in
/// words.
pub(super) fn take_keys(
    path: PathBuf,
    take: impl Fn(SigningKey, Keyring) -> Result<String, String> + Send + Sync + 'static,
) {
    // Where signals cannot be heard, SIGHUP ends the process as it always did.
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    let (path, take) = (Arc::new(path), Arc::new(take));
    let at_terminal = std::io::stdin().is_terminal();
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            // The terminal that it was started from is gone: whoever closed it wants no service to stay.
            if at_terminal && !std::io::stdin().is_terminal() {
                let _ = kill_process(getpid(), Signal::TERM);
            }
            let (path, take) = (path.clone(), take.clone());
            let taken = tokio::task::spawn_blocking(move || {
                let (key, keyring) = read(&path).map_err(|failure| failure.message().to_owned())?;
                take(key, keyring)
            });
            tell(taken.await.unwrap_or_else(|error| Err(error.to_string())));
        }
    });
}

fn read(path: &Path) -> Result<(SigningKey, Keyring), Failure> {
    Ok((key_file::read(path)?, signing_key::keyring_beside(path)?))
}

/// The terminal that hung up may be the one to tell: then nobody is told.
fn tell(taken: Result<String, String>) {
    let mut stderr = anstream::stderr().lock();
    let _ = match taken {
        Ok(taken) => writeln!(stderr, "{FAINT}key and keyring are taken: {}{RESET}", printable(&taken)),
        Err(why) => writeln!(stderr, "{BAD}key and keyring stay as they were:{RESET} {}", printable(&why)),
    };
}
