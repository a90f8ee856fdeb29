//! `/v1/backup` and `/v1/compaction`: all that is stored, in one stream; and without what was.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{Answer, text};
use super::guard::By;
use crate::service::Service;

pub(super) async fn stream(State(service): State<Arc<Service>>, By(caller): By) -> Answer {
    let pieces = ReceiverStream::new(service.backup(&caller).await?);
    Ok(text(StatusCode::OK, Body::from_stream(pieces), "application/octet-stream"))
}

pub(super) async fn compact(State(service): State<Arc<Service>>, By(caller): By) -> Answer {
    service.compact(&caller).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
