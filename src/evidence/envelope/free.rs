//! The free text of an element: what a producer writes as it likes, wherever it stands.

use super::model::{Form, Member};
use super::{Kind, pointer};
use crate::evidence::canonical::{Object, Value};

/// How long a pointer to free text becomes, in bytes: names in free content may be of any length.
const MAX_POINTER_BYTES: usize = 1_024;

/// Where a value stands in its element.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    within: Option<&'p Place<'p>>,
    token: Token<'p>,
}

#[derive(Clone, Copy, Debug)]
enum Token<'p> {
    Index(usize),
    Name(&'p str),
}

impl Place<'_> {
    /// A pointer (RFC 6901) from the element; where it would be too long, to the innermost container whose pointer is not.
    pub fn pointer(&self) -> String {
        self.written().0
    }

    /// The pointer, and whether it is the whole one.
    fn written(&self) -> (String, bool) {
        let (mut out, whole) = self.within.map_or((String::new(), true), Place::written);
        let token = match self.token {
            Token::Index(index) => index.to_string(),
            Token::Name(name) => pointer::escape(name).into_owned(),
        };
        if !whole || out.len().saturating_add(token.len()) >= MAX_POINTER_BYTES {
            return (out, false);
        }
        out.push('/');
        out.push_str(&token);
        (out, true)
    }
}

/// What is done with free text.
pub trait Rewrite {
    /// Why it is not done.
    type Refused;

    /// Sees the name of a member in free content, or text that is made of such names. `place` is what has it.
    fn name(&mut self, place: &Place<'_>, name: &str) -> Result<(), Self::Refused>;

    /// Sees a text; what it gives takes its place.
    fn text(&mut self, place: &Place<'_>, text: &str) -> Result<Option<String>, Self::Refused>;
}

/// Rewrites all free text of an element. What is not formed as the model wants it is left to who checks that.
pub fn rewrite<R: Rewrite>(kind: Kind, element: &mut Object<'static>, how: &mut R) -> Result<(), R::Refused> {
    members(element, kind.members(), None, how)
}

fn members<R: Rewrite>(
    object: &mut Object<'static>,
    table: &[Member],
    within: Option<&Place<'_>>,
    how: &mut R,
) -> Result<(), R::Refused> {
    for member in table {
        if let Some(value) = object.get_mut(member.name) {
            formed(value, member.form, &Place { within, token: Token::Name(member.name) }, how)?;
        }
    }
    Ok(())
}

fn formed<R: Rewrite>(
    value: &mut Value<'static>,
    form: Form,
    place: &Place<'_>,
    how: &mut R,
) -> Result<(), R::Refused> {
    match (form, value) {
        (Form::Any | Form::Labels | Form::Map | Form::Text, value) => free(value, place, how),
        (Form::List(form), Value::List(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                formed(item, *form, &Place { within: Some(place), token: Token::Index(index) }, how)?;
            }
            Ok(())
        }
        (Form::Object(table), Value::Object(object)) => members(object, table, Some(place), how),
        (Form::Pointer, Value::Text(pointer)) => how.name(place, pointer),
        _ => Ok(()),
    }
}

fn free<R: Rewrite>(value: &mut Value<'static>, place: &Place<'_>, how: &mut R) -> Result<(), R::Refused> {
    match value {
        Value::Text(text) => {
            if let Some(other) = how.text(place, text)? {
                *text = other.into();
            }
            Ok(())
        }
        Value::List(items) => {
            let mut items = items.iter_mut().enumerate();
            items.try_for_each(|(index, item)| {
                free(item, &Place { within: Some(place), token: Token::Index(index) }, how)
            })
        }
        Value::Object(object) => object.iter_mut().try_for_each(|(name, value)| {
            how.name(place, name)?;
            free(value, &Place { within: Some(place), token: Token::Name(name) }, how)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}
