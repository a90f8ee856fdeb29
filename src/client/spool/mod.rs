//! The spool: what the service did not acknowledge, on this machine's disk, until it does.
//!
//! A file holds what one producer had to tell of one run, in order. It is sealed with a key that is not in it (of the token, or of this
//! machine), so that nothing private lies on a build machine in the clear. Its name says when it was begun: files of one run are sent in
//! the order of their names.

mod cipher;
mod directory;
mod file;
mod header;

pub(crate) use cipher::{KeySource, SpoolKey, SpoolKeys};
pub(crate) use directory::refused_in;
pub(crate) use directory::{Spool, Waiting, waiting_in};
pub(crate) use file::{SpoolError, SpoolFile, Unread};
pub(crate) use header::Header;
