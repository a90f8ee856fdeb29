//! Whatever is done to what was sealed, it is never `verified` again, and nothing panics.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealstone::evidence::verify::{Held, Verdict, verify};
use serde_json::{Value, json};

use crate::vectors::{dir, keyring};

const STRUCTURAL: usize = 20_000;
const BYTEWISE: usize = 20_000;

/// xorshift64*: the same mutants in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % n.max(1)
    }
}

/// (name, sealed envelope) of every vector that verifies.
fn valid() -> Vec<(String, Value)> {
    let held = trusted();
    let files = fs::read_dir(dir().join("valid")).unwrap().map(|entry| entry.unwrap().path());
    let valid: Vec<_> = files
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .filter(|(_, file)| verify(file, &held).into_report().verdict == Verdict::Verified)
        .map(|(name, file)| (name, serde_json::from_slice(&file).unwrap()))
        .collect();
    assert!(valid.len() >= 20, "{} valid vectors", valid.len());
    valid
}

fn trusted() -> Held {
    Held { keyring: Some(keyring(&["keys/trusted.pub.pem", "keys/second.pub.pem"])), ..Held::default() }
}

/// Pointers to every value below this one, itself left out.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let escape = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            let at = format!("{at}/{}", escape(name));
            pointers(value, &at, found);
            found.push(at);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| {
            let at = format!("{at}/{i}");
            pointers(item, &at, found);
            found.push(at);
        }),
        _ => {}
    }
}

fn split(pointer: &str) -> (&str, String) {
    let (parent, token) = pointer.rsplit_once('/').unwrap();
    (parent, token.replace("~1", "/").replace("~0", "~"))
}

fn take(root: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, token) = split(pointer);
    match root.pointer_mut(parent)? {
        Value::Object(members) => members.remove(&token),
        Value::Array(items) => Some(items.remove(token.parse().ok()?)),
        _ => None,
    }
}

fn changed(value: &Value, dice: &mut Dice) -> Value {
    match value {
        Value::String(text) if !text.is_empty() && dice.below(3) > 0 => {
            let mut chars: Vec<char> = text.chars().collect();
            let at = dice.below(chars.len());
            chars[at] = if chars[at] == '0' { '1' } else { '0' };
            Value::String(chars.into_iter().collect())
        }
        Value::Number(n) if dice.below(3) > 0 => json!(n.as_f64().unwrap() + 1.0),
        Value::Bool(b) => json!(!b),
        _ => [json!(null), json!(""), json!(0), json!([]), json!({}), json!("x"), json!(-1), json!(true)]
            [dice.below(8)]
        .clone(),
    }
}

/// Changes, drops, duplicates, swaps, moves or renames something in the tree.
fn mutate(root: &mut Value, dice: &mut Dice) {
    let mut all = Vec::new();
    pointers(root, "", &mut all);
    let (one, other) = (all[dice.below(all.len())].clone(), all[dice.below(all.len())].clone());
    match dice.below(6) {
        0 => {
            let value = root.pointer_mut(&one).unwrap();
            *value = changed(value, dice);
        }
        1 => drop(take(root, &one)),
        2 => {
            let copy = root.pointer(&one).unwrap().clone();
            if let Some(Value::Array(items)) = root.pointer_mut(split(&one).0) {
                let at = dice.below(items.len() + 1);
                items.insert(at, copy);
            }
        }
        3 if !one.starts_with(&other) && !other.starts_with(&one) => {
            let (a, b) = (root.pointer(&one).unwrap().clone(), root.pointer(&other).unwrap().clone());
            *root.pointer_mut(&one).unwrap() = b;
            *root.pointer_mut(&other).unwrap() = a;
        }
        4 if !other.starts_with(&one) => {
            let value = take(root, &one);
            let (parent, token) = split(&other);
            match (root.pointer_mut(parent), value) {
                (Some(Value::Object(members)), Some(value)) => drop(members.insert(token, value)),
                (Some(Value::Array(items)), Some(value)) => items.push(value),
                _ => {}
            }
        }
        _ => {
            let (parent, token) = split(&one);
            if let Some(Value::Object(members)) = root.pointer_mut(parent) {
                let value = members.remove(&token).unwrap();
                members.insert(format!("{token}_"), value);
            }
        }
    }
}

#[test]
fn nothing_sealed_can_be_changed_dropped_duplicated_swapped_or_moved() {
    let (held, valid, mut dice) = (trusted(), valid(), Dice(0x5ea1_5704e));
    let mut made = 0;
    while made < STRUCTURAL {
        let (name, original) = &valid[dice.below(valid.len())];
        let mut mutant = original.clone();
        let what = ["envelope", "payload"][dice.below(2).min(dice.below(3))];
        if what == "envelope" {
            mutate(&mut mutant["envelope"], &mut dice);
        } else {
            let payload = STANDARD.decode(original["seal"]["payload"].as_str().unwrap()).unwrap();
            let mut payload: Value = serde_json::from_slice(&payload).unwrap();
            mutate(&mut payload, &mut dice);
            mutant["seal"]["payload"] = STANDARD.encode(serde_json::to_vec(&payload).unwrap()).into();
        }
        if mutant == *original {
            continue;
        }
        made += 1;
        let file = serde_json::to_vec(&mutant).unwrap();
        let report = verify(&file, &held).into_report();
        assert!(report.verdict > Verdict::Prefix, "mutant {made} of {name} ({what}): {}", report.verdict);
    }
}

#[test]
fn no_changed_byte_makes_another_envelope_verified() {
    let (held, valid, mut dice) = (trusted(), valid(), Dice(0xb17e));
    for i in 0..BYTEWISE {
        let (name, original) = &valid[dice.below(valid.len())];
        let mut file = serde_json::to_vec(original).unwrap();
        let digest = verify(&file, &held).into_report().envelope_digest;
        for _ in 0..=dice.below(3) {
            let at = dice.below(file.len());
            match dice.below(3) {
                0 => file[at] ^= 1 << dice.below(8),
                1 => drop(file.remove(at)),
                _ => file.truncate(at),
            }
            if file.is_empty() {
                break;
            }
        }
        let report = verify(&file, &held).into_report();
        let same = report.verdict != Verdict::Verified || report.envelope_digest == digest;
        assert!(same, "mutant {i} of {name}");
    }
}
