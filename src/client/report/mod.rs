//! A run reported in the background: in order, each thing once, and on disk what the service does not acknowledge in time.
//!
//! Who reports never waits for the service. What it tells waits in memory for a moment, in a [spool](super::spool) when that grows long,
//! and is sent by a thread of its own, which also tells the service that the producer lives, and hears when somebody asks it to stop.

mod backlog;
mod courier;
mod entries;
mod logs;
mod outbox;
mod remainder;
mod reporter;
mod spilling;
mod state;
mod telling;
mod worker;

pub(crate) use backlog::{Flushed, flush_file};
pub(crate) use courier::Undelivered;
pub(crate) use reporter::{Delivery, Reporter, Reporting, Unsent};
pub(crate) use telling::{Again, Keyed, LogPlace, Stream};
