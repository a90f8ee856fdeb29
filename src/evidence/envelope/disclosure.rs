//! Withheld values: which, how they are taken out, and what remains (ENVELOPE.md section 6).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::check::{WITHHELD, is_commitment};
use super::limits::MAX_ELEMENTS;
use super::model::{Form, Member};
use super::{Kind, pointer};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::commitment;

/// What a project keeps private unless it says otherwise.
pub const DEFAULT_PRIVATE: [&str; 2] = ["/execution/steps/*/command", "/run/trigger/actor"];

/// A withheld value with its salt: who has it can show that the commitment is to this value.
#[derive(Clone, Debug, PartialEq)]
pub struct Disclosure {
    /// Where the commitment stands, as a pointer into the envelope.
    pub at: String,
    /// 16 random bytes in base64url without padding.
    pub salt: String,
    /// The value.
    pub value: Value<'static>,
}

impl From<Disclosure> for Value<'static> {
    fn from(Disclosure { at, salt, value }: Disclosure) -> Self {
        Object::from_iter([("at", at.into()), ("salt", salt.into()), ("value", value)]).into()
    }
}

/// The members that are withheld when an element is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateMembers {
    /// Shorter paths first: of nested members the outermost counts.
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    kind: Kind,
    /// `None` is every element of the section.
    index: Option<usize>,
    /// From the element; `None` is any index.
    path: Vec<Option<String>>,
}

/// A pointer that names nothing that may be withheld.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotPrivate {
    /// The pointer as it was given.
    pub pointer: String,
}

impl fmt::Display for NotPrivate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} names nothing that may be withheld; a pointer like {} or \"*\" for all that may be expected",
            self.pointer, DEFAULT_PRIVATE[0]
        )
    }
}

impl std::error::Error for NotPrivate {}

impl PrivateMembers {
    /// Reads pointers into an envelope, in which `*` is any index; the text `*` alone is all that may be withheld.
    pub fn parse<'t>(pointers: impl IntoIterator<Item = &'t str>) -> Result<Self, NotPrivate> {
        let mut patterns = Vec::new();
        for text in pointers {
            match text {
                "*" => patterns.extend(Kind::ALL.into_iter().flat_map(all_private)),
                _ => patterns
                    .push(Pattern::parse(text).ok_or_else(|| NotPrivate { pointer: text.to_owned() })?),
            }
        }
        patterns.sort_by_key(|pattern| pattern.path.len());
        Ok(Self { patterns })
    }

    /// Of these pointers, those that name none of these members, nor anything in or around one; `*` alone as what it stands for.
    pub fn apart<'t>(&self, pointers: impl IntoIterator<Item = &'t str>) -> Vec<String> {
        let each = |text: &str| match text {
            "*" => Kind::ALL.into_iter().flat_map(all_pointers).collect(),
            _ => vec![text.to_owned()],
        };
        // What is no pointer names nothing that could be meant.
        let meets = |text: &str| {
            Pattern::parse(text).is_some_and(|one| self.patterns.iter().any(|own| own.meets(&one)))
        };
        pointers.into_iter().flat_map(each).filter(|text| !meets(text)).collect()
    }

    /// Takes the private values out of the element that will be the `index`-th of its section, and leaves commitments; without an
    /// index those that would be private at any.
    /// `salt` gives 16 fresh random bytes at each call.
    pub fn withhold(
        &self,
        kind: Kind,
        index: Option<usize>,
        element: &mut Object<'static>,
        salt: &mut dyn FnMut() -> [u8; 16],
    ) -> Vec<Disclosure> {
        let mut disclosures = Vec::new();
        for pattern in &self.patterns {
            let elsewhere = |only| index.is_some_and(|index| index != only);
            if pattern.kind != kind || pattern.index.is_some_and(elsewhere) {
                continue;
            }
            if let [Some(member), inner @ ..] = pattern.path.as_slice()
                && let Some(value) = element.get(member)
                // A look first: reaching in for change costs an element its canonical text.
                && reaches(value, inner)
                && let Some(value) = element.get_mut(member)
            {
                let at =
                    format!("{}/{}", kind.pointer(index.unwrap_or(MAX_ELEMENTS)), pointer::escape(member));
                withhold_at(value, inner, at, salt, &mut disclosures);
            }
        }
        disclosures.sort_by(|a, b| a.at.cmp(&b.at));
        disclosures
    }

    /// True if a pointer into an envelope names one of these members, or something in one.
    pub fn covers(&self, at: &str) -> bool {
        let Some((kind, index, path)) = pointer::tokens(at).and_then(|tokens| locate(&tokens)) else {
            return false;
        };
        self.patterns.iter().any(|pattern| {
            let same = |(wanted, token): (&Option<String>, &String)| match wanted {
                Some(wanted) => wanted == token,
                None => pointer::index(token).is_some(),
            };
            pattern.kind == kind
                && pattern.index.is_none_or(|only| index.parse() == Ok(only))
                && pattern.path.len() <= path.len()
                && pattern.path.iter().zip(&path).all(same)
        })
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let (kind, index, path) = locate(&pointer::tokens(text)?)?;
        let index = match index.as_str() {
            "*" => None,
            index => Some(pointer::index(index)?),
        };
        let member =
            kind.members().iter().find(|member| Some(member.name) == path.first().map(String::as_str));
        may_be_private(member, path.get(1..)?).then_some(())?;
        let path = path.into_iter().map(|token| (token != "*").then_some(token)).collect();
        Some(Self { kind, index, path })
    }

    /// Whether something in an envelope can be named by both, or be in what the other names.
    fn meets(&self, other: &Self) -> bool {
        let same = |(one, other): (&Option<String>, &Option<String>)| match (one, other) {
            (Some(one), Some(other)) => one == other,
            (Some(token), None) | (None, Some(token)) => pointer::index(token).is_some(),
            (None, None) => true,
        };
        self.kind == other.kind
            && self.index.zip(other.index).is_none_or(|(one, other)| one == other)
            && self.path.iter().zip(&other.path).all(same)
    }
}

