//! The envelope: what an element is made of, what may be withheld, how large things may be (ENVELOPE.md sections 3, 6 and 8).

mod check;
mod disclosure;
mod free;
mod kind;
pub mod limits;
pub(crate) mod model;
pub mod pointer;
mod text;

pub use check::{Fault, FaultReason, WITHHELD};
pub(crate) use check::{check_ingest, check_recorded, contains_commitment, is_commitment, stated_commitment};
pub use disclosure::{DEFAULT_PRIVATE, Disclosure, NotPrivate, PrivateMembers};
pub(crate) use disclosure::{commitment_bytes, locate};
pub use free::{Place, Rewrite, rewrite};
pub use kind::Kind;
pub(crate) use model::RESULTS;
pub use model::{OF_THE_FINISHED, OF_THE_SERVICE};
pub use text::{CANONICALIZATION, ENVELOPE_FORMAT, SEALED_FORMAT};
pub(crate) use text::{EnvelopeParts, envelope_text, list};
