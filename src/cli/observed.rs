//! A value, and what was observed, in a line.

use super::style::{duration, mark, printable};
use crate::evidence::canonical::{Object, Value};

/// How much of one member of an observed value is shown, in characters.
const LONGEST: usize = 80;

/// A value in one line: text as it is, a list of text as words, the rest as JSON; cut after so many characters.
pub(super) fn plain(value: &Value<'_>, longest: usize) -> String {
    let text = match value {
        Value::Text(text) => text.to_string(),
        Value::List(items) if items.iter().all(|item| item.as_text().is_some()) => {
            items.iter().filter_map(Value::as_text).collect::<Vec<_>>().join(" ")
        }
        other => other.canonical().into_owned(),
    };
    match text.char_indices().nth(longest) {
        Some((end, _)) => printable(text.get(..end).unwrap_or_default()) + "…",
        None => printable(&text),
    }
}

/// The value of an observation of that name.
pub(super) fn observed(name: &str, value: &Value<'_>) -> String {
    match (name, value) {
        ("junit.report" | "junit.suite", Value::Object(suite)) => counted(suite),
        ("junit.failed_test", Value::Object(test)) => failed(test),
        (_, Value::Object(object)) => members(object.iter()).join("  "),
        (_, other) => plain(other, 200),
    }
}

/// How many tests there were, what became of them, and whatever else is told of that.
fn counted(suite: &Object<'_>) -> String {
    const COUNTS: [&str; 5] = ["tests", "failures", "errors", "skipped", "flaky"];
    const NO_COUNTS: [&str; 6] = ["cut", "duration_ms", "file", "name", "suite", "within"];
    let count = |name: &&str| suite.count(name).filter(|n| *n > 0 || *name == "tests");
    let failed = count(&"failures").or(count(&"errors")).is_some();
    let name = suite.get("suite").or_else(|| suite.get("name")).map(|name| plain(name, LONGEST) + "  ");
    let mut told: Vec<String> =
        COUNTS.iter().filter_map(|name| Some(format!("{name} {}", count(name)?))).collect();
    told.extend(suite.count("duration_ms").map(duration));
    told.extend(members(
        suite.iter().filter(|(name, _)| !COUNTS.contains(name) && !NO_COUNTS.contains(name)),
    ));
    let mark = mark(if failed { "failed" } else { "passed" });
    format!("{mark} {}{}", name.unwrap_or_default(), told.join(", "))
}

/// Which test it was, and the first line of why.
fn failed(test: &Object<'_>) -> String {
    let told = |names: &[&str], longest| {
        let line = names.iter().find_map(|name| test.text(name)?.lines().next());
        line.map(|line| plain(&line.into(), longest))
    };
    let which = [told(&["classname", "suite"], LONGEST), told(&["test"], LONGEST)];
    let which = which.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let why = told(&["message", "text", "type", "kind"], LONGEST.saturating_mul(2)).unwrap_or_default();
    format!("{} {which}: {why}", mark("failed"))
}

/// Each as `name=value`.
fn members<'o>(members: impl Iterator<Item = (&'o str, &'o Value<'o>)>) -> Vec<String> {
    members.map(|(name, value)| format!("{}={}", printable(name), plain(value, LONGEST))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::canonical::parse;

    fn shown(name: &str, value: &str) -> String {
        let text = observed(name, &parse(value.as_bytes(), 1_000).unwrap());
        // Without colours.
        text.replace(|c: char| !c.is_ascii() && !"✓✗…".contains(c), "")
    }

    #[test]
    fn what_was_observed_is_read_at_a_glance() {
        for (name, value, line) in [
            ("size", "17", "17"),
            (
                "size",
                r#"{"bytes": 17, "of": {"a": [1]}, "text": "a\nb"}"#,
                "bytes=17  of={\"a\":[1]}  text=a\\nb",
            ),
            (
                "junit.suite",
                r#"{"suite": "cart", "tests": 2, "failures": 1, "errors": 0, "within": "x", "stated": {"tests": 3}}"#,
                "cart  tests 2, failures 1, stated={\"tests\":3}",
            ),
            ("junit.report", r#"{"tests": 0, "suites": 4}"#, "tests 0, suites=4"),
            (
                "junit.failed_test",
                r#"{"test": "t", "classname": "c", "suite": "s", "kind": "error", "text": "first\nsecond"}"#,
                "c t: first",
            ),
            ("junit.failed_test", "[]", ""),
        ] {
            let shown = shown(name, value);
            assert!(shown.ends_with(line), "{shown:?} for {value}");
        }
    }
}
