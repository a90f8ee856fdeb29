//! What a report says, as observations that cite it.

use std::collections::HashMap;

use super::super::names::id_part;
use super::report::{Counts, FailedTest, Failure, FailureKind, Report, Stated, Suite};
use super::text::Text;
use crate::evidence::canonical::{Object, Value};
use crate::evidence::digest::Digest;

/// How much of a step's id stands in an observation's, and how much of a test's name.
const LONGEST_STEP: usize = 36;
const LONGEST_NAME: usize = 56;

/// The members of the observations of a report: of all of it, of each suite, of each failed test. Their ids hang on the step, the
/// artifact and the names in the report alone, so that the same test has the same id in the next run.
pub(super) fn observations(report: &Report, artifact_id: &str, step_id: &str) -> Vec<Object<'static>> {
    let mut ids = Ids { artifact_id, step_id, times: HashMap::new() };
    let mut observations = Vec::new();
    let mut observe = |id: &str, name: &'static str, value: Object<'static>| {
        observations.push(Object::from_iter([
            ("observation_id", Value::from(id.to_owned())),
            ("name", name.into()),
            ("value", value.into()),
            ("basis_artifact_ids", vec![artifact_id.to_owned()].into()),
            ("step_id", step_id.to_owned().into()),
        ]));
    };
    let whole = ids.next("report", [artifact_id, "", ""]);
    observe(&whole, "junit.report", whole_value(report));
    let mut suites: Vec<String> = Vec::new();
    for suite in &report.suites {
        let around = suite.within.and_then(|place| suites.get(place)).unwrap_or(&whole).clone();
        let id = ids.next("suite", [&suite.name.text, &around, &suite.file.text]);
        observe(&id, "junit.suite", suite_value(suite, around));
        suites.push(id);
    }
    for test in &report.failed {
        let around = test.within.and_then(|place| suites.get(place)).unwrap_or(&whole).clone();
        let id = ids.next("failed", [&test.name.text, &test.classname.text, &around]);
        observe(&id, "junit.failed_test", failed_value(test, report, around));
    }
    observations
}

/// Ids that nothing else in the run has: a word of what is meant, and a digest of all that tells it from others.
struct Ids<'i> {
    artifact_id: &'i str,
    step_id: &'i str,
    /// How often each digest was asked for: tests may have one name.
    times: HashMap<Digest, u64>,
}

impl Ids<'_> {
    fn next(&mut self, what: &str, names: [&str; 3]) -> String {
        let list: Vec<String> =
            [self.artifact_id, self.step_id, what].into_iter().chain(names).map(str::to_owned).collect();
        let mut list = Value::from(list);
        let times = self.times.entry(Digest::of(&*list.canonical())).or_default();
        *times = times.saturating_add(1);
        if *times > 1 {
            list = vec![list, Value::count(*times)].into();
        }
        let digest = Digest::of(&*list.canonical()).to_hex();
        let step = id_part(self.step_id, LONGEST_STEP);
        let name = id_part(names.first().copied().unwrap_or_default(), LONGEST_NAME);
        format!("junit:{what}:{step}:{name}:{}", digest.get(..16).unwrap_or_default())
    }
}

fn whole_value(report: &Report) -> Object<'static> {
    let mut value = Object::new();
    let told = (report.suites.len() as u64).saturating_add(report.suites_left_out);
    value.insert("suites", Value::count(told));
    suite_members(&mut value, &report.whole);
    texts(&mut value, [("name", &report.whole.name)]);
    for (name, n) in
        [("suites_left_out", report.suites_left_out), ("failed_tests_left_out", report.failed_left_out)]
    {
        if n > 0 {
            value.insert(name, Value::count(n));
        }
    }
    value
}

fn suite_value(suite: &Suite, within: String) -> Object<'static> {
    let mut value = Object::from_iter([("within", within)]);
    suite_members(&mut value, suite);
    texts(&mut value, [("suite", &suite.name), ("file", &suite.file)]);
    value
}

fn suite_members(value: &mut Object<'static>, suite: &Suite) {
    let Counts { tests, failures, errors, skipped, flaky } = suite.counts;
    for (name, n) in [("tests", tests), ("failures", failures), ("errors", errors), ("skipped", skipped)] {
        value.insert(name, Value::count(n));
    }
    if flaky > 0 {
        value.insert("flaky", Value::count(flaky));
    }
    let stated = differing(suite);
    if !stated.is_empty() {
        value.insert("stated", stated);
    }
    duration(value, suite.duration_ms);
}

/// The file's own numbers, as far as they are not those that were counted.
fn differing(suite: &Suite) -> Object<'static> {
    let (counts, Stated { tests, failures, errors, skipped }) = (suite.counts, suite.stated);
    let pairs = [
        ("tests", tests, counts.tests),
        ("failures", failures, counts.failures),
        ("errors", errors, counts.errors),
        ("skipped", skipped, counts.skipped),
    ];
    let differs =
        |(name, stated, counted): (_, Option<u64>, u64)| Some((name, stated.filter(|n| *n != counted)?));
    pairs.into_iter().filter_map(differs).map(|(name, n)| (name, Value::count(n))).collect()
}

fn failed_value(test: &FailedTest, report: &Report, within: String) -> Object<'static> {
    let mut value = Object::from_iter([("within", within)]);
    let suite = test.within.and_then(|place| report.suites.get(place)).map(|suite| &suite.name);
    let suite = suite.cloned().unwrap_or_default();
    let (first, others) = test.failures.split_first().unzip();
    let no_text = Text::default();
    let of = |text: fn(&Failure) -> &Text| first.map_or(&no_text, text);
    if let Some(first) = first {
        value.insert("kind", kind(first.kind));
    }
    duration(&mut value, test.duration_ms);
    texts(
        &mut value,
        [
            ("test", &test.name),
            ("classname", &test.classname),
            ("suite", &suite),
            ("file", &test.file),
            ("message", of(|failure| &failure.message)),
            ("type", of(|failure| &failure.of_type)),
            ("text", of(|failure| &failure.text)),
        ],
    );
    let others: Vec<Object<'static>> = others.unwrap_or_default().iter().map(other_failure).collect();
    if !others.is_empty() {
        value.insert("others", others);
    }
    if test.failures_left_out > 0 {
        value.insert("others_left_out", Value::count(test.failures_left_out));
    }
    value
}

fn other_failure(failure: &Failure) -> Object<'static> {
    let mut value = Object::from_iter([("kind", kind(failure.kind))]);
    let Failure { message, of_type, text, .. } = failure;
    texts(&mut value, [("message", message), ("type", of_type), ("text", text)]);
    value
}

fn kind(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Error => "error",
        FailureKind::Failure => "failure",
    }
}

fn duration(value: &mut Object<'static>, duration_ms: Option<u64>) {
    if let Some(duration_ms) = duration_ms {
        value.insert("duration_ms", Value::count(duration_ms));
    }
}

/// Texts that are there, and under `cut` the names of those that were longer.
fn texts<'t>(value: &mut Object<'static>, texts: impl IntoIterator<Item = (&'static str, &'t Text)>) {
    let mut cut = Vec::new();
    for (name, text) in texts {
        if !text.text.is_empty() {
            value.insert(name, text.text.clone());
        }
        if text.cut {
            cut.push(name);
        }
    }
    if !cut.is_empty() {
        value.insert("cut", cut);
    }
}
