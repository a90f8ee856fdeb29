//! `sealstone exec --junit`: what a report says is observed beside the file that says it, and no report ever breaks a build.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::place::{Place, Ran, text};

fn dialect(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/junit").join(name);
    path.to_str().unwrap().to_owned()
}

/// Runs a script as the step `unit`; the sealed envelope, once it is verified and held against its schema.
fn exec(place: &Place, options: &[&str], script: &str) -> (Ran, Value) {
    let command = ["--", "sh", "-c", script];
    let ran =
        place.run(&[&["exec", "-q", "--step", "unit", "--out", "out.json"], options, &command].concat());
    let verified = place.run(&["verify", "out.json", "--keys", text(&place.keyring())]);
    assert_eq!(verified.status, 0, "{verified:?}");
    let bytes = fs::read(place.path("out.json")).unwrap();
    crate::schemas::assert_sealed_envelope(&bytes);
    (ran, serde_json::from_slice::<Value>(&bytes).unwrap()["envelope"].clone())
}

fn count(envelope: &Value, section: &str) -> usize {
    envelope[section].as_array().unwrap().len()
}

fn message(envelope: &Value) -> &str {
    envelope["execution"]["steps"][0]["message"].as_str().unwrap_or_default()
}

#[test]
fn a_report_is_observed_and_every_observation_cites_it() {
    let place = Place::new();
    let script = format!("cp {} report.xml; exit 3", dialect("surefire.xml"));
    let (ran, envelope) = exec(&place, &["--junit", "report.xml"], &script);
    assert_eq!((ran.status, ran.stderr.as_str()), (3, ""));
    let observations = envelope["observations"].as_array().unwrap();
    let names: Vec<&str> = observations.iter().map(|told| told["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["junit.report", "junit.suite", "junit.failed_test", "junit.failed_test"]);
    for told in observations {
        assert_eq!(told["basis_artifact_ids"], serde_json::json!(["report.xml"]));
        assert_eq!(told["step_id"], "unit");
    }
    assert_eq!(observations[2]["value"]["test"], "rejectsNegativeAmounts");
    assert_eq!(envelope["execution"]["steps"][0]["artifact_ids"], serde_json::json!(["report.xml"]));
    let given = format!("report.xml={}", dialect("surefire.xml"));
    let keyring = place.keyring();
    assert_eq!(place.run(&["verify", "out.json", "--keys", text(&keyring), "--artifact", &given]).status, 0);

    let shown = place.run(&["show", "out.json"]).stdout;
    let counts = "✗ com.acme.widget.CartTest  tests 5, failures 1, errors 1, skipped 1, flaky 1, 20 min 4 s";
    let failed =
        "✗ com.acme.widget.CartTest rejectsNegativeAmounts: expected: <0> but was: <-1>  from report.xml";
    assert!(shown.contains(counts) && shown.contains(failed), "{shown}");
}

#[test]
fn of_a_directory_each_report_is_read_by_name() {
    let place = Place::new();
    let script = format!(
        "mkdir -p out/deeper; cp {} out/b.xml; cp {} out/a.xml; cp out/a.xml out/c.txt; cp out/a.xml out/deeper/d.xml",
        dialect("gradle.xml"),
        dialect("pytest.xml"),
    );
    let (ran, envelope) = exec(&place, &["--junit", "out", "--junit", "out/a.xml"], &script);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let ids: Vec<&Value> =
        envelope["artifacts"].as_array().unwrap().iter().map(|file| &file["artifact_id"]).collect();
    assert_eq!(ids, ["out/a.xml", "out/b.xml"]);
    assert_eq!(count(&envelope, "observations"), 4 + 3);
}

#[test]
fn reports_whose_names_make_one_id_are_told_apart() {
    let place = Place::new();
    let script = format!("mkdir out; for name in ä ö; do cp {} out/$name.xml; done", dialect("jest.xml"));
    let (ran, envelope) = exec(&place, &["--junit", "out"], &script);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!((count(&envelope, "artifacts"), count(&envelope, "observations")), (2, 6));
    assert!(envelope["artifacts"][1]["artifact_id"].as_str().unwrap().starts_with("out/xml-"));
}

#[test]
fn a_report_that_is_an_artifact_too_is_recorded_once() {
    let place = Place::new();
    let script = format!("cp {} report.xml", dialect("jest.xml"));
    let options = ["--artifact", "report.xml", "--artifact", "it=report.xml", "--junit", "./report.xml"];
    let (ran, envelope) = exec(&place, &options, &script);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert_eq!((count(&envelope, "artifacts"), count(&envelope, "observations")), (2, 3));
}

#[test]
fn what_is_no_report_of_this_step_changes_nothing_and_is_told() {
    let place = Place::new();
    let old = place.write("old.xml", fs::read(dialect("jest.xml")).unwrap());
    let before = SystemTime::now() - Duration::from_secs(60);
    fs::File::options().write(true).open(&old).unwrap().set_modified(before).unwrap();
    fs::create_dir(place.path("empty")).unwrap();
    let script = "echo '<html/>' > page.xml; printf '<testsuite><testcase' > cut.xml; mkfifo pipe";
    let paths = ["old.xml", "missing.xml", "empty", "page.xml", "cut.xml", "pipe"];
    let options: Vec<&str> = paths.iter().flat_map(|path| ["--junit", *path]).collect();
    let (ran, envelope) = exec(&place, &[&options[..], &["--require-evidence"]].concat(), script);
    assert_eq!(ran.status, 0);
    for (path, why) in paths.iter().zip([
        "older than this step",
        "No such file",
        "no *.xml",
        "its root is html",
        "it ends early",
        "not a regular file",
    ]) {
        let told = |text: &str| {
            text.split([';', '\n']).any(|part| part.contains(&format!("{path}: ")) && part.contains(why))
        };
        assert!(told(&ran.stderr) && told(message(&envelope)), "{path}: {ran:?} {envelope}");
    }
    // What is a file of this step is recorded as one.
    assert_eq!((count(&envelope, "artifacts"), count(&envelope, "observations")), (2, 0));
}

#[test]
fn a_command_that_never_began_has_no_reports() {
    let place = Place::new();
    place.write("report.xml", fs::read(dialect("jest.xml")).unwrap());
    let ran = place.run(&["exec", "-q", "--out", "out.json", "--junit", "report.xml", "--", "./nowhere"]);
    assert_eq!(ran.status, 127);
    let sealed: Value = serde_json::from_slice(&fs::read(place.path("out.json")).unwrap()).unwrap();
    assert_eq!(count(&sealed["envelope"], "artifacts"), 0);
}

#[test]
fn a_flood_of_failures_and_of_reports_still_seals() {
    let place = Place::new();
    let failed = "<testcase name='t'><failure message='m'/></testcase>";
    place.write("flood", format!("<testsuite name='s'>{}</testsuite>", failed.repeat(30_000)));
    let script = "mkdir out; cp flood out/0.xml; for i in $(seq 1 30); do echo '<html/>' > out/$i.xml; done; \
                  truncate -s 80M out/large.xml";
    let (ran, envelope) = exec(&place, &["--junit", "out"], script);
    assert_eq!(ran.status, 0);
    assert_eq!((count(&envelope, "artifacts"), count(&envelope, "observations")), (32, 1_002));
    assert!(ran.stderr.contains("and 11 more"), "{ran:?}");
    let shown = place.run(&["show", "out.json"]).stdout;
    assert!(shown.contains("failed_tests_left_out=29000"), "{}", &shown[..2_000]);
}
