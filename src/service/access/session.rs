//! Sessions: what a browser is given for a token, so that it need not keep the token itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::token::Token;
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;

/// How long a session lasts, in milliseconds.
const LASTS_MS: i64 = 12 * 3_600_000;
/// The length of 16 bytes in base64url.
const SHOWN_CHARS: usize = 22;

/// What is kept of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// The digest of the token that it stands for.
    pub(super) token: Digest,
    pub(super) begun_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// What it is known by.
    #[serde(skip, default = "no_digest")]
    pub(super) digest: Digest,
}

impl Session {
    /// A session that begins now. It does not outlive its token.
    pub(super) fn new(secret: &SessionSecret, token: &Token, of: Digest, now: Timestamp) -> Self {
        let end = Timestamp::from_unix_ms(now.unix_ms().saturating_add(LASTS_MS));
        let expires_at = token.expires_at.map_or(end, |until| until.min(end));
        Self { token: of, begun_at: now, expires_at, digest: secret.digest() }
    }

    pub(super) fn counts_at(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }
}

/// A session as a browser has it. No text shows it but the cookie that hands it out.
pub(crate) struct SessionSecret(String);

impl SessionSecret {
    /// A session of 16 fresh random bytes.
    pub(crate) fn new(random: &[u8; 16]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(random))
    }

    pub(super) fn digest(&self) -> Digest {
        digest_of(&self.0)
    }

    /// The text, to be handed out once.
    pub(crate) fn show(&self) -> &str {
        &self.0
    }
}

/// What is kept of a session that somebody shows; `None` for what cannot be one.
pub(super) fn digest_of_shown(text: &str) -> Option<Digest> {
    (text.len() == SHOWN_CHARS).then(|| digest_of(text))
}

fn digest_of(session: &str) -> Digest {
    Digest::of(format!("sealstone.session.v1\n{session}"))
}

fn no_digest() -> Digest {
    Digest::from_bytes([0; 32])
}
