//! Ed25519 keys (RFC 8032), in PEM (RFC 8410) and out.

use std::fmt;

use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
    spki::der::pem::LineEnding,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey as DalekSigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::digest::{Digest, hex};

/// SubjectPublicKeyInfo of an Ed25519 key is this and the 32 bytes of the key (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The encoding is not the canonical one of a point on the curve.
    NotAPoint,
    /// Not a PKCS#8 PEM text of an Ed25519 private key.
    NotPkcs8,
    /// Not an SPKI PEM text of an Ed25519 public key.
    NotSpki,
    /// A point of small order: signatures under it prove nothing.
    SmallOrder,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::NotAPoint => "not the canonical encoding of a point on the curve",
            KeyError::NotPkcs8 => "not an Ed25519 private key in PKCS#8 PEM (BEGIN PRIVATE KEY)",
            KeyError::NotSpki => "not an Ed25519 public key in SPKI PEM (BEGIN PUBLIC KEY)",
            KeyError::SmallOrder => "a point of small order, which is no key",
        })
    }
}

impl std::error::Error for KeyError {}

/// A public key: the canonical encoding of a point on the curve that is not of small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key of these 32 bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(KeyError::NotAPoint);
        }
        if key.is_weak() { Err(KeyError::SmallOrder) } else { Ok(Self(key)) }
    }

    /// The key of one SPKI PEM block.
    pub fn from_spki_pem(pem: &str) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_public_key_pem(pem).map_err(|_| KeyError::NotSpki)?;
        Self::from_bytes(key.as_bytes())
    }

    /// SPKI PEM, with line feeds.
    pub fn to_spki_pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).expect("44 bytes always encode")
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Lower-case hex SHA-256 of the SubjectPublicKeyInfo DER. It selects a key, and is never trust.
    pub fn keyid(&self) -> String {
        hex(Digest::of_parts([SPKI_PREFIX.as_slice(), self.as_bytes()]).as_bytes())
    }

    /// Strict verification (ENVELOPE.md section 7): S below the order, R canonical and not of small order, the
    /// cofactorless equation. The key itself was held against the same rules when it was made.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.keyid())
    }
}

/// A private key. It is wiped from memory when dropped, and no text shows it.
#[derive(Clone)]
pub struct SigningKey(DalekSigningKey);

impl SigningKey {
    /// The key of this seed: 32 bytes of randomness.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(DalekSigningKey::from_bytes(seed))
    }

    /// The key of a PKCS#8 PEM text, as `openssl genpkey -algorithm ed25519` writes it.
    pub fn from_pkcs8_pem(pem: &str) -> Result<Self, KeyError> {
        DalekSigningKey::from_pkcs8_pem(pem).map(Self).map_err(|_| KeyError::NotPkcs8)
    }

    /// PKCS#8 PEM, with line feeds.
    pub fn to_pkcs8_pem(&self) -> Zeroizing<String> {
        // Version 1, without the public key: what OpenSSL reads everywhere.
        let secret = ed25519_dalek::pkcs8::KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        secret.to_pkcs8_pem(LineEnding::LF).expect("48 bytes always encode")
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The 64 bytes of the signature (RFC 8032, pure Ed25519).
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().keyid())
    }
}
