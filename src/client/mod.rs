//! A client of the service: typed calls that are tried again until they are answered, and recorded once; events, resumed until they end.

mod calls;
pub mod context;
mod error;
mod http;
pub(crate) mod report;
pub(crate) mod spool;
pub mod sse;
mod subscription;

pub use calls::{Appended, EntryReceipt, Finalized, Gate, OpenedRun, RunPage, RunState, RunSummary};
pub use error::ClientError;
pub use http::{Client, Retry};
pub use subscription::Subscription;
