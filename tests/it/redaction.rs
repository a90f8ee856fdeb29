//! What a project's rules match is in no answer, no file and no envelope; redactions say where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use sealstone::evidence::digest::Digest;
use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Answer, Server};

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const WORD: &str = "hunter-2222";
const MASKED: [&str; 2] = ["***", "<gone>"];

fn settle(server: &Server) {
    let rules = json!([
        { "rule_id": "aws-key", "pattern": "\\b(AKIA|ASIA)[0-9A-Z]{16}\\b" },
        { "rule_id": "word", "pattern": "hunter-[0-9]+", "replacement": "<gone>" },
    ]);
    let body = json!({ "redact": rules }).to_string();
    let headers = [("Content-Type", "application/json")];
    let settled = server.request("PUT", "/v1/projects/p", &headers, body.as_bytes());
    assert_eq!(settled.status, 200, "{}", settled.json());
    assert_eq!(server.get("/v1/projects/p").json()["redact"][0]["replacement"], "***");
}

/// A text with both in it.
fn secret() -> String {
    format!("plain-marker {KEY} and {WORD}")
}

fn opening() -> Value {
    let s = secret();
    json!({
        "project": "p", "run_id": "r", "intent": s, "labels": { "team": s },
        "subject": { "repo_url": s, "commit_sha": s, "ref": s, "meta": { "a/b": [1, { "c": s }] } },
        "producer": { "name": s, "version": s },
        "runner_context": { "os": s, "arch": s, "toolchain": { "rustc": s } },
        "trigger": { "provider": s, "event": s, "delivery_id": s, "actor": s, "url": s },
    })
}

