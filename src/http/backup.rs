//! `/v1/backup` and `/v1/compaction`: all that is stored, in one stream; and without what was.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{Answer, no_content, text};
use super::guard::By;
use super::openapi::Operation;
use super::openapi::schema::anything;
use crate::service::{Action, Service};

const BYTES: &str = "application/octet-stream";

pub(super) async fn stream(State(service): State<Arc<Service>>, By(caller): By, method: Method) -> Answer {
    let pieces = match method {
        // None is made for its head alone, which others would have to wait for.
        Method::HEAD => {
            service.check_may_back_up(&caller)?;
            channel(1).1
        }
        _ => service.backup(&caller).await?,
    };
    Ok(text(StatusCode::OK, Body::from_stream(ReceiverStream::new(pieces)), BYTES))
}

pub(super) fn about_stream() -> Operation {
    Operation::new("getBackup", "All that is stored, as of one moment")
        .about("Only admins of all projects, one at a time. What `sealstone store restore` takes; without its end it is refused.")
        .needs(Action::Administer)
        .answers(200, "The backup.", BYTES, anything())
        .refuses(503, &["busy", "store_unavailable"])
}

pub(super) async fn compact(State(service): State<Arc<Service>>, By(caller): By) -> Answer {
    service.compact(&caller).await?;
    Ok(no_content())
}

pub(super) fn about_compact() -> Operation {
    Operation::new("compact", "Rewrites the files of the store, without what was deleted or erased")
        .about("Only admins of all projects, and neither two at once nor while there is a backup. `sealstone store compact` does it for engines that cannot meanwhile.")
        .needs(Action::Administer)
        .answers_nothing(204, "No file has any of it.")
        .refuses(409, &["compaction_offline"])
        .refuses(503, &["busy", "store_unavailable"])
}
