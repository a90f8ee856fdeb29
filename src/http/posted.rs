//! What is posted as one JSON value, or as many, a line each: entries and signals.

use axum::body::Body;
use axum::http::HeaderMap;

use super::body::{self, JSON, NDJSON, Sent};
use super::problem::Problem;
use crate::evidence::canonical::Value;
use crate::journal::Refusal;
use crate::service::{ServiceError, work_on};

/// How many may be sent at once.
pub(super) const MAX_LINES: usize = 10_000;

/// A body, not looked into yet.
pub(super) struct Posted {
    sent: Sent,
    many: bool,
}

/// The line of each thing that came as one.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    /// A problem at the line of what it is about.
    pub(super) fn problem(&self, error: ServiceError) -> Problem {
        let line = error.entry().and_then(|index| self.0.get(index));
        let problem = Problem::from(error);
        match line {
            Some(line) => problem.at_line(*line),
            None => problem,
        }
    }
}

impl Posted {
    pub(super) async fn read(headers: &HeaderMap, sent: Body) -> Result<Self, Problem> {
        let many = body::media_type(headers).as_deref() == Some(NDJSON);
        let max_bytes = if many { body::MAX_NDJSON_BYTES } else { body::MAX_JSON_BYTES };
        Ok(Self { sent: body::read(headers, sent, &[JSON, NDJSON], max_bytes).await?, many })
    }

    pub(super) fn bytes(&self) -> usize {
        self.sent.bytes.len()
    }

    /// Reads the things that it has, which are called so.
    pub(super) fn parse<T>(
        &self,
        called: &str,
        parse: impl Fn(Value<'_>) -> Result<T, Refusal>,
    ) -> Result<(Vec<T>, Lines), Problem> {
        let bytes = &self.sent.bytes;
        work_on(bytes.len(), || match self.many {
            true => lines(bytes, called, parse),
            false => Ok((vec![parse(body::parse(bytes)?)?], Lines(Vec::new()))),
        })
    }
}

/// Blank lines are none.
fn lines<T>(
    bytes: &[u8],
    called: &str,
    parse: impl Fn(Value<'_>) -> Result<T, Refusal>,
) -> Result<(Vec<T>, Lines), Problem> {
    let (mut things, mut numbers) = (Vec::new(), Vec::new());
    for (i, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = i.saturating_add(1);
        if line.trim_ascii().is_empty() {
            continue;
        }
        if things.len() >= MAX_LINES {
            let detail = format!("at most {MAX_LINES} {called} at once; send the rest in another request");
            return Err(Problem::new(422, &format!("too_many_{called}"), detail));
        }
        let value = body::parse(line).map_err(|problem| problem.at_line(number))?;
        things.push(parse(value).map_err(|refusal| Problem::from(refusal).at_line(number))?);
        numbers.push(number);
    }
    if things.is_empty() {
        let detail = format!("no {called} in the body; send one a line");
        return Err(Problem::new(422, &format!("no_{called}"), detail));
    }
    Ok((things, Lines(numbers)))
}
