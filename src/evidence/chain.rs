//! The hash chain over a run's elements (ENVELOPE.md section 4).

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// The name of the chain's rule, also the domain tag of each link.
pub const CHAIN: &str = "sealstone.chain.v1";

const TAG: &[u8] = b"sealstone.chain.v1\n";

/// The place of an element in its run's order of recording, from 0.
pub type Seq = u64;

/// What a chain is at one moment: the last element's place and the hash that stands for all up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last element's place.
    pub seq: Seq,
    /// The hash over everything recorded so far.
    pub entry_hash: Digest,
}

/// One link: an element's digest, and the hash over it and everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// SHA-256 of the element's canonical form.
    pub digest: Digest,
    /// The hash over this link and all before it.
    pub entry_hash: Digest,
}

/// What stands before the first link: 32 zero bytes.
pub const GENESIS: Digest = Digest::from_bytes([0; 32]);

/// The entry hash of the element `seq` with this digest, after a link with the entry hash `before`.
pub fn link(before: Digest, seq: Seq, digest: Digest) -> Digest {
    Digest::of_parts([TAG, before.as_bytes(), &seq.to_be_bytes(), digest.as_bytes()])
}