fn entries() -> Vec<Value> {
    let s = secret();
    let digest = format!("sha256:{}", "0".repeat(64));
    let step = |name: &str, step_id: &str| json!({ "type": name, "step_id": step_id, "kind": "test" });
    let with = |mut entry: Value, more: Value| {
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let free =
        json!({ "name": s, "phase": s, "command": ["run", s, KEY], "message": s, "data": { "x": [[s]] } });
    vec![
        with(step("step_started", "left"), free.clone()),
        with(step("step_started", "done"), free.clone()),
        // Says one member anew, and inherits the others.
        with(step("step", "done"), json!({ "status": "failed", "message": WORD })),
        with(with(step("step", "once"), free), json!({ "status": "passed" })),
        json!({ "type": "artifact", "artifact_id": "a", "digest": digest, "name": s, "media_type": s, "location_hints": [s] }),
        json!({ "type": "observation", "observation_id": "o", "name": s, "value": [s, { "v": s }], "basis_artifact_ids": [] }),
        json!({ "type": "event", "name": "e", "phase": s, "message": s, "data": { "l": s } }),
        // Too many places to name each.
        json!({ "type": "event", "name": "many", "data": { "l": vec![WORD; 70] } }),
    ]
}

/// Asks, and looks at what is answered.
struct Careful {
    server: Server,
}

impl Careful {
    fn seen(&self, answer: Answer) -> Answer {
        assert!(answer.status < 300, "{answer:?}");
        assert!(!tells(&answer.body) && !tells(format!("{:?}", answer.headers).as_bytes()), "{answer:?}");
        answer
    }

    fn get(&self, path: &str) -> Answer {
        self.seen(self.server.get(path))
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.seen(self.server.post(path, body))
    }
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn tells(bytes: &[u8]) -> bool {
    [KEY, WORD].iter().any(|secret| contains(bytes, secret.as_bytes()))
}

/// Every file below a directory.
fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push((path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
}

fn check_files(place: &Place) {
    let mut found = Vec::new();
    files(&place.path("records"), &mut found);
    for (path, bytes) in &found {
        assert!(!tells(bytes), "{path} has it");
    }
    let somewhere = |what: &[u8]| found.iter().any(|(_, bytes)| contains(bytes, what));
    // So that a search that finds nothing means something.
    assert!(somewhere(b"plain-marker"));
    // Nor is there a digest that somebody could try guesses on. (serde_json's order of names is the canonical one here.)
    let event = entries()[6].to_string();
    let masked = event.replace(KEY, MASKED[0]).replace(WORD, MASKED[1]);
    assert!(somewhere(Digest::of(masked).as_bytes()));
    assert!(!somewhere(Digest::of(&event).as_bytes()));
}

/// Every text in a value that was masked, with its pointer.
fn masked_texts(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match value {
        Value::String(text) if MASKED.iter().any(|mask| text.contains(mask)) => {
            found.insert(at.to_owned());
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| masked_texts(item, &format!("{at}/{i}"), found));
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| {
                masked_texts(value, &format!("{at}/{}", escaped(name)), found);
            });
        }
        _ => {}
    }
}

/// The redactions of an envelope: by path and rule, the count, the length and the place.
type Redactions = BTreeMap<(String, String), (u64, Option<u64>, u64)>;

fn redactions(envelope: &Value) -> Redactions {
    let mut found = Redactions::new();
    for redaction in envelope["redactions"].as_array().unwrap() {
        let text = |name: &str| redaction[name].as_str().unwrap().to_owned();
        assert_eq!((text("match_type"), text("action")), ("regex".into(), "masked".into()));
        let told = (
            redaction["match_count"].as_u64().unwrap(),
            redaction["masked_len"].as_u64(),
            redaction["seq"].as_u64().unwrap(),
        );
        assert_eq!(found.insert((text("path"), text("rule_id")), told), None, "told twice: {redaction}");
    }
    found
}

#[test]
fn a_secret_that_a_rule_matches_is_recorded_nowhere() {
    let place = Place::new();
    let mut careful = Careful { server: Server::start(&place, &[]) };
    settle(&careful.server);
    let run = careful.post("/v1/runs", &opening()).json()["evidence_id"].as_str().unwrap().to_owned();
    let path = |rest: &str| format!("/v1/runs/{run}{rest}");
    let first: Vec<Value> =
        entries().iter().map(|entry| careful.post(&path("/entries"), entry).json()).collect();
    let gate = |id: &str| json!({ "gate_id": id, "reason": secret() });
    for id in ["answered", "open"] {
        careful.post(&path("/gates"), &gate(id));
        careful.get(&path(&format!("/gates/{id}")));
    }
    let answer = json!({ "decision": "approved", "comment": secret() });
    let answered = careful.post(&path("/gates/answered"), &answer).json();
    careful.post(&path("/abort"), &json!({ "reason": secret() }));
    careful.get(&path(""));
    careful.server.kill();
    check_files(&place);

    careful.server = Server::start(&place, &[]);
    // Sent again, it is known for what it was.
    assert_eq!(careful.post("/v1/runs", &opening()).json()["evidence_id"].as_str(), Some(run.as_str()));
    for (entry, first) in entries().iter().zip(&first).filter(|(entry, _)| entry["type"] != "event") {
        assert_eq!(careful.post(&path("/entries"), entry).json()["entries"], first["entries"], "{entry}");
    }
    assert_eq!(careful.post(&path("/gates"), &gate("open")).status, 200);
    assert_eq!(careful.post(&path("/gates/answered"), &answer).json()["pos"], answered["pos"]);
    careful.post(&path("/finalize"), &json!({ "result": "failed", "reason": secret() }));
    for rest in ["", "/pack", "/verification"] {
        careful.get(&format!("/v1/envelopes/{run}{rest}"));
    }
    careful.get("/v1/runs");
    let sealed = careful.get(&format!("/v1/envelopes/{run}"));
    careful.server.kill();
    check_files(&place);
    let checked = place.run(&["store", "check", "--data-dir", "records"]);
    assert_eq!(checked.status, 0, "{checked:?}");

    place.write("sealed.json", &sealed.body);
    let verified = place.run(&["verify", "sealed.json", "--keys", "records/keyring.json"]);
    assert_eq!(verified.status, 0, "{verified:?}");
    let envelope = &sealed.json()["envelope"];
    let told = redactions(envelope);
    check_what_is_told(envelope, &told);
}

fn check_what_is_told(envelope: &Value, told: &Redactions) {
    let mut masked = BTreeSet::new();
    masked_texts(envelope, "", &mut masked);
    let many = |path: &String| path.starts_with("/events/1/data/l/");
    assert_eq!(masked.iter().filter(|path| many(path)).count(), 70);
    masked.retain(|path| !many(path));
    let withheld: BTreeSet<String> = ["/run/trigger/actor".to_owned()]
        .into_iter()
        .chain((0..3).map(|step| format!("/execution/steps/{step}/command")))
        .collect();
    let expected: BTreeSet<String> =
        masked.iter().chain(&withheld).cloned().chain(["/events/1/data".to_owned()]).collect();
    let paths: BTreeSet<String> = told.keys().map(|(path, _)| path.clone()).collect();
    assert_eq!(paths, expected, "each masked text is told of, and nothing else");
    assert!(masked.len() >= 40, "{masked:?}");

    let of = |path: &str, rule: &str| told.get(&(path.to_owned(), rule.to_owned())).copied();
    let seq = |at: &str| envelope.pointer(at).unwrap()["seq"].as_u64().unwrap();
    for ((path, _), (count, len, own)) in told {
        assert!(envelope.pointer(path).is_some(), "{path} leads nowhere");
        // Of what is withheld no length is told.
        assert_eq!(len.is_none(), withheld.contains(path), "{path}");
        let depth = if path.starts_with("/execution") { 4 } else { 3 };
        let single = path.starts_with("/run") || path.starts_with("/outcome");
        let element: Vec<&str> = path.split('/').take(if single { 2 } else { depth }).collect();
        let of = seq(&element.join("/"));
        // Directly after its element; before the outcome, after which nothing stands.
        let near = if path.starts_with("/outcome") { *own < of && of <= *own + 2 } else { of < *own };
        assert!(near && *count > 0, "{path}: {own} for {of}");
    }
    assert_eq!(of("/run/intent", "aws-key").map(|(count, len, _)| (count, len)), Some((1, Some(20))));
    // `done` said its message anew: what it began with is not told.
    assert_eq!(of("/execution/steps/0/message", "aws-key"), None);
    assert_eq!(
        of("/execution/steps/0/message", "word").map(|(count, len, _)| (count, len)),
        Some((1, Some(11)))
    );
    assert_eq!(of("/execution/steps/0/command", "aws-key").map(|(count, ..)| count), Some(2));
    assert_eq!(of("/events/1/data", "word").map(|(count, len, _)| (count, len)), Some((70, Some(770))));
    // The chain is elements, each followed by its redactions: nothing stands between.
    let start = seq("/execution/steps/0");
    let after: BTreeSet<u64> = told
        .iter()
        .filter(|((path, _), _)| path.starts_with("/execution/steps/0/"))
        .map(|(_, told)| told.2)
        .collect();
    assert_eq!(after, (start + 1..=start + after.len() as u64).collect());
}

#[test]
fn names_that_a_rule_matches_are_refused_and_not_quoted() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    settle(&server);
    let run = server.open();
    let entries = format!("/v1/runs/{run}/entries");
    for (entry, pointer) in [
        (json!({ "type": "event", "name": "e", "data": { "a": { KEY: 1 } } }), "/data/a"),
        (
            json!({ "type": "redaction", "rule_id": "r", "path": format!("/events/0/data/{WORD}"), "match_type": "exact", "match_count": 1 }),
            "/path",
        ),
    ] {
        let answer = server.post(&entries, &entry);
        let problem = answer.json();
        assert_eq!((answer.status, problem["code"].as_str()), (422, Some("name_redacted")), "{problem}");
        assert_eq!(problem["pointer"], pointer);
        assert!(!tells(&answer.body), "{problem}");
    }
    let opened = server.post("/v1/runs", &json!({ "project": "p", "labels": { KEY: "x" } }));
    assert_eq!(
        (opened.json()["code"].as_str(), opened.json()["pointer"].as_str()),
        (Some("name_redacted"), Some("/labels"))
    );
    assert_eq!(server.get(&format!("/v1/runs/{run}")).json()["head"]["seq"], 0);
}

#[test]
fn rules_are_in_force_for_the_runs_that_are_opened_later() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = |opened: Answer| opened.json()["evidence_id"].as_str().unwrap().to_owned();
    let before = run(server.post("/v1/runs", &opening()));
    settle(&server);
    // The repeat is one of a request that nothing was masked in.
    assert_eq!(run(server.post("/v1/runs", &opening())), before);
    for (project, is_masked) in [("p", true), ("q", false)] {
        let later = run(server.post("/v1/runs", &json!({ "project": project, "intent": KEY })));
        let shown = server.get(&format!("/v1/runs/{later}")).json();
        assert_eq!(shown["envelope"]["run"]["intent"] == "***", is_masked);
        assert_eq!(shown["counts"]["redactions"], u64::from(is_masked));
    }
    let event = json!({ "type": "event", "name": "e", "message": KEY });
    assert_eq!(server.post(&format!("/v1/runs/{before}/entries"), &event).status, 200);
    let shown = server.get(&format!("/v1/runs/{before}")).json();
    assert_eq!(shown["envelope"]["events"][0]["message"], KEY);
}
