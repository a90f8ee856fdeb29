//! HTTP: every path on one screen.

mod answer;
mod answering;
mod arriving;
mod backup;
mod body;
mod closing;
mod duplex;
mod entries;
mod envelopes;
mod events;
mod follow;
mod gates;
mod gathered;
mod guard;
mod health;
mod impatient;
mod kept;
mod keys;
mod lists;
mod log_streams;
mod logs;
mod metrics;
mod openapi;
mod origin;
mod path;
mod places;
mod posted;
mod problem;
mod projects;
mod query;
mod range;
mod route;
mod runs;
mod serve;
mod session;
mod signals;
mod sse;
mod stream;
mod tell;
mod tls;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;

pub(crate) use self::origin::Site;
pub(crate) use self::places::Places;
use self::route::{Route, delete, get, head, post, put};
pub(crate) use self::serve::serve;
pub(crate) use self::tls::acceptor;
use crate::service::Service;

/// The routes of API.md section 2, and what is said of each in `/openapi.json`.
fn routes() -> Vec<Route> {
    vec![
        get("/v1/runs", lists::runs, lists::about_runs()),
        post("/v1/runs", runs::open, runs::about_open()),
        get("/v1/runs/{run}", runs::snapshot, runs::about_snapshot()),
        post("/v1/runs/{run}/entries", entries::append, entries::about_append()),
        post("/v1/runs/{run}/signals", signals::send, signals::about_send()),
        get("/v1/runs/{run}/events", events::of_run, events::about_of_run()),
        get("/v1/events", events::of_all, events::about_of_all()),
        post("/v1/stream", stream::both, stream::about_both()),
        get("/v1/runs/{run}/logs", logs::read, logs::about_read()),
        head("/v1/runs/{run}/logs", logs::offset, logs::about_offset()),
        post("/v1/runs/{run}/logs", logs::append, logs::about_append()),
        delete("/v1/runs/{run}/logs", logs::forget, logs::about_forget()),
        get("/v1/runs/{run}/logs/stream", log_streams::of_run, log_streams::about_of_run()),
        get("/v1/logs/stream", log_streams::of_all, log_streams::about_of_all()),
        post("/v1/runs/{run}/gates", gates::open, gates::about_open()),
        get("/v1/runs/{run}/gates/{gate_id}", gates::look, gates::about_look()),
        post("/v1/runs/{run}/gates/{gate_id}", gates::resolve, gates::about_resolve()),
        post("/v1/runs/{run}/finalize", closing::finalize, closing::about_finalize()),
        post("/v1/runs/{run}/abort", closing::abort, closing::about_abort()),
        get("/v1/envelopes", lists::envelopes, lists::about_envelopes()),
        get("/v1/envelopes/{evidence_id}", envelopes::fetch, envelopes::about_fetch()),
        delete("/v1/envelopes/{evidence_id}/disclosures", envelopes::erase, envelopes::about_erase()),
        get(
            "/v1/envelopes/{evidence_id}/verification",
            envelopes::verification,
            envelopes::about_verification(),
        ),
        get("/v1/envelopes/{evidence_id}/pack", envelopes::pack, envelopes::about_pack()),
        get("/v1/projects/{*project}", projects::look, projects::about_look()),
        put("/v1/projects/{*project}", projects::settle, projects::about_settle()),
        post("/v1/verify", envelopes::verify, envelopes::about_verify()),
        get("/v1/session", session::look, session::about_look()),
        post("/v1/session", session::begin, session::about_begin()),
        delete("/v1/session", session::end, session::about_end()),
        get("/v1/tokens", tokens::list, tokens::about_list()),
        post("/v1/tokens", tokens::create, tokens::about_create()),
        delete("/v1/tokens/{id}", tokens::forget, tokens::about_forget()),
        get("/v1/backup", backup::stream, backup::about_stream()),
        post("/v1/compaction", backup::compact, backup::about_compact()),
        get("/v1/keys", keys::jwks, keys::about_jwks()),
        get("/v1/keys.pem", keys::pem, keys::about_pem()),
        get("/healthz", health::live, health::about_live()),
        get("/readyz", health::ready, health::about_ready()),
        get("/metrics", metrics::show, metrics::about_show()),
        get("/openapi.json", openapi::document, openapi::about_document()),
    ]
}

pub(crate) fn router(service: Arc<Service>, site: Site) -> Router {
    let routes = routes().into_iter();
    routes
        .fold(Router::new(), |router, route| router.route(route.path, route.handler))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(from_fn_with_state((service.clone(), site), guard::let_in))
        .layer(from_fn_with_state(service.clone(), tell::tell))
        .with_state(service)
}
