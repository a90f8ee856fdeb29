//! HTTP: every path on one screen.

mod answer;
mod backup;
mod body;
mod closing;
mod entries;
mod envelopes;
mod gates;
mod guard;
mod health;
mod impatient;
mod kept;
mod keys;
mod lists;
mod logs;
mod metrics;
mod origin;
mod path;
mod places;
mod problem;
mod projects;
mod query;
mod range;
mod runs;
mod serve;
mod session;
mod tell;
mod tls;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};

pub(crate) use self::origin::Site;
pub(crate) use self::places::Places;
pub(crate) use self::serve::serve;
pub(crate) use self::tls::acceptor;
use crate::service::Service;

/// The routes of API.md section 2.
pub(crate) fn router(service: Arc<Service>, site: Site) -> Router {
    Router::new()
        .route("/v1/runs", get(lists::runs).post(runs::open))
        .route("/v1/runs/{run}", get(runs::snapshot))
        .route("/v1/runs/{run}/entries", post(entries::append))
        .route(
            "/v1/runs/{run}/logs",
            get(logs::read).head(logs::offset).post(logs::append).delete(logs::forget),
        )
        .route("/v1/runs/{run}/gates", post(gates::open))
        .route("/v1/runs/{run}/gates/{gate_id}", get(gates::look).post(gates::resolve))
        .route("/v1/runs/{run}/finalize", post(closing::finalize))
        .route("/v1/runs/{run}/abort", post(closing::abort))
        .route("/v1/envelopes", get(lists::envelopes))
        .route("/v1/envelopes/{evidence_id}", get(envelopes::fetch))
        .route("/v1/envelopes/{evidence_id}/disclosures", delete(envelopes::erase))
        .route("/v1/envelopes/{evidence_id}/verification", get(envelopes::verification))
        .route("/v1/envelopes/{evidence_id}/pack", get(envelopes::pack))
        .route("/v1/projects/{*project}", get(projects::look).put(projects::settle))
        .route("/v1/verify", post(envelopes::verify))
        .route("/v1/session", get(session::look).post(session::begin).delete(session::end))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/{id}", delete(tokens::forget))
        .route("/v1/backup", get(backup::stream))
        .route("/v1/compaction", post(backup::compact))
        .route("/v1/keys", get(keys::jwks))
        .route("/v1/keys.pem", get(keys::pem))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::show))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(from_fn_with_state((service.clone(), site), guard::let_in))
        .layer(from_fn_with_state(service.clone(), tell::tell))
        .with_state(service)
}
