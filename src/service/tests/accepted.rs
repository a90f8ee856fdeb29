//! Whatever sequence of requests is accepted, through crashes and failing disks, ends in an envelope that verifies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::service::{LogAppend, Stream};

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
    /// With or without force, with or without a reason.
    Abort(bool, bool),
    Clock(i64),
    /// The process dies; the next one's disk fails after so many writes, with or without the last one.
    Crash(Option<(usize, bool)>),
    Finalize(bool),
    /// Bytes for a step's log.
    Log(u8, u8, bool, usize),
}

fn line() -> impl Strategy<Value = String> {
    let id = 0..4_u8;
    let status = prop::sample::select(vec!["passed", "failed", "skipped", "canceled", "incomplete"]);
    // Some beyond what one element may have, by itself or in its canonical form.
    let filler = prop_oneof![
        12 => (0..4_usize).prop_map(|n| "x".repeat(n * 300)),
        1 => Just("x".repeat(2_100)),
        1 => Just("\\u0001".repeat(340)),
        // What a project may have masked: now and then, twice in overlapping places, and so often that it grows too long.
        4 => (0..3_usize, 0..400_usize).prop_map(|(n, x)| format!("{}{}", "secret-7 ".repeat(n), "x".repeat(x))),
        1 => Just("my secret-9~1~2".to_owned()),
        1 => (1..60_usize).prop_map(|n| "~7".repeat(n)),
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
        1 => (1..90_usize).prop_map(|n| format!("{{\"type\":\"event\",\"name\":\"many\",\"message\":\"secret-1\",\"data\":{{\"l\":[{}0]}}}}", "\"~1\",".repeat(n))),
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
        1 => (prop::bool::weighted(0.2), any::<bool>()).prop_map(|(force, reason)| Act::Abort(force, reason)),
        1 => (-5_000..5_000_i64).prop_map(Act::Clock),
        2 => prop::option::of((0..6_usize, any::<bool>())).prop_map(Act::Crash),
        1 => any::<bool>().prop_map(Act::Finalize),
        3 => (0..4_u8, 1..4_u8, any::<bool>(), 0..200_usize)
            .prop_map(|(id, attempt, stdout, n)| Act::Log(id, attempt, stdout, n)),
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
                ("reason", if long { "\u{1}".repeat(400) } else { "may secret-3?".into() }),
            ]);
            let gate = NewGate::parse(members, None).unwrap();
            RUNTIME.block_on(world.service.open_gate(run, gate, 0, &Caller::Local))?;
        }
        Act::Resolve(gate, approved) => {
            let decision = if approved { GateDecision::Approved } else { GateDecision::Rejected };
            let resolution = Resolution {
                gate_id: format!("g{gate}"),
                decision,
                comment: approved.then(|| "~1, and ~2".into()),
                seen_head: None,
                key: None,
            };
            let (done, _) =
                RUNTIME.block_on(world.service.resolve_gate(run, resolution, 0, &Caller::Local))?;
            heads = done.answer.receipts.iter().map(|receipt| receipt.head).collect();
        }
        Act::Abort(force, reason) => {
            let abort = Abort { reason: reason.then(|| "secret-4 of ~4".into()), force, key: None };
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
        Act::Log(id, attempt, stdout, n) => {
            let stream = if stdout { Stream::Stdout } else { Stream::Stderr };
            let bytes = "some text\n".bytes().cycle().take(n).collect();
            let append =
                LogAppend { step_id: format!("s{id}"), attempt: attempt.into(), stream, offset: None, bytes };
            RUNTIME.block_on(world.service.append_log(run, append, &Caller::Local))?;
        }
    }
    for head in heads.into_iter().flatten() {
        let before = acknowledged.insert(head.seq, head.entry_hash);
        assert!(before.is_none_or(|before| before == head.entry_hash), "one place, two answers");
    }
    Ok(())
}

