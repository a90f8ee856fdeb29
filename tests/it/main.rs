//! One integration binary, a file per concern.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

#[cfg(all(feature = "client", feature = "service"))]
mod access;
mod architecture;
#[cfg(all(feature = "client", feature = "service"))]
mod backup;
mod canonical;
mod commands;
#[cfg(all(feature = "client", feature = "service"))]
mod config;
#[cfg(feature = "service")]
mod crash;
#[cfg(feature = "service")]
mod crowd;
#[cfg(all(feature = "client", feature = "service"))]
mod detect;
#[cfg(feature = "service")]
mod documented;
#[cfg(all(feature = "client", feature = "service"))]
mod duplex;
mod ed25519;
#[cfg(feature = "service")]
mod erasure;
#[cfg(feature = "service")]
mod event_pages;
#[cfg(feature = "client")]
mod exec;
#[cfg(all(feature = "client", feature = "service"))]
mod export;
#[cfg(all(feature = "client", feature = "service"))]
mod faulty;
#[cfg(feature = "service")]
mod hostile;
#[cfg(feature = "client")]
mod junit;
mod keyrings;
mod keys;
#[cfg(all(feature = "client", feature = "service"))]
mod life;
#[cfg(feature = "service")]
mod lists;
#[cfg(feature = "service")]
mod log_streams;
#[cfg(feature = "service")]
mod logs;
mod mutants;
#[cfg(feature = "service")]
mod operator;
#[cfg(all(feature = "client", feature = "service"))]
mod pipeline;
mod place;
#[cfg(feature = "service")]
mod problems;
#[cfg(feature = "service")]
mod projects;
#[cfg(all(feature = "client", feature = "service"))]
mod readme;
#[cfg(all(feature = "client", feature = "service"))]
mod recovery;
#[cfg(feature = "service")]
mod redaction;
#[cfg(all(feature = "client", feature = "service"))]
mod reporting;
#[cfg(all(feature = "client", feature = "service"))]
mod rotation;
#[cfg(feature = "client")]
mod run_context;
#[cfg(all(feature = "client", feature = "service"))]
mod run_context_gates;
#[cfg(all(feature = "client", feature = "service"))]
mod run_context_reported;
mod schemas;
mod sealing;
#[cfg(feature = "service")]
mod server;
#[cfg(all(feature = "client", feature = "service"))]
mod sessions;
#[cfg(feature = "service")]
mod signals;
#[cfg(all(feature = "client", feature = "service"))]
mod site;
#[cfg(all(feature = "client", feature = "service"))]
mod spool;
#[cfg(feature = "service")]
mod sse;
#[cfg(feature = "service")]
mod stores;
#[cfg(all(feature = "client", feature = "service"))]
mod streams;
#[cfg(all(feature = "client", feature = "service"))]
mod tls;
mod vectors;
#[cfg(feature = "client")]
mod watch;
#[cfg(all(feature = "client", feature = "service"))]
mod watched;
