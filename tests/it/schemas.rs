//! What is sealed, trusted and reported is what schemas/ says.

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use sealstone::evidence::verify::verify;
use serde_json::Value;

use crate::vectors::{cases, dir, held, read_json};

pub(crate) fn schema(name: &str) -> Validator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let read = |name: &str| read_json(&folder.join(name));
    let envelope = read("envelope.v1.json");
    let id = envelope["$id"].as_str().unwrap().to_owned();
    let resource = jsonschema::Resource::from_contents(envelope);
    let registry = jsonschema::Registry::new().add(id, resource).unwrap().prepare().unwrap();
    jsonschema::options().with_registry(&registry).build(&read(name)).unwrap()
}

/// The sealed envelope holds against schemas/sealed-envelope.v1.json.
pub(crate) fn assert_sealed_envelope(file: &[u8]) {
    let document: Value = serde_json::from_slice(file).unwrap();
    if let Err(error) = schema("sealed-envelope.v1.json").validate(&document) {
        panic!("{error} at {}", error.instance_path());
    }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir().join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn the_schema_of_sealed_envelopes_takes_what_the_verifier_takes() {
    let schema = schema("sealed-envelope.v1.json");
    for path in ["valid", "prefix", "invalid"].into_iter().flat_map(files) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let expected = !name.starts_with("schema.invalid") && !name.starts_with("format.unknown");
        assert_eq!(schema.is_valid(&read_json(&path)), expected, "{}", path.display());
    }
}

#[test]
fn the_schema_of_keyrings_takes_what_is_taken() {
    let schema = schema("keyring.v1.json");
    for path in files("keyrings/good") {
        assert!(schema.is_valid(&read_json(&path)), "{}", path.display());
    }
    for path in files("keyrings/invalid") {
        // A schema computes no digest, and compares no two keys.
        let beyond = path.ends_with("wrong-keyid.json") || path.ends_with("twice.json");
        assert_eq!(schema.is_valid(&read_json(&path)), beyond, "{}", path.display());
    }
}

#[test]
fn every_report_is_as_its_schema_says() {
    let schema = schema("verification.v1.json");
    for (name, case) in cases() {
        let file = fs::read(dir().join(case["file"].as_str().unwrap())).unwrap();
        let report = serde_json::to_value(verify(&file, &held(&case)).into_report()).unwrap();
        if let Err(error) = schema.validate(&report) {
            panic!("{name}: {error} at {}\n{report:#}", error.instance_path());
        }
    }
}
