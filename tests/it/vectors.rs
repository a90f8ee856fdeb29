//! The vectors of an independent implementation: each gets exactly what it must.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealstone::evidence::canonical;
use sealstone::evidence::digest::Digest;
use sealstone::evidence::keyring::Keyring;
use sealstone::evidence::verify::{Expected, GivenArtifact, Held, verify};
use serde_json::Value;

pub(crate) fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/vectors")
}

pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub(crate) fn keyring(files: &[&str]) -> Keyring {
    let mut keyring = Keyring::new();
    for file in files {
        keyring.add_file(&fs::read(dir().join(file)).unwrap()).unwrap();
    }
    keyring
}

/// What a case of cases.json brings.
pub(crate) fn held(case: &Value) -> Held {
    let inputs = &case["inputs"];
    let texts = |object: &Value| -> BTreeMap<String, String> {
        serde_json::from_value(object.clone()).unwrap_or_default()
    };
    Held {
        keyring: case["keyring"]
            .as_array()
            .map(|files| keyring(&files.iter().map(|file| file.as_str().unwrap()).collect::<Vec<_>>())),
        threshold: NonZeroUsize::new(inputs["threshold"].as_u64().unwrap_or(1) as usize).unwrap(),
        heads: inputs["heads"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|head| (head[0].as_i64().unwrap(), head[1].as_str().unwrap().parse().unwrap()))
            .collect(),
        expected: texts(&inputs["expect"])
            .into_iter()
            .map(|(name, value)| (Expected::ALL.into_iter().find(|e| e.as_str() == name).unwrap(), value))
            .collect(),
        artifacts: texts(&inputs["artifacts"])
            .into_iter()
            .map(|(artifact_id, base64)| {
                let bytes = STANDARD.decode(base64).unwrap();
                GivenArtifact { artifact_id, digest: Digest::of(&bytes), bytes: bytes.len() as u64 }
            })
            .collect(),
        files: std::collections::HashMap::new(),
        require_artifacts: inputs["require_artifacts"].as_bool().unwrap_or(false),
    }
}

pub(crate) fn cases() -> BTreeMap<String, Value> {
    serde_json::from_value(read_json(&dir().join("cases.json"))).unwrap()
}

#[test]
fn every_case_gets_its_verdict_codes_first_failure_and_withheld_count() {
    let cases = cases();
    assert!(cases.len() >= 149);
    let mut wrong = Vec::new();
    for (name, case) in cases {
        let file = fs::read(dir().join(case["file"].as_str().unwrap())).unwrap();
        let report = verify(&file, &held(&case)).into_report();
        let mut failed: Vec<&str> = report.failed().map(|code| code.as_str()).collect();
        failed.sort_unstable();
        let got = serde_json::json!({
            "verdict": report.verdict.as_str(), "failed": failed, "withheld": report.withheld,
            "first": report.first_failure.as_ref().map(|check| check.code.as_str()),
        });
        for member in ["verdict", "failed", "withheld", "first"] {
            if got[member] != case[member] {
                wrong.push(format!(
                    "{name}: {member} is {}, must be {}; {:?}",
                    got[member], case[member], report.first_failure
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_keyring_is_taken_or_refused() {
    for (folder, taken) in [("good", true), ("invalid", false)] {
        for entry in fs::read_dir(dir().join("keyrings").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let result = Keyring::new().add_file(&fs::read(&path).unwrap());
            assert_eq!(result.is_ok(), taken, "{}: {result:?}", path.display());
        }
    }
}

#[test]
fn every_text_gets_its_canonical_form_or_code() {
    let expected: BTreeMap<String, Value> =
        serde_json::from_value(read_json(&dir().join("json/expected.json"))).unwrap();
    assert!(expected.len() >= 30);
    for (name, expected) in expected {
        let text = fs::read(dir().join("json").join(format!("{name}.txt"))).unwrap();
        let got = match canonical::parse(&text, text.len()) {
            Ok(value) => serde_json::json!({ "canonical": value.canonical() }),
            Err(error) => serde_json::json!({ "code": error.code.as_str() }),
        };
        assert_eq!(got, expected, "{name}");
    }
}
