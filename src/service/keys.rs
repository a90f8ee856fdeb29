//! The key that seals here, and all that have sealed here, each with the terms on which it counts.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::Service;
use crate::evidence::key::SigningKey;
use crate::evidence::keyring::{Keyring, Terms};
use crate::evidence::time::Timestamp;
use crate::store::{Store, StoreError};

/// What to seal with, and what is said of keys.
pub(crate) struct Signing {
    pub(crate) key: SigningKey,
    /// Terms of this key and of others; a key without any counts always.
    pub(crate) keyring: Keyring,
}

/// Why a key is not sealed with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum KeyRefused {
    /// Its `not_after` has passed.
    Ended { keyid: String, not_after: Timestamp },
    /// It counts for nothing.
    Revoked { keyid: String },
    /// The store does not answer, or does not take it.
    Store(StoreError),
}

impl fmt::Display for KeyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = "nobody would take what it seals; make another with `sealstone keys rotate`";
        match self {
            KeyRefused::Ended { keyid, not_after } => {
                write!(f, "the signing key {keyid} counted until {not_after}: {advice}")
            }
            KeyRefused::Revoked { keyid } => write!(f, "the signing key {keyid} is revoked: {advice}"),
            KeyRefused::Store(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for KeyRefused {}

impl From<StoreError> for KeyRefused {
    fn from(error: StoreError) -> Self {
        KeyRefused::Store(error)
    }
}

/// What became of keys that were given to a running service.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    /// The key is the one that sealed before, and its terms have ended: it seals no more.
    SealsNothing(KeyRefused),
    /// This one seals from now on.
    SealsWith { keyid: String },
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Taken::SealsNothing(why) => write!(f, "nothing is sealed any more: {why}"),
            Taken::SealsWith { keyid } => write!(f, "sealed by {keyid} from now on"),
        }
    }
}

/// What is sealed with, and what is told of keys, at one moment.
pub(super) struct Current {
    pub(super) key: SigningKey,
    terms: Terms,
    keyring: Arc<Keyring>,
}

impl Current {
    /// Refuses a key that nobody would count at that moment.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), KeyRefused> {
        let keyid = self.key.public().keyid();
        match self.terms.not_after.filter(|last| *last < now) {
            _ if self.terms.revoked => Err(KeyRefused::Revoked { keyid }),
            Some(not_after) => Err(KeyRefused::Ended { keyid, not_after }),
            None => Ok(()),
        }
    }

    /// Refuses what a key has sealed that is revoked by now, whichever key seals by now.
    pub(super) fn check_not_revoked(&self, keyid: &str) -> Result<(), KeyRefused> {
        match self.keyring.get(keyid).is_some_and(|known| known.terms.revoked) {
            true => Err(KeyRefused::Revoked { keyid: keyid.to_owned() }),
            false => Ok(()),
        }
    }

    /// The first moment from `now` on that the key counts at.
    pub(super) fn counts_from(&self, now: Timestamp) -> Timestamp {
        self.terms.not_before.map_or(now, |first| first.max(now))
    }

    /// The key alone, on its terms.
    pub(super) fn own(&self) -> Keyring {
        let mut own = Keyring::new();
        own.replace(self.key.public(), self.terms.clone());
        own
    }
}

/// The keys of a running service: exchanged all at once.
pub(super) struct Keys {
    store: Arc<dyn Store>,
    current: RwLock<Arc<Current>>,
    /// One exchange at a time.
    taking: Mutex<()>,
}

impl Keys {
    /// Keeps what is said of keys, and refuses a signing key that does not count.
    pub(super) fn open(
        store: Arc<dyn Store>,
        signing: Signing,
        now: Timestamp,
    ) -> Result<Arc<Self>, KeyRefused> {
        let (current, changed) = merged(&*store, signing)?;
        current.check(now)?;
        register(&*store, &changed)?;
        let current = RwLock::new(Arc::new(current));
        Ok(Arc::new(Self { store, current, taking: Mutex::default() }))
    }

    pub(super) fn current(&self) -> Arc<Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes other keys, durably, or leaves all as it was. Blocks.
    fn take(&self, signing: Signing, now: Timestamp) -> Result<Taken, KeyRefused> {
        let _one = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, changed) = merged(&*self.store, signing)?;
        let keyid = next.key.public().keyid();
        let taken = match next.check(now) {
            Ok(()) => Taken::SealsWith { keyid },
            Err(why) if self.current().key.public() == next.key.public() => Taken::SealsNothing(why),
            Err(why) => return Err(why),
        };
        register(&*self.store, &changed)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(taken)
    }
}

impl Service {
    /// All keys that have sealed here, with their terms.
    pub(crate) fn keyring(&self) -> Arc<Keyring> {
        self.keys.current().keyring.clone()
    }

    /// Takes another signing key, and what is said of keys, or leaves all as it was. What is being sealed is sealed by either.
    /// Blocks.
    pub(crate) fn take_keys(&self, signing: Signing) -> Result<Taken, KeyRefused> {
        self.keys.take(signing, (self.surroundings.now)())
    }
}

/// What is known with what is said, and of that the keys that are new or on other terms.
fn merged(
    store: &dyn Store,
    Signing { key, keyring: said }: Signing,
) -> Result<(Current, Keyring), StoreError> {
    let mut keyring = Keyring::new();
    for known in store.registered_keys()? {
        let refused = |error| StoreError::Engine(format!("a stored key cannot be read: {error}"));
        keyring.add_file(known.as_bytes()).map_err(refused)?;
    }
    let mut own = Keyring::new();
    own.replace(key.public(), Terms::default());
    let mut changed = Keyring::new();
    for (keyid, trusted) in own.iter().chain(said.iter()) {
        let known = keyring.get(keyid).map(|known| &known.terms);
        let terms = known.map_or(trusted.terms.clone(), |known| with(known, &trusted.terms));
        if known != Some(&terms) {
            changed.replace(trusted.key, terms.clone());
            keyring.replace(trusted.key, terms);
        }
    }
    let terms = keyring.get(&key.public().keyid()).map(|own| own.terms.clone()).unwrap_or_default();
    Ok((Current { key, terms, keyring: Arc::new(keyring) }, changed))
}

/// A term that is not said stays as it was known, and what is revoked stays so.
fn with(known: &Terms, said: &Terms) -> Terms {
    Terms {
        not_before: said.not_before.or(known.not_before),
        not_after: said.not_after.or(known.not_after),
        revoked: said.revoked || known.revoked,
        projects: said.projects.clone().or_else(|| known.projects.clone()),
    }
}

fn register(store: &dyn Store, changed: &Keyring) -> Result<(), StoreError> {
    for (keyid, trusted) in changed.iter() {
        let mut one = Keyring::new();
        one.replace(trusted.key, trusted.terms.clone());
        store.register_key(keyid, &one.to_jwks())?;
    }
    Ok(())
}
