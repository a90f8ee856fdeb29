//! The strict parser: RFC 8259, and RFC 7493's refusals on top of it.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::error::{JsonCode, JsonError};
use super::value::{Number, Object, Value, utf16_order};

/// How many containers may be open at once.
pub const MAX_DEPTH: usize = 64;

/// Reads one JSON text of at most `max_bytes`. Refuses what ENVELOPE.md section 2 refuses, and nothing else.
///
/// Every canonical text (RFC 8785) passes, and [`Value::canonical`] of what comes out is that text again.
pub fn parse(bytes: &[u8], max_bytes: usize) -> Result<Value<'_>, JsonError> {
    if bytes.len() > max_bytes {
        return Err(JsonError::new(
            JsonCode::TooLarge,
            bytes,
            max_bytes,
            format!("more than {max_bytes} bytes"),
        ));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| JsonError::new(JsonCode::Syntax, bytes, e.valid_up_to(), "not UTF-8"))?;
    Parser { text, rest: text, open: 0, items: Vec::new(), members: Vec::new() }.document()
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    open: usize,
    /// Of all open arrays, until they are closed or have gathered [`GATHERED`].
    items: Vec<Value<'a>>,
    /// Of all open objects, likewise.
    members: Vec<(Cow<'a, str>, Value<'a>)>,
}

/// How much of a container is gathered before it gets room of its own. Small ones get exactly what they need: a hostile
/// text is mostly small containers, and what they would not use adds up to gigabytes.
const GATHERED: usize = 1024;

/// Moves what was gathered from `base` on to where it stays.
fn settle<T>(gathered: &mut Vec<T>, base: usize, stays: &mut Vec<T>) {
    if stays.is_empty() {
        stays.reserve_exact(gathered.len().saturating_sub(base));
    }
    stays.extend(gathered.drain(base..));
}

/// A value, and whether the text it was read from is its canonical form.
type Read<'a, T> = Result<(T, bool), JsonError>;

