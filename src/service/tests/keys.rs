//! Terms of the signing key: what it seals counts, or is not sealed.

use super::*;
use crate::evidence::keyring::Terms;
use crate::service::KeyRefused;

fn signing(seed: u8, terms: Terms) -> Signing {
    let key = SigningKey::from_seed(&[seed; 32]);
    let mut keyring = Keyring::new();
    keyring.replace(key.public(), terms);
    Signing { key, keyring }
}

fn at(ms: i64) -> Option<Timestamp> {
    Some(Timestamp::from_unix_ms(1_800_000_000_000 + ms))
}

fn verified(world: &World, run: &str) -> bool {
    let held = Held { keyring: Some((*world.service.keyring()).clone()), ..Held::default() };
    verify(&sealed(world, run), &held).report().verdict == Verdict::Verified
}

#[test]
fn a_key_that_counts_from_later_on_seals_from_then_on() {
    let world = World::new(Limits::default());
    world.service.take_keys(signing(8, Terms { not_before: at(5_000), ..Terms::default() })).unwrap();
    let run = open(&world, r#"{"project":"p"}"#).unwrap();
    finalize(&world, &run, "succeeded").unwrap();
    assert!(verified(&world, &run), "sealed_at is not before the key counts");
}

#[test]
fn a_key_seals_up_to_its_end_and_another_goes_on() {
    let world = World::new(Limits::default());
    world.service.take_keys(signing(8, Terms { not_after: at(1_000), ..Terms::default() })).unwrap();
    let (first, late) =
        (open(&world, r#"{"project":"p"}"#).unwrap(), open(&world, r#"{"project":"p"}"#).unwrap());
    world.pass(1_000);
    finalize(&world, &first, "succeeded").unwrap();
    assert_eq!(world.service.readiness(), [""; 0]);
    world.pass(1);
    assert_eq!(finalize(&world, &late, "succeeded").map_err(code), Err("seal_pending"));
    assert!(world.service.readiness()[0].contains("counted until"));
    // Another one that has ended is not taken either.
    let ended = signing(9, Terms { not_after: at(0), ..Terms::default() });
    assert!(matches!(world.service.take_keys(ended), Err(KeyRefused::Ended { .. })));
    assert_eq!(world.service.keyring().iter().count(), 2);
    world.service.take_keys(signing(10, Terms::default())).unwrap();
    finalize(&world, &late, "succeeded").unwrap();
    assert!(verified(&world, &first) && verified(&world, &late));
    assert_eq!(world.service.readiness(), [""; 0]);
}

#[test]
fn a_key_that_the_disk_does_not_take_seals_nothing() {
    for written in [false, true] {
        let mut world = World::new(Limits::default());
        world.restart(0, written);
        let before = world.service.keyring();
        let refused = world.service.take_keys(signing(8, Terms::default()));
        assert!(matches!(refused, Err(KeyRefused::Store(_))));
        assert_eq!(world.service.keyring(), before);
    }
}

#[test]
fn what_a_key_sealed_that_is_revoked_before_it_is_recorded_is_not_recorded() {
    let world = World::new(Limits::default());
    let old = world.service.keys.current().key.public();
    let mut next = signing(8, Terms::default());
    next.keyring.replace(old, Terms { revoked: true, ..Terms::default() });
    let new = next.key.public().keyid();
    world.service.take_keys(next).unwrap();
    // The key that seals now counts; the one that has sealed does not.
    let current = world.service.keys.current();
    assert!(matches!(current.check_not_revoked(&old.keyid()), Err(KeyRefused::Revoked { .. })));
    assert!(current.check_not_revoked(&new).is_ok());
}
