//! The list of runs with a thousand runs and with a million: start of the service, each query, memory.
//!
//! `cargo bench --bench lists` prints the table of the README; `-- --runs N` takes another number in place of a million.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench stops by a panic"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

/// How often each query is asked.
const TIMES: usize = 40;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runs =
        arguments.iter().position(|argument| argument == "--runs").map(|i| arguments[i + 1].parse().unwrap());
    let place = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let few = Measured::of(place.path(), 1_000);
    let many = Measured::of(place.path(), runs.unwrap_or(1_000_000));
    println!("| | {} runs | {} runs |", few.runs, many.runs);
    println!("| --- | --- | --- |");
    println!("| written | {:.0} runs/s | {:.0} runs/s |", few.per_second, many.per_second);
    println!("| on disk | {:.0} MB | {:.0} MB |", few.disk_mb, many.disk_mb);
    println!("| start to first answer | {:.0} ms | {:.0} ms |", few.start_ms, many.start_ms);
    for (few, many) in few.queries.iter().zip(&many.queries) {
        println!("| {} | {:.2} ms (p95 {:.2}) | {:.2} ms (p95 {:.2}) |", few.0, few.1, few.2, many.1, many.2);
    }
    println!("| memory after them | {:.0} MB | {:.0} MB |", few.memory_mb, many.memory_mb);
}

struct Measured {
    runs: u64,
    per_second: f64,
    disk_mb: f64,
    start_ms: f64,
    /// Name, median and 95th percentile in milliseconds.
    queries: Vec<(&'static str, f64, f64)>,
    memory_mb: f64,
}

impl Measured {
    fn of(place: &Path, runs: u64) -> Self {
        let data = place.join(runs.to_string());
        let started = Instant::now();
        let filled = Command::new(env!("CARGO_BIN_EXE_sealstone"))
            .args(["store", "fill", &runs.to_string(), "--data-dir"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(filled.unwrap().success());
        let per_second = runs as f64 / started.elapsed().as_secs_f64();
        let started = Instant::now();
        let server = Server::start(&data);
        let newest = server.get("/v1/runs?limit=1");
        let start_ms = started.elapsed().as_secs_f64() * 1e3;
        // What is asked for is taken from the middle.
        let middle = server.get(&format!("/v1/runs/run-{}", runs / 2));
        let (commit, opened_at) = (text(&middle["subject"]["commit_sha"]), text(&middle["opened_at"]));
        let artifact = text(&middle["envelope"]["artifacts"][0]["digest"]);
        assert_eq!(newest["runs"][0]["run_id"], format!("run-{}", runs - 1));
        let queries = [
            ("newest 100", "/v1/runs".to_owned(), 100),
            ("of one project", "/v1/runs?project=team/project-3".into(), 100),
            ("failed", "/v1/runs?result=failed".into(), 20.min(runs / 50)),
            ("open", "/v1/runs?state=open".into(), 0),
            ("of a commit", format!("/v1/runs?commit_sha={commit}"), 3),
            ("with a label", "/v1/runs?label=branch:b7".into(), 1),
            (
                "failed, of one project, with a label",
                "/v1/runs?result=failed&label=branch:b50&project=team/project-0".into(),
                0,
            ),
            ("before a time in the middle", format!("/v1/runs?opened_before={opened_at}"), 100),
            ("envelopes with an artifact", format!("/v1/envelopes?artifact={artifact}"), 1),
            ("envelopes sealed before then", format!("/v1/envelopes?sealed_before={opened_at}"), 100),
        ];
        let queries = queries.into_iter().map(|(name, path, at_least)| {
            let mut times: Vec<f64> = (0..TIMES)
                .map(|_| {
                    let asked = Instant::now();
                    let answer = server.get(&path);
                    let found = answer["runs"].as_array().or(answer["envelopes"].as_array()).unwrap().len();
                    assert!(found as u64 >= at_least, "{name}: {found}");
                    asked.elapsed().as_secs_f64() * 1e3
                })
                .collect();
            times.sort_by(f64::total_cmp);
            (name, times[TIMES / 2], times[TIMES * 95 / 100])
        });
        let queries = queries.collect();
        let (memory_mb, disk_mb) = (server.memory_mb(), bytes_in(&data) as f64 / 1e6);
        Self { runs, per_second, disk_mb, start_ms, queries, memory_mb }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn bytes_in(directory: &Path) -> u64 {
    let sizes = fs::read_dir(directory).unwrap().map(|entry| {
        let entry = entry.unwrap();
        if entry.path().is_dir() { bytes_in(&entry.path()) } else { entry.metadata().unwrap().len() }
    });
    sizes.sum()
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sealstone"))
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let address = told["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        Self { child, address }
    }

    fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap()
    }

    fn memory_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1e3
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