fn all_private(kind: Kind) -> impl Iterator<Item = Pattern> {
    let private = kind.members().iter().filter(|member| member.private);
    private.map(move |member| Pattern { kind, index: None, path: vec![Some(member.name.to_owned())] })
}

/// Pointers to the same.
fn all_pointers(kind: Kind) -> impl Iterator<Item = String> {
    let element = if kind.is_single() { kind.section().to_owned() } else { format!("{}/*", kind.section()) };
    let private = kind.members().iter().filter(|member| member.private);
    private.map(move |member| format!("{element}/{}", member.name))
}

/// The kind, the index (`*` for a section that has none) and the path inside the element.
pub(crate) fn locate(tokens: &[String]) -> Option<(Kind, String, Vec<String>)> {
    let section = |kind: &Kind| kind.section().split('/').skip(1);
    let kind =
        Kind::ALL.into_iter().find(|kind| section(kind).eq(tokens.iter().take(section(kind).count())))?;
    let inner = tokens.get(section(&kind).count()..)?;
    let (index, path) =
        if kind.is_single() { ("*", inner) } else { inner.split_first().map(|(i, p)| (i.as_str(), p))? };
    (!path.is_empty()).then(|| (kind, index.to_owned(), path.to_vec()))
}

/// Whether the path leads somewhere in a private member, as far as the model tells.
fn may_be_private(member: Option<&Member>, path: &[String]) -> bool {
    let Some(member) = member.filter(|member| member.private) else { return false };
    match (member.form, path) {
        (_, []) => true,
        (Form::Object(members), [name, inner @ ..]) => {
            match members.iter().find(|inner| inner.name == name) {
                Some(found) => may_be_private(Some(&Member { private: true, ..*found }), inner),
                None => false,
            }
        }
        (Form::List(_), [index]) => index == "*" || pointer::index(index).is_some(),
        // `*` is an index; here a name stands.
        (Form::Labels | Form::Map, [name, ..]) if name == "*" => false,
        (Form::Labels, [_]) => true,
        (Form::Any | Form::Map, _) => true,
        _ => false,
    }
}

/// How many bytes a commitment takes where a value stood.
pub(crate) fn commitment_bytes() -> usize {
    // {"$withheld":"sha256:…"}
    WITHHELD.len().saturating_add("{\"\":\"sha256:\"}".len()).saturating_add(64)
}

fn reaches(value: &Value<'_>, path: &[Option<String>]) -> bool {
    let Some((token, inner)) = path.split_first() else { return true };
    if is_commitment(value) {
        return false;
    }
    match (value, token) {
        (Value::List(items), None) => items.iter().any(|item| reaches(item, inner)),
        (Value::List(items), Some(token)) => {
            pointer::index(token).and_then(|i| items.get(i)).is_some_and(|item| reaches(item, inner))
        }
        (Value::Object(object), Some(name)) => object.get(name).is_some_and(|value| reaches(value, inner)),
        _ => false,
    }
}

fn withhold_at(
    value: &mut Value<'static>,
    path: &[Option<String>],
    at: String,
    salt: &mut dyn FnMut() -> [u8; 16],
    disclosures: &mut Vec<Disclosure>,
) {
    if is_commitment(value) {
        return;
    }
    let Some((token, inner)) = path.split_first() else {
        let salt = URL_SAFE_NO_PAD.encode(salt());
        let hole = Object::from_iter([(WITHHELD, Value::from(commitment(&salt, value)))]);
        let value = std::mem::replace(value, hole.into());
        disclosures.push(Disclosure { at, salt, value });
        return;
    };
    match value {
        Value::List(items) => {
            let only = token.as_deref().map(pointer::index);
            for (i, item) in
                items.iter_mut().enumerate().filter(|(i, _)| only.is_none_or(|only| only == Some(*i)))
            {
                withhold_at(item, inner, format!("{at}/{i}"), salt, disclosures);
            }
        }
        Value::Object(object) => {
            if let Some(name) = token
                && let Some(value) = object.get_mut(name)
            {
                withhold_at(value, inner, format!("{at}/{}", pointer::escape(name)), salt, disclosures);
            }
        }
        _ => {}
    }
}
