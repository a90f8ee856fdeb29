//! A JSON value as the strict parser gives it: text borrowed where it can be, members in canonical order.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// The largest integer that every double holds exactly, 2^53 − 1 (RFC 8785, section 3.2.2.3; RFC 7493).
pub const MAX_SAFE_INTEGER: u64 = 9_007_199_254_740_991;

/// A JSON value. What it holds can always be written: numbers are finite and in range, names are unique.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A double within ±(2^53 − 1).
    Number(Number),
    /// A string of Unicode scalar values.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Value<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// A finite double within ±(2^53 − 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number(f64);

impl Number {
    /// The number, unless it is not finite or beyond ±(2^53 − 1).
    pub fn new(value: f64) -> Option<Self> {
        (value.abs() <= MAX_SAFE_INTEGER as f64).then_some(Self(value))
    }

    /// The double.
    pub fn get(self) -> f64 {
        self.0
    }

    /// True for a number without a fraction, however it was spelled.
    pub fn is_integer(self) -> bool {
        self.0.fract() == 0.0
    }
}

impl<'a> Value<'a> {
    /// A count. More than 2^53 − 1 cannot be written in JSON and becomes 2^53 − 1.
    pub fn count(n: u64) -> Self {
        Value::Number(Number(n.min(MAX_SAFE_INTEGER) as f64))
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The members, if it is an object.
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The items, if it is an array.
    pub fn as_list(&self) -> Option<&[Value<'a>]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The integer ≥ 0, if it is one.
    pub fn as_count(&self) -> Option<u64> {
        match self {
            Value::Number(n) if n.is_integer() && n.0 >= 0.0 => Some(n.0 as u64),
            _ => None,
        }
    }

    /// The RFC 8785 form. A value that was read from canonical text gives that text back, uncopied.
    pub fn canonical(&self) -> Cow<'a, str> {
        match self {
            Value::Object(object) => object.canonical(),
            other => Cow::Owned(write(other)),
        }
    }

    /// The same value, owning its text.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Bool(b) => Value::Bool(b),
            Value::Number(n) => Value::Number(n),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::List(items) => Value::List(items.into_iter().map(Value::into_owned).collect()),
            Value::Object(object) => Value::Object(object.into_owned()),
        }
    }
}

/// A JSON object: unique names in the order of their UTF-16 code units, which is the canonical one.
#[derive(Clone, Debug, Default)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, Value<'a>)>,
    source: Option<&'a str>,
}

impl<'a> Object<'a> {
    /// An object without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes members in any order. `source` is the text they were read from, if that text is canonical.
    /// Err gives a name that stands twice.
    pub(super) fn from_members(
        mut members: Vec<(Cow<'a, str>, Value<'a>)>,
        source: Option<&'a str>,
    ) -> Result<Self, Cow<'a, str>> {
        if source.is_none() {
            members.sort_by(|a, b| utf16_order(&a.0, &b.0));
            if let Some([twice, _]) = members.array_windows().find(|[a, b]| a.0 == b.0) {
                return Err(twice.0.clone());
            }
        }
        Ok(Self { members, source })
    }

    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        // Among few members a look at each is quicker than a search.
        if self.members.len() <= 16 {
            return self.members.iter().find(|(other, _)| other == name).map(|(_, value)| value);
        }
        let place = self.find(name).ok()?;
        self.members.get(place).map(|(_, value)| value)
    }

    /// The member of that name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value<'a>> {
        let place = self.find(name).ok()?;
        self.source = None;
        self.members.get_mut(place).map(|(_, value)| value)
    }

    /// Puts a member in, in the place of one of the same name.
    pub fn insert(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        let (name, value) = (name.into(), value.into());
        self.source = None;
        match self.find(&name) {
            Ok(place) => {
                if let Some(member) = self.members.get_mut(place) {
                    member.1 = value;
                }
            }
            Err(place) => self.members.insert(place, (name, value)),
        }
    }

    /// Takes a member out.
    pub fn remove(&mut self, name: &str) -> Option<Value<'a>> {
        let place = self.find(name).ok()?;
        self.source = None;
        Some(self.members.remove(place).1)
    }

    /// The members in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.members.iter().map(|(name, value)| (&**name, value))
    }

    /// The members in canonical order, their values to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Value<'a>)> {
        self.source = None;
        self.members.iter_mut().map(|(name, value)| (&**name, value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// True without members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The text of that member, if it is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_text()
    }

    /// The integer ≥ 0 of that member, if it is one.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_count()
    }

    /// The items of that member, if it is an array.
    pub fn list(&self, name: &str) -> Option<&[Value<'a>]> {
        self.get(name)?.as_list()
    }

    /// The members of that member, if it is an object.
    pub fn object(&self, name: &str) -> Option<&Object<'a>> {
        self.get(name)?.as_object()
    }

    /// The RFC 8785 form. An object that was read from canonical text gives that text back, uncopied.
    pub fn canonical(&self) -> Cow<'a, str> {
        match self.source {
            Some(source) => Cow::Borrowed(source),
            None => Cow::Owned(write(self)),
        }
    }

    /// The text that it was read from, if that text is its canonical form.
    pub fn canonical_source(&self) -> Option<&'a str> {
        self.source
    }

    /// The same object, owning its text.
    pub fn into_owned(self) -> Object<'static> {
        let own =
            |(name, value): (Cow<'a, str>, Value<'a>)| (Cow::Owned(name.into_owned()), value.into_owned());
        Object { members: self.members.into_iter().map(own).collect(), source: None }
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.members.binary_search_by(|(other, _)| utf16_order(other, name))
    }
}

