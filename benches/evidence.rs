//! Sealing and verifying, in bytes of envelope per second, each beside plain SHA-256 of the same bytes: the floor.
//!
//! `cargo bench --bench evidence` prints criterion's figures; `cargo bench --bench evidence -- --table` the table of the README.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use sealstone::evidence::canonical::{Object, Value};
use sealstone::evidence::digest::Digest;
use sealstone::evidence::envelope::{Kind, PrivateMembers};
use sealstone::evidence::key::SigningKey;
use sealstone::evidence::keyring::{Keyring, Terms};
use sealstone::evidence::record::Record;
use sealstone::evidence::time::Timestamp;
use sealstone::evidence::verify::{Held, Verdict, verify};

const STEPS: [usize; 3] = [10, 1_000, 99_998];

fn main() {
    if std::env::args().any(|argument| argument == "--table") {
        return table();
    }
    let mut criterion = Criterion::default().configure_from_args();
    for steps in STEPS {
        let case = Case::new(steps);
        let mut group = criterion.benchmark_group(format!("{steps}-steps"));
        group.throughput(Throughput::Bytes(case.envelope.len() as u64)).sampling_mode(SamplingMode::Flat);
        group.sample_size(10).measurement_time(Duration::from_secs(5));
        for (name, work) in WORKS {
            group.bench_function(BenchmarkId::from_parameter(name), |bencher| bencher.iter(|| work(&case)));
        }
        group.finish();
    }
    criterion.final_summary();
}

type Work = fn(&Case);

const WORKS: [(&str, Work); 6] = [
    ("sha256", |case| {
        black_box(Digest::of(&case.envelope));
    }),
    ("record", |case| drop(black_box(recorded(&case.elements)))),
    ("seal", |case| drop(black_box(case.record.seal(moment(), &[&key()]).unwrap()))),
    ("verify", |case| case.judge(&case.sealed)),
    ("verify-indented", |case| case.judge(&case.indented)),
    ("parse-serde_json", |case| {
        drop(black_box(serde_json::from_str::<serde_json::Value>(&case.sealed).unwrap()))
    }),
];

struct Case {
    elements: Vec<(Kind, Object<'static>)>,
    record: Record,
    envelope: String,
    sealed: String,
    /// The same, not in canonical form.
    indented: String,
    held: Held,
}

impl Case {
    fn new(steps: usize) -> Self {
        let elements = elements(steps);
        let record = recorded(&elements);
        let sealed = record.seal(moment(), &[&key()]).unwrap().file;
        let document: serde_json::Value = serde_json::from_str(&sealed).unwrap();
        let mut keyring = Keyring::new();
        keyring.add(key().public(), Terms::default()).unwrap();
        Self {
            elements,
            envelope: record.envelope_text(),
            record,
            sealed,
            indented: serde_json::to_string_pretty(&document).unwrap(),
            held: Held { keyring: Some(keyring), ..Held::default() },
        }
    }

    fn judge(&self, file: &str) {
        let judged = verify(black_box(file.as_bytes()), &self.held);
        assert_eq!(judged.report().verdict, Verdict::Verified);
    }
}

fn moment() -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000)
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn elements(steps: usize) -> Vec<(Kind, Object<'static>)> {
    let run = Object::from_iter([("run_id", "bench"), ("evidence_id", "bench"), ("project", "acme/widget")]);
    let step = |i: usize| {
        let id = format!("suite-{}/case-{i}", i % 97);
        let mut step =
            Object::from_iter([("step_id", id), ("kind", "test".into()), ("status", "passed".into())]);
        step.insert("name", format!("Case {i} of the suite"));
        step.insert("exit_code", 0);
        step.insert("duration_ms", Value::count(i as u64 % 5_000));
        step.insert("started_at", moment());
        step.insert("command", vec!["cargo".to_owned(), "test".into(), format!("case_{i}")]);
        (Kind::Step, step)
    };
    let outcome = Object::from_iter([("result", "succeeded")]);
    std::iter::once((Kind::Run, run)).chain((0..steps).map(step)).chain([(Kind::Outcome, outcome)]).collect()
}

fn recorded(elements: &[(Kind, Object<'static>)]) -> Record {
    let (mut record, private) = (Record::new(), PrivateMembers::default());
    for (kind, members) in elements {
        record.push(*kind, members.clone(), moment(), &private, &mut || [0; 16]).unwrap();
    }
    record
}

/// The median of repeated runs, in MB of envelope a second, and as a share of the SHA-256 floor.
fn table() {
    println!(
        "| steps | envelope | SHA-256 | record | seal | verify | verify, indented | serde_json parse alone |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for steps in STEPS {
        let case = Case::new(steps);
        let megabytes = case.envelope.len() as f64 / 1e6;
        let speeds = WORKS.map(|(_, work)| megabytes / median(|| work(&case)).as_secs_f64());
        let floor = speeds[0];
        let cells = speeds.map(|speed| format!("{speed:.0} MB/s ({:.0} %)", 100.0 * speed / floor));
        println!("| {steps} | {megabytes:.3} MB | {floor:.0} MB/s | {} |", cells[1..].join(" | "));
    }
}

fn median(work: impl Fn()) -> Duration {
    let until = Instant::now() + Duration::from_secs(2);
    let mut times = Vec::new();
    while times.len() < 3 || (Instant::now() < until && times.len() < 1_000) {
        let start = Instant::now();
        work();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    times[times.len() / 2]
}
