//! What `exec` costs a command: its output passed through, and the time from its start to its seal, beside the command alone.
//!
//! `cargo bench --bench exec` prints the table of the README.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench stops by a panic"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SEALSTONE: &str = env!("CARGO_BIN_EXE_sealstone");
const OUTPUT_BYTES: usize = 100_000_000;
/// How often the 100 MB are written, and how often a command that does nothing runs.
const TIMES: usize = 7;
const TIMES_NOTHING: usize = 60;

fn main() {
    let place = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = place.path();
    let line =
        "   Compiling widget v0.1.0: what a build says, a line after the other, for as long as it takes\n";
    fs::write(place.join("output"), line.repeat(OUTPUT_BYTES / line.len())).unwrap();
    let server = Server::start(place);
    let ways: [(&str, Vec<&str>); 4] = [
        ("alone", vec![]),
        ("exec", vec![SEALSTONE, "exec", "-q", "--out", "sealed.json", "--"]),
        ("exec --log", vec![SEALSTONE, "exec", "-q", "--out", "sealed.json", "--log", "log", "--"]),
        ("exec --server", vec![SEALSTONE, "exec", "-q", "--server", &server.url, "--"]),
    ];
    println!("| | {} |", ways.each_ref().map(|(name, _)| *name).join(" | "));
    println!("| --- | --- | --- | --- | --- |");
    let commands: [(&str, &[&str], usize); 3] = [
        ("100 MB by `cat`", &["cat", "output"], TIMES),
        ("100 MB by `awk`, a line at a time", &["awk", "{ n += length($0); print }", "output"], TIMES),
        ("`true`, from start to end", &["true"], TIMES_NOTHING),
    ];
    for (name, command, times) in commands {
        // In turns, so that what else the machine does is the same for all.
        let mut taken = ways.each_ref().map(|_| Vec::new());
        for _ in 0..times {
            for ((_, way), taken) in ways.iter().zip(&mut taken) {
                taken.push(run(place, &[way.as_slice(), command].concat()));
            }
        }
        let medians = taken.map(|mut taken| {
            taken.sort();
            taken[taken.len() / 2].as_secs_f64() * 1e3
        });
        let cells = medians.map(|ms| match times {
            TIMES => format!("{ms:.0} ms ({:.2} ×)", ms / medians[0]),
            _ => format!("{ms:.1} ms"),
        });
        println!("| {name} | {} |", cells.join(" | "));
    }
}

/// Runs it, reading all that it writes, as CI does.
fn run(place: &Path, command: &[&str]) -> Duration {
    let started = Instant::now();
    let mut child = Command::new(command[0]);
    child
        .args(&command[1..])
        .current_dir(place)
        .env("HOME", place)
        .stdout(Stdio::piped())
        .stdin(Stdio::null());
    let mut child = child.spawn().unwrap();
    let mut read = 0;
    let mut output = child.stdout.take().unwrap();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match output.read(&mut buffer).unwrap() {
            0 => break,
            n => read += n,
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(read == 0 || read > OUTPUT_BYTES - 200, "{read}");
    started.elapsed()
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(place: &Path) -> Self {
        let mut child = Command::new(SEALSTONE)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"])
            .current_dir(place)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| line.unwrap().strip_prefix("serving ").map(str::to_owned)).unwrap();
        Self { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::io::stdout().flush();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
