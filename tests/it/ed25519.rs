//! Keys and strict verification, against RFC 8032 and the edge cases of the curve.

use std::path::Path;

use sealstone::evidence::key::{KeyError, PublicKey, SigningKey};
use serde_json::Value;

fn cases(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/ed25519").join(file);
    let cases: Vec<Value> = serde_json::from_value(crate::vectors::read_json(&path)).unwrap();
    assert!(!cases.is_empty());
    cases
}

fn bytes(case: &Value, member: &str) -> Vec<u8> {
    let hex = case[member].as_str().unwrap();
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn public_key(case: &Value, member: &str) -> Result<PublicKey, KeyError> {
    PublicKey::from_bytes(&bytes(case, member).try_into().unwrap())
}

#[test]
fn rfc_8032_keys_sign_and_verify_as_it_says() {
    for case in cases("rfc8032.json") {
        let key = SigningKey::from_seed(&bytes(&case, "secret_key").try_into().unwrap());
        let (message, signature) = (bytes(&case, "message"), bytes(&case, "signature"));
        assert_eq!(key.public().as_bytes().as_slice(), bytes(&case, "public_key"), "{}", case["name"]);
        assert_eq!(key.sign(&message).as_slice(), signature, "{}", case["name"]);
        assert!(key.public().verify(&message, &signature), "{}", case["name"]);
    }
}

#[test]
fn verification_is_strict() {
    for case in cases("strict.json") {
        let verified = public_key(&case, "public_key")
            .is_ok_and(|key| key.verify(&bytes(&case, "message"), &bytes(&case, "signature")));
        assert_eq!(Value::from(verified), case["valid"], "{}: {}", case["name"], case["why"]);
    }
}

#[test]
fn no_point_of_small_order_is_a_key() {
    for case in cases("small_order.json") {
        let error = public_key(&case, "encoding").unwrap_err();
        let canonical = case["canonical"].as_bool().unwrap();
        assert_eq!(
            error,
            if canonical { KeyError::SmallOrder } else { KeyError::NotAPoint },
            "{}",
            case["encoding"]
        );
    }
}

#[test]
fn keys_survive_pem_and_show_no_secret() {
    let key = SigningKey::from_seed(&[7; 32]);
    let pem = key.to_pkcs8_pem();
    assert_eq!(SigningKey::from_pkcs8_pem(&pem).unwrap().public(), key.public());
    assert_eq!(PublicKey::from_spki_pem(&key.public().to_spki_pem()), Ok(key.public()));
    assert_eq!(SigningKey::from_pkcs8_pem(&key.public().to_spki_pem()).unwrap_err(), KeyError::NotPkcs8);
    assert_eq!(PublicKey::from_spki_pem(&pem).unwrap_err(), KeyError::NotSpki);
    assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public().keyid()));
}
