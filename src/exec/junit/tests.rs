//! What reports say to us, in the dialects of their writers and in the hands of those who mean ill.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::members::observations;
use super::parse::{Allowed, parse};
use super::report::{Counts, Report, ReportError};
use crate::evidence::canonical::{Object, Value};
use crate::evidence::envelope::{Kind, PrivateMembers};
use crate::evidence::record::Record;
use crate::evidence::time::Timestamp;

const ALL: Allowed = Allowed { suites: 100, failed_tests: 100 };

fn dialects() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/junit");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let reports = files.filter(|path| path.extension().is_some_and(|extension| extension == "xml"));
    let found: Vec<_> = reports.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(found.len() >= 10);
    found
}

fn read(report: &str) -> Result<Report, ReportError> {
    parse(report.as_bytes(), ALL)
}

fn refused(report: &str) -> ReportError {
    read(report).unwrap_err()
}

#[test]
fn each_dialect_is_told_as_its_writer_meant_it() {
    for (path, bytes) in dialects() {
        let told = observations(&parse(&bytes, ALL).unwrap(), "report.xml", "unit");
        let told = serde_json::to_string_pretty(&Value::from(told)).unwrap() + "\n";
        let golden = fs::read_to_string(path.with_extension("json")).unwrap_or_default();
        assert_eq!(told, golden, "{}", path.display());
    }
}

#[test]
fn a_report_that_ends_early_is_never_taken_for_a_whole_one() {
    for (path, bytes) in dialects() {
        let end = bytes.trim_ascii_end().len();
        for cut in 0..end {
            let refused = parse(&bytes[..cut], ALL).unwrap_err();
            let expected = matches!(
                refused,
                ReportError::EndsEarly { .. }
                    | ReportError::Empty
                    | ReportError::Malformed { .. }
                    | ReportError::NotUtf8 { .. }
            );
            assert!(expected, "{} at {cut}: {refused}", path.display());
        }
        assert!(parse(&bytes[..end], ALL).is_ok());
    }
    assert_eq!(refused("<testsuite>\n<testcase>\n<failure>a"), ReportError::EndsEarly { line: 3 });
}

#[test]
fn no_entity_is_expanded_that_a_file_defines() {
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><testsuite name=\"&b;\"/>";
    assert_eq!(refused(bomb), ReportError::DocumentType);
    assert_eq!(
        refused("<!DOCTYPE testsuite SYSTEM \"file:///etc/passwd\"><testsuite/>"),
        ReportError::DocumentType
    );
    assert_eq!(
        refused("<testsuite>\n<testcase name=\"&b;\"/></testsuite>"),
        ReportError::Malformed { line: 2 }
    );
    assert_eq!(refused("<testsuite>\n\n&b;</testsuite>"), ReportError::Malformed { line: 3 });
}

#[test]
fn what_is_no_report_is_told_apart_without_quoting_it() {
    assert_eq!(refused(""), ReportError::Empty);
    assert_eq!(refused("{\"tests\": 1}"), ReportError::Empty);
    assert_eq!(refused("<html/>"), ReportError::NotAReport { root: "html".into() });
    let long = format!("<{}/>", "secret".repeat(1_000));
    assert!(refused(&long).to_string().len() < 200);
    for malformed in [
        "<testsuite/><testsuite/>",
        "<testsuite/>text",
        "<testsuite></testsuites>",
        "<testsuite name='a' name='b'/>",
        "<testsuite>&#x110000;</testsuite>",
        "<testsuite>&#0;</testsuite>",
        "<testsuite>& </testsuite>",
        "<testsuite><!a></testsuite>",
        "</testsuite>",
    ] {
        assert_eq!(refused(malformed), ReportError::Malformed { line: 1 }, "{malformed}");
    }
}

