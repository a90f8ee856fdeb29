//! Sessions: as good as their token, and over with it, with time, or when somebody says so.

use super::*;
use crate::service::access::Held as Shown;
use crate::service::{Role, Scope, Token};
use crate::store::Store as _;

const HOUR_MS: i64 = 3_600_000;

fn token(world: &World, name: &str, expires_at: Option<Timestamp>) -> (String, Token) {
    let made = world.service.create_token(&Caller::Local, name.into(), Role::Admin, Scope::all(), expires_at);
    let (secret, token) = RUNTIME.block_on(made).unwrap();
    (secret.show().to_owned(), token)
}

/// A second admin, so that the first can go.
fn root(world: &World) -> Caller {
    let (secret, _) = token(world, "root", None);
    caller(world, &secret)
}

fn caller(world: &World, secret: &str) -> Caller {
    match world.service.held(secret) {
        Shown::Counts(caller) => caller,
        other => panic!("{other:?}"),
    }
}

fn begin(world: &World, secret: &str) -> (String, Caller) {
    let begun = RUNTIME.block_on(world.service.begin_session(caller(world, secret))).unwrap();
    (begun.secret.show().to_owned(), begun.caller)
}

fn counts(world: &World, session: &str) -> bool {
    matches!(world.service.held_in_session(session), Shown::Counts(Caller::Session(..)))
}

fn stored(world: &World) -> usize {
    Embedded::new(failing(&world.memory, usize::MAX, false)).sessions().unwrap().len()
}

fn sweep(world: &World) {
    RUNTIME.block_on(world.service.forget_ended_sessions()).unwrap();
}

#[test]
fn a_session_counts_for_twelve_hours_and_no_longer_than_its_token_across_restarts() {
    let mut world = World::new(Limits::default());
    let at = |ms: i64| Timestamp::from_unix_ms(world.clock.load(Ordering::SeqCst) + ms);
    let (short, (lasting, _)) = (at(HOUR_MS), token(&world, "lasting", None));
    let governs = caller(&world, &lasting);
    let made = world.service.create_token(&governs, "short".into(), Role::Reader, Scope::all(), Some(short));
    let short = RUNTIME.block_on(made).unwrap().0.show().to_owned();
    let ((long, by), (brief, _)) = (begin(&world, &lasting), begin(&world, &short));
    assert!(counts(&world, &long) && counts(&world, &brief));
    world.restart(usize::MAX, false);
    world.pass(HOUR_MS - 1);
    assert!(counts(&world, &long) && counts(&world, &brief));
    world.pass(1);
    assert!(counts(&world, &long) && !counts(&world, &brief));
    world.pass(11 * HOUR_MS - 1);
    assert!(counts(&world, &long));
    assert_eq!(world.service.check_still(&by), Ok(()));
    world.pass(1);
    assert!(!counts(&world, &long));
    assert_eq!(world.service.check_still(&by).map_err(code), Err("session_invalid"));
    assert_eq!(stored(&world), 2);
    sweep(&world);
    assert_eq!(stored(&world), 0);
}

#[test]
fn a_deleted_session_lets_nobody_in_not_even_who_began_to_ask_with_it() {
    let mut world = World::new(Limits::default());
    let (secret, _) = token(&world, "a", None);
    let ((first, by), (second, _)) = (begin(&world, &secret), begin(&world, &secret));
    RUNTIME.block_on(world.service.end_session(by.clone())).unwrap();
    assert!(!counts(&world, &first) && counts(&world, &second));
    assert_eq!(world.service.check_still(&by).map_err(code), Err("session_invalid"));
    world.restart(usize::MAX, false);
    assert!(!counts(&world, &first) && counts(&world, &second));
    // The same again ends nothing more; who came without a session has none to end.
    RUNTIME.block_on(world.service.end_session(by)).unwrap();
    let none = RUNTIME.block_on(world.service.end_session(caller(&world, &secret)));
    assert_eq!(none.map_err(code), Err("session_not_found"));
    let none = RUNTIME.block_on(world.service.begin_session(Caller::Local)).map(|_| ());
    assert_eq!(none.map_err(code), Err("no_tokens"));
}

#[test]
fn the_sessions_of_a_deleted_token_are_deleted_with_it() {
    let world = World::new(Limits::default());
    let root = root(&world);
    let made = world.service.create_token(&root, "gone".into(), Role::Reader, Scope::all(), None);
    let (secret, token) = RUNTIME.block_on(made).unwrap();
    let holder = caller(&world, secret.show());
    let (session, by) = begin(&world, secret.show());
    assert_eq!((counts(&world, &session), stored(&world)), (true, 1));
    assert!(RUNTIME.block_on(world.service.delete_token(&root, token.id)).unwrap());
    assert_eq!((counts(&world, &session), stored(&world)), (false, 0));
    assert_eq!(world.service.check_still(&by).map_err(code), Err("session_invalid"));
    // Who showed the token before it went begins none with it.
    let late = RUNTIME.block_on(world.service.begin_session(holder)).map(|_| ());
    assert_eq!((late.map_err(code), stored(&world)), (Err("token_invalid"), 0));
}

#[test]
fn a_token_has_so_many_sessions_and_the_oldest_goes() {
    let mut world = World::new(Limits::default());
    let (secret, _) = token(&world, "a", None);
    let sessions: Vec<String> = (0..102)
        .map(|_| {
            world.pass(1);
            begin(&world, &secret).0
        })
        .collect();
    for restarted in [false, true] {
        if restarted {
            world.restart(usize::MAX, false);
        }
        let counted: Vec<bool> = sessions.iter().map(|session| counts(&world, session)).collect();
        assert_eq!(
            (counted[..2].to_vec(), counted[2..].iter().all(|counts| *counts)),
            (vec![false; 2], true)
        );
    }
    assert_eq!(stored(&world), 100);
}

#[test]
fn no_session_is_handed_out_that_the_disk_did_not_take() {
    for written in [false, true] {
        let mut world = World::new(Limits::default());
        let (secret, _) = token(&world, "a", None);
        world.restart(0, written);
        let begun = RUNTIME.block_on(world.service.begin_session(caller(&world, &secret))).map(|_| ());
        assert_eq!((begun.map_err(code), stored(&world)), (Err("store_unavailable"), usize::from(written)));
    }
}
