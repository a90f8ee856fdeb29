//! What stands in queries and headers.

use std::ops::RangeInclusive;

use axum::http::HeaderMap;

use super::problem::Problem;
use crate::evidence::digest::Digest;
use crate::evidence::envelope::limits::is_path_id;

/// The names and values of a query, in order.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query that may have these names.
    pub(super) fn read(raw: Option<String>, known: &[&str]) -> Result<Self, Problem> {
        let raw = raw.unwrap_or_default();
        let uri = format!("/?{raw}").parse().map_err(|_| Problem::parameter("query", "not readable"))?;
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
        let axum::extract::Query(pairs) = pairs.map_err(|error| Problem::parameter("query", error))?;
        match pairs.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(Problem::parameter(name, "no such parameter here")),
            None => Ok(Self(pairs)),
        }
    }

    /// The value of a parameter that may stand once.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Problem::parameter(name, "may stand once only")),
            (value, None) => Ok(value),
        }
    }

    /// The parameter `project`, which has to be the name of one.
    pub(super) fn project(&self) -> Result<Option<&str>, Problem> {
        match self.one("project")? {
            Some(project) if !is_path_id(project) => {
                Err(Problem::parameter("project", "the name of a project expected"))
            }
            project => Ok(project),
        }
    }

    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A number in a range.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Problem> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        self.parsed(name, &expected, |text| text.parse().ok().filter(|n| range.contains(n)))
    }

    /// A parameter in a form of its own.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        match self.one(name)? {
            None => Ok(None),
            Some(text) => match parse(text) {
                Some(value) => Ok(Some(value)),
                None => Err(Problem::parameter(name, format!("{expected} expected"))),
            },
        }
    }
}

/// `Idempotency-Key`: 1–255 visible ASCII characters.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        _ if values.next().is_some() => Err(Problem::parameter("Idempotency-Key", "may stand once only")),
        Ok(key) if (1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(key.to_owned()))
        }
        _ => Err(Problem::parameter("Idempotency-Key", "1–255 visible ASCII characters expected")),
    }
}

/// `If-Match`: the entry_hash of the head, as an entity tag.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<Digest>, Problem> {
    let Some(value) = headers.get("if-match") else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    let tag = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let expected = "an entry_hash in quotes expected, like \"sha256:…\"";
    tag.parse().map(Some).map_err(|_| Problem::parameter("If-Match", expected))
}
