//! What the surroundings can do to the service: each is told clearly, and costs nothing that was acknowledged.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::place::Place;
use crate::server::{Connection, Server};

fn refused(place: &Place, arguments: &[&str], status: i32, tells: &str) {
    let told = Server::try_start(place, arguments).err().expect("it started");
    assert!(told.starts_with(&format!("{status} ")) && told.contains(tells), "{told}");
}

#[test]
fn a_data_directory_has_one_service() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    refused(&place, &[], 73, "in use by another process");
    assert_eq!(server.get("/healthz").status, 200);
    let taken = server.address.clone();
    refused(&place, &["--data-dir", "others", "--listen", &taken], 69, "cannot listen");
    // A kill frees it.
    drop(server);
    assert_eq!(Server::start(&place, &[]).get("/readyz").json(), json!({ "ready": true }));
}

#[test]
fn only_this_machine_is_served() {
    refused(&Place::new(), &["--listen", "0.0.0.0:0"], 64, "not a loopback address");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_told() {
    let place = Place::new();
    place.write("file", b"");
    refused(&place, &["--data-dir", "file"], 73, "cannot use file");
    let program = place.path("sealstone");
    fs::copy(env!("CARGO_BIN_EXE_sealstone"), &program).unwrap();
    fs::create_dir(place.path("readonly")).unwrap();
    fs::set_permissions(place.path("readonly"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    // Modes do not bind root, so somebody else tries.
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let mut command = if root { Command::new("setpriv") } else { Command::new(&program) };
    if root {
        command.args(["--reuid=65534", "--clear-groups"]).arg(&program);
    }
    command.args(["serve", "--json", "--data-dir", "readonly", "--listen", "127.0.0.1:0"]);
    command.current_dir(place.path(""));
    let told = Server::spawn(command).err().expect("it started");
    assert!(told.starts_with("73 ") && told.contains("see its owner and mode"), "{told}");
}

#[test]
fn a_key_that_cannot_be_read_is_told_and_never_written_over() {
    let place = Place::new();
    fs::create_dir(place.path("records")).unwrap();
    let key = place.write("records/key.pem", b"not a key");
    refused(&place, &[], 2, "key.pem: not an Ed25519 private key");
    assert_eq!(fs::read(&key).unwrap(), b"not a key");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    refused(&place, &[], 66, "cannot read");
}

#[test]
fn records_of_a_newer_layout_or_another_engine_are_not_touched() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let run = server.open();
    server.kill();
    refused(&place, &["--engine", "sled"], 73, "start with --engine fjall");
    let store_file = place.path("records/store.json");
    let kept = fs::read(&store_file).unwrap();
    fs::write(&store_file, "{\"engine\":\"fjall\",\"layout\":99,\"more\":{}}").unwrap();
    refused(&place, &[], 73, "use the newer program");
    fs::write(&store_file, "garbage").unwrap();
    refused(&place, &[], 73, "store.json");
    fs::write(&store_file, kept).unwrap();
    assert_eq!(Server::start(&place, &[]).get(&format!("/v1/runs/{run}")).status, 200);
}

#[test]
fn with_too_little_disk_nothing_is_recorded_and_all_is_read() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let run = server.open();
    server.kill();
    let server = Server::start(&place, &["--min-free", "1000TiB"]);
    let event = json!({ "type": "event", "name": "e" });
    let full = server.post(&format!("/v1/runs/{run}/entries"), &event);
    assert_eq!((full.status, full.json()["code"].as_str()), (507, Some("disk_full")));
    assert!(full.header("retry-after").is_some());
    assert_eq!(server.post("/v1/runs", &json!({ "project": "p" })).status, 507);
    assert_eq!(server.get(&format!("/v1/runs/{run}")).json()["head"]["seq"], 0);
}

#[test]
fn a_disk_that_fails_in_the_middle_loses_nothing_that_was_acknowledged() {
    for engine in ["fjall", "sled"] {
        let place = Place::new();
        let mut server = Server::start(&place, &["--engine", engine]);
        let run = server.open();
        server.kill();
        // A limit on the size of files, in blocks of 512 or 1024 bytes, is a disk that is full at some write.
        let mut command = Command::new("sh");
        let serve = "trap '' XFSZ; ulimit -f 1500; exec \"$0\" serve --json --listen 127.0.0.1:0 --data-dir records --engine \"$1\"";
        command.args(["-c", serve, env!("CARGO_BIN_EXE_sealstone"), engine]).current_dir(place.path(""));
        let Ok(mut server) = Server::spawn(command) else {
            // sled wants more at once than the limit lets it have, and says so: nothing was touched.
            let server = Server::start(&place, &["--engine", engine]);
            assert_eq!(server.get(&format!("/v1/runs/{run}")).status, 200, "{engine}");
            continue;
        };
        let path = format!("/v1/runs/{run}/entries");
        let mut acknowledged = Vec::new();
        let failed = (0..20_000).find_map(|i| {
            let event =
                json!({ "type": "event", "name": "e", "message": "x".repeat(2_000), "data": { "i": i } });
            let answer = server.post(&path, &event);
            if answer.status == 200 {
                acknowledged.push(answer.json()["head"].clone());
            }
            (answer.status != 200).then_some(answer)
        });
        let failed = failed.unwrap_or_else(|| panic!("{engine} wrote beyond the limit"));
        assert_eq!((failed.status, failed.json()["code"].as_str()), (503, Some("store_unavailable")));
        assert!(failed.header("retry-after").is_some());
        // From here on nothing is taken, and it says why; what was recorded is still read.
        assert_eq!(server.post(&path, &json!({ "type": "event", "name": "small" })).status, 503);
        assert_eq!(server.get("/readyz").status, 503);
        assert_eq!(server.get("/healthz").status, 200);
        server.kill();
        let server = Server::start(&place, &["--engine", engine]);
        let snapshot = server.get(&format!("/v1/runs/{run}")).json();
        let chain = snapshot["envelope"]["integrity"]["hash_chain"].as_array().unwrap();
        assert!(acknowledged.len() > 50, "{engine}");
        for head in &acknowledged {
            assert_eq!(chain[head["seq"].as_u64().unwrap() as usize]["entry_hash"], head["entry_hash"]);
        }
        let finalized = server.post(&format!("/v1/runs/{run}/finalize"), &json!({ "result": "failed" }));
        assert_eq!(finalized.status, 200);
    }
}

#[test]
fn asked_to_end_it_answers_what_is_under_way_and_keeps_it() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    let run = server.open();
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (address, path) = (server.address.clone(), format!("/v1/runs/{run}/entries"));
            std::thread::spawn(move || {
                let mut acknowledged = Vec::new();
                let mut connection = Connection::to(&address).unwrap();
                for i in 0.. {
                    let event = json!({ "type": "event", "name": "e", "data": { "client": client, "i": i } })
                        .to_string();
                    let headers = [("Content-Type", "application/json")];
                    match connection.request("POST", &path, &headers, event.as_bytes()) {
                        Ok(answer) if answer.status == 200 => {
                            acknowledged.push(answer.json()["head"].clone())
                        }
                        _ => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    assert_eq!(server.terminate(), 0);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let acknowledged: Vec<Value> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    assert!(acknowledged.len() > 50);
    let server = Server::start(&place, &[]);
    let snapshot = server.get(&format!("/v1/runs/{run}")).json();
    let chain = snapshot["envelope"]["integrity"]["hash_chain"].as_array().unwrap();
    // Whatever was written was answered: nothing was cut off between the two.
    assert_eq!(chain.len(), acknowledged.len() + 1);
    for head in &acknowledged {
        assert_eq!(chain[head["seq"].as_u64().unwrap() as usize]["entry_hash"], head["entry_hash"]);
    }
}

#[test]
fn a_run_that_nobody_closes_is_sealed_without_anyone_asking() {
    let place = Place::new();
    let server = Server::start(&place, &["--idle-timeout", "1s"]);
    let run = server.open();
    let sealed = server.wait_until(&format!("/v1/runs/{run}"), |run| run["state"] == "sealed");
    assert_eq!(sealed["result"], "expired");
    assert_eq!(server.get(&format!("/v1/envelopes/{run}/verification")).json()["verdict"], "verified");
}

/// As many connections as may be, at most ten thousand.
fn many_connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let most = limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    most.saturating_sub(500).min(10_000)
}

#[test]
fn connections_that_say_half_or_nothing_hold_up_nobody() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let run = server.open();
    let connections = many_connections();
    assert!(connections > 500, "too few files may be open here to say anything");
    let idle: Vec<TcpStream> = (0..connections)
        .map(|i| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            let head = format!("POST /v1/runs/{run}/entries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
            match i % 3 {
                0 => {}
                1 => stream.write_all(head.as_bytes()).unwrap(),
                _ => write!(stream, "{head}Content-Length: 900000\r\n\r\n{{\"type\"").unwrap(),
            }
            stream
        })
        .collect();
    for garbage in [&b"\x16\x03\x01\x02\x00"[..], b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n"] {
        TcpStream::connect(&server.address).unwrap().write_all(garbage).unwrap();
    }
    let started = Instant::now();
    let answer = server.post(&format!("/v1/runs/{run}/entries"), &json!({ "type": "event", "name": "e" }));
    assert_eq!(answer.status, 200);
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(idle);
    assert_eq!(server.get(&format!("/v1/runs/{run}")).json()["counts"]["events"], 1);
}
