//! SHA-256: digests, commitments, and the Merkle root of a chain.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::digest::common::hazmat::{SerializableState as _, SerializedState};
use sha2::{Digest as _, Sha256};

use super::canonical::Value;

/// A SHA-256 digest. Its text form is `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// What of a text is not the text form of a [`Digest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotADigest;

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of the concatenation of these parts.
    pub(crate) fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Hasher::default();
        parts.into_iter().for_each(|part| hasher.update(part));
        hasher.finish()
    }

    /// A digest that was computed elsewhere, or no digest at all (32 zero bytes before the first link).
    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hex digits without the prefix.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let digits = text.strip_prefix("sha256:").ok_or(NotADigest)?.as_bytes();
        let mut bytes = [0; 32];
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(NotADigest);
        }
        for (place, pair) in bytes.iter_mut().zip(pairs) {
            *place = byte(pair)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for NotADigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a digest: sha256: and 64 lower-case hex digits expected")
    }
}

impl std::error::Error for NotADigest {}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl From<Digest> for Value<'_> {
    fn from(digest: Digest) -> Self {
        digest.to_string().into()
    }
}

/// A digest of bytes that come piece by piece.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// What was taken so far, in hex, so that another process can go on with it.
impl Serialize for Hasher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0.serialize()))
    }
}

impl<'de> Deserialize<'de> for Hasher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || serde::de::Error::custom("not the state of a digest");
        let text = String::deserialize(deserializer)?;
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Result<Vec<u8>, NotADigest> = pairs.iter().map(byte).collect();
        let bytes = bytes.ok().filter(|_| rest.is_empty()).ok_or_else(wrong)?;
        let state = SerializedState::<Sha256>::try_from(bytes.as_slice()).map_err(|_| wrong())?;
        Sha256::deserialize(&state).map(Self).map_err(|_| wrong())
    }
}

/// The commitment to a withheld value (ENVELOPE.md section 6): `salt` in its text form.
pub fn commitment(salt: &str, value: &Value<'_>) -> Digest {
    let parts = vec!["sealstone.withheld.v1".into(), salt.into(), value.clone()];
    Digest::of(Value::List(parts).canonical().as_bytes())
}

/// The Merkle tree hash of RFC 9162, section 2.1.1, over these leaves.
pub fn merkle_root(leaves: impl IntoIterator<Item = Digest>) -> Digest {
    // Complete subtrees from left to right, each smaller than the one before: (leaves in it, hash).
    let mut subtrees: Vec<(u64, Digest)> = Vec::new();
    for leaf in leaves {
        let mut subtree = (1_u64, Digest::of_parts([&[0], leaf.as_bytes().as_slice()]));
        while let Some((size, left)) = subtrees.pop_if(|(size, _)| *size == subtree.0) {
            subtree = (size.saturating_mul(2), merkle_node(left, subtree.1));
        }
        subtrees.push(subtree);
    }
    let root =
        subtrees.into_iter().rev().map(|(_, hash)| hash).reduce(|right, left| merkle_node(left, right));
    root.unwrap_or_else(|| Digest::of([]))
}

fn merkle_node(left: Digest, right: Digest) -> Digest {
    Digest::of_parts([&[1], left.as_bytes().as_slice(), right.as_bytes().as_slice()])
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or_default();
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

fn byte([high, low]: &[u8; 2]) -> Result<u8, NotADigest> {
    Ok((nibble(*high)? << 4) | nibble(*low)?)
}

fn nibble(digit: u8) -> Result<u8, NotADigest> {
    match digit {
        b'0'..=b'9' => Ok(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Ok(digit.wrapping_sub(b'a').wrapping_add(10)),
        _ => Err(NotADigest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9162's definition, word for word.
    fn defined(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of([]),
            [leaf] => Digest::of_parts([&[0], leaf.as_bytes().as_slice()]),
            _ => {
                let k = leaves.len().next_power_of_two() / 2;
                merkle_node(defined(&leaves[..k]), defined(&leaves[k..]))
            }
        }
    }

    #[test]
    fn merkle_root_is_that_of_the_definition() {
        let leaves: Vec<Digest> = (0..70_u8).map(|n| Digest::of([n])).collect();
        for n in 0..leaves.len() {
            assert_eq!(merkle_root(leaves[..n].iter().copied()), defined(&leaves[..n]), "{n} leaves");
        }
    }

    #[test]
    fn a_digest_has_one_text_form() {
        let digest = Digest::of("x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        let upper = digest.to_string().to_uppercase();
        for wrong in [upper.as_str(), "sha256:", "sha256:00", &digest.to_hex(), &format!("{digest}0")] {
            assert_eq!(wrong.parse::<Digest>(), Err(NotADigest), "{wrong}");
        }
    }
}
