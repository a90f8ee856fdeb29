//! A client of the service: typed calls that are tried again until they are answered, and recorded once.

mod calls;
mod error;
mod http;

pub use calls::{Appended, EntryReceipt, Finalized, Gate, OpenedRun, RunPage, RunSummary};
pub use error::ClientError;
pub use http::{Client, Retry};