impl<'a> Parser<'a> {
    fn document(mut self) -> Result<Value<'a>, JsonError> {
        self.skip_space();
        let (value, _) = self.value()?;
        self.skip_space();
        match self.rest.is_empty() {
            true => Ok(value),
            false => Err(self.syntax("more text after the end of the JSON value")),
        }
    }

    fn value(&mut self) -> Read<'a, Value<'a>> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => self.string().map(|(text, canonical)| (Value::Text(text), canonical)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            Some(_) => Err(self.syntax("not the beginning of a JSON value")),
            None => Err(self.syntax("the text ends where a value should stand")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Read<'a, Value<'a>>) -> Read<'a, Value<'a>> {
        if self.open >= MAX_DEPTH {
            return Err(self.error(JsonCode::TooDeep, format!("more than {MAX_DEPTH} containers open")));
        }
        self.open = self.open.saturating_add(1);
        let value = read(self)?;
        self.open = self.open.saturating_sub(1);
        Ok(value)
    }

    fn object(&mut self) -> Read<'a, Value<'a>> {
        let from = self.rest;
        self.advance(1);
        let (base, mut members) = (self.members.len(), Vec::<(Cow<'a, str>, Value<'a>)>::new());
        let mut canonical = !self.skip_space();
        if !self.eat(b'}') {
            loop {
                let (name, plain) = self.string()?;
                let spaced = self.skip_space();
                self.expect(b':', "':' expected after a member's name")?;
                let spaced = self.skip_space() | spaced;
                let (value, written) = self.value()?;
                let spaced = self.skip_space() | spaced;
                let before = self.members.get(base..).and_then(<[_]>::last).or(members.last());
                let ascending = before.is_none_or(|(before, _)| utf16_order(before, &name) == Ordering::Less);
                canonical &= plain & written & ascending & !spaced;
                self.members.push((name, value));
                if self.members.len().saturating_sub(base) >= GATHERED {
                    settle(&mut self.members, base, &mut members);
                }
                if self.eat(b'}') {
                    break;
                }
                self.expect(b',', "',' or '}' expected in an object")?;
                canonical &= !self.skip_space();
            }
        }
        settle(&mut self.members, base, &mut members);
        let source = from.get(..from.len().saturating_sub(self.rest.len())).filter(|_| canonical);
        let object = Object::from_members(members, source).map_err(|name| {
            self.error(
                JsonCode::DuplicateKey,
                format!("the name {:?} stands twice in the object that ends here", shown(&name)),
            )
        })?;
        Ok((Value::Object(object), canonical))
    }

    fn list(&mut self) -> Read<'a, Value<'a>> {
        self.advance(1);
        let (base, mut items) = (self.items.len(), Vec::new());
        let mut canonical = !self.skip_space();
        if !self.eat(b']') {
            loop {
                let (item, written) = self.value()?;
                canonical &= written & !self.skip_space();
                self.items.push(item);
                if self.items.len().saturating_sub(base) >= GATHERED {
                    settle(&mut self.items, base, &mut items);
                }
                if self.eat(b']') {
                    break;
                }
                self.expect(b',', "',' or ']' expected in an array")?;
                canonical &= !self.skip_space();
            }
        }
        settle(&mut self.items, base, &mut items);
        Ok((Value::List(items), canonical))
    }

    fn string(&mut self) -> Read<'a, Cow<'a, str>> {
        self.expect(b'"', "'\"' expected")?;
        let mut text = Cow::Borrowed("");
        let mut canonical = true;
        loop {
            let plain = self.rest.bytes().position(|b| b == b'"' || b == b'\\' || b < 0x20);
            let Some(plain) = plain.and_then(|at| self.rest.get(..at)) else {
                self.rest = "";
                return Err(self.syntax("the text ends inside a string"));
            };
            if text.is_empty() {
                text = Cow::Borrowed(plain);
            } else {
                text.to_mut().push_str(plain);
            }
            self.advance(plain.len());
            match self.peek() {
                Some(b'"') => {
                    self.advance(1);
                    return Ok((text, canonical));
                }
                Some(b'\\') => {
                    let (decoded, shortest) = self.escape()?;
                    text.to_mut().push(decoded);
                    canonical &= shortest;
                }
                _ => return Err(self.syntax("a control character must be escaped in a string")),
            }
        }
    }

    /// One escape sequence; canonical is only what RFC 8785 section 3.2.2.2 writes.
    fn escape(&mut self) -> Read<'a, char> {
        self.advance(1);
        let short = match self.peek() {
            Some(b'"') => ('"', true),
            Some(b'\\') => ('\\', true),
            Some(b'/') => ('/', false),
            Some(b'b') => ('\u{8}', true),
            Some(b'f') => ('\u{c}', true),
            Some(b'n') => ('\n', true),
            Some(b'r') => ('\r', true),
            Some(b't') => ('\t', true),
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.syntax("no such escape in JSON")),
        };
        self.advance(1);
        Ok(short)
    }

    fn unicode_escape(&mut self) -> Read<'a, char> {
        let digits = self.rest.get(1..5).unwrap_or_default();
        let unit = self.code_unit()?;
        if let Some(decoded) = char::from_u32(u32::from(unit)) {
            let has_no_other_spelling = unit < 0x20 && !matches!(unit, 8 | 9 | 10 | 12 | 13);
            return Ok((decoded, has_no_other_spelling && !digits.bytes().any(|b| b.is_ascii_uppercase())));
        }
        if self.rest.starts_with("\\u") {
            self.advance(1);
            let low = self.code_unit()?;
            if let Some(Ok(decoded)) = char::decode_utf16([unit, low]).next() {
                return Ok((decoded, false));
            }
        }
        Err(self.error(JsonCode::LoneSurrogate, format!("\\u{digits} is half of a surrogate pair")))
    }

    /// `u` and four hex digits, the backslash being read.
    fn code_unit(&mut self) -> Result<u16, JsonError> {
        let digits = self.rest.get(1..5).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.syntax("four hexadecimal digits expected after \\u"))?;
        self.advance(5);
        Ok(unit)
    }

    fn number(&mut self) -> Read<'a, Value<'a>> {
        let ends = |b: u8| !matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let end = self.rest.bytes().position(ends).unwrap_or(self.rest.len());
        let token = self.rest.get(..end).unwrap_or_default();
        let integer = number_grammar(token).ok_or_else(|| self.syntax("not a JSON number"))?;
        let number = token.parse().ok().and_then(Number::new);
        let number = number.ok_or_else(|| {
            self.error(JsonCode::NumberOutOfRange, format!("{} is beyond ±(2^53 − 1)", shown(token)))
        })?;
        self.advance(end);
        let value = Value::Number(number);
        let canonical = if integer { token != "-0" } else { value.canonical() == token };
        Ok((value, canonical))
    }

    fn literal(&mut self, literal: &str, value: Value<'a>) -> Read<'a, Value<'a>> {
        match self.rest.strip_prefix(literal) {
            Some(rest) => {
                self.rest = rest;
                Ok((value, true))
            }
            None => Err(self.syntax("not a JSON literal (true, false, null)")),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.advance(1);
        }
        found
    }

    fn expect(&mut self, byte: u8, otherwise: &str) -> Result<(), JsonError> {
        if self.eat(byte) { Ok(()) } else { Err(self.syntax(otherwise)) }
    }

    /// True if there was any.
    fn skip_space(&mut self) -> bool {
        let rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let any = rest.len() != self.rest.len();
        self.rest = rest;
        any
    }

    fn syntax(&self, detail: &str) -> JsonError {
        self.error(JsonCode::Syntax, detail)
    }

    fn error(&self, code: JsonCode, detail: impl Into<String>) -> JsonError {
        JsonError::new(code, self.text.as_bytes(), self.text.len().saturating_sub(self.rest.len()), detail)
    }
}

/// As much of a text as an error quotes.
fn shown(text: &str) -> &str {
    text.char_indices().nth(40).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// RFC 8259 section 6: whether the token is a number, and then whether it is written as an integer.
fn number_grammar(token: &str) -> Option<bool> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = token.strip_prefix('-').unwrap_or(token);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    let valid = digits(whole) && !leading_zero && fraction.is_none_or(digits) && exponent.is_none_or(digits);
    valid.then_some(fraction.is_none() && exponent.is_none())
}
