//! `/v1/backup`: all that is stored, in one stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use hyper::body::Frame;
use tokio::sync::mpsc::Receiver;

use super::answer::{Answer, text};
use super::guard::By;
use crate::service::{Piece, Service};

pub(super) async fn stream(State(service): State<Arc<Service>>, By(caller): By) -> Answer {
    let pieces = service.backup(&caller).await?;
    Ok(text(StatusCode::OK, Body::new(Pieces(pieces)), "application/octet-stream"))
}

/// A body that waits for what is made, and is waited for.
struct Pieces(Receiver<Piece>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| piece.map(|bytes| Frame::data(bytes.into()))))
    }
}
