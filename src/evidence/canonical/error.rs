//! Why a text was refused, and where.

use std::fmt;

/// The stable codes of ENVELOPE.md section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonCode {
    /// An object has a name twice, compared after unescaping.
    DuplicateKey,
    /// A string has one half of a surrogate pair.
    LoneSurrogate,
    /// A number is beyond ±(2^53 − 1).
    NumberOutOfRange,
    /// Not JSON (RFC 8259): also trailing data, a BOM, bytes that are not UTF-8.
    Syntax,
    /// More than [`MAX_DEPTH`](super::MAX_DEPTH) containers are open.
    TooDeep,
    /// More bytes than the limit.
    TooLarge,
}

impl JsonCode {
    /// All codes.
    pub const ALL: [JsonCode; 6] = [
        JsonCode::DuplicateKey,
        JsonCode::LoneSurrogate,
        JsonCode::NumberOutOfRange,
        JsonCode::Syntax,
        JsonCode::TooDeep,
        JsonCode::TooLarge,
    ];

    /// The stable text of the code.
    pub fn as_str(self) -> &'static str {
        match self {
            JsonCode::DuplicateKey => "json.duplicate_key",
            JsonCode::LoneSurrogate => "json.lone_surrogate",
            JsonCode::NumberOutOfRange => "json.number_out_of_range",
            JsonCode::Syntax => "json.syntax",
            JsonCode::TooDeep => "json.too_deep",
            JsonCode::TooLarge => "json.too_large",
        }
    }
}

/// A text that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Which rule it breaks.
    pub code: JsonCode,
    /// Where, in bytes from the beginning.
    pub offset: usize,
    /// The line of that place, from 1.
    pub line: usize,
    /// The byte in that line, from 1.
    pub column: usize,
    /// What stands there, for people.
    pub detail: String,
}

impl JsonError {
    pub(super) fn new(code: JsonCode, bytes: &[u8], offset: usize, detail: impl Into<String>) -> Self {
        let before = bytes.get(..offset).unwrap_or(bytes);
        let line = before.split(|b| *b == b'\n').count();
        let column = before.rsplit(|b| *b == b'\n').next().map_or(1, |last| last.len().saturating_add(1));
        Self { code, offset, line, column, detail: detail.into() }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}, column {})", self.detail, self.line, self.column)
    }
}

impl std::error::Error for JsonError {}
