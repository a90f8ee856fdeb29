//! Whose a token or a session is, and whether they ask too often.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::super::ServiceError;
use super::Caller;
use super::session::{self, Session, SessionSecret};
use super::token::{self, Secret, Token};
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;
use crate::store::{Store, StoreError};

/// How many sessions a token may have; the oldest goes.
const MAX_SESSIONS: usize = 100;

/// What somebody shows to be let in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Held {
    /// A token or a session that counts, and so who asks.
    Counts(Caller),
    /// Nothing that counts.
    Nothing,
    /// One whose token is used more often than is allowed.
    TooOften,
}

/// The tokens and sessions that there are. What is kept is in the store; this is what was read of it.
pub(crate) struct Gatekeeper {
    store: Arc<dyn Store>,
    tokens: RwLock<HashMap<Digest, Arc<Token>>>,
    sessions: RwLock<HashMap<Digest, Session>>,
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
            sessions: RwLock::default(),
            had_tokens: AtomicBool::new(false),
            changing: Mutex::default(),
            used: Mutex::default(),
            per_second,
        };
        for (digest, token) in gatekeeper.store.tokens()? {
            let corrupt = |_| StoreError::Corrupt { what: "token", evidence_id: digest.to_string() };
            gatekeeper.keep(digest, serde_json::from_str(&token).map_err(corrupt)?);
        }
        for (digest, session) in gatekeeper.store.sessions()? {
            // What cannot be read lets nobody in.
            if let Ok(session) = serde_json::from_str(&session) {
                gatekeeper.write_sessions().insert(digest, Session { digest, ..session });
            }
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

    /// Whether a session that was shown before counts still, and its token.
    pub(crate) fn session_counts_still(&self, token: &Token, session: &Session, now: Timestamp) -> bool {
        self.counts_still(token, now)
            && session.counts_at(now)
            && self.read_sessions().contains_key(&session.digest)
    }

    /// Whose the shown token is.
    pub(crate) fn held(&self, shown: &str, now: Timestamp) -> Held {
        let token = token::digest_of_shown(shown).and_then(|digest| self.token_at(digest, now));
        token.map_or(Held::Nothing, |token| self.let_in(token.digest, Caller::Token(token), now))
    }

    /// Whose the shown session is.
    pub(crate) fn held_in_session(&self, shown: &str, now: Timestamp) -> Held {
        let digest = session::digest_of_shown(shown);
        let session = digest.and_then(|digest| self.read_sessions().get(&digest).cloned());
        let Some(session) = session.filter(|session| session.counts_at(now)) else { return Held::Nothing };
        let token = self.token_at(session.token, now);
        token.map_or(Held::Nothing, |token| self.let_in(token.digest, Caller::Session(token, session), now))
    }

    fn token_at(&self, digest: Digest, now: Timestamp) -> Option<Arc<Token>> {
        self.read().get(&digest).filter(|token| token.counts_at(now)).cloned()
    }

    fn let_in(&self, token: Option<Digest>, caller: Caller, now: Timestamp) -> Held {
        match token.is_some_and(|token| self.takes(token, now)) {
            true => Held::Counts(caller),
            false => Held::TooOften,
        }
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
        // Its sessions count for nothing already; those that a crash leaves here are forgotten by the next sweep.
        let _ = self.forget_sessions(|session| session.token == digest);
        Ok(true)
    }

    /// Keeps a new session of a token that counts; `None` if it does not any more. Durable once it returns.
    pub(crate) fn begin_session(
        &self,
        secret: &SessionSecret,
        token: &Token,
        now: Timestamp,
    ) -> Result<Option<Session>, ServiceError> {
        let _one = self.changing();
        let Some(of) = token.digest.filter(|_| self.counts_still(token, now)) else { return Ok(None) };
        let session = Session::new(secret, token, of, now);
        let mut others: Vec<(Timestamp, Digest)> = self
            .read_sessions()
            .values()
            .filter(|other| other.token == of)
            .map(|other| (other.begun_at, other.digest))
            .collect();
        others.sort_unstable_by_key(|(begun_at, digest)| (*begun_at, *digest.as_bytes()));
        let many = others.len().saturating_add(1).saturating_sub(MAX_SESSIONS);
        let gone: Vec<Digest> = others.into_iter().take(many).map(|(_, digest)| digest).collect();
        self.change_sessions(Some(session.clone()), &gone)?;
        Ok(Some(session))
    }

    /// Ends a session. It counts for nothing once this returns, and never again.
    pub(crate) fn end_session(&self, ended: &Session) -> Result<(), ServiceError> {
        let _one = self.changing();
        self.forget_sessions(|session| session.digest == ended.digest)
    }

    /// Forgets sessions that are over, or whose token is.
    pub(crate) fn forget_ended(&self, now: Timestamp) -> Result<(), ServiceError> {
        let _one = self.changing();
        self.forget_sessions(|session| !session.counts_at(now) || self.token_at(session.token, now).is_none())
    }

    /// Forgets these sessions; the caller holds `changing`.
    fn forget_sessions(&self, which: impl Fn(&Session) -> bool) -> Result<(), ServiceError> {
        let gone: Vec<Digest> = self
            .read_sessions()
            .values()
            .filter(|session| which(session))
            .map(|session| session.digest)
            .collect();
        if gone.is_empty() { Ok(()) } else { self.change_sessions(None, &gone) }
    }

    fn change_sessions(&self, new: Option<Session>, gone: &[Digest]) -> Result<(), ServiceError> {
        let text = new.as_ref().map(|session| {
            (session.digest, serde_json::to_string(session).expect("a session has text for names"))
        });
        self.store.change_sessions(text.as_ref().map(|(digest, text)| (*digest, text.as_str())), gone)?;
        let mut sessions = self.write_sessions();
        for digest in gone {
            sessions.remove(digest);
        }
        sessions.extend(new.map(|session| (session.digest, session)));
        Ok(())
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

    fn read_sessions(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Digest, Session>> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_sessions(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Digest, Session>> {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self) -> MutexGuard<'_, HashMap<Digest, Bucket>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
