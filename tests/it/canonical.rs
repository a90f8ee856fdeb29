//! Strict JSON in, RFC 8785 out: against the RFC, a second implementation, and the published number series.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sealstone::evidence::canonical::{self, JsonCode, MAX_SAFE_INTEGER};
use sha2::{Digest as _, Sha256};

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(path)
}

fn parse(text: &[u8]) -> Result<String, JsonCode> {
    canonical::parse(text, text.len()).map(|value| value.canonical().into_owned()).map_err(|error| error.code)
}

fn pairs(folder: &str) -> Vec<(String, Vec<u8>, String)> {
    let inputs = fs::read_dir(testdata(folder).join("input")).unwrap().map(|entry| entry.unwrap().path());
    let pairs: Vec<_> = inputs
        .map(|input| {
            let name = input.file_name().unwrap().to_str().unwrap().to_owned();
            let output = fs::read_to_string(testdata(folder).join("output").join(&name)).unwrap();
            (name, fs::read(input).unwrap(), output)
        })
        .collect();
    assert!(!pairs.is_empty());
    pairs
}

#[test]
fn the_reference_files_of_rfc_8785_get_their_canonical_form() {
    for folder in ["rfc8785", "rfc8785/reference"] {
        for (name, input, output) in pairs(folder) {
            // What the writer writes, of any number.
            let value: serde_json::Value = serde_json::from_slice(&input).unwrap();
            assert_eq!(serde_jcs::to_string(&value).unwrap(), output, "{folder}/{name}");
            // What the strict parser takes gives the same; beyond ±(2^53 − 1) it takes nothing.
            let out_of_range = ["section-3.2.2.json", "values.json"].contains(&name.as_str());
            let expected = if out_of_range { Err(JsonCode::NumberOutOfRange) } else { Ok(output) };
            assert_eq!(parse(&input), expected, "{folder}/{name}");
        }
    }
}

#[test]
fn the_numbers_of_rfc_8785_appendix_b_are_written_as_it_says() {
    let table = fs::read_to_string(testdata("rfc8785/numbers.tsv")).unwrap();
    for line in table.lines() {
        let (bits, text) = line.split_once('\t').unwrap();
        let number = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
        let written = serde_jcs::to_string(&number).ok().unwrap_or_else(|| "error".to_owned());
        assert_eq!(written, text, "{bits}");
    }
}

/// The doubles of the published series, in order.
fn es6_series() -> impl Iterator<Item = f64> {
    let first = fs::read_to_string(testdata("es6/first.txt")).unwrap();
    let first: Vec<u64> = first.lines().map(|line| u64::from_str_radix(line, 16).unwrap()).collect();
    let serial = (0..2000).map(|i| 0x0010_0000_0000_0000 + i);
    let mut block = [0_u8; 32];
    let random = std::iter::repeat_with(move || {
        block = Sha256::digest(block).into();
        let (words, _) = block.as_chunks::<8>();
        words.iter().map(|word| u64::from_le_bytes(*word)).collect::<Vec<_>>()
    });
    let random =
        random.flatten().filter(|bits| f64::from_bits(*bits).is_finite() && f64::from_bits(*bits) != 0.0);
    first.into_iter().chain(serial).chain(random).map(f64::from_bits)
}

