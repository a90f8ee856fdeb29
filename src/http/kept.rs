//! An answer that keeps its place among the large ones until it is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// How much is given to the connection at once.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes, and the place that they take in the memory. Every piece of them keeps all of it.
struct Placed {
    bytes: Vec<u8>,
    _place: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is still to be given to the connection.
struct Kept {
    bytes: Bytes,
}

/// A body of these bytes. The place is free again when all is sent, or the connection is gone.
pub(super) fn kept(bytes: Vec<u8>, place: OwnedSemaphorePermit) -> Body {
    Body::new(Kept { bytes: Bytes::from_owner(Placed { bytes, _place: place }) })
}

impl hyper::body::Body for Kept {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.bytes.len().min(PIECE_BYTES);
        let piece = self.bytes.split_to(piece);
        Poll::Ready((!piece.is_empty()).then_some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
