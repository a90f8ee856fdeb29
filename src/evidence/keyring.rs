//! The keys that an auditor trusts, each on its terms (ENVELOPE.md section 7).

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::canonical::{self, JsonError, Object, Value};
use super::key::{KeyError, PublicKey};
use super::time::Timestamp;

/// How many bytes a keyring file may have.
pub const MAX_KEYRING_BYTES: usize = 8 << 20;

/// Public keys by `keyid`, each with its terms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keyring {
    keys: BTreeMap<String, TrustedKey>,
}

/// A key and the terms on which it counts.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// When and for what it counts.
    pub terms: Terms,
}

/// When and for what a key counts. The default: always, for every project.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// The first `sealed_at` that counts.
    pub not_before: Option<Timestamp>,
    /// The last `sealed_at` that counts.
    pub not_after: Option<Timestamp>,
    /// A revoked key counts for nothing.
    pub revoked: bool,
    /// Names or `prefix/*`; `None` is all.
    pub projects: Option<Vec<String>>,
}

impl Terms {
    /// Whether the key speaks for this project.
    pub fn covers_project(&self, project: &str) -> bool {
        let covers = |scope: &String| match scope.strip_suffix('*').filter(|prefix| prefix.ends_with('/')) {
            Some(prefix) => project.starts_with(prefix),
            None => project == scope,
        };
        self.projects.as_ref().is_none_or(|scopes| scopes.iter().any(covers))
    }

    /// Whether the key counts at that moment; both ends are inclusive.
    pub fn covers_time(&self, sealed_at: Timestamp) -> bool {
        self.not_before.is_none_or(|first| first <= sealed_at)
            && self.not_after.is_none_or(|last| sealed_at <= last)
    }
}

/// Why a keyring is refused (`keyring.invalid`).
#[derive(Clone, Debug, PartialEq)]
pub enum KeyringError {
    /// One key on two terms, in one file or across files.
    Contradiction {
        /// The key.
        keyid: String,
    },
    /// A member is not of the form that it must have.
    Form {
        /// Where: a pointer into the file.
        at: String,
        /// What is wrong.
        detail: &'static str,
    },
    /// Not JSON by ENVELOPE.md section 2.
    Json(JsonError),
    /// Not a key that can be trusted.
    Key {
        /// Where: a pointer into the file.
        at: String,
        /// What is wrong with it.
        error: KeyError,
    },
    /// A PEM text without a public key.
    NoKey,
    /// A private key stands in it: it does not belong into a keyring.
    PrivateKey,
    /// A member that no keyring has.
    UnknownMember {
        /// Where: a pointer into the file.
        at: String,
    },
}

impl KeyringError {
    /// The stable code of every refusal.
    pub const CODE: &'static str = "keyring.invalid";
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyringError::Contradiction { keyid } => {
                write!(f, "the key {keyid} is given twice, on different terms")
            }
            KeyringError::Form { at, detail } => write!(f, "{at}: {detail}"),
            KeyringError::Json(error) => write!(f, "{error}"),
            KeyringError::Key { at, error } => write!(f, "{at}: {error}"),
            KeyringError::NoKey => f.write_str("no public key (BEGIN PUBLIC KEY) in this PEM text"),
            KeyringError::PrivateKey => f.write_str(
                "there is a private key in it; give the public half, and keep the private one secret",
            ),
            KeyringError::UnknownMember { at } => write!(f, "{at}: no such member in a keyring"),
        }
    }
}

impl std::error::Error for KeyringError {}

const JWK_MEMBERS: [&str; 12] = [
    "kty",
    "crv",
    "x",
    "kid",
    "keyid",
    "alg",
    "use",
    "pem",
    "not_before",
    "not_after",
    "revoked",
    "projects",
];

