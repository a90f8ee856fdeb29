//! One integration binary, a file per concern.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic"
)]

mod canonical;
mod ed25519;
mod mutants;
mod schemas;
mod vectors;
