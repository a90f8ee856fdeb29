//! Acknowledged appends a second over real connections, beside the machine's fdatasync rate in the same run.
//!
//! `cargo bench --bench load` prints the table of the README; `-- --quick` is shorter, `-- --engine sled` takes the other engine,
//! `-- --one-run` lets all clients append to one run.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench stops by a panic"
)]

use std::fs::{self, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CLIENTS: [usize; 4] = [1, 16, 64, 256];
const BATCHES: [usize; 2] = [1, 100];

struct Options {
    engine: String,
    seconds: f64,
    one_run: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let engine =
        arguments.iter().position(|argument| argument == "--engine").map(|i| arguments[i + 1].clone());
    let options = Options {
        engine: engine.unwrap_or_else(|| "fjall".into()),
        seconds: if has("--quick") { 1.5 } else { 5.0 },
        one_run: has("--one-run"),
    };
    let place = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let what = if options.one_run { "one run" } else { "a run each" };
    println!("engine {}, {what}, entries of {} bytes\n", options.engine, entry(0, 0).len());
    println!(
        "| clients | entries a request | entries/s | of fdatasync/s | p50 | p99 | CPU service | CPU generator |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let only_sealing = has("--sealing");
    for batch in BATCHES.into_iter().filter(|_| !only_sealing) {
        for clients in CLIENTS {
            let server = Server::start(&place.path().join(format!("{clients}-{batch}")), &options.engine);
            let floor = fdatasyncs_per_second(place.path(), 1.0);
            let load = runtime.block_on(load(&server, clients, batch, &options));
            println!(
                "| {clients} | {batch} | {:.0} | {:.1} × {floor:.0} | {:.2} ms | {:.2} ms | {:.0} % | {:.0} % |",
                load.per_second,
                load.per_second / floor,
                load.p50_ms,
                load.p99_ms,
                load.server_cpu * 100.0,
                load.own_cpu * 100.0,
            );
        }
    }
    println!();
    sealing(&runtime, place.path(), &options);
}

/// How long 10,000 steps take to seal, and what it does to the appends of others meanwhile.
fn sealing(runtime: &tokio::runtime::Runtime, place: &Path, options: &Options) {
    let server = Server::start(&place.join("sealing"), &options.engine);
    let quiet = runtime.block_on(load(&server, 16, 1, options));
    let (times, during) = runtime.block_on(async {
        let mut connection = Connection::to(&server).await;
        let mut runs = Vec::new();
        for _ in 0..5 {
            let run = connection.open_run().await;
            for i in 0..100 {
                let lines: String = (0..100).map(|j| entry(i, j) + "\n").collect();
                connection.append(&run, "application/x-ndjson", &lines).await;
            }
            runs.push(run);
        }
        let seals = async {
            let mut times = Vec::new();
            for run in runs {
                tokio::time::sleep(Duration::from_millis(300)).await;
                let started = Instant::now();
                let path = format!("/v1/runs/{run}/finalize");
                connection.post(&path, "application/json", "{\"result\":\"succeeded\"}").await;
                times.push(started.elapsed().as_secs_f64() * 1e3);
            }
            times
        };
        tokio::join!(seals, load(&server, 16, 1, options))
    });
    let mut times = times;
    times.sort_by(f64::total_cmp);
    println!(
        "sealing 10,000 steps: {:.0} ms (median of {}); p99 of 16 other clients {:.2} ms meanwhile, {:.2} ms without",
        times[times.len() / 2],
        times.len(),
        during.p99_ms,
        quiet.p99_ms
    );
}

struct Load {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    server_cpu: f64,
    own_cpu: f64,
}

async fn load(server: &Server, clients: usize, batch: usize, options: &Options) -> Load {
    let shared = Connection::to(server).await.open_run().await;
    let mut connections = Vec::new();
    for _ in 0..clients {
        let mut connection = Connection::to(server).await;
        let run = if options.one_run { shared.clone() } else { connection.open_run().await };
        connections.push((connection, run));
    }
    let (server_before, own_before) = (cpu_seconds(&server.child.id().to_string()), cpu_seconds("self"));
    let started = Instant::now();
    let until = started + Duration::from_secs_f64(options.seconds);
    let tasks: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(client, (mut connection, mut run))| {
            let one_run = options.one_run;
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut i = 0;
                while Instant::now() < until {
                    // A run holds 64 MiB.
                    if i > 0 && !one_run && (i * batch).is_multiple_of(60_000) {
                        run = connection.open_run().await;
                    }
                    let asked = Instant::now();
                    if batch == 1 {
                        connection.append(&run, "application/json", &entry(client, i)).await;
                    } else {
                        let lines: String = (0..batch).map(|j| entry(client, i * batch + j) + "\n").collect();
                        connection.append(&run, "application/x-ndjson", &lines).await;
                    }
                    latencies.push(asked.elapsed().as_secs_f64() * 1e3);
                    i += 1;
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let seconds = started.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    Load {
        per_second: (latencies.len() * batch) as f64 / seconds,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        server_cpu: (cpu_seconds(&server.child.id().to_string()) - server_before) / seconds,
        own_cpu: (cpu_seconds("self") - own_before) / seconds,
    }
}

/// An event in canonical form, as the client sends it; about 620 bytes once it is recorded.
fn entry(client: usize, i: usize) -> String {
    let message = "compiled, linked and tested in the usual way; nothing to see here ".repeat(6);
    format!(
        "{{\"data\":{{\"client\":{client},\"i\":{i}}},\"message\":\"{message}\",\"name\":\"checkpoint\",\
         \"phase\":\"build\",\"step_id\":\"unit/{client}\",\"type\":\"event\"}}"
    )
}

/// What the disk does alone: small appends, each made durable.
fn fdatasyncs_per_second(place: &Path, seconds: f64) -> f64 {
    let path = place.join("floor");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let started = Instant::now();
    let mut n = 0_u32;
    while started.elapsed().as_secs_f64() < seconds {
        file.write_all(&[b'x'; 700]).unwrap();
        file.sync_data().unwrap();
        n += 1;
    }
    fs::remove_file(path).unwrap();
    f64::from(n) / started.elapsed().as_secs_f64()
}

/// User and system time of a process so far.
fn cpu_seconds(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(data: &Path, engine: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sealstone"))
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--engine", engine, "--data-dir"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = told["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// HTTP/1.1 by hand: a client that costs little beside the service.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn to(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::with_capacity(1 << 16) }
    }

    async fn open_run(&mut self) -> String {
        let body = self.post("/v1/runs", "application/json", "{\"project\":\"load\"}").await;
        serde_json::from_str::<serde_json::Value>(&body).unwrap()["evidence_id"].as_str().unwrap().to_owned()
    }

    async fn append(&mut self, run: &str, content_type: &str, body: &str) {
        self.post(&format!("/v1/runs/{run}/entries"), content_type, body).await;
    }

    async fn post(&mut self, path: &str, content_type: &str, body: &str) -> String {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(
                self.stream.read_buf(&mut self.buffer).await.unwrap() > 0,
                "the service closed the connection"
            );
            let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let head = std::str::from_utf8(&self.buffer[..end]).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let length: usize = length.parse().unwrap();
            if self.buffer.len() >= end + 4 + length {
                let body = String::from_utf8(self.buffer[end + 4..].to_vec()).unwrap();
                assert!(head.starts_with("HTTP/1.1 20"), "{head}\n{body}");
                return body;
            }
        }
    }
}
