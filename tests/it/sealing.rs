//! What can be recorded seals into a file that verifies; what cannot is refused, and nothing is recorded.

use proptest::prelude::*;
use sealstone::evidence::canonical::{Object, Value};
use sealstone::evidence::digest::Digest;
use sealstone::evidence::envelope::limits::{MAX_ELEMENT_BYTES, MAX_ELEMENTS, MAX_TEXT_BYTES};
use sealstone::evidence::envelope::{DEFAULT_PRIVATE, Fault, FaultReason, Kind, PrivateMembers};
use sealstone::evidence::key::SigningKey;
use sealstone::evidence::keyring::{Keyring, Terms};
use sealstone::evidence::record::{Record, RecordError};
use sealstone::evidence::seal::{SealError, Sealed, with_disclosures};
use sealstone::evidence::time::Timestamp;
use sealstone::evidence::verify::{Code, Held, Report, Status, Verdict, verify};

const START_MS: i64 = 1_795_000_000_000;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms)
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn trusting() -> Held {
    let mut keyring = Keyring::new();
    keyring.add(key().public(), Terms::default()).unwrap();
    Held { keyring: Some(keyring), ..Held::default() }
}

fn run() -> Object<'static> {
    Object::from_iter([("run_id", "r"), ("evidence_id", "e"), ("project", "acme/widget")])
}

fn step(step_id: &str) -> Object<'static> {
    Object::from_iter([("step_id", step_id.to_owned()), ("kind", "test".into()), ("status", "passed".into())])
}

fn outcome(result: &'static str) -> Object<'static> {
    Object::from_iter([("result", result)])
}

fn push(record: &mut Record, kind: Kind, members: Object<'static>) -> Result<(), RecordError> {
    let mut salts = 0;
    let mut salt = || {
        salts += 1;
        [salts; 16]
    };
    record.push(kind, members, at(0), &PrivateMembers::parse(["*"]).unwrap(), &mut salt).map(drop)
}

fn record(elements: Vec<(Kind, Object<'static>)>) -> Record {
    let mut record = Record::new();
    for (kind, members) in elements {
        record.push(kind, members, at(0), &PrivateMembers::default(), &mut || [0; 16]).unwrap();
    }
    record
}

fn sealed(elements: Vec<(Kind, Object<'static>)>) -> Sealed {
    record(elements).seal(at(0), &[&key()]).unwrap()
}

fn judge(file: &str) -> Report {
    verify(file.as_bytes(), &trusting()).into_report()
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", ".{0,12}"]
}

fn any_free() -> impl Strategy<Value = Value<'static>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::vec((any_text(), inner), 0..4)
                .prop_map(|m| m.into_iter().collect::<Object<'_>>().into()),
        ]
    })
}

fn any_element(n: usize) -> impl Strategy<Value = (Kind, Object<'static>)> {
    let digest = Digest::of(n.to_be_bytes());
    (0..4, any_text(), any_free(), any_text(), 0..100_i64).prop_map(move |(kind, text, free, more, ms)| {
        let object = || Object::from_iter([("x", free.clone())]);
        let texts = Value::from(vec![text.clone(), more.clone()]);
        match kind {
            0 => {
                let mut step = step(&format!("s{n}"));
                step.insert("command", texts);
                step.insert("data", object());
                step.insert("message", more.clone());
                step.insert("started_at", at(ms));
                (Kind::Step, step)
            }
            1 => {
                let mut artifact = Object::from_iter([("artifact_id", format!("a/{n}"))]);
                artifact.insert("digest", digest);
                artifact.insert("content_uri", format!("urn:{digest}"));
                artifact.insert("location_hints", texts);
                (Kind::Artifact, artifact)
            }
            2 => {
                let mut observation =
                    Object::from_iter([("observation_id", format!("o{n}")), ("name", text.clone())]);
                observation.insert("value", free.clone());
                observation.insert("basis_artifact_ids", Value::List(Vec::new()));
                (Kind::Observation, observation)
            }
            _ => {
                let mut event = Object::from_iter([("name", "checkpoint"), ("phase", "p")]);
                event.insert("message", text.clone());
                event.insert("data", object());
                (Kind::Event, event)
            }
        }
    })
}

