//! Sealstone: CI runs sealed into evidence envelopes, and a verifier that trusts neither us nor the network.
//!
//! Two timelines run through everything. The **record** is a run's elements, chained by SHA-256, sealed with Ed25519: complete,
//! tamper-evident, final. **Hints** are what people watch meanwhile; nobody decides by them.
//!
//! Layers, each seeing only those before it:
//!
//! | module | what |
//! | --- | --- |
//! | [`evidence`] | the core: strict JSON, canonical form, chain, seal, verification; always built |
//! | `files` | files digested, and written whole or not at all |
//! | `exec` | a command as a step: child process, subject, artifacts (feature `client`) |
//! | [`cli`] | the commands, a file each |
//!
//! What is *not* there is promised too, and tests hold it:
//!
//! - `evidence` reads no clock, file, environment or randomness.
//! - `verify` never imports `seal`, nor `seal` `verify`.
//! - No error text carries key material, and none quotes more than a little of what was read.
//! - "Verified" is a type that only [`verify`](evidence::verify::verify) can make.
//! - No `unsafe`, and no panic that input can reach.

#[cfg(feature = "service")]
mod append;
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod evidence;
#[cfg(feature = "client")]
mod exec;
mod files;
#[cfg(feature = "service")]
mod http;
#[cfg(feature = "service")]
pub mod journal;
#[cfg(feature = "service")]
mod service;
#[cfg(feature = "service")]
mod store;
