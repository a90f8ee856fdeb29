//! Killed at any moment, the service has all that it acknowledged, and nothing of it half.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Connection, Server};

const CLIENTS: usize = 6;

/// What was sent to one run, and what was said of it.
#[derive(Default)]
struct Sent {
    /// By the number of the request: how many entries it had.
    requests: BTreeMap<u64, usize>,
    /// By the number of the request and the place in it: where it stands.
    acknowledged: BTreeMap<(u64, usize), (u64, String)>,
    /// The envelope digest that was answered to a finalize.
    sealed: Option<String>,
    close_sent: bool,
}

#[test]
fn fjall_keeps_what_was_acknowledged_through_a_hundred_kills() {
    kill_and_look("fjall", 100);
}

#[test]
fn sled_keeps_what_was_acknowledged_through_fifty_kills() {
    kill_and_look("sled", 50);
}

fn kill_and_look(engine: &str, kills: usize) {
    let place = Place::new();
    let mut server = Server::start(&place, &["--engine", engine]);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    // The run that each client writes to, and all that were before.
    let mut current: Vec<(String, Sent)> = Vec::new();
    let (mut acknowledged, mut sealed) = (0, 0);
    for kill in 0..kills {
        while current.len() < CLIENTS {
            current.push((server.open(), Sent::default()));
        }
        let dead = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = current
            .drain(..)
            .map(|(run, sent)| {
                let (address, dead) = (server.address.clone(), dead.clone());
                let seed = random.next();
                let sent = Arc::new(Mutex::new(sent));
                let theirs = sent.clone();
                let id = run.clone();
                let thread = std::thread::spawn(move || {
                    // The connection breaks when the service dies.
                    let _ = write_until(&address, &id, &theirs, Random(seed), &dead);
                });
                (run, sent, thread)
            })
            .collect();
        std::thread::sleep(Duration::from_micros(20_000 + random.next() % 80_000));
        server.kill();
        dead.store(true, Ordering::SeqCst);
        server = Server::try_start(&place, &["--engine", engine])
            .unwrap_or_else(|told| panic!("after kill {kill} the store does not open: {told}"));
        for (run, sent, thread) in clients {
            thread.join().unwrap();
            let sent = Arc::into_inner(sent).unwrap().into_inner().unwrap();
            look(&server, &run, &sent);
            acknowledged += sent.acknowledged.len();
            sealed += usize::from(sent.sealed.is_some());
            // Some go on in the next round, so that runs live through several kills.
            if !sent.close_sent && !random.next().is_multiple_of(4) {
                acknowledged -= sent.acknowledged.len();
                current.push((run, sent));
            }
        }
    }
    assert!(
        acknowledged > kills * 10 && sealed > kills / 10,
        "{acknowledged} entries, {sealed} seals: too few to say anything"
    );
    // What nobody closed is still open, and can be closed.
    for (run, sent) in &current {
        let closed = server.post(&format!("/v1/runs/{run}/finalize"), &json!({ "result": "succeeded" }));
        assert_eq!(closed.status, 200, "{}", closed.json());
        look(&server, run, sent);
    }
    // And read anew, all of it holds together.
    assert_eq!(server.terminate(), 0);
    let checked = place.run(&["store", "check", "--data-dir", "records", "--json"]);
    let told: Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!((checked.status, &told["faults"]), (0, &json!([])), "{told}");
    assert!(told["runs"].as_u64().unwrap() > kills as u64 / 2, "{told}");
}

fn write_until(
    address: &str,
    run: &str,
    sent: &Mutex<Sent>,
    mut random: Random,
    dead: &AtomicBool,
) -> std::io::Result<()> {
    let mut connection = Connection::to(address)?;
    let path = format!("/v1/runs/{run}/entries");
    while !dead.load(Ordering::SeqCst) {
        let number = sent.lock().unwrap().requests.keys().last().map_or(0, |last| last + 1);
        if random.next().is_multiple_of(60) {
            sent.lock().unwrap().close_sent = true;
            let body = json!({ "result": "succeeded" }).to_string();
            let headers = [("Content-Type", "application/json")];
            let answer =
                connection.request("POST", &format!("/v1/runs/{run}/finalize"), &headers, body.as_bytes())?;
            assert_eq!(answer.status, 200, "{}", answer.json());
            sent.lock().unwrap().sealed = Some(answer.json()["envelope_digest"].as_str().unwrap().to_owned());
            return Ok(());
        }
        let count = 1 + (random.next() % 8) as usize;
        let filler = "x".repeat((random.next() % 600) as usize);
        let lines: String = (0..count)
            .map(|i| format!("{}\n", json!({ "type": "event", "name": "e", "message": filler, "data": { "number": number, "i": i } })))
            .collect();
        sent.lock().unwrap().requests.insert(number, count);
        let answer = connection.request(
            "POST",
            &path,
            &[("Content-Type", "application/x-ndjson")],
            lines.as_bytes(),
        )?;
        assert_eq!(answer.status, 200, "{}", answer.json());
        let answer = answer.json();
        let mut sent = sent.lock().unwrap();
        for (i, entry) in answer["entries"].as_array().unwrap().iter().enumerate() {
            let place = (entry["seq"].as_u64().unwrap(), entry["entry_hash"].as_str().unwrap().to_owned());
            sent.acknowledged.insert((number, i), place);
        }
    }
    Ok(())
}

/// Holds what is stored against what was sent and acknowledged.
fn look(server: &Server, run: &str, sent: &Sent) {
    let snapshot = server.wait_until(&format!("/v1/runs/{run}"), |run| run["state"] != "closing");
    let envelope = &snapshot["envelope"];
    let chain = envelope["integrity"]["hash_chain"].as_array().unwrap();
    let mut found: BTreeMap<u64, Vec<(usize, u64)>> = BTreeMap::new();
    for event in envelope["events"].as_array().unwrap() {
        let (number, i) = (event["data"]["number"].as_u64().unwrap(), event["data"]["i"].as_u64().unwrap());
        found.entry(number).or_default().push((i as usize, event["seq"].as_u64().unwrap()));
    }
    for ((number, i), (seq, entry_hash)) in &sent.acknowledged {
        let stands = found.get(number).is_some_and(|entries| entries.contains(&(*i, *seq)));
        assert!(stands, "request {number}, entry {i} was acknowledged and is not at {seq}");
        assert_eq!(chain[*seq as usize]["entry_hash"].as_str(), Some(entry_hash.as_str()));
    }
    for (number, entries) in &found {
        let places: Vec<usize> = entries.iter().map(|(i, _)| *i).collect();
        let whole: Vec<usize> = (0..sent.requests[number]).collect();
        assert_eq!(places, whole, "request {number} is there in part, twice, or out of order");
    }
    if sent.sealed.is_some() || snapshot["state"] == "sealed" {
        assert!(sent.close_sent || sent.sealed.is_none());
        assert_eq!(snapshot["state"], "sealed");
        let verification: Value = server.get(&format!("/v1/envelopes/{run}/verification")).json();
        assert_eq!(verification["verdict"], "verified");
        if let Some(envelope_digest) = &sent.sealed {
            assert_eq!(verification["envelope_digest"].as_str(), Some(envelope_digest.as_str()));
        }
    }
}

/// xorshift64*: the same series in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
}
