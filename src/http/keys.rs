//! `/v1/keys`: the public keys that have sealed here, with their terms.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{Answer, text};
use crate::service::Service;

pub(super) async fn jwks(State(service): State<Arc<Service>>) -> Answer {
    Ok(text(StatusCode::OK, service.keyring().to_jwks(), "application/jwk-set+json"))
}

pub(super) async fn pem(State(service): State<Arc<Service>>) -> Answer {
    Ok(text(StatusCode::OK, service.keyring().to_pem(), "application/x-pem-file"))
}