fn any_run() -> impl Strategy<Value = Vec<(Kind, Object<'static>)>> {
    let elements = (0..12_usize).map(any_element).collect::<Vec<_>>();
    (elements, any_text(), 0..12_usize).prop_map(|(elements, text, n)| {
        let mut run = run();
        run.insert("intent", text.clone());
        run.insert("labels", Object::from_iter([("team", text)]));
        let elements = elements.into_iter().take(n);
        std::iter::once((Kind::Run, run))
            .chain(elements)
            .chain([(Kind::Outcome, outcome("succeeded"))])
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_is_recorded_seals_into_a_file_that_verifies(elements in any_run(), all in any::<bool>(), back in any::<bool>()) {
        let private = if all { vec!["*"] } else { DEFAULT_PRIVATE.to_vec() };
        let private = PrivateMembers::parse(private).unwrap();
        let (mut record, mut salts, mut ms) = (Record::new(), 0_u8, 0);
        for (kind, members) in elements {
            let mut salt = || { salts = salts.wrapping_add(1); [salts; 16] };
            // The clock may go back; what is recorded does not.
            ms += if back { -7 } else { 7 };
            record.push(kind, members, at(ms), &private, &mut salt).unwrap();
        }
        let sealed = record.seal(at(-1000), &[&key()]).unwrap();
        let judged = verify(sealed.file.as_bytes(), &trusting());
        prop_assert_eq!(judged.report().verdict, Verdict::Verified, "{:?}", judged.report().first_failure);
        prop_assert_eq!(judged.report().withheld, 0);
        prop_assert!(judged.report().checks.iter().all(|check| check.status == Status::Pass));
        prop_assert_eq!(judged.verified().unwrap().envelope_digest(), sealed.envelope_digest);
        crate::schemas::assert_sealed_envelope(sealed.file.as_bytes());

        // Less to read, and the same seal.
        let document = judged.claimed().unwrap();
        let disclosures = document.list("disclosures").unwrap().len() as u64;
        let pack = with_disclosures(document, |_| false).unwrap();
        let report = judge(&pack);
        prop_assert_eq!((report.verdict, report.withheld), (Verdict::Verified, disclosures));
        prop_assert_eq!(with_disclosures(document, |_| true).unwrap(), sealed.file.clone());
    }
}

#[test]
fn a_record_begins_with_its_run_and_ends_with_its_outcome() {
    let mut none = Record::new();
    assert_eq!(push(&mut none, Kind::Step, step("a")), Err(RecordError::Order));
    assert_eq!(push(&mut none, Kind::Outcome, outcome("failed")), Err(RecordError::Order));
    let mut open = record(vec![(Kind::Run, run()), (Kind::Step, step("a"))]);
    assert_eq!(push(&mut open, Kind::Run, run()), Err(RecordError::Order));
    assert_eq!(open.seal(at(0), &[&key()]), Err(SealError::NotClosed));
    push(&mut open, Kind::Outcome, outcome("failed")).unwrap();
    assert_eq!(push(&mut open, Kind::Step, step("b")), Err(RecordError::AfterOutcome));
    assert_eq!(open.seal(at(0), &[]), Err(SealError::NoKey));
}

#[test]
fn what_breaks_the_model_is_refused_with_its_place_and_records_nothing() {
    let mut record = record(vec![(Kind::Run, run())]);
    let before = record.envelope_text();
    let deep = (0..57).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    let mut refused = |change: &dyn Fn(&mut Object<'static>), at: &str, reason: Option<FaultReason>| {
        let mut step = step("a");
        change(&mut step);
        let Err(RecordError::Element(fault)) = push(&mut record, Kind::Step, step) else {
            panic!("{at} was recorded")
        };
        assert_eq!(fault.at, at);
        if let Some(reason) = reason {
            assert_eq!(fault, Fault { at: at.to_owned(), reason });
        }
    };
    let hole = || Object::from_iter([("$withheld", Digest::of("x"))]);
    refused(&|s| drop(s.remove("kind")), "/kind", Some(FaultReason::Missing));
    refused(&|s| s.insert("color", "red"), "/color", Some(FaultReason::Unknown));
    refused(&|s| s.insert("step_id", "a//b"), "/step_id", None);
    refused(&|s| s.insert("status", "ok"), "/status", None);
    refused(&|s| s.insert("attempt", 0), "/attempt", None);
    refused(&|s| s.insert("started_at", "now"), "/started_at", None);
    refused(&|s| s.insert("command", vec![Value::Null]), "/command/0", None);
    refused(&|s| s.insert("command", hole()), "/command", Some(FaultReason::Reserved));
    refused(
        &|s| s.insert("data", Object::from_iter([("a/b", hole())])),
        "/data/a~1b",
        Some(FaultReason::Reserved),
    );
    refused(&|s| s.insert("message", "x".repeat(MAX_TEXT_BYTES + 1)), "/message", Some(FaultReason::TooLong));
    let too_deep = Object::from_iter([("x", deep.clone())]);
    refused(&|s| s.insert("data", too_deep.clone()), "/data", Some(FaultReason::TooDeep));
    let uri = Value::from("urn:sha256:00");
    let artifact = [("artifact_id", "x".into()), ("digest", Digest::of("x").into()), ("content_uri", uri)];
    let refused = push(&mut record, Kind::Artifact, Object::from_iter(artifact));
    assert!(matches!(refused, Err(RecordError::Element(fault)) if fault.at == "/content_uri"));
    assert_eq!(record.envelope_text(), before);
}

#[test]
fn what_contradicts_the_record_is_refused_and_records_nothing() {
    let artifact = |id: &str| {
        let digest = Digest::of("x");
        let uri = Value::from(format!("urn:{digest}"));
        Object::from_iter([
            ("artifact_id", Value::from(id.to_owned())),
            ("digest", digest.into()),
            ("content_uri", uri),
        ])
    };
    let mut planned = run();
    planned.insert("plan", vec!["a", "b"]);
    let mut record =
        record(vec![(Kind::Run, planned), (Kind::Artifact, artifact("x")), (Kind::Step, step("a"))]);
    let with = |mut object: Object<'static>, member: &'static str, value: Value<'static>| {
        object.insert(member, value);
        object
    };
    let observation = || {
        let basis: Vec<Value<'_>> = Vec::new();
        let named = Object::from_iter([("observation_id", "o"), ("name", "n"), ("value", "v")]);
        with(named, "basis_artifact_ids", basis.into())
    };
    let gate = || {
        Object::from_iter([
            ("gate_id", "g"),
            ("reason", "r"),
            ("opened_at", "2026-11-21T08:00:00.000Z"),
            ("decision", "rejected"),
        ])
    };
    push(&mut record, Kind::Observation, observation()).unwrap();
    let mut refused = |kind, members, code: &str| match push(&mut record, kind, members) {
        Err(RecordError::Conflict(conflict)) => assert_eq!(conflict.code(), code),
        other => panic!("{code}: {other:?}"),
    };
    refused(Kind::Step, step("a"), "attempt_order");
    refused(Kind::Step, with(step("a"), "attempt", 1.into()), "attempt_order");
    refused(Kind::Step, with(step("b"), "artifact_ids", vec!["x", "y"].into()), "artifact_unknown");
    refused(
        Kind::Observation,
        with(with(observation(), "observation_id", "p".into()), "basis_artifact_ids", vec!["y"].into()),
        "artifact_unknown",
    );
    refused(Kind::Artifact, artifact("x"), "artifact_exists");
    refused(Kind::Observation, observation(), "observation_exists");
    refused(Kind::Outcome, outcome("succeeded"), "result_contradicted");
    push(&mut record, Kind::Step, with(step("b"), "status", "failed".into())).unwrap();
    let mut refused = |kind, members, code: &str| match push(&mut record, kind, members) {
        Err(RecordError::Conflict(conflict)) => assert_eq!(conflict.code(), code),
        other => panic!("{code}: {other:?}"),
    };
    refused(Kind::Outcome, outcome("succeeded"), "result_contradicted");
    push(&mut record, Kind::Step, with(step("b"), "attempt", 2.into())).unwrap();
    push(&mut record, Kind::Gate, gate()).unwrap();
    assert!(
        matches!(push(&mut record, Kind::Gate, gate()), Err(RecordError::Conflict(c)) if c.code() == "gate_exists")
    );
    assert!(
        matches!(push(&mut record, Kind::Outcome, outcome("succeeded")), Err(RecordError::Conflict(c)) if c.code() == "result_contradicted")
    );
    push(&mut record, Kind::Outcome, outcome("failed")).unwrap();
    let sealed = record.seal(at(0), &[&key()]).unwrap();
    assert_eq!(judge(&sealed.file).verdict, Verdict::Verified);
}

#[test]
fn what_is_too_large_is_refused_at_recording() {
    let mut record = record(vec![(Kind::Run, run())]);
    let mut large = step("a");
    let data: Object<'_> = (0..5).map(|i| (format!("x{i}"), "x".repeat(MAX_TEXT_BYTES))).collect();
    large.insert("data", data);
    // Also where withholding would make it small: the value has to fit beside it.
    for private in [PrivateMembers::default(), PrivateMembers::parse(["*"]).unwrap()] {
        let refused = record.push(Kind::Step, large.clone(), at(0), &private, &mut || [0; 16]);
        assert!(
            matches!(refused, Err(RecordError::ElementTooLarge { bytes, .. }) if bytes > MAX_ELEMENT_BYTES),
            "{refused:?}"
        );
    }
    for i in 2..MAX_ELEMENTS {
        push(&mut record, Kind::Event, Object::from_iter([("name", format!("e{i}"))])).unwrap();
    }
    let one_more = push(&mut record, Kind::Event, Object::from_iter([("name", "x")]));
    assert!(matches!(one_more, Err(RecordError::RunFull { .. })), "{one_more:?}");
    closes_and_verifies(record);
}

/// Whatever was recorded, there is room for the outcome.
fn closes_and_verifies(mut record: Record) {
    push(&mut record, Kind::Outcome, outcome("failed")).unwrap();
    let sealed = record.seal(at(0), &[&key()]).unwrap();
    let report = judge(&sealed.file);
    assert_eq!(report.verdict, Verdict::Verified, "{:?}", report.first_failure);
}

#[test]
fn a_record_that_is_full_can_be_closed_whether_its_values_are_withheld_or_not() {
    for private in [PrivateMembers::default(), PrivateMembers::parse(["*"]).unwrap()] {
        let mut record = record(vec![(Kind::Run, run())]);
        let refused = (0..1_000).find_map(|i| {
            let mut large = step(&format!("s{i}"));
            let data: Object<'_> = (0..3).map(|i| (format!("x{i}"), "x".repeat(MAX_TEXT_BYTES))).collect();
            large.insert("data", data);
            record.push(Kind::Step, large, at(0), &private, &mut || [0; 16]).err()
        });
        assert!(matches!(refused, Some(RecordError::RunFull { .. })), "{refused:?}");
        closes_and_verifies(record);
    }
}

#[test]
fn only_members_that_may_be_withheld_can_be_named_private() {
    for pointer in [
        "*",
        "/run/labels",
        "/run/labels/team",
        "/run/trigger/actor",
        "/run/subject/meta/x/0",
        "/execution/steps/*/command",
        "/execution/steps/3/command/*",
        "/execution/steps/*/data/a~1b",
        "/observations/*/value/x",
        "/outcome/reason",
    ] {
        assert!(PrivateMembers::parse([pointer]).is_ok(), "{pointer}");
    }
    for pointer in [
        "",
        "/",
        "run/labels",
        "/run",
        "/run/project",
        "/run/plan",
        "/execution/steps",
        "/execution/steps/*",
        "/execution/steps/command",
        "/execution/steps/01/command",
        "/execution/steps/*/status",
        "/run/trigger/x",
        "/execution/steps/*/command/x",
        "/run/labels/*",
        "/run/subject/meta/*",
        "/execution~1steps/0/command",
        "/artifacts/*/digest",
        "/events/*/data~2",
        "/run/labels/a/b",
        "/nothing/x",
    ] {
        assert!(PrivateMembers::parse([pointer]).is_err(), "{pointer}");
    }
}

#[test]
fn the_outermost_of_nested_private_members_is_withheld_once() {
    let mut both = step("a");
    both.insert("command", vec!["deploy", "--token", "hunter2"]);
    let pointers =
        ["/execution/steps/*/command/*", "/execution/steps/0/command", "/execution/steps/*/command/2"];
    let private = PrivateMembers::parse(pointers).unwrap();
    let disclosures = private.withhold(Kind::Step, Some(0), &mut both, &mut || [0; 16]);
    assert_eq!(disclosures.iter().map(|d| d.at.as_str()).collect::<Vec<_>>(), ["/execution/steps/0/command"]);

    let mut other = step("b");
    other.insert("command", vec!["x", "y"]);
    let disclosures = private.withhold(Kind::Step, Some(1), &mut other, &mut || [0; 16]);
    assert_eq!(
        disclosures.iter().map(|d| d.at.as_str()).collect::<Vec<_>>(),
        ["/execution/steps/1/command/0", "/execution/steps/1/command/1"]
    );
}

#[test]
fn every_limit_of_section_8_makes_a_file_unreadable() {
    let elements: Vec<Value<'_>> = (0..=MAX_ELEMENTS).map(|_| Value::Null).collect();
    let base = sealed(vec![(Kind::Run, run()), (Kind::Outcome, outcome("failed"))]).file;
    let link = format!("{{\"digest\":\"{0}\",\"entry_hash\":\"{0}\"}}", Digest::of("x"));
    let links = vec![link.as_str(); elements.len()].join(",");
    let count = base.replacen("\"hash_chain\":[", &format!("\"hash_chain\":[{links},"), 1);
    let text = "x".repeat(MAX_ELEMENT_BYTES);
    let element = base.replacen("\"run_id\":\"r\"", &format!("\"run_id\":\"{text}\""), 1);
    let event = |n: usize| {
        format!(
            "{{\"name\":\"e\",\"recorded_at\":\"2026-11-21T08:00:00.000Z\",\"seq\":{n},\"type\":\"event\",\"x\":\"{}\"}}",
            "x".repeat(250_000)
        )
    };
    let events: Vec<String> = (0..270).map(event).collect();
    let envelope = base.replacen("\"events\":[]", &format!("\"events\":[{}]", events.join(",")), 1);
    let file = format!("{base}{}", " ".repeat(128 << 20));
    for (what, text) in [("count", count), ("element", element), ("envelope", envelope), ("file", file)] {
        let report = judge(&text);
        assert_eq!(report.verdict, Verdict::Unreadable, "{what}");
        assert_eq!(
            report.failed().collect::<Vec<_>>(),
            [Code::JsonTooLarge],
            "{what}: {:?}",
            report.first_failure
        );
    }
}

#[test]
fn every_refusal_of_the_parser_is_a_verdict_with_the_same_code() {
    for (text, code) in [
        ("{", "json.syntax"),
        ("{\"a\":1,\"a\":2}", "json.duplicate_key"),
        ("[1e16]", "json.number_out_of_range"),
        ("[\"\\ud800\"]", "json.lone_surrogate"),
        (&"[".repeat(65), "json.too_deep"),
        ("[]", "format.unknown"),
    ] {
        let report = judge(text);
        let failed: Vec<&str> = report.failed().map(Code::as_str).collect();
        assert_eq!((report.verdict, failed), (Verdict::Unreadable, vec![code]));
    }
}

#[test]
fn a_hostile_file_costs_about_what_its_size_costs() {
    // Commitments under a long name, steps and gates in the ten thousands, the same signature again and again: what is quadratic
    // in any of these does not end here.
    let hole = format!("{{\"$withheld\":\"{}\"}}", Digest::of("x"));
    let step = |i: usize, more: &str| {
        format!(
            "{{\"kind\":\"human_approval\",\"recorded_at\":\"2026-11-21T08:00:00.000Z\",\"seq\":{i},\"status\":\"passed\",\"step_id\":\"s{i}\",\"type\":\"step\"{more}}}"
        )
    };
    let base = sealed(vec![(Kind::Run, run()), (Kind::Outcome, outcome("failed"))]).file;
    let with_steps =
        |steps: Vec<String>| base.replacen("\"steps\":[]", &format!("\"steps\":[{}]", steps.join(",")), 1);
    let data =
        format!(",\"data\":{{\"{}\":[{}]}}", "k".repeat(130_000), vec![hole.as_str(); 1_300].join(","));
    let report = judge(&with_steps((0..20).map(|i| step(i, &data)).collect()));
    assert_eq!((report.verdict, report.withheld), (Verdict::Rejected, 26_000));

    let gate = |i: usize| {
        format!(
            "{{\"decision\":\"approved\",\"gate_id\":\"g{i}\",\"opened_at\":\"2026-11-21T08:00:00.000Z\",\"reason\":\"r\",\"recorded_at\":\"2026-11-21T08:00:00.000Z\",\"seq\":{i},\"step_id\":\"x\",\"type\":\"gate\"}}"
        )
    };
    let gates: Vec<String> = (0..40_000).map(gate).collect();
    let file = with_steps((0..40_000).map(|i| step(i, "")).collect());
    assert_eq!(
        judge(&file.replacen("\"gates\":[]", &format!("\"gates\":[{}]", gates.join(",")), 1)).verdict,
        Verdict::Rejected
    );

    let (before, after) = base.rsplit_once("\"signatures\":[").unwrap();
    let signature = after.split_once(']').unwrap().0;
    let file = format!("{before}\"signatures\":[{}]}}}}", vec![signature; 50_000].join(","));
    assert_eq!(judge(&file).verdict, Verdict::Verified);
}

#[test]
fn notes_tell_and_do_not_fail() {
    let mut planned = run();
    planned.insert("plan", vec!["a", "b"]);
    let mut skipped = step("a");
    skipped.insert("status", "skipped");
    let mut approval = step("b");
    approval.insert("kind", "human_approval");
    let file = sealed(vec![
        (Kind::Run, planned),
        (Kind::Step, skipped),
        (Kind::Step, approval),
        (Kind::Outcome, outcome("succeeded")),
    ]);
    let report = judge(&file.file);
    let notes: Vec<Code> =
        report.checks.iter().filter(|c| c.status == Status::Note).map(|c| c.code).collect();
    assert_eq!(
        (report.verdict, notes),
        (Verdict::Verified, vec![Code::PlanStepSkipped, Code::StepApprovalWithoutGate])
    );

    let receipt = file.file.replacen("\"receipts\":[]", "\"receipts\":[{\"type\":\"urn:x\"}]", 1);
    assert!(
        judge(&receipt).checks.iter().any(|c| c.code == Code::ReceiptUnknown && c.status == Status::Note)
    );

    let mut unplanned = run();
    unplanned.insert("plan", vec!["z"]);
    let report = judge(&sealed(vec![(Kind::Run, unplanned), (Kind::Outcome, outcome("failed"))]).file);
    assert_eq!(report.verdict, Verdict::Verified);
    assert!(report.checks.iter().any(|c| c.code == Code::PlanStepMissing && c.status == Status::Note));
}

#[test]
fn a_clock_that_went_back_is_noted() {
    let file = sealed(vec![(Kind::Run, run()), (Kind::Outcome, outcome("failed"))]).file;
    // The run stands after the outcome in canonical form, so this is its time. Nobody sealed that; the note stands beside failures.
    let (before, after) = file.rsplit_once(&at(0).to_string()).unwrap();
    let report = judge(&format!("{before}{}{after}", at(9)));
    assert!(
        report
            .checks
            .iter()
            .any(|check| check.code == Code::TimeNotAscending && check.status == Status::Note)
    );
}
