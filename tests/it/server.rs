//! The real service in a process of its own, and a small HTTP client.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::documented::assert_documented;
use crate::place::Place;
use crate::sse::Stream;

/// Streams that do not end by themselves: of these only the head is waited for.
const ENDLESS: [&str; 2] = ["/v1/events", "/v1/logs/stream"];

/// A service that is killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// Serves from `records` in that place.
    pub(crate) fn start(place: &Place, arguments: &[&str]) -> Self {
        Self::try_start(place, arguments).unwrap_or_else(|told| panic!("the service did not start: {told}"))
    }

    pub(crate) fn try_start(place: &Place, arguments: &[&str]) -> Result<Self, String> {
        let mut command = place.command(&["serve", "--json"]);
        for (option, value) in [("--listen", "127.0.0.1:0"), ("--data-dir", "records")] {
            if !arguments.contains(&option) {
                command.args([option, value]);
            }
        }
        command.args(arguments);
        Self::spawn(command)
    }

    pub(crate) fn spawn(mut command: std::process::Command) -> Result<Self, String> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let Ok(told) = serde_json::from_str::<Value>(&line) else {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            return Err(format!("{} {text}", child.wait().unwrap().code().unwrap_or(-1)));
        };
        // Read to its end, so that it never fills.
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = lines.clone();
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(n @ 1..) = stderr.read(&mut some) {
                heard.lock().unwrap().extend(&some[..n]);
            }
        });
        let address = told["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        Ok(Self { child, address, stderr: lines })
    }

    #[cfg(feature = "client")]
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// How much memory the process takes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Has it read key and keyring anew, and gives what it says of it.
    pub(crate) fn hangup(&self) -> String {
        let before = self.stderr.lock().unwrap().len();
        self.signal("-HUP");
        let started = Instant::now();
        loop {
            let told = String::from_utf8_lossy(&self.stderr.lock().unwrap()[before..]).into_owned();
            if told.contains("key and keyring") && told.ends_with('\n') {
                return told;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "it says {told:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end, and gives its exit status.
    pub(crate) fn terminate(&mut self) -> i32 {
        self.signal("-TERM");
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        if method == "GET" && ENDLESS.contains(&path) {
            return Stream::open(self, path, headers).head();
        }
        let answer = Connection::to(&self.address).unwrap().request(method, path, headers, body).unwrap();
        assert_documented(&self.address, method, path, &answer);
        answer
    }

    /// Opens a run in the project `p`; its evidence_id.
    pub(crate) fn open(&self) -> String {
        let opened = self.post("/v1/runs", &serde_json::json!({ "project": "p" }));
        assert_eq!(opened.status, 201, "{opened:?}");
        opened.json()["evidence_id"].as_str().unwrap().to_owned()
    }

    /// Asks until it is so, or too long.
    pub(crate) fn wait_until(&self, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.get(path).json();
            if is(&answer) {
                return answer;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "still {answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{} {:?}", self.status, String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn to(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and does not wait for what is answered.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += "Host: localhost\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        let mut request = head.into_bytes();
        request.extend(body);
        self.stream.get_mut().write_all(&request)
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Answer> {
        self.send(method, path, headers, body)?;
        self.answer(method != "HEAD")
    }

    pub(crate) fn answer(&mut self, has_body: bool) -> std::io::Result<Answer> {
        let broken = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(broken());
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        match answer.header("transfer-encoding") {
            _ if !has_body => {}
            Some(_) => while self.chunk(&mut answer.body)? {},
            None => {
                let length = answer.header("content-length").and_then(|length| length.parse().ok());
                answer.body = vec![0; length.unwrap_or(0)];
                self.stream.read_exact(&mut answer.body)?;
            }
        }
        Ok(answer)
    }

    /// Adds a chunk of a body; false after the last, which has no bytes.
    fn chunk(&mut self, body: &mut Vec<u8>) -> std::io::Result<bool> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim_end(), 16).map_err(std::io::Error::other)?;
        let start = body.len();
        body.resize(start + length + 2, 0);
        self.stream.read_exact(&mut body[start..])?;
        body.truncate(start + length);
        Ok(length > 0)
    }

    pub(crate) fn hang_up(self) {
        let _ = self.stream.get_ref().shutdown(Shutdown::Both);
    }
}
