//! Who a token is of, and whether they ask too often.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::super::ServiceError;
use super::token::{Secret, Token, digest_of_shown};
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;
use crate::store::{Store, StoreError};

/// What somebody shows to be let in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Held {
    /// A token that counts.
    Counts(Arc<Token>),
    /// Nothing that counts.
    Nothing,
    /// A token that counts, used more often than is allowed.
    TooOften,
}

/// The tokens that there are. What is kept is in the store; this is what was read of it.
pub(crate) struct Gatekeeper {
    store: Arc<dyn Store>,
    tokens: RwLock<HashMap<Digest, Arc<Token>>>,
    had_tokens: AtomicBool,
    /// One change at a time: what it looks at first holds until it is made.
    changing: Mutex<()>,
    /// How often each token was used of late.
    used: Mutex<HashMap<Digest, Bucket>>,
    /// Requests a second of one token, and at once; none without.
    per_second: Option<u32>,
}

/// A bucket of permits that fills up with time.
struct Bucket {
    permits: f64,
    at_ms: i64,
}

impl Gatekeeper {
    /// What cannot be read is an error: a token that is overlooked might be the last one.
    pub(crate) fn open(store: Arc<dyn Store>, per_second: Option<u32>) -> Result<Self, StoreError> {
        let gatekeeper = Self {
            store,
            tokens: RwLock::default(),
            had_tokens: AtomicBool::new(false),
            changing: Mutex::default(),
            used: Mutex::default(),
            per_second,
        };
        for (digest, token) in gatekeeper.store.tokens()? {
            let corrupt = |_| StoreError::Corrupt { what: "token", evidence_id: digest.to_string() };
            gatekeeper.keep(digest, serde_json::from_str(&token).map_err(corrupt)?);
        }
        Ok(gatekeeper)
    }

    /// Whether there was any token since the start. Without one this machine may be let in as it is; once there was one, nobody is
    /// let in without.
    pub(crate) fn had_tokens(&self) -> bool {
        self.had_tokens.load(Ordering::SeqCst)
    }

    /// Whether a token that was shown before counts still.
    pub(crate) fn counts_still(&self, token: &Token, now: Timestamp) -> bool {
        token.counts_at(now) && token.digest.is_some_and(|digest| self.read().contains_key(&digest))
    }

    /// Whose the shown token is.
    pub(crate) fn held(&self, shown: &str, now: Timestamp) -> Held {
        let Some(digest) = digest_of_shown(shown) else { return Held::Nothing };
        let Some(token) = self.read().get(&digest).cloned() else { return Held::Nothing };
        if !token.counts_at(now) {
            return Held::Nothing;
        }
        if self.takes(digest, now) { Held::Counts(token) } else { Held::TooOften }
    }

    /// Keeps a new token. Durable once it returns. The first one has to govern: with it nobody is let in without one.
    pub(crate) fn create(&self, secret: &Secret, token: Token) -> Result<(), ServiceError> {
        let _one = self.changing();
        if !self.had_tokens() && !token.governs() {
            return Err(ServiceError::FirstToken);
        }
        let text = serde_json::to_string(&token).expect("a token has text for names");
        self.store.put_token(secret.digest(), &text)?;
        self.keep(secret.digest(), token);
        Ok(())
    }

    /// All tokens, by name.
    pub(crate) fn list(&self) -> Vec<Arc<Token>> {
        let mut tokens: Vec<Arc<Token>> = self.read().values().cloned().collect();
        tokens.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        tokens
    }

    /// Forgets a token; false if there is none of that id. It counts for nothing once this returns. The last one that governs
    /// stays, and of those that will end none counts as the last.
    pub(crate) fn delete(&self, id: &str) -> Result<bool, ServiceError> {
        let _one = self.changing();
        let (digest, governs) = match self.read().iter().find(|(_, token)| token.id == id) {
            Some((digest, token)) => (*digest, token.governs()),
            None => return Ok(false),
        };
        let stays = |token: &Arc<Token>| token.id != id && token.governs() && token.expires_at.is_none();
        if governs && !self.read().values().any(stays) {
            return Err(ServiceError::LastAdmin);
        }
        self.store.delete_token(digest)?;
        self.write().remove(&digest);
        self.used().remove(&digest);
        Ok(true)
    }

    fn keep(&self, digest: Digest, token: Token) {
        self.write().insert(digest, Arc::new(Token { digest: Some(digest), ..token }));
        self.had_tokens.store(true, Ordering::SeqCst);
    }

    /// Takes a permit, if there is one.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of at most a second")]
    fn takes(&self, digest: Digest, now: Timestamp) -> bool {
        let Some(per_second) = self.per_second.map(f64::from) else { return true };
        let now_ms = now.unix_ms();
        let mut used = self.used();
        let bucket = used.entry(digest).or_insert(Bucket { permits: per_second, at_ms: now_ms });
        let passed_ms = now_ms.saturating_sub(bucket.at_ms).clamp(0, 1_000);
        bucket.permits = (bucket.permits + per_second * passed_ms as f64 / 1_000.0).min(per_second);
        bucket.at_ms = now_ms;
        let takes = bucket.permits >= 1.0;
        if takes {
            bucket.permits -= 1.0;
        }
        takes
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Digest, Arc<Token>>> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Digest, Arc<Token>>> {
        self.tokens.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self) -> MutexGuard<'_, HashMap<Digest, Bucket>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
