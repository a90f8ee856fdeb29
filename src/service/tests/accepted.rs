//! Whatever sequence of requests is accepted, through crashes and failing disks, ends in an envelope that verifies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Append {
        lines: Vec<String>,
        if_match: Option<bool>,
        key: Option<u8>,
    },
    /// With a reason that may be too long.
    OpenGate(u8, bool),
    Resolve(u8, bool),
    /// With or without force.
    Abort(bool),
    Clock(i64),
    /// The process dies; the next one's disk fails after so many writes, with or without the last one.
    Crash(Option<(usize, bool)>),
    Finalize(bool),
}

fn line() -> impl Strategy<Value = String> {
    let id = 0..4_u8;
    let status = prop::sample::select(vec!["passed", "failed", "skipped", "canceled", "incomplete"]);
    // Some beyond what one element may have, by itself or in its canonical form.
    let filler = prop_oneof![
        12 => (0..4_usize).prop_map(|n| "x".repeat(n * 300)),
        1 => Just("x".repeat(2_100)),
        1 => Just("\\u0001".repeat(340)),
    ];
    prop_oneof![
        2 => (id.clone(), 1..4_u8, filler.clone()).prop_map(|(id, attempt, x)| format!(
            "{{\"type\":\"step_started\",\"step_id\":\"s{id}\",\"kind\":\"test\",\"attempt\":{attempt},\"command\":[\"{x}\"]}}"
        )),
        4 => (id.clone(), 1..4_u8, status, any::<bool>(), filler.clone()).prop_map(|(id, attempt, status, allowed, x)| format!(
            "{{\"type\":\"step\",\"step_id\":\"s{id}\",\"kind\":\"test\",\"attempt\":{attempt},\"status\":\"{status}\",\
             \"allowed_to_fail\":{allowed},\"message\":\"{x}\"}}"
        )),
        2 => (id.clone(), 0..2_u8).prop_map(|(id, n)| format!(
            "{{\"type\":\"artifact\",\"artifact_id\":\"a{id}\",\"digest\":\"sha256:{}\"}}", format!("{n}").repeat(64)
        )),
        2 => (id.clone(), prop::option::of(0..4_u8), filler.clone()).prop_map(|(id, basis, x)| {
            let basis = basis.map(|basis| format!("\"a{basis}\"")).unwrap_or_default();
            format!("{{\"type\":\"observation\",\"observation_id\":\"o{id}\",\"name\":\"n\",\"value\":\"{x}\",\"basis_artifact_ids\":[{basis}]}}")
        }),
        2 => filler.prop_map(|x| format!("{{\"type\":\"event\",\"name\":\"checkpoint\",\"message\":\"{x}\"}}")),
        1 => Just("{\"type\":\"redaction\",\"rule_id\":\"r\",\"path\":\"/run/intent\",\"match_type\":\"regex\",\"match_count\":1}".to_owned()),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (prop::collection::vec(line(), 1..5), prop::option::weighted(0.2, any::<bool>()), prop::option::weighted(0.3, 0..4_u8))
            .prop_map(|(lines, if_match, key)| Act::Append { lines, if_match, key }),
        2 => (0..3_u8, prop::bool::weighted(0.1)).prop_map(|(gate, long)| Act::OpenGate(gate, long)),
        2 => (0..3_u8, any::<bool>()).prop_map(|(gate, approved)| Act::Resolve(gate, approved)),
        1 => prop::bool::weighted(0.2).prop_map(Act::Abort),
        1 => (-5_000..5_000_i64).prop_map(Act::Clock),
        2 => prop::option::of((0..6_usize, any::<bool>())).prop_map(Act::Crash),
        1 => any::<bool>().prop_map(Act::Finalize),
    ]
}

/// What was acknowledged: by seq, the hash.
type Acknowledged = BTreeMap<u64, Digest>;

