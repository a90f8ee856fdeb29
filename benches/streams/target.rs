//! Whoever is measured: how it is started, subscribed to and published to.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::floor;
use crate::machine::{cpu_seconds, on_server_core, resident_kib};
use crate::wire::Stamp;

/// Where Debian's libnginx-mod-nchan puts the module.
const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// Sealstone, its peer, and what nobody can be better than.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sealstone,
    Nchan,
    Floor,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Sealstone, Self::Nchan, Self::Floor];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Sealstone => "sealstone",
            Kind::Nchan => "nchan",
            Kind::Floor => "floor",
        }
    }

    pub(crate) fn is_installed(self) -> bool {
        self != Kind::Nchan || Path::new(NCHAN_MODULE).exists()
    }
}

/// What all measurements share.
pub(crate) struct Ground<'a> {
    pub(crate) place: &'a Path,
    pub(crate) engine: String,
    /// How large the block of an event is, at every target.
    pub(crate) block_bytes: usize,
    pub(crate) quick: bool,
}

/// Where a subscriber begins.
#[derive(Clone, Copy)]
pub(crate) enum Begin {
    Earliest,
    Latest,
}

/// A server on this machine, stopped when it is dropped.
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    child: Child,
    run: String,
    block_bytes: usize,
}

impl Target {
    pub(crate) fn start(ground: &Ground<'_>, kind: Kind) -> Self {
        let place = tempfile::TempDir::new_in(ground.place).unwrap().keep();
        let (child, address) = match kind {
            Kind::Sealstone => start_sealstone(&place, &ground.engine),
            Kind::Nchan => start_nchan(&place),
            Kind::Floor => start_floor(),
        };
        let mut target = Self { kind, address, child, run: "run".into(), block_bytes: ground.block_bytes };
        if kind == Kind::Sealstone {
            target.run = target.open_run();
        }
        target
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.child.id())
    }

    pub(crate) fn resident_kib(&self) -> f64 {
        resident_kib(self.child.id())
    }

    /// The request of a subscriber.
    pub(crate) fn subscription(&self, begin: Begin) -> String {
        let begin = match begin {
            Begin::Earliest => "earliest",
            Begin::Latest => "latest",
        };
        let path = match self.kind {
            Kind::Sealstone => format!("/v1/runs/{}/events?from={begin}", self.run),
            Kind::Nchan | Kind::Floor => format!("/{begin}/{}", self.run),
        };
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
    }

    /// What publishes these events, and how many answers will come.
    pub(crate) fn publication(&self, stamps: &[Stamp]) -> (Vec<u8>, usize) {
        let posted = |media_type: &str, path: &str, body: &str| {
            format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let messages = stamps.iter().map(|stamp| self.message(*stamp));
        match self.kind {
            Kind::Sealstone => {
                let media_type = if stamps.len() > 1 { "application/x-ndjson" } else { "application/json" };
                let path = format!("/v1/runs/{}/entries", self.run);
                (posted(media_type, &path, &messages.collect::<Vec<_>>().join("\n")).into_bytes(), 1)
            }
            // One message a request; the requests do not wait for each other.
            Kind::Nchan => {
                let path = format!("/publish/{}", self.run);
                let requests = messages.map(|message| posted("application/json", &path, &message));
                (requests.collect::<String>().into_bytes(), stamps.len())
            }
            Kind::Floor => (posted("text/plain", "/", &messages.collect::<String>()).into_bytes(), 1),
        }
    }

    /// One event, so large that its block is as large everywhere.
    fn message(&self, stamp: Stamp) -> String {
        let member = stamp.member();
        let padded = |around: usize| "x".repeat(self.block_bytes.saturating_sub(around + member.len()));
        match self.kind {
            Kind::Sealstone => {
                format!("{{\"data\":{{{member}}},\"name\":\"checkpoint\",\"type\":\"event\"}}")
            }
            Kind::Nchan => {
                let around = "id: 1800000000:0\ndata: {,\"pad\":\"\"}\n\n".len();
                format!("{{{member},\"pad\":\"{}\"}}", padded(around))
            }
            Kind::Floor => {
                let id = format!("id: {}\n", stamp.number);
                let around = id.len() + "data: {,\"pad\":\"\"}\n\n".len();
                format!("{id}data: {{{member},\"pad\":\"{}\"}}\n\n", padded(around))
            }
        }
    }

    fn open_run(&self) -> String {
        let body = "{\"project\":\"streams\"}";
        let mut stream = TcpStream::connect(self.address).unwrap();
        let request = format!(
            "POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 201"), "{answer}");
        let run: serde_json::Value = serde_json::from_str(body).unwrap();
        run["evidence_id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn start_sealstone(data: &Path, engine: &str) -> (Child, SocketAddr) {
    let mut command = on_server_core(env!("CARGO_BIN_EXE_sealstone"));
    command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--engine", engine, "--data-dir"]).arg(data);
    let (child, line) = spawn_and_hear(&mut command);
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    (child, told["url"].as_str().unwrap().trim_start_matches("http://").parse().unwrap())
}

fn start_floor() -> (Child, SocketAddr) {
    let (child, line) = spawn_and_hear(on_server_core(std::env::current_exe().unwrap()).arg(floor::ARGUMENT));
    (child, line.trim().parse().unwrap())
}

/// A process, and the first line that it prints.
fn spawn_and_hear(command: &mut Command) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

/// One worker, which is the process itself: so it can be measured and stopped by one id.
fn start_nchan(place: &Path) -> (Child, SocketAddr) {
    // A port that is free now.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let configuration = place.join("nginx.conf");
    fs::write(&configuration, nchan_configuration(place, address)).unwrap();
    let mut command = on_server_core("nginx");
    command.arg("-p").arg(place).arg("-c").arg(&configuration);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "nginx does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    (child, address)
}

fn nchan_configuration(place: &Path, address: SocketAddr) -> String {
    let place = place.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {place}/{what};\n"))
        .concat();
    let subscriber = |path: &str, first: &str| {
        format!(
            "        location ~ ^/{path}/(\\w+)$ {{ nchan_subscriber eventsource; nchan_channel_id $1; \
             nchan_subscriber_first_message {first}; nchan_eventsource_ping_interval 15; }}\n"
        )
    };
    let subscribers = subscriber("earliest", "oldest") + &subscriber("latest", "newest");
    format!(
        "user root;\nworker_processes 1;\ndaemon off;\nmaster_process off;\npid {place}/pid;\nerror_log {place}/errors;\n\
         worker_rlimit_nofile 20000;\nload_module {NCHAN_MODULE};\nevents {{ worker_connections 19000; }}\n\
         http {{\n    access_log off;\n    tcp_nodelay on;\n    keepalive_requests 100000000;\n    nchan_max_reserved_memory 1024M;\n\
         {temporary}    server {{\n        listen {address} backlog=4096;\n\
         \x20       location ~ ^/publish/(\\w+)$ {{ nchan_publisher; nchan_channel_id $1; nchan_message_buffer_length 100000; \
         nchan_message_timeout 10m; }}\n{subscribers}    }}\n}}\n"
    )
}
