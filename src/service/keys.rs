//! The public keys that have sealed in this store.

use super::Service;
use crate::evidence::key::PublicKey;
use crate::evidence::keyring::{Keyring, Terms};
use crate::store::{Store, StoreError};

impl Service {
    /// The keyring of all keys that have sealed here.
    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }
}

/// Keeps the key, and gives it with all that were kept before.
pub(super) fn register(store: &dyn Store, key: PublicKey) -> Result<Keyring, StoreError> {
    let mut keyring = Keyring::new();
    for known in store.registered_keys()? {
        let refused = |error| StoreError::Engine(format!("a stored key cannot be read: {error}"));
        keyring.add_file(known.as_bytes()).map_err(refused)?;
    }
    if keyring.get(&key.keyid()).is_none() {
        let mut own = Keyring::new();
        own.add(key, Terms::default()).expect("one key cannot contradict itself");
        store.register_key(&key.keyid(), &own.to_jwks())?;
        keyring.add(key, Terms::default()).expect("it was not there");
    }
    Ok(keyring)
}
