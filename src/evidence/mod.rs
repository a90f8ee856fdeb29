//! The core: what an envelope is, how it is sealed, and how it is judged.
//!
//! Pure: bytes, moments and randomness come in as arguments, values go out. `seal` and `verify` do not see each other.

pub mod canonical;
pub mod chain;
pub mod consistency;
pub mod digest;
pub mod dsse;
pub mod envelope;
pub mod key;
pub mod keyring;
pub mod record;
pub(crate) mod revertible;
pub mod seal;
pub mod time;
pub mod verify;