fn perform(
    world: &mut World,
    run: &str,
    act: Act,
    acknowledged: &mut Acknowledged,
) -> Result<(), ServiceError> {
    let mut heads: Vec<Option<Head>> = Vec::new();
    match act {
        Act::Append { lines, if_match, key } => {
            let head = standing(world, run).head.entry_hash;
            let if_match = if_match.map(|right| if right { head } else { Digest::of("elsewhere") });
            heads = append(world, run, &lines, if_match, key.map(|key| format!("k{key}")))?;
            assert_eq!(heads.len(), lines.len());
        }
        Act::OpenGate(gate, long) => {
            let members = Object::from_iter([
                ("gate_id", format!("g{gate}")),
                ("reason", if long { "\u{1}".repeat(400) } else { "may it?".into() }),
            ]);
            let gate = NewGate::parse(members, None).unwrap();
            RUNTIME.block_on(world.service.open_gate(run, gate, 0, &Caller::Local))?;
        }
        Act::Resolve(gate, approved) => {
            let decision = if approved { GateDecision::Approved } else { GateDecision::Rejected };
            let resolution = Resolution {
                gate_id: format!("g{gate}"),
                decision,
                comment: None,
                seen_head: None,
                key: None,
            };
            let (done, _) =
                RUNTIME.block_on(world.service.resolve_gate(run, resolution, 0, &Caller::Local))?;
            heads = done.answer.receipts.iter().map(|receipt| receipt.head).collect();
        }
        Act::Abort(force) => {
            let abort = Abort { reason: None, force, key: None };
            RUNTIME.block_on(world.service.abort(run, abort, 0, &Caller::Local))?;
            if force {
                // Its seal is made by itself; nobody dies meanwhile.
                finalize(world, run, "aborted")?;
            }
        }
        Act::Clock(ms) => world.pass(ms),
        Act::Crash(None) => world.restart(usize::MAX, false),
        Act::Crash(Some((writes, written))) => world.restart(writes, written),
        Act::Finalize(succeeded) => {
            finalize(world, run, if succeeded { "succeeded" } else { "failed" })?;
        }
    }
    for head in heads.into_iter().flatten() {
        let before = acknowledged.insert(head.seq, head.entry_hash);
        assert!(before.is_none_or(|before| before == head.entry_hash), "one place, two answers");
    }
    Ok(())
}

static KEPT: AtomicUsize = AtomicUsize::new(0);

/// Where SEALSTONE_KEEP names a directory, what was sealed is kept there, for other verifiers to judge.
fn keep(file: &[u8]) {
    if let Some(directory) = std::env::var_os("SEALSTONE_KEEP").map(PathBuf::from) {
        std::fs::create_dir_all(&directory).unwrap();
        let n = KEPT.fetch_add(1, Ordering::SeqCst);
        std::fs::write(directory.join(format!("accepted-{n}.json")), file).unwrap();
        std::fs::write(directory.join("key.pem"), key().public().to_spki_pem()).unwrap();
    }
}

/// Small enough that many runs come to be full.
fn small() -> Limits {
    Limits {
        max_element_bytes: 2_048,
        max_elements: 24,
        max_envelope_bytes: 24 << 10,
        max_file_bytes: 48 << 10,
        frame_bytes: 4 << 10,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_accepted_ends_in_one_envelope_that_verifies(acts in prop::collection::vec(act(), 0..40), succeeded: bool) {
        let mut world = World::new(small());
        let run = open(&world, "{\"project\":\"p\",\"run_id\":\"r\",\"plan\":[\"s0\"],\"trigger\":{\"actor\":\"somebody\"}}").unwrap();
        let mut acknowledged = Acknowledged::new();
        for act in acts {
            match perform(&mut world, &run, act, &mut acknowledged) {
                // The disk failed: what was not acknowledged may be there or not, and the next process goes on.
                Err(ServiceError::Rejected(Rejection::Unknown(_)) | ServiceError::SealPending { .. }) => {
                    let before = standing(&world, &run);
                    world.restart(usize::MAX, false);
                    prop_assert_eq!(before, standing(&world, &run));
                }
                Err(error) => prop_assert!(error.code().1 < 500, "{}", error),
                Ok(()) => {}
            }
        }
        world.restart(usize::MAX, false);
        // Read back, the journal folds to where it stood.
        let read = RUNTIME.block_on(world.service.snapshot(&run, false)).unwrap();
        prop_assert_eq!(&read.standing, &standing(&world, &run));
        prop_assert_eq!(read.standing.open_gates, read.open_gates.len());
        if standing(&world, &run).state != State::Sealed {
            // One that is closing is sealed as what it was closed.
            let wanted = if succeeded { "succeeded" } else { "failed" };
            let result = standing(&world, &run).result.unwrap_or(wanted.to_owned());
            let closed = finalize(&world, &run, &result).or_else(|_| finalize(&world, &run, "failed"));
            prop_assert!(closed.is_ok(), "{:?}", closed);
        }
        let file = sealed(&world, &run);
        prop_assert!(file.len() <= small().max_file_bytes);
        let mut held = Held { keyring: Some((*world.service.keyring()).clone()), ..Held::default() };
        held.heads = acknowledged.iter().map(|(seq, hash)| (*seq as i64, *hash)).collect();
        let report = verify(&file, &held).into_report();
        prop_assert_eq!(report.verdict, Verdict::Verified, "{:?}", report.first_failure);
        // The first seal stays, whoever asks again.
        world.restart(usize::MAX, false);
        prop_assert_eq!(&sealed(&world, &run), &file);
        keep(&file);
    }
}
