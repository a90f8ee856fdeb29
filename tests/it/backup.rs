//! A backup is of one moment, whole or refused, and another service goes on from it.

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Connection, Server};

const CLIENTS: usize = 4;

/// A run, and the entry_hash of each entry that was acknowledged.
type Acknowledged = Arc<Mutex<Vec<(u64, String)>>>;

#[test]
fn a_backup_under_load_has_all_that_was_acknowledged_before_it_and_goes_on_in_the_other_engine() {
    for (engine, other) in [("fjall", "sled"), ("sled", "fjall")] {
        let place = Place::new();
        let server = Server::start(&place, &["--engine", engine]);
        let sealed = server.open();
        assert_eq!(
            server.post(&format!("/v1/runs/{sealed}/finalize"), &json!({ "result": "succeeded" })).status,
            200
        );
        let done = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (run, acknowledged) = (server.open(), Acknowledged::default());
                let (address, done) = (server.address.clone(), done.clone());
                let (id, theirs) = (run.clone(), acknowledged.clone());
                let thread = std::thread::spawn(move || append_until(&address, &id, &theirs, &done));
                (run, acknowledged, thread)
            })
            .collect();
        while clients.iter().any(|(_, acknowledged, _)| acknowledged.lock().unwrap().len() < 20) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let before: Vec<(String, Vec<(u64, String)>)> = clients
            .iter()
            .map(|(run, acknowledged, _)| (run.clone(), acknowledged.lock().unwrap().clone()))
            .collect();
        let backup =
            place.run(&["store", "backup", "--out", "records.backup", "--server", &server.url(), "--json"]);
        assert_eq!(backup.status, 0, "{backup:?}");
        let told: Value = serde_json::from_str(&backup.stdout).unwrap();
        assert_eq!(told["bytes"].as_u64(), Some(fs::metadata(place.path("records.backup")).unwrap().len()));
        // It went on meanwhile, and goes on.
        let then = clients[0].1.lock().unwrap().len();
        while clients[0].1.lock().unwrap().len() <= then {
            std::thread::sleep(Duration::from_millis(5));
        }
        done.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|(_, _, thread)| thread.join().unwrap());
        drop(server);

        let restored =
            place.run(&["store", "restore", "records.backup", "--data-dir", "restored", "--engine", other]);
        assert!(restored.status == 0 && restored.stderr.contains("store check"), "{restored:?}");
        check_holds(&place, "restored", CLIENTS + 1);
        let server = Server::start(&place, &["--data-dir", "restored", "--engine", other]);
        for (run, acknowledged) in before {
            let envelope = server.get(&format!("/v1/runs/{run}")).json()["envelope"].clone();
            let chain = envelope["integrity"]["hash_chain"].as_array().unwrap();
            for (seq, entry_hash) in acknowledged {
                assert_eq!(
                    chain[seq as usize]["entry_hash"].as_str(),
                    Some(entry_hash.as_str()),
                    "{run} {seq}"
                );
            }
            assert_eq!(
                server
                    .post(&format!("/v1/runs/{run}/entries"), &json!({ "type": "event", "name": "e" }))
                    .status,
                200
            );
            let closed = server.post(&format!("/v1/runs/{run}/finalize"), &json!({ "result": "succeeded" }));
            assert_eq!(closed.status, 200, "{}", closed.json());
        }
        assert_eq!(server.get(&format!("/v1/envelopes/{sealed}/verification")).json()["verdict"], "verified");
        assert_eq!(server.post("/v1/runs", &json!({ "project": "p" })).status, 201);
    }
}

fn append_until(address: &str, run: &str, acknowledged: &Acknowledged, done: &AtomicBool) {
    let mut connection = Connection::to(address).unwrap();
    let path = format!("/v1/runs/{run}/entries");
    let entry = json!({ "type": "event", "name": "e", "message": "x".repeat(300) }).to_string();
    while !done.load(Ordering::SeqCst) {
        let headers = [("Content-Type", "application/json")];
        let answer = connection.request("POST", &path, &headers, entry.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.json());
        let entry = answer.json()["entries"][0].clone();
        let place = (entry["seq"].as_u64().unwrap(), entry["entry_hash"].as_str().unwrap().to_owned());
        acknowledged.lock().unwrap().push(place);
    }
}

fn check_holds(place: &Place, directory: &str, runs: usize) {
    let checked = place.run(&["store", "check", "--data-dir", directory, "--json"]);
    let told: Value = serde_json::from_str(&checked.stdout).unwrap_or_default();
    assert_eq!(
        (checked.status, &told["faults"], &told["runs"]),
        (0, &json!([]), &json!(runs)),
        "{checked:?}"
    );
}