#[test]
fn other_encodings_than_utf_8_are_refused_by_name() {
    let utf_16: Vec<u8> = "\u{feff}<testsuite/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(parse(&utf_16, ALL), Err(ReportError::Utf16));
    assert_eq!(parse(&utf_16[2..], ALL), Err(ReportError::Utf16));
    assert_eq!(parse(b"<testsuite>\n<a b='\xe9'/></testsuite>", ALL), Err(ReportError::NotUtf8 { line: 2 }));
    let declared =
        |name: &str| format!("<?xml version='1.0' encoding='ISO-8859-1'?><testsuite name='{name}'/>");
    assert_eq!(refused(&declared("é")), ReportError::OtherEncoding { encoding: "ISO-8859-1".into() });
    assert!(read(&declared("e")).is_ok());
}

#[test]
fn elements_may_not_stand_in_one_another_without_end() {
    let nested = |depth: usize| format!("{}{}", "<testsuite>".repeat(depth), "</testsuite>".repeat(depth));
    assert_eq!(read(&nested(64)).unwrap().suites.len(), 64);
    assert_eq!(refused(&nested(65)), ReportError::TooDeep { line: 1, most: 64 });
    assert_eq!(refused(&"<testsuite>".repeat(1_000_000)), ReportError::TooDeep { line: 1, most: 64 });
}

#[test]
fn what_is_not_told_one_by_one_is_counted() {
    let test = "<testcase name='t'><failure/></testcase>";
    let suite = format!("<testsuite name='s'>{}</testsuite>", test.repeat(1_000));
    let report = parse(
        format!("<testsuites>{}</testsuites>", suite.repeat(20)).as_bytes(),
        Allowed { suites: 3, failed_tests: 1_500 },
    );
    let report = report.unwrap();
    assert_eq!((report.suites.len(), report.suites_left_out), (3, 17));
    assert_eq!((report.failed.len(), report.failed_left_out), (1_500, 18_500));
    assert_eq!(report.whole.counts, Counts { tests: 20_000, failures: 20_000, ..Counts::default() });
    let told = observations(&report, "a", "s");
    let whole = told[0].object("value").unwrap();
    assert_eq!(whole.count("suites"), Some(20));
    assert_eq!(
        (whole.count("suites_left_out"), whole.count("failed_tests_left_out")),
        (Some(17), Some(18_500))
    );
    assert_all_recorded(told);
}

#[test]
fn long_text_is_cut_and_the_observation_says_what() {
    let long = "\"\\".repeat(100_000);
    let escaped = long.replace('"', "&quot;");
    let failure = format!("<failure message='{escaped}' type='{escaped}'>{escaped}</failure>");
    let report = format!(
        "<testsuite name='{escaped}'><testcase name='{escaped}' classname='{escaped}' file='{escaped}'>{}</testcase></testsuite>",
        failure.repeat(6)
    );
    let told = observations(&read(&report).unwrap(), "a", "s");
    let value = told[2].object("value").unwrap();
    let cut: Vec<&str> = value.list("cut").unwrap().iter().filter_map(Value::as_text).collect();
    assert_eq!(cut, ["test", "classname", "suite", "file", "message", "type", "text"]);
    assert_eq!((value.list("others").unwrap().len(), value.count("others_left_out")), (3, Some(2)));
    assert_eq!(value.text("text").unwrap().len(), 4 << 10);
    // A thousand of them, and two thousand suites, are to leave room in an envelope.
    assert!(told[2].canonical().len() < 32 << 10 && told[1].canonical().len() < 4 << 10);
    assert_all_recorded(told);
}

#[test]
fn a_test_has_the_same_id_in_every_run_and_no_two_have_one() {
    let test = |name: &str| format!("<testcase classname='c' name='{name}'><failure/></testcase>");
    let ids = |tests: &str, artifact: &str, step: &str| -> Vec<String> {
        let report = read(&format!("<testsuite name='s'>{tests}</testsuite>")).unwrap();
        let told = observations(&report, artifact, step);
        told.iter().map(|members| members.text("observation_id").unwrap().to_owned()).collect()
    };
    let both = ids(&(test("ä") + &test("ö") + &test("ö")), "a.xml", "unit");
    let one = ids(&test("ö"), "a.xml", "unit");
    assert_eq!(both[3], one[2]);
    assert!(one[2].starts_with("junit:failed:unit:-:"), "{}", one[2]);
    let elsewhere = [ids(&test("ö"), "b.xml", "unit"), ids(&test("ö"), "a.xml", "other/unit")].concat();
    let all: Vec<&String> = both.iter().chain(&elsewhere).collect();
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
}

