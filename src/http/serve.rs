//! Connections: accepted, served, ended in good order.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::impatient::{Hurry, Impatient};
use super::places::Places;

/// How long the head of a request may take, and a connection be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take once the service is to end.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until `end` is there; then requests under way are answered, and no more taken. What never ends by itself has to be ended
/// with `end`.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    places: Places,
    end: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let (connections, hurry) = (GracefulShutdown::new(), Hurry::default());
    tokio::pin!(end);
    loop {
        let permit = tokio::select! {
            permit = places.one_free() => permit,
            () = &mut end => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut end => break,
        };
        match stream {
            Ok((stream, _)) => {
                // Answers are small and awaited: none waits for the next one to fill a segment.
                let _ = stream.set_nodelay(true);
                let stream = Impatient::new(stream, hurry.clone());
                let (patience, router) = (stream.patience(), TowerToHyperService::new(router.clone()));
                let service = service_fn(move |mut request: Request<Incoming>| {
                    // For answers that say how patient we are with who takes them.
                    patience.reset();
                    request.extensions_mut().insert(patience.clone());
                    router.call(request)
                });
                let place = places.take(permit);
                let (http, watcher, tls) = (http.clone(), connections.watcher(), tls.clone());
                // A connection that breaks concerns nobody else.
                tokio::spawn(async move {
                    let _place = place;
                    let Some(tls) = tls else {
                        let _ = watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await;
                        return;
                    };
                    match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            let _ = watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await;
                        }
                        Ok(Err(error)) => debug!(reason = error.to_string(), "a TLS handshake failed"),
                        Err(_) => debug!("a TLS handshake took too long"),
                    }
                });
            }
            Err(error) => rest(&error).await,
        }
    }
    drop(listener);
    hurry.begin();
    let _ = timeout(GRACE, connections.shutdown()).await;
}

/// Out of file descriptors, nothing gets better by trying at once; a connection that was given up does not matter.
async fn rest(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        warn!(reason = error.to_string(), "a connection could not be accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
