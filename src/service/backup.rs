//! A backup of everything, while everything goes on.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{Caller, Service, ServiceError};
use crate::store::backup;
use crate::store::layout::LAYOUT;

/// How much is handed on at once, and how much of that waits.
const PIECE_BYTES: usize = 256 << 10;
const PIECES: usize = 4;
/// How long a reader may take for a piece; who takes longer holds up others who want a backup, and keeps what is deleted on the disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a full channel is left alone.
const PAUSE: Duration = Duration::from_millis(2);

/// A part of a backup, or why no more comes.
pub(crate) type Piece = Result<Vec<u8>, io::Error>;

impl Service {
    /// Refuses who may not have all there is.
    pub(crate) fn check_may_back_up(&self, caller: &Caller) -> Result<(), ServiceError> {
        self.check_still(caller)?;
        caller.check_governs()
    }

    /// A backup as of now, piece by piece. It ends early, without the end that makes it whole, when nobody takes the pieces.
    pub(crate) async fn backup(self: &Arc<Self>, caller: &Caller) -> Result<Receiver<Piece>, ServiceError> {
        self.check_may_back_up(caller)?;
        let mut frozen = self.read(|store| store.freeze()).await?;
        let created_at = (self.surroundings.now)();
        let (sender, receiver) = channel(PIECES);
        let (service, caller) = (self.clone(), caller.clone());
        let write = move || {
            let still = move || service.check_still(&caller).is_ok();
            let mut pieces = Pieces { sender, piece: Vec::new(), still: Box::new(still) };
            let written = backup::write(&mut *frozen, LAYOUT, created_at, &mut pieces, &|_| {});
            // Before the reader is told of the end, and may ask for another.
            drop(frozen);
            if let Err(error) = written {
                // Who went away does not hear it.
                let _ = pieces.sender.try_send(Err(io::Error::other(error)));
            }
        };
        // A thread of its own: it lives as long as a reader likes.
        std::thread::Builder::new().name("backup".into()).spawn(write).map_err(ServiceError::unavailable)?;
        Ok(receiver)
    }
}

impl Service {
    /// Once it returns, no file of the store has anything of what was deleted, overwritten or erased before. Recording goes on.
    pub(crate) async fn compact(&self, caller: &Caller) -> Result<(), ServiceError> {
        self.check_still(caller)?;
        caller.check_governs()?;
        match self.read(|store| store.compact()).await? {
            true => Ok(()),
            false => Err(ServiceError::CompactionOffline),
        }
    }
}

/// Hands on what is written to it.
struct Pieces {
    sender: Sender<Piece>,
    piece: Vec<u8>,
    /// Whether who asked may still have it.
    still: Box<dyn Fn() -> bool>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        if !(self.still)() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut piece = Ok(std::mem::take(&mut self.piece));
        let started = Instant::now();
        loop {
            piece = match self.sender.try_send(piece) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(piece)) if started.elapsed() < PATIENCE => piece,
                Err(TrySendError::Full(_)) => return Err(io::ErrorKind::TimedOut.into()),
                Err(TrySendError::Closed(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            sleep(PAUSE);
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE_BYTES.saturating_sub(self.piece.len());
        let (taken, _) = bytes.split_at(bytes.len().min(room));
        self.piece.extend_from_slice(taken);
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { self.send() }
    }
}
