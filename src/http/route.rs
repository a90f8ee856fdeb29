//! A route: where it is, who answers there, and what is said of it. Router and document are both made of these.
//!
//! A new route is a line in [`routes`](super::routes), and a function next to its handler that gives its [`Operation`]. A
//! parameter or header of a new name stands in `openapi/parameters.rs`, a schema of several routes in `openapi/components.rs`.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::openapi::Operation;
use crate::service::Service;

/// One method at one path.
pub(super) struct Route {
    /// In lower case, as OpenAPI has it.
    pub(super) method: &'static str,
    /// As axum has it: `{*name}` may have slashes.
    pub(super) path: &'static str,
    pub(super) handler: MethodRouter<Arc<Service>>,
    pub(super) operation: Operation,
}

/// `GET`, and with it `HEAD`, unless that has a route of its own.
pub(super) fn get<H: Handler<T, Arc<Service>>, T: 'static>(
    path: &'static str,
    handler: H,
    operation: Operation,
) -> Route {
    Route { method: "get", path, handler: on(MethodFilter::GET, handler), operation }
}

pub(super) fn head<H: Handler<T, Arc<Service>>, T: 'static>(
    path: &'static str,
    handler: H,
    operation: Operation,
) -> Route {
    Route { method: "head", path, handler: on(MethodFilter::HEAD, handler), operation }
}

pub(super) fn post<H: Handler<T, Arc<Service>>, T: 'static>(
    path: &'static str,
    handler: H,
    operation: Operation,
) -> Route {
    Route { method: "post", path, handler: on(MethodFilter::POST, handler), operation }
}

pub(super) fn put<H: Handler<T, Arc<Service>>, T: 'static>(
    path: &'static str,
    handler: H,
    operation: Operation,
) -> Route {
    Route { method: "put", path, handler: on(MethodFilter::PUT, handler), operation }
}

pub(super) fn delete<H: Handler<T, Arc<Service>>, T: 'static>(
    path: &'static str,
    handler: H,
    operation: Operation,
) -> Route {
    Route { method: "delete", path, handler: on(MethodFilter::DELETE, handler), operation }
}