/// 1,000,000 lines; with SEALSTONE_LONG=1 in the environment 10,000,000.
#[test]
fn the_es6_number_series_has_the_published_digests() {
    let most = if std::env::var_os("SEALSTONE_LONG").is_some() { 10_000_000 } else { 1_000_000 };
    let checksums = fs::read_to_string(testdata("es6/checksums.tsv")).unwrap();
    let checksums: Vec<(usize, &str)> = checksums
        .lines()
        .map(|line| line.split_once('\t').map(|(lines, digest)| (lines.parse().unwrap(), digest)).unwrap())
        .filter(|(lines, _)| *lines <= most)
        .collect();
    assert!(checksums.len() >= 4);
    let mut hasher = Sha256::new();
    let mut line = String::new();
    for (i, number) in (1..=most).zip(es6_series()) {
        line.clear();
        writeln!(line, "{:x},{}", number.to_bits(), serde_jcs::to_string(&number).unwrap()).unwrap();
        hasher.update(&line);
        if let Some((_, published)) = checksums.iter().find(|(lines, _)| *lines == i) {
            let digest: String = hasher.clone().finalize().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(digest, *published, "{i} lines");
        }
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let safe = MAX_SAFE_INTEGER as i64;
    let number = prop_oneof![
        (-safe..=safe).prop_map(serde_json::Value::from),
        any::<f64>()
            .prop_filter_map("in range", move |n| (n.abs() <= safe as f64).then(|| serde_json::json!(n))),
        (-1000.0..1000.0).prop_map(serde_json::Value::from),
    ];
    let text = prop_oneof![".*", "[\\x00-\\x7f]{0,20}", "[\u{20ac}\u{fb33}\u{1f600}\u{e9}a-c]{0,6}"];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        number,
        text.clone().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(6, 48, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(serde_json::Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..8)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn canonical_form_is_that_of_a_second_implementation_and_passes_the_parser_unchanged(value in any_json()) {
        let theirs = serde_json_canonicalizer::to_string(&value).unwrap();
        for spelling in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert_eq!(parse(spelling.as_bytes()), Ok(theirs.clone()));
        }
        prop_assert_eq!(parse(theirs.as_bytes()), Ok(theirs.clone()));
    }

    /// The parser says of a text that it is canonical only if the writer, asked for the same value, writes that text.
    #[test]
    fn a_text_taken_as_canonical_is_what_the_writer_writes(value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = serde_json_canonicalizer::to_vec(&serde_json::json!({ "x": value })).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(parsed) = canonical::parse(&text, text.len()) {
            let written = serde_jcs::to_vec(&parsed).unwrap();
            prop_assert_eq!(parsed.canonical().as_bytes().to_vec(), written);
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = canonical::parse(&bytes, bytes.len());
    }
}

#[test]
fn every_spelling_that_is_not_canonical_is_noticed() {
    for (spelling, canonical) in [
        (r#"{ "a":1}"#, r#"{"a":1}"#),
        (r#"{"a" :1}"#, r#"{"a":1}"#),
        (r#"{"a": 1}"#, r#"{"a":1}"#),
        (r#"{"a":1 }"#, r#"{"a":1}"#),
        ("{\"a\":1,\n\"b\":2}", r#"{"a":1,"b":2}"#),
        (r#"{"a":[1, 2]}"#, r#"{"a":[1,2]}"#),
        (r#"{"a":[ ]}"#, r#"{"a":[]}"#),
        (r#"{"a":{ }}"#, r#"{"a":{}}"#),
        (r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#),
        (r#"{"a":1.0}"#, r#"{"a":1}"#),
        (r#"{"a":-0}"#, r#"{"a":0}"#),
        (r#"{"a":1E2}"#, r#"{"a":100}"#),
        (r#"{"a":0.10}"#, r#"{"a":0.1}"#),
        (r#"{"a":0.0000001}"#, r#"{"a":1e-7}"#),
        (r#"{"a":"\u0041"}"#, r#"{"a":"A"}"#),
        (r#"{"a":"\/"}"#, r#"{"a":"/"}"#),
        (r#"{"a":"\u001F"}"#, r#"{"a":"\u001f"}"#),
        (r#"{"a":"\u000a"}"#, r#"{"a":"\n"}"#),
        (r#"{"a":"\ud83d\ude00"}"#, "{\"a\":\"\u{1f600}\"}"),
        ("{\"\u{fb33}\":1,\"\u{1f600}\":2}", "{\"\u{1f600}\":2,\"\u{fb33}\":1}"),
    ] {
        assert_eq!(parse(spelling.as_bytes()).as_deref(), Ok(canonical), "{spelling}");
        assert_eq!(parse(canonical.as_bytes()).as_deref(), Ok(canonical), "{canonical}");
    }
}

#[test]
fn a_refusal_tells_line_and_column() {
    let error = canonical::parse(b"{\"a\":1,\n  \"b\":tru}", 100).unwrap_err();
    assert_eq!((error.code, error.line, error.column), (JsonCode::Syntax, 2, 7));
    let error = canonical::parse(b"[1,2,3]", 6).unwrap_err();
    assert_eq!(error.code, JsonCode::TooLarge);
}
