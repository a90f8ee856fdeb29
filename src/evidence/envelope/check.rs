//! Members held against the model: at verification by their form, at ingest by their limits too.

use std::fmt;

use super::limits::{MAX_ELEMENT_DEPTH, MAX_TEXT_BYTES, is_id, is_path_id};
use super::model::{COMMON, Form, Member, RECORDED};
use super::{Kind, pointer};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;

/// The one member of a commitment.
pub const WITHHELD: &str = "$withheld";

/// What is wrong with a member, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A pointer (RFC 6901) into what was checked.
    pub at: String,
    /// What is wrong there.
    pub reason: FaultReason,
}

/// What can be wrong with a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultReason {
    /// A commitment that is malformed, has other members, or stands where nothing may be withheld.
    Commitment,
    /// Not what stands here.
    Expected(&'static str),
    /// A required member is missing.
    Missing,
    /// The name `$withheld`, which producers may not use.
    Reserved,
    /// A text of more than 64 KiB.
    TooLong,
    /// More than 58 containers deep.
    TooDeep,
    /// No such member here.
    Unknown,
}

impl Fault {
    pub(crate) fn expected(what: &'static str) -> Self {
        FaultReason::Expected(what).into()
    }

    /// The same fault, seen from the container that has `segment`.
    pub(crate) fn under(mut self, segment: &str) -> Self {
        self.at = format!("/{}{}", pointer::escape(segment), self.at);
        self
    }
}

impl From<FaultReason> for Fault {
    fn from(reason: FaultReason) -> Self {
        Self { at: String::new(), reason }
    }
}

impl fmt::Display for FaultReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultReason::Commitment => {
                f.write_str("a malformed commitment, or one where nothing may be withheld")
            }
            FaultReason::Expected(what) => write!(f, "{what} expected"),
            FaultReason::Missing => f.write_str("a required member is missing"),
            FaultReason::Reserved => f.write_str("the name $withheld is reserved"),
            FaultReason::TooLong => write!(f, "a text may have {MAX_TEXT_BYTES} bytes"),
            FaultReason::TooDeep => write!(f, "an element may be {MAX_ELEMENT_DEPTH} containers deep"),
            FaultReason::Unknown => f.write_str("no such member here"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", if self.at.is_empty() { "/" } else { &self.at }, self.reason)
    }
}

impl std::error::Error for Fault {}

/// Which rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    /// What a producer sends: nothing unknown, nothing withheld, ids and lengths of section 8.
    Ingest,
    /// What was recorded: unknown members and any ids are accepted.
    Recorded,
}

/// Checks an element as it stands in an envelope.
pub(crate) fn check_recorded(kind: Kind, element: &Object<'_>) -> Result<(), Fault> {
    if element.get(WITHHELD).is_some() {
        return Err(Fault::from(FaultReason::Commitment));
    }
    check_members(element, &[COMMON, RECORDED, kind.members()], false, Rules::Recorded)?;
    check_content_uri(kind, element)
}

/// An artifact's `content_uri` is that of its own digest.
fn check_content_uri(kind: Kind, element: &Object<'_>) -> Result<(), Fault> {
    let digits = |member, prefix| element.text(member).and_then(|text| text.strip_prefix(prefix));
    if kind == Kind::Artifact && digits("digest", "sha256:") != digits("content_uri", "urn:sha256:") {
        return Err(Fault::expected("urn:sha256: and the digits of `digest`").under("content_uri"));
    }
    Ok(())
}

/// Checks what is about to be recorded, before anything in it is withheld: the members of an element but `seq` and `recorded_at`.
pub(crate) fn check_ingest(kind: Kind, element: &Object<'_>) -> Result<(), Fault> {
    check_members(element, &[COMMON, kind.members()], false, Rules::Ingest)?;
    check_content_uri(kind, element)?;
    element.iter().try_for_each(|(name, value)| check_depth(value, 1).map_err(|fault| fault.under(name)))
}

fn check_members(
    object: &Object<'_>,
    tables: &[&[Member]],
    private: bool,
    rules: Rules,
) -> Result<(), Fault> {
    let mut known = 0_usize;
    for member in tables.iter().copied().flatten() {
        match object.get(member.name) {
            Some(value) => {
                known = known.saturating_add(1);
                check(value, member.form, private || member.private, rules)
                    .map_err(|f| f.under(member.name))?;
            }
            None if member.required => return Err(Fault::from(FaultReason::Missing).under(member.name)),
            None => {}
        }
    }
    if known == object.len() {
        return Ok(());
    }
    let is_known = |name: &str| tables.iter().copied().flatten().any(|member| member.name == name);
    for (name, value) in object.iter().filter(|(name, _)| !is_known(name)) {
        let free = match rules {
            Rules::Ingest => Err(FaultReason::Unknown.into()),
            Rules::Recorded => check(value, Form::Any, false, rules),
        };
        free.map_err(|fault| fault.under(name))?;
    }
    Ok(())
}