/// Every log that the envelope describes is kept as it is described.
fn check_logs(world: &World, run: &str, file: &[u8]) {
    let sealed: serde_json::Value = serde_json::from_slice(file).unwrap();
    for step in sealed["envelope"]["execution"]["steps"].as_array().unwrap() {
        let (step_id, attempt) = (step["step_id"].as_str().unwrap(), step["attempt"].as_u64().unwrap_or(1));
        let found = RUNTIME.block_on(world.service.log(&Caller::Local, run, step_id, attempt));
        let Some(described) = step.get("log") else {
            assert_eq!(found.map(|log| log.bytes).unwrap_or_default(), 0);
            continue;
        };
        let bytes = RUNTIME.block_on(world.service.log_bytes(&found.unwrap(), 0, usize::MAX)).unwrap();
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').count();
        let digest = Digest::of(&bytes);
        assert_eq!(*described, serde_json::json!({ "digest": digest, "bytes": bytes.len(), "lines": lines }));
    }
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

/// Rules for what the texts above have in them; one makes it longer.
fn rules() -> Vec<Rule> {
    let rule = |rule_id: &str, pattern: &str, replacement: &str| Rule {
        rule_id: rule_id.into(),
        pattern: pattern.into(),
        replacement: replacement.into(),
    };
    // A character that no base64 has.
    vec![rule("secrets", "secre[t]-[0-9a-z]+", "***"), rule("keys", "~[0-9]", &"-".repeat(60))]
}

/// Nothing that the rules match is in the file or in the store, and redactions stand where they belong.
fn check_redactions(world: &World, file: &[u8]) {
    let masks = Masks::parse(&rules()).unwrap();
    let sealed = canonical::parse(file, file.len()).unwrap();
    let envelope = sealed.as_object().unwrap().object("envelope").unwrap();
    for redaction in envelope.list("redactions").unwrap() {
        let redaction = redaction.as_object().unwrap();
        if masks.rule_ids().any(|rule_id| redaction.text("rule_id") == Some(rule_id)) {
            let concerned = concerned(envelope, redaction.text("path").unwrap());
            let (own, of) = (redaction.count("seq").unwrap(), concerned.count("seq").unwrap());
            match concerned.text("type") {
                Some("outcome") => assert!((own + 1..=own + 2).contains(&of)),
                _ => assert!((of + 1..=of + 64).contains(&own)),
            }
        }
    }
    let tells = |bytes: &[u8], what: &str| bytes.windows(what.len()).any(|window| window == what.as_bytes());
    assert!(!tells(file, "secret-") && (0..10).all(|n| !tells(file, &format!("~{n}"))));
    let mut told = false;
    world
        .memory
        .scan(&[0], &[0xff], false, &mut |_, value| {
            told |= tells(value, "secret-");
            !told
        })
        .unwrap();
    assert!(!told, "the store has it");
}

/// The element that a pointer leads into.
fn concerned<'e, 'v>(envelope: &'e Object<'v>, path: &str) -> &'e Object<'v> {
    let mut tokens = path.split('/').skip(1);
    let mut value = envelope.get(tokens.next().unwrap()).unwrap();
    loop {
        match value {
            Value::Object(element) if element.get("seq").is_some() => return element,
            Value::Object(section) => value = section.get(tokens.next().unwrap()).unwrap(),
            Value::List(elements) => {
                value = &elements[tokens.next().unwrap().parse::<usize>().unwrap()];
            }
            _ => panic!("{path} leads to no element"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_accepted_ends_in_one_envelope_that_verifies(acts in prop::collection::vec(act(), 0..40), succeeded: bool, masked: bool) {
        let mut world = World::new(small());
        if masked {
            let settings = Settings { redact: rules(), ..Settings::default() };
            RUNTIME.block_on(world.service.settle_project(&Caller::Local, "p", settings)).unwrap();
        }
        let run = open(&world, "{\"project\":\"p\",\"run_id\":\"r\",\"plan\":[\"s0\"],\"intent\":\"secret-0\",\"trigger\":{\"actor\":\"somebody\"}}").unwrap();
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
        let before = RUNTIME.block_on(world.service.lanes.view(&run, Run::reserved_bytes)).unwrap();
        world.restart(usize::MAX, false);
        // Read back, the journal folds to where it stood.
        let read = RUNTIME.block_on(world.service.snapshot(&run, false)).unwrap();
        prop_assert_eq!(&read.standing, &standing(&world, &run));
        prop_assert_eq!(read.standing.open_gates, read.open_gates.len());
        prop_assert_eq!(RUNTIME.block_on(world.service.lanes.view(&run, Run::reserved_bytes)).unwrap(), before);
        if standing(&world, &run).state != State::Sealed {
            // One that is closing is sealed as what it was closed.
            let wanted = if succeeded { "succeeded" } else { "failed" };
            let result = standing(&world, &run).result.unwrap_or(wanted.to_owned());
            let closed = finalize(&world, &run, &result).or_else(|_| finalize(&world, &run, "failed"));
            prop_assert!(closed.is_ok(), "{:?}", closed);
        }
        let file = sealed(&world, &run);
        prop_assert!(file.len() <= small().max_file_bytes);
        if masked {
            check_redactions(&world, &file);
        }
        let mut held = Held { keyring: Some((*world.service.keyring()).clone()), ..Held::default() };
        held.heads = acknowledged.iter().map(|(seq, hash)| (*seq as i64, *hash)).collect();
        let report = verify(&file, &held).into_report();
        prop_assert_eq!(report.verdict, Verdict::Verified, "{:?}", report.first_failure);
        // The first seal stays, whoever asks again.
        world.restart(usize::MAX, false);
        prop_assert_eq!(&sealed(&world, &run), &file);
        check_logs(&world, &run, &file);
        keep(&file);
    }
}
