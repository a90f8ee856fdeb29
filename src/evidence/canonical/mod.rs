//! JSON in, RFC 8785 (JCS) out.
//!
//! The parser stands before everything: what serde_jcs is given has unique names, finite numbers within
//! ±(2^53 − 1) and whole characters, so that it cannot silently write another value than was read. Nothing is
//! Unicode-normalised. The parser notices while it reads whether an object is canonical already; then its digest
//! is that of the text as it stands, and the writer is not asked.

mod error;
mod parse;
mod value;

pub use error::{JsonCode, JsonError};
pub use parse::{MAX_DEPTH, parse};
pub use value::{MAX_SAFE_INTEGER, Number, Object, Value};