fn check(value: &Value<'_>, form: Form, private: bool, rules: Rules) -> Result<(), Fault> {
    if is_commitment(value) {
        return check_commitment(value, private, rules);
    }
    match (form, value) {
        (Form::Any, _) => check_free(value, private, rules),
        (Form::Map, Value::Object(_)) => check_free(value, private, rules),
        (Form::Map, _) => Err(Fault::expected("an object")),
        (Form::Object(members), Value::Object(object)) => check_members(object, &[members], private, rules),
        (Form::Object(_), _) => Err(Fault::expected("an object")),
        (Form::List(form), Value::List(items)) => each(items, |item| check(item, *form, private, rules)),
        (Form::List(_), _) => Err(Fault::expected("a list")),
        (Form::Labels, Value::Object(labels)) => check_labels(labels, private, rules),
        (Form::Labels, _) => Err(Fault::expected("an object of text")),
        (Form::ExitCode, Value::Null) => Ok(()),
        (Form::ExitCode, Value::Number(n)) if n.is_integer() => Ok(()),
        (Form::ExitCode, _) => Err(Fault::expected("an integer or null")),
        (Form::Bool, Value::Bool(_)) => Ok(()),
        (Form::Bool, _) => Err(Fault::expected("true or false")),
        (Form::Count, _) => {
            value.as_count().map(drop).ok_or_else(|| Fault::expected("an integer, 0 or more"))
        }
        (Form::Positive, _) => value
            .as_count()
            .filter(|n| *n > 0)
            .map(drop)
            .ok_or_else(|| Fault::expected("an integer, 1 or more")),
        (
            Form::Digest
            | Form::Id
            | Form::OneOf(_)
            | Form::PathId
            | Form::Pointer
            | Form::Text
            | Form::Time
            | Form::Word,
            _,
        ) => check_text(value.as_text().ok_or_else(|| Fault::expected("text"))?, form, rules),
    }
}

fn check_text(text: &str, form: Form, rules: Rules) -> Result<(), Fault> {
    let ingest = rules == Rules::Ingest;
    let (valid, expected) = match form {
        Form::Digest => (text.parse::<Digest>().is_ok(), "sha256: and 64 lower-case hex digits"),
        Form::Time => (text.parse::<Timestamp>().is_ok(), "a time like 2026-11-21T08:00:00.000Z"),
        Form::OneOf(words) => (words.contains(&text), "another word (see the schema)"),
        Form::Id => (!ingest || is_id(text), "an id: 1–128 of A–Z a–z 0–9 . _ : -, first a letter or digit"),
        Form::PathId => (
            !ingest || is_path_id(text),
            "an id: 1–128 of A–Z a–z 0–9 . _ : - /, first a letter or digit, no empty, . or .. segment",
        ),
        _ => (true, "text"),
    };
    if !valid {
        return Err(Fault::expected(expected));
    }
    if ingest && text.len() > MAX_TEXT_BYTES { Err(FaultReason::TooLong.into()) } else { Ok(()) }
}

fn check_labels(labels: &Object<'_>, private: bool, rules: Rules) -> Result<(), Fault> {
    for (name, value) in labels.iter() {
        let named = rules == Rules::Recorded || is_id(name);
        let named = if named { Ok(()) } else { Err(Fault::expected("a label name formed like an id")) };
        named.and_then(|()| check(value, Form::Text, private, rules)).map_err(|fault| fault.under(name))?;
    }
    Ok(())
}

/// Free content: anything, but commitments only where they may be.
fn check_free(value: &Value<'_>, private: bool, rules: Rules) -> Result<(), Fault> {
    if is_commitment(value) {
        return check_commitment(value, private, rules);
    }
    match value {
        Value::List(items) => each(items, |item| check_free(item, private, rules)),
        Value::Object(object) => object.iter().try_for_each(|(name, value)| {
            check_free(value, private, rules).map_err(|fault| fault.under(name))
        }),
        _ => Ok(()),
    }
}

fn check_commitment(value: &Value<'_>, private: bool, rules: Rules) -> Result<(), Fault> {
    if rules == Rules::Ingest {
        return Err(FaultReason::Reserved.into());
    }
    if private && stated_commitment(value).is_some() { Ok(()) } else { Err(FaultReason::Commitment.into()) }
}

fn each<'a>(items: &[Value<'a>], check: impl Fn(&Value<'a>) -> Result<(), Fault>) -> Result<(), Fault> {
    items
        .iter()
        .enumerate()
        .try_for_each(|(i, item)| check(item).map_err(|fault| fault.under(&i.to_string())))
}

/// `open` is how many containers are open around the value.
fn check_depth(value: &Value<'_>, open: usize) -> Result<(), Fault> {
    let inner = open.saturating_add(1);
    if matches!(value, Value::List(_) | Value::Object(_)) && inner > MAX_ELEMENT_DEPTH {
        return Err(FaultReason::TooDeep.into());
    }
    match value {
        Value::List(items) => items.iter().try_for_each(|item| check_depth(item, inner)),
        Value::Object(object) => object.iter().try_for_each(|(_, value)| check_depth(value, inner)),
        _ => Ok(()),
    }
}

/// True for an object with a member `$withheld`, well-formed or not.
pub(crate) fn is_commitment(value: &Value<'_>) -> bool {
    value.as_object().is_some_and(|object| object.get(WITHHELD).is_some())
}

/// The digest of a well-formed commitment.
pub(crate) fn stated_commitment(value: &Value<'_>) -> Option<Digest> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.text(WITHHELD)?.parse().ok()
}

/// True if `$withheld` names a member anywhere in the value.
pub(crate) fn contains_commitment(value: &Value<'_>) -> bool {
    match value {
        Value::List(items) => items.iter().any(contains_commitment),
        Value::Object(object) => {
            is_commitment(value) || object.iter().any(|(_, value)| contains_commitment(value))
        }
        _ => false,
    }
}
