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
//! | `journal` | a run's state as a fold of its records, and what it answers to a request |
//! | `store` | the contract of a store, every stored key, journals in an embedded engine |
//! | `logs` | what steps wrote: chunks, lines, digests |
//! | `events` | hints: names, filters, streams in memory, and who follows them |
//! | `figures` | what is counted by the layers after it |
//! | `append` | the hot path: a lane for each run, one committer for all |
//! | `service` | what can be asked: runs, entries, gates, closing and sealing, envelopes, keys |
//! | `http` | routes, bodies, problems, connections |
//! | `client` | typed calls to a service, tried again until they are answered; its event streams, resumed until they end; runs reported in the background, and spooled; a run as a program sees it |
//! | `files`, `exec` | files digested and written whole; a command as a step |
//! | [`cli`] | the commands, a file each; `serve` alone starts the service |
//!
//! `journal` to `http` are the feature `service`, `client` and `exec` the feature `client`; neither sees the other. Both stand on
//! `events`, of which the client has what does not see the journal.
//!
//! What is *not* there is promised too, and tests hold it:
//!
//! - `evidence` and `journal` read no clock, file, environment or randomness.
//! - `verify` never imports `seal`, nor `seal` `verify`.
//! - Nothing but `store::layout` encodes a stored key.
//! - Hints carry nothing that the journal does not hold, signals aside, and no entry waits for who watches.
//! - No acknowledgement is sent before the fsync, and no lock is held across an `.await`.
//! - No error text carries key material, and none quotes more than a little of what was read.
//! - "Verified" is a type that only [`verify`](evidence::verify::verify) can make.
//! - No `unsafe`, and no panic that input can reach.

#[cfg(feature = "service")]
mod append;
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "events")]
pub mod events;
pub mod evidence;
#[cfg(feature = "client")]
mod exec;
#[cfg(feature = "service")]
mod figures;
mod files;
#[cfg(feature = "service")]
mod http;
#[cfg(feature = "service")]
pub mod journal;
#[cfg(feature = "service")]
mod logs;
#[cfg(feature = "service")]
mod service;
#[cfg(feature = "service")]
mod store;