impl PartialEq for Object<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl<'a, N: Into<Cow<'a, str>>, V: Into<Value<'a>>> FromIterator<(N, V)> for Object<'a> {
    /// A later member of the same name takes the place of an earlier one.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(members: I) -> Self {
        let mut object = Object::new();
        members.into_iter().for_each(|(name, value)| object.insert(name, value));
        object
    }
}

impl<'a> From<Object<'a>> for Value<'a> {
    fn from(object: Object<'a>) -> Self {
        Value::Object(object)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::Text(Cow::Owned(text))
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

impl From<i32> for Value<'_> {
    fn from(n: i32) -> Self {
        Value::Number(Number(f64::from(n)))
    }
}

impl<'a, V: Into<Value<'a>>> From<Vec<V>> for Value<'a> {
    fn from(items: Vec<V>) -> Self {
        Value::List(items.into_iter().map(Into::into).collect())
    }
}

/// RFC 8785, section 3.2.3: names are compared as arrays of UTF-16 code units.
///
/// That is the order of their UTF-8 bytes, but for characters beyond U+FFFF (first byte F0 and up): as surrogates they
/// stand before U+E000–U+FFFF (first byte EE or EF).
pub(super) fn utf16_order(a: &str, b: &str) -> Ordering {
    match a.bytes().zip(b.bytes()).find(|(a, b)| a != b) {
        None => a.len().cmp(&b.len()),
        Some((a, b)) if a >= 0xee && b >= 0xee && (a >= 0xf0) != (b >= 0xf0) => b.cmp(&a),
        Some((a, b)) => a.cmp(&b),
    }
}

fn write(value: &impl Serialize) -> String {
    serde_jcs::to_string(value).expect("every Value has finite numbers and text for names")
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Number(n) if n.is_integer() => serializer.serialize_i64(n.0 as i64),
            Value::Number(n) => serializer.serialize_f64(n.0),
            Value::Text(text) => serializer.serialize_str(text),
            Value::List(items) => items.serialize(serializer),
            Value::Object(object) => object.serialize(serializer),
        }
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (name, value) in &self.members {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_by_their_utf_16_code_units() {
        let names = [
            "",
            "a",
            "ab",
            "b",
            "\u{7f}",
            "\u{80}",
            "\u{7ff}",
            "\u{800}",
            "\u{d7ff}",
            "\u{e000}",
            "\u{fb33}",
            "\u{ffff}",
            "\u{10000}",
            "\u{1f600}",
            "\u{10ffff}",
            "a\u{ffff}",
            "a\u{10000}",
            "\u{1f600}\u{e000}",
            "\u{1f600}\u{1f600}",
        ];
        for a in names {
            for b in names {
                assert_eq!(utf16_order(a, b), a.encode_utf16().cmp(b.encode_utf16()), "{a:?} {b:?}");
            }
        }
    }
}
