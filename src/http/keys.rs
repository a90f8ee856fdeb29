//! `/v1/keys`: the public keys that have sealed here, with their terms.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::answer::{Answer, text};
use super::openapi::Operation;
use super::openapi::schema::{any_text, refer};
use crate::service::Service;

pub(super) async fn jwks(State(service): State<Arc<Service>>) -> Answer {
    Ok(text(StatusCode::OK, service.keyring().to_jwks(), "application/jwk-set+json"))
}

pub(super) fn about_jwks() -> Operation {
    Operation::new("getKeys", "The public keys that have sealed here, as a keyring").answers(
        200,
        "The keyring.",
        "application/jwk-set+json",
        refer("Keyring"),
    )
}

pub(super) async fn pem(State(service): State<Arc<Service>>) -> Answer {
    Ok(text(StatusCode::OK, service.keyring().to_pem(), "application/x-pem-file"))
}

pub(super) fn about_pem() -> Operation {
    Operation::new("getKeysPem", "The public keys that have sealed here, as PEM").answers(
        200,
        "SubjectPublicKeyInfo, one after the other.",
        "application/x-pem-file",
        any_text(),
    )
}