/// Each is taken into a record, beside the artifact that it cites.
fn assert_all_recorded(observations: Vec<Object<'static>>) {
    let artifact = |id: &str| {
        let digest = crate::evidence::digest::Digest::of("");
        Object::from_iter([
            ("artifact_id", Value::from(id.to_owned())),
            ("digest", digest.into()),
            ("content_uri", format!("urn:{digest}").into()),
        ])
    };
    let run = Object::from_iter([
        ("evidence_id", "0192f0c1-0000-7000-8000-000000000000"),
        ("run_id", "r"),
        ("project", "p"),
    ]);
    let mut record = Record::new();
    let ids: HashSet<String> = observations.iter().flat_map(cited).collect();
    let artifacts = ids.iter().map(|id| (Kind::Artifact, artifact(id)));
    let observations = observations.into_iter().map(|members| (Kind::Observation, members));
    for (kind, members) in [(Kind::Run, run)].into_iter().chain(artifacts).chain(observations) {
        let none = PrivateMembers::parse([]).unwrap();
        record.push(kind, members, Timestamp::from_unix_ms(0), &none, &mut || [0; 16]).unwrap();
    }
}

fn cited(members: &Object<'_>) -> Vec<String> {
    let basis = members.list("basis_artifact_ids").unwrap();
    basis.iter().filter_map(Value::as_text).map(str::to_owned).collect()
}

/// Pieces of which reports are made, good and bad.
fn report() -> impl Strategy<Value = String> {
    let attribute = prop_oneof![
        "(name|classname|message|type|file|time|tests|skipped)=\"[^\"<&]{0,12}\"",
        Just("time=\"1e999\" tests=\"-1\"".to_owned()),
    ];
    let piece = (
        prop_oneof![
            Just("testsuites"),
            Just("testsuite"),
            Just("testcase"),
            Just("failure"),
            Just("error"),
            Just("skipped"),
            Just("flakyFailure"),
            Just("x:failure")
        ],
        prop::collection::vec(attribute, 0..3),
        prop_oneof![Just(0), Just(1), Just(2)],
        "(&amp;|&#x1b;|<!\\[CDATA\\[]{0,3}\\]\\]>|[^<&]{0,5})",
    );
    prop::collection::vec(piece, 0..30).prop_map(|pieces| {
        let mut open = vec!["testsuites"];
        let mut out = "<testsuites>".to_owned();
        for (name, attributes, shape, text) in pieces {
            out += &format!("<{name} {}", attributes.join(" "));
            out += if shape == 0 { "/>" } else { ">" };
            out += &text;
            if shape == 1 {
                open.push(name);
            } else if shape == 2 {
                out += &format!("</{name}>");
            }
        }
        open.iter().rev().for_each(|name| out += &format!("</{name}>"));
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = parse(&bytes, ALL);
    }

    #[test]
    fn whatever_a_report_says_can_be_recorded(report in report(), step in "[a-z]([a-z/]{0,100}[a-z])?") {
        prop_assume!(!step.contains("//"));
        if let Ok(report) = read(&report) {
            assert_all_recorded(observations(&report, "report.xml", &step));
        }
    }

    #[test]
    fn a_report_that_is_tampered_with_is_read_or_refused(
        which: prop::sample::Index,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_usize..40), 1..4),
    ) {
        let dialects = dialects();
        let (_, mut bytes) = which.get(&dialects).clone();
        for (at, byte, taken) in changes {
            let at = at.index(bytes.len());
            let end = at.saturating_add(taken).min(bytes.len());
            bytes.splice(at..end, [byte]);
            if bytes.is_empty() {
                return Ok(());
            }
        }
        if let Ok(report) = parse(&bytes, ALL) {
            assert_all_recorded(observations(&report, "report.xml", "unit"));
        }
    }
}