/// A data directory with some megabytes in it.
fn filled(place: &Place) -> (Server, String) {
    let server = Server::start(place, &[]);
    let run = server.open();
    let line =
        json!({ "type": "event", "name": "e", "data": { "filler": "x".repeat(200_000) } }).to_string() + "\n";
    let lines = line.repeat(36);
    let headers = [("Content-Type", "application/x-ndjson")];
    for _ in 0..3 {
        let answer = server.request("POST", &format!("/v1/runs/{run}/entries"), &headers, lines.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
    (server, run)
}

#[test]
fn one_backup_is_taken_at_a_time_and_a_reader_that_goes_ends_it() {
    let place = Place::new();
    let (server, run) = filled(&place);
    // Takes nothing of it: what is made waits.
    let stall = || {
        let mut stalled = Connection::to(&server.address).unwrap();
        stalled.send("GET", "/v1/backup", &[], b"").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        stalled
    };
    let busy = || {
        let answer = server.get("/v1/backup");
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()["code"].clone())
    };
    let (mut stalled, mut seen) = (stall(), busy());
    for _ in 0..100 {
        if seen.0 == 503 {
            break;
        }
        // The one that looked was first.
        (stalled, seen) = (stall(), busy());
    }
    assert_eq!(seen, (503, json!("busy")));
    // Others are served meanwhile.
    assert_eq!(
        server.post(&format!("/v1/runs/{run}/entries"), &json!({ "type": "event", "name": "e" })).status,
        200
    );
    stalled.hang_up();
    let backup = place.run(&["store", "backup", "--out", "b", "--server", &server.url()]);
    assert!(backup.status == 0 && backup.stderr.contains("key"), "{backup:?}");
}

#[test]
fn who_has_read_a_backup_to_its_end_may_ask_for_another() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    server.open();
    for n in 0..30 {
        let backup = server.get("/v1/backup");
        assert_eq!((backup.status, backup.body.is_empty()), (200, false), "the one after {n}");
    }
}

#[test]
fn who_asks_for_the_head_of_a_backup_holds_up_nobody() {
    let place = Place::new();
    let (server, _) = filled(&place);
    for n in 0..30 {
        assert_eq!(server.request("HEAD", "/v1/backup", &[], b"").status, 200, "{n}");
    }
    assert_eq!(server.get("/v1/backup").status, 200);
}

#[test]
fn a_backup_that_is_cut_or_changed_is_refused_and_leaves_no_records() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    server.open();
    drop(server);
    let backup = place.run(&["store", "backup", "--out", "whole", "--data-dir", "records"]);
    assert_eq!(backup.status, 0, "{backup:?}");
    let whole = fs::read(place.path("whole")).unwrap();
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let last = whole.len() - 1;
    let bad = [
        (whole[..last].to_vec(), "ends too early"),
        (whole[..whole.len() / 2].to_vec(), "ends too early"),
        (Vec::new(), "no backup"),
        (changed(0), "no backup"),
        (changed(whole.len() / 2), ""),
        (changed(last), "not as it was written"),
        ([whole.as_slice(), b"\n"].concat(), "follows its end"),
        (b"PK".to_vec(), "no backup"),
    ];
    for (bytes, why) in bad {
        place.write("bad", bytes);
        let restored = place.run(&["store", "restore", "bad", "--data-dir", "restored"]);
        assert!(restored.status == 2 && restored.stderr.contains(why), "{why}: {restored:?}");
        assert!(!place.path("restored/store.json").exists() && !place.path("restored/fjall").exists());
    }
    assert_eq!(place.run(&["store", "restore", "whole", "--data-dir", "restored"]).status, 0);
    check_holds(&place, "restored", 1);
    let again = place.run(&["store", "restore", "whole", "--data-dir", "restored"]);
    assert!(again.status == 73 && again.stderr.contains("has records in it already"), "{again:?}");
    let memory = place.run(&["store", "restore", "whole", "--data-dir", "other", "--engine", "memory"]);
    assert_eq!(memory.status, 64, "{memory:?}");
    // Nothing is left of what was not whole.
    let nowhere = place.run(&["store", "backup", "--out", "never", "--server", "http://127.0.0.1:9"]);
    assert_eq!(nowhere.status, 69, "{nowhere:?}");
    let names = fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> =
        names.filter(|name| name == "never" || name.to_string_lossy().ends_with(".tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_compaction_killed_at_any_moment_loses_nothing() {
    for engine in ["fjall", "sled"] {
        let place = Place::new();
        let server = Server::start(&place, &["--engine", engine]);
        let run = server.open();
        let entries: String = (0..2_000)
            .map(|n| json!({ "type": "event", "name": "e", "data": { "n": n } }).to_string() + "\n")
            .collect();
        let headers = [("Content-Type", "application/x-ndjson")];
        assert_eq!(
            server.request("POST", &format!("/v1/runs/{run}/entries"), &headers, entries.as_bytes()).status,
            200
        );
        drop(server);
        for kill in 0..12_u64 {
            let mut compacting = place
                .command(&["store", "compact", "--data-dir", "records"])
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(kill * 4));
            let _ = compacting.kill();
            compacting.wait().unwrap();
        }
        check_holds(&place, "records", 1);
        let compacted = place.run(&["store", "compact", "--data-dir", "records"]);
        assert!(compacted.status == 0 && compacted.stdout.contains("compacted"), "{compacted:?}");
        check_holds(&place, "records", 1);
        let server = Server::start(&place, &["--engine", engine]);
        assert_eq!(
            server.post(&format!("/v1/runs/{run}/finalize"), &json!({ "result": "succeeded" })).status,
            200
        );
        // Not while it is in use.
        let used = place.run(&["store", "compact", "--data-dir", "records"]);
        assert!(used.status == 73 && used.stderr.contains("in use"), "{used:?}");
    }
}