impl Keyring {
    /// A keyring without keys: with it every key is unknown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the keys of a file: a JWK set with our terms, or PEM (SPKI) blocks, which have none. All of them, or on
    /// an error none.
    pub fn add_file(&mut self, bytes: &[u8]) -> Result<(), KeyringError> {
        let mut whole = self.clone();
        let is_pem = bytes.trim_ascii_start().starts_with(b"-----");
        if is_pem {
            whole.add_pem(bytes)?
        } else {
            whole.add_jwks(bytes)?
        }
        *self = whole;
        Ok(())
    }

    /// Adds one key. The same key on the same terms may come twice.
    pub fn add(&mut self, key: PublicKey, terms: Terms) -> Result<(), KeyringError> {
        let (keyid, trusted) = (key.keyid(), TrustedKey { key, terms });
        match self.keys.get(&keyid) {
            Some(known) if *known != trusted => Err(KeyringError::Contradiction { keyid }),
            _ => {
                self.keys.insert(keyid, trusted);
                Ok(())
            }
        }
    }

    /// Puts a key on these terms, whatever was said of it before.
    pub fn replace(&mut self, key: PublicKey, terms: Terms) {
        self.keys.insert(key.keyid(), TrustedKey { key, terms });
    }

    /// The key of that `keyid`.
    pub fn get(&self, keyid: &str) -> Option<&TrustedKey> {
        self.keys.get(keyid)
    }

    /// All keys with their keyids, ordered by these.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TrustedKey)> {
        self.keys.iter().map(|(keyid, key)| (keyid.as_str(), key))
    }

    /// The keyring as a JWK set, in canonical form.
    pub fn to_jwks(&self) -> String {
        let keys: Vec<Value<'_>> = self.keys.iter().map(|(keyid, key)| jwk(keyid, key).into()).collect();
        Object::from_iter([("keys", Value::List(keys))]).canonical().into_owned()
    }

    /// The keys as PEM blocks (SPKI), in their order. They have no terms: what is revoked is left out.
    pub fn to_pem(&self) -> String {
        self.keys
            .values()
            .filter(|trusted| !trusted.terms.revoked)
            .map(|trusted| trusted.key.to_spki_pem())
            .collect()
    }

    fn add_pem(&mut self, bytes: &[u8]) -> Result<(), KeyringError> {
        const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
        const END: &str = "-----END PUBLIC KEY-----";
        let form = |detail| KeyringError::Form { at: "PEM".into(), detail };
        let mut rest = std::str::from_utf8(bytes).map_err(|_| form("not text"))?;
        if rest.contains("PRIVATE KEY") {
            return Err(KeyringError::PrivateKey);
        }
        if !rest.contains(BEGIN) {
            return Err(KeyringError::NoKey);
        }
        while let Some((_, block)) = rest.split_once(BEGIN) {
            let (body, after) = block.split_once(END).ok_or_else(|| form("a block without its END line"))?;
            let pem = format!("{BEGIN}{body}{END}\n");
            let key = PublicKey::from_spki_pem(&pem)
                .map_err(|error| KeyringError::Key { at: "PEM".into(), error })?;
            self.add(key, Terms::default())?;
            rest = after;
        }
        Ok(())
    }

    fn add_jwks(&mut self, bytes: &[u8]) -> Result<(), KeyringError> {
        let document = canonical::parse(bytes, MAX_KEYRING_BYTES).map_err(KeyringError::Json)?;
        let form = |detail| KeyringError::Form { at: "/".into(), detail };
        let set = document.as_object().ok_or_else(|| form("an object with a member `keys` expected"))?;
        if let Some((name, _)) = set.iter().find(|(name, _)| *name != "keys") {
            return Err(KeyringError::UnknownMember { at: format!("/{name}") });
        }
        let keys = set.list("keys").ok_or_else(|| form("a list `keys` expected"))?;
        for (i, jwk) in keys.iter().enumerate() {
            let (key, terms) = read_jwk(jwk, &format!("/keys/{i}"))?;
            self.add(key, terms)?;
        }
        Ok(())
    }
}

