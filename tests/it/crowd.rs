//! Many at once on one run: one chain, true answers, nothing twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Connection, Server};

const CLIENTS: usize = 200;
const ENTRIES: usize = 10;

#[test]
fn two_hundred_clients_on_one_run_make_one_chain() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    // By client and entry: where it was said to stand.
    let answers = Arc::new(Mutex::new(BTreeMap::new()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, run, answers) = (server.address.clone(), run.clone(), answers.clone());
            std::thread::spawn(move || {
                let mut writer = Writer::new(address, run, client);
                for i in 0..ENTRIES {
                    let answer = match client % 4 {
                        0 => writer.plain(i),
                        1 => writer.compare_and_swap(i),
                        2 => writer.lose_the_answer(i),
                        _ => writer.again_by_id(i),
                    };
                    answers.lock().unwrap().insert((client, i), answer);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());

    let envelope = server.get(&format!("/v1/runs/{run}")).json()["envelope"].clone();
    let chain = envelope["integrity"]["hash_chain"].as_array().unwrap();
    let answers = answers.lock().unwrap();
    assert_eq!(chain.len(), 1 + CLIENTS * ENTRIES);
    let mut places = BTreeSet::new();
    for ((client, i), answer) in answers.iter() {
        let seq = answer["seq"].as_u64().unwrap();
        assert!(places.insert(seq), "two entries were told one place");
        assert_eq!(chain[seq as usize]["entry_hash"], answer["entry_hash"]);
        let own = json!({ "client": client, "i": i });
        let elements = envelope["events"].as_array().unwrap().iter();
        let elements = elements.chain(envelope["execution"]["steps"].as_array().unwrap());
        let found: Vec<&Value> = elements.filter(|element| element["data"] == own).collect();
        assert_eq!(found.len(), 1, "{own} stands {} times", found.len());
        assert_eq!(found[0]["seq"], seq);
    }
    let finalized = server.post(&format!("/v1/runs/{run}/finalize"), &json!({ "result": "succeeded" }));
    assert_eq!(finalized.status, 200);
    assert_eq!(server.get(&format!("/v1/envelopes/{run}/verification")).json()["verdict"], "verified");
}

struct Writer {
    address: String,
    path: String,
    run: String,
    client: usize,
    connection: Connection,
}

impl Writer {
    fn new(address: String, run: String, client: usize) -> Self {
        let connection = Connection::to(&address).unwrap();
        Self { address, path: format!("/v1/runs/{run}/entries"), run, client, connection }
    }

    fn event(&self, i: usize) -> Vec<u8> {
        json!({ "type": "event", "name": "checkpoint", "data": { "client": self.client, "i": i } })
            .to_string()
            .into_bytes()
    }

    fn send(&mut self, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        let answer = self.connection.request("POST", &self.path, &headers, body).unwrap();
        (answer.status, answer.json())
    }

    fn plain(&mut self, i: usize) -> Value {
        let (status, answer) = self.send(&[], &self.event(i));
        assert_eq!(status, 200, "{answer}");
        answer["entries"][0].clone()
    }

    /// Reads the head and appends after it, until nobody was in between; half of the tries go without a key.
    fn compare_and_swap(&mut self, i: usize) -> Value {
        let path = format!("/v1/runs/{}?envelope=false", self.run);
        loop {
            let head = self.connection.request("GET", &path, &[], b"").unwrap().json()["head"].clone();
            let tag = format!("\"{}\"", head["entry_hash"].as_str().unwrap());
            let (status, answer) = self.send(&[("If-Match", &tag)], &self.event(i));
            match status {
                200 => {
                    assert_eq!(answer["entries"][0]["seq"].as_u64(), Some(head["seq"].as_u64().unwrap() + 1));
                    return answer["entries"][0].clone();
                }
                412 => assert_eq!(answer["code"], "head_mismatch"),
                _ => panic!("{answer}"),
            }
        }
    }

    /// Hangs up before the answer is there, twice, then asks again with the same key, twice.
    fn lose_the_answer(&mut self, i: usize) -> Value {
        let key = format!("client-{}-{i}", self.client);
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key.as_str())];
        let body = self.event(i);
        for _ in 0..2 {
            let mut lost = Connection::to(&self.address).unwrap();
            lost.send("POST", &self.path, &headers, &body).unwrap();
            lost.hang_up();
        }
        let (first, again) = (self.send(&headers[1..], &body), self.send(&headers[1..], &body));
        assert_eq!((first.0, &first.1), (200, &again.1), "the same answer to the same request");
        first.1["entries"][0].clone()
    }

    /// The same step twice, without a key, at once.
    fn again_by_id(&mut self, i: usize) -> Value {
        let step = format!("c{}-{i}", self.client);
        let data = json!({ "client": self.client, "i": i });
        let body =
            json!({ "type": "step", "step_id": step, "kind": "test", "status": "passed", "data": data })
                .to_string();
        let mut other = Connection::to(&self.address).unwrap();
        other.send("POST", &self.path, &[("Content-Type", "application/json")], body.as_bytes()).unwrap();
        let (status, first) = self.send(&[], body.as_bytes());
        let (_, again) = self.send(&[], body.as_bytes());
        assert_eq!((status, &first["entries"]), (200, &again["entries"]));
        first["entries"][0].clone()
    }
}
