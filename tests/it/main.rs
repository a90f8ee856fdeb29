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
mod canonical;
mod commands;
#[cfg(feature = "service")]
mod crash;
#[cfg(feature = "service")]
mod crowd;
#[cfg(feature = "service")]
mod documented;
mod ed25519;
#[cfg(feature = "client")]
mod exec;
#[cfg(feature = "service")]
mod hostile;
mod keyrings;
#[cfg(all(feature = "client", feature = "service"))]
mod life;
mod mutants;
mod place;
#[cfg(feature = "service")]
mod problems;
#[cfg(feature = "service")]
mod projects;
mod schemas;
mod sealing;
#[cfg(feature = "service")]
mod server;
#[cfg(feature = "service")]
mod stores;
#[cfg(all(feature = "client", feature = "service"))]
mod tls;
mod vectors;