fn read_jwk(jwk: &Value<'_>, at: &str) -> Result<(PublicKey, Terms), KeyringError> {
    let form = |member: &str, detail| KeyringError::Form { at: format!("{at}/{member}"), detail };
    let jwk = jwk.as_object().ok_or_else(|| form("", "an object expected"))?;
    if jwk.get("d").is_some() {
        return Err(KeyringError::PrivateKey);
    }
    if let Some((name, _)) = jwk.iter().find(|(name, _)| !JWK_MEMBERS.contains(name)) {
        return Err(KeyringError::UnknownMember { at: format!("{at}/{name}") });
    }
    if let Some(name) =
        ["kid", "alg", "use"].into_iter().find(|name| jwk.get(name).is_some_and(|v| v.as_text().is_none()))
    {
        return Err(form(name, "text expected"));
    }
    let is = |member: &str, wanted: &str| jwk.text(member) == Some(wanted);
    if !is("kty", "OKP") {
        return Err(form("kty", "\"OKP\" expected"));
    }
    if !is("crv", "Ed25519") {
        return Err(form("crv", "\"Ed25519\" expected"));
    }
    let x =
        jwk.text("x").and_then(|x| URL_SAFE_NO_PAD.decode(x).ok()).and_then(|x| <[u8; 32]>::try_from(x).ok());
    let x = x.ok_or_else(|| form("x", "32 bytes in base64url without padding expected"))?;
    let key =
        PublicKey::from_bytes(&x).map_err(|error| KeyringError::Key { at: format!("{at}/x"), error })?;
    if jwk.get("keyid").is_some() && !is("keyid", &key.keyid()) {
        return Err(form("keyid", "not the SHA-256 of this key's SubjectPublicKeyInfo"));
    }
    if let Some(pem) = jwk.get("pem") {
        let same = pem.as_text().and_then(|pem| PublicKey::from_spki_pem(pem).ok()) == Some(key);
        same.then_some(()).ok_or_else(|| form("pem", "not the PEM form of x"))?;
    }
    Ok((key, read_terms(jwk, form)?))
}

fn read_terms(
    jwk: &Object<'_>,
    form: impl Fn(&str, &'static str) -> KeyringError,
) -> Result<Terms, KeyringError> {
    let time = |member: &str| match jwk.get(member) {
        None => Ok(None),
        Some(time) => match time.as_text().and_then(|time| time.parse().ok()) {
            Some(time) => Ok(Some(time)),
            None => Err(form(member, "a time like 2026-11-21T08:00:00.000Z expected")),
        },
    };
    let revoked = match jwk.get("revoked") {
        None => false,
        Some(Value::Bool(revoked)) => *revoked,
        Some(_) => return Err(form("revoked", "true or false expected")),
    };
    let projects = match jwk.get("projects") {
        None => None,
        Some(projects) => {
            let names =
                projects.as_list().map(|list| list.iter().map(|name| Some(name.as_text()?.to_owned())));
            let names: Option<Vec<String>> = names.and_then(Iterator::collect);
            Some(names.ok_or_else(|| form("projects", "a list of project names expected"))?)
        }
    };
    Ok(Terms { not_before: time("not_before")?, not_after: time("not_after")?, revoked, projects })
}

fn jwk<'a>(keyid: &'a str, TrustedKey { key, terms }: &'a TrustedKey) -> Object<'a> {
    let mut jwk: Object<'a> =
        [("kty", "OKP"), ("crv", "Ed25519"), ("alg", "EdDSA"), ("use", "sig"), ("keyid", keyid)]
            .into_iter()
            .collect();
    jwk.insert("kid", keyid);
    jwk.insert("x", URL_SAFE_NO_PAD.encode(key.as_bytes()));
    jwk.insert("pem", key.to_spki_pem());
    if let Some(time) = terms.not_before {
        jwk.insert("not_before", time);
    }
    if let Some(time) = terms.not_after {
        jwk.insert("not_after", time);
    }
    if terms.revoked {
        jwk.insert("revoked", true);
    }
    if let Some(projects) = &terms.projects {
        jwk.insert("projects", projects.iter().map(String::as_str).collect::<Vec<_>>());
    }
    jwk
}
