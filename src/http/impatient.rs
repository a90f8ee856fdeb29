//! A connection that is given up when what we say is taken too slowly.

use std::convert::Infallible;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long a reader may let us wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much they have to take meanwhile, unless that is all there is.
const ENOUGH_BYTES: usize = 64 << 10;

/// What is not larger is sent in one piece: to copy it costs less than that the kernel is told of its parts.
const SMALL_BYTES: usize = 2 << 10;

/// A stream whose writes fail when they go on too slowly.
pub(super) struct Impatient<S> {
    stream: S,
    /// Since a write had to wait.
    waiting: Option<Waiting>,
    patience: Patience,
    hurry: Hurry,
}

/// How long, once the service is to end.
const HURRY: Duration = Duration::from_secs(1);

/// How much a reader has to take. An answer that keeps nothing for who reads it slowly can be content with anything at all.
#[derive(Clone, Debug, Default)]
pub(super) struct Patience(Arc<AtomicBool>);

/// Whether the service is to end, so that nobody is waited for any more who takes nothing. What waits has to be looked at once more.
#[derive(Clone, Debug, Default)]
pub(super) struct Hurry(Arc<AtomicBool>);

impl Hurry {
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn begun(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Patience {
    /// As it is for every answer that says nothing of it.
    pub(super) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Of this answer whatever is taken is enough.
    pub(super) fn with_slow(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn enough_bytes(&self) -> usize {
        if self.0.load(Ordering::Relaxed) { 1 } else { ENOUGH_BYTES }
    }
}

struct Waiting {
    end: Pin<Box<Sleep>>,
    hurries: bool,
    taken_bytes: usize,
}

impl<S: Send + Sync> FromRequestParts<S> for Patience {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

impl<S> Impatient<S> {
    pub(super) fn new(stream: S, hurry: Hurry) -> Self {
        Self { stream, waiting: None, patience: Patience::default(), hurry }
    }

    /// What says how patient it is.
    pub(super) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            let enough_bytes = self.patience.enough_bytes();
            self.waiting = self.waiting.take().and_then(|waiting| {
                let taken_bytes = waiting.taken_bytes.saturating_add(bytes);
                (taken_bytes < enough_bytes).then_some(Waiting { taken_bytes, ..waiting })
            });
        }
        if written.is_ready() {
            return written;
        }
        let new = || Waiting { end: Box::pin(sleep(PATIENCE)), hurries: false, taken_bytes: 0 };
        let Waiting { end, hurries, .. } = self.waiting.get_or_insert_with(new);
        if self.hurry.begun() && !std::mem::replace(hurries, true) {
            end.set(sleep(HURRY));
        }
        ready!(end.as_mut().poll(cx));
        end.as_mut().reset(Instant::now());
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut together = [0; SMALL_BYTES];
        let stream = Pin::new(&mut self.stream);
        let written = match gathered(slices, &mut together) {
            Some(bytes) => stream.poll_write(cx, bytes),
            None => stream.poll_write_vectored(cx, slices),
        };
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Asked for once all that there is was taken.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.waiting = None;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What these hold, in one piece, if it fits in there.
fn gathered<'t>(slices: &[io::IoSlice<'_>], into: &'t mut [u8]) -> Option<&'t [u8]> {
    let mut end = 0_usize;
    for slice in slices {
        let next = end.checked_add(slice.len())?;
        into.get_mut(end..next)?.copy_from_slice(slice);
        end = next;
    }
    into.get(..end)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// Says so much to who takes so much every 29 seconds; when that ended, and how.
    async fn told(bytes: usize, each: usize) -> (Duration, io::Result<()>) {
        let (ours, mut theirs): (DuplexStream, DuplexStream) = duplex(4 << 10);
        let begun = Instant::now();
        let reader = tokio::spawn(async move {
            let mut taken = vec![0; each];
            while theirs.read_exact(&mut taken).await.is_ok() {
                sleep(Duration::from_secs(29)).await;
            }
        });
        let mut ours = Impatient::new(ours, Hurry::default());
        let done = async { ours.write_all(&vec![0; bytes]).await.and(ours.flush().await) }.await;
        reader.abort();
        (begun.elapsed(), done)
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_a_few_bytes_now_and_then_is_given_up() {
        let (after, done) = told(1 << 20, 512).await;
        assert_eq!(done.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(after < Duration::from_secs(61), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_is_slow_and_goes_on_is_waited_for() {
        let (after, done) = told(1 << 20, 80 << 10).await;
        assert!(done.is_ok() && after > Duration::from_secs(300), "{after:?} {done:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_to_its_end_is_enough_however_little_it_is() {
        let (ours, mut theirs) = duplex(1 << 10);
        let mut ours = Impatient::new(ours, Hurry::default());
        let reader = tokio::spawn(async move {
            let mut taken = vec![0; 2 << 10];
            for _ in 0..8 {
                sleep(Duration::from_secs(20)).await;
                theirs.read_exact(&mut taken).await.unwrap();
            }
        });
        for _ in 0..8 {
            ours.write_all(&[0; 2 << 10]).await.unwrap();
            ours.flush().await.unwrap();
        }
        reader.await.unwrap();
    }
}
