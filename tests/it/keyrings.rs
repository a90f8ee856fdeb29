//! A keyring is taken whole or refused, and the refusal says why.

use sealstone::evidence::key::{KeyError, SigningKey};
use sealstone::evidence::keyring::{Keyring, KeyringError, Terms};

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn add(file: &str) -> Result<Keyring, KeyringError> {
    let mut keyring = Keyring::new();
    keyring.add_file(file.as_bytes()).map(|()| keyring)
}

#[test]
fn a_keyring_is_read_as_it_was_written() {
    let mut keyring = Keyring::new();
    let time = |text: &str| Some(text.parse().unwrap());
    keyring.add(key(1).public(), Terms::default()).unwrap();
    let terms = Terms {
        not_before: time("2026-01-01T00:00:00.000Z"),
        not_after: time("2026-12-31T23:59:59.999Z"),
        revoked: true,
        projects: Some(vec!["acme/*".into(), "x".into()]),
    };
    keyring.add(key(2).public(), terms).unwrap();
    assert_eq!(add(&keyring.to_jwks()), Ok(keyring));
}

#[test]
fn pem_files_may_hold_several_keys_and_never_a_private_one() {
    let two = key(1).public().to_spki_pem() + "\n# two\n" + &key(2).public().to_spki_pem();
    assert_eq!(add(&two).map(|ring| ring.iter().count()), Ok(2));
    assert_eq!(add(&key(1).to_pkcs8_pem()), Err(KeyringError::PrivateKey));
    assert_eq!(add(&(two + &*key(3).to_pkcs8_pem())), Err(KeyringError::PrivateKey));
    assert_eq!(add("-----BEGIN CERTIFICATE-----\n"), Err(KeyringError::NoKey));
    let cut = key(1).public().to_spki_pem().replace("-----END", "");
    assert!(matches!(add(&cut), Err(KeyringError::Form { .. })));
    let wrong = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_eq!(add(wrong), Err(KeyringError::Key { at: "PEM".into(), error: KeyError::NotSpki }));
}

#[test]
fn every_other_form_is_refused_with_its_place() {
    let jwks = {
        let mut keyring = Keyring::new();
        keyring.add(key(1).public(), Terms::default()).unwrap();
        keyring.to_jwks()
    };
    let with = |member: &str| jwks.replacen("{\"alg\"", &format!("{{{member},\"alg\""), 1);
    let place = |file: &str| match add(file) {
        Err(
            KeyringError::Form { at, .. } | KeyringError::UnknownMember { at } | KeyringError::Key { at, .. },
        ) => at,
        other => panic!("{file}: {other:?}"),
    };
    assert_eq!(place("[]"), "/");
    assert_eq!(place("{}"), "/");
    assert_eq!(place("{\"keys\":{}}"), "/");
    assert_eq!(place("{\"keys\":[],\"x\":1}"), "/x");
    assert_eq!(place("{\"keys\":[5]}"), "/keys/0/");
    assert_eq!(place(&with("\"color\":\"red\"")), "/keys/0/color");
    assert_eq!(place(&with("\"projects\":\"x\"")), "/keys/0/projects");
    assert_eq!(place(&with("\"revoked\":1")), "/keys/0/revoked");
    assert_eq!(place(&with("\"not_before\":\"2026\"")), "/keys/0/not_before");
    assert_eq!(place(&jwks.replace("OKP", "RSA")), "/keys/0/kty");
    assert_eq!(place(&jwks.replace("\"EdDSA\"", "5")), "/keys/0/alg");
    assert_eq!(place(&jwks.replace("\"x\":\"", "\"x\":\"A")), "/keys/0/x");
    let other_pem = key(2).public().to_spki_pem().replace('\n', "\\n");
    assert_eq!(
        place(&jwks.replace(&key(1).public().to_spki_pem().replace('\n', "\\n"), &other_pem)),
        "/keys/0/pem"
    );
    assert_eq!(add(&with("\"d\":\"x\"")), Err(KeyringError::PrivateKey));
    assert!(matches!(add("{\"keys\":"), Err(KeyringError::Json(_))));
    // Nothing of a refused file stays.
    let mut keyring = Keyring::new();
    assert!(keyring.add_file(jwks.replace("]}", ",5]}").as_bytes()).is_err());
    assert_eq!(keyring, Keyring::new());
}

#[test]
fn one_key_on_two_terms_is_refused_across_files_too() {
    let mut keyring = Keyring::new();
    keyring.add(key(1).public(), Terms { revoked: true, ..Terms::default() }).unwrap();
    let again = keyring.add_file(key(1).public().to_spki_pem().as_bytes());
    assert_eq!(again, Err(KeyringError::Contradiction { keyid: key(1).public().keyid() }));
    keyring.add(key(1).public(), Terms { revoked: true, ..Terms::default() }).unwrap();
}
