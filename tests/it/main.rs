//! One integration binary, a file per concern.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

mod architecture;
mod canonical;
mod commands;
mod ed25519;
#[cfg(feature = "client")]
mod exec;
mod keyrings;
mod mutants;
mod place;
mod schemas;
mod sealing;
mod vectors;
