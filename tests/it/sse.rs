//! A reader of event streams that sees every byte of them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::LazyLock;
use std::time::Duration;

use jsonschema::Validator;
use serde_json::Value;

use crate::documented::assert_documented;
use crate::schemas::schema;
use crate::server::{Answer, Server};

/// How long a stream may say nothing that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stream that is open, or the answer in its place.
pub(crate) struct Stream {
    connection: BufReader<TcpStream>,
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    /// What came, and is in no block yet.
    text: String,
    /// Bytes of a character whose others have not come.
    bytes: Vec<u8>,
    /// The body is at its end.
    ended: bool,
    /// It ended without its last chunk: the connection broke.
    pub(crate) cut: bool,
    /// The last id that was told, with an event or without.
    pub(crate) last_id: Option<String>,
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: String,
    pub(crate) data: Value,
    /// The block as it came.
    pub(crate) raw: String,
}

impl Stream {
    /// Asks for a stream, and reads the head of the answer.
    pub(crate) fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut connection = TcpStream::connect(&server.address).unwrap();
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        connection.write_all((head + "\r\n").as_bytes()).unwrap();
        let mut stream = Self::on(connection);
        let body = if stream.is_event_stream() { String::new() } else { stream.rest() };
        let answer =
            Answer { status: stream.status, headers: stream.headers.clone(), body: body.clone().into() };
        assert_documented(&server.address, "GET", path, &answer);
        stream.text = body;
        stream
    }

    /// Reads the head of the answer to what was asked on that connection.
    pub(crate) fn on(connection: TcpStream) -> Self {
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = BufReader::new(connection);
        let mut line = String::new();
        connection.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let (text, bytes) = (String::new(), Vec::new());
        Self { connection, status, headers, text, bytes, ended: false, cut: false, last_id: None }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The next event; `None` at the end of the body. What is no event, like a comment, is passed over.
    pub(crate) fn next(&mut self) -> Option<Event> {
        loop {
            let raw = self.block()?;
            if let Some(event) = event(raw) {
                return Some(event);
            }
        }
    }

    /// The next event of that name.
    pub(crate) fn next_named(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("the stream ends before {name}"));
            if event.name == name {
                return event;
            }
        }
    }

    /// All events up to the end of the body.
    pub(crate) fn all(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// The next block, whatever is in it; `None` at the end of the body.
    pub(crate) fn block(&mut self) -> Option<String> {
        let mut seen = 0;
        loop {
            if let Some(end) = self.text[seen..].find("\n\n") {
                let rest = self.text.split_off(seen + end + 2);
                let block = std::mem::replace(&mut self.text, rest);
                let mut ids = block.lines().filter_map(|line| line.strip_prefix("id: "));
                self.last_id = ids.next_back().map(str::to_owned).or(self.last_id.take());
                return Some(block);
            }
            // The first of two line feeds may be there.
            seen = self.text.len() - usize::from(self.text.ends_with('\n'));
            if !self.more() {
                assert!(self.cut || self.text.is_empty(), "it ends within {:?}", self.text);
                return None;
            }
        }
    }

    /// What there is of an answer that is no stream.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} {:?}", self.status, self.text))
    }

    /// The answer without what a stream says, which is left.
    pub(crate) fn head(self) -> Answer {
        let body = if self.is_event_stream() { Vec::new() } else { self.text.clone().into() };
        Answer { status: self.status, headers: self.headers.clone(), body }
    }

    pub(crate) fn hang_up(self) {
        let _ = self.connection.get_ref().shutdown(Shutdown::Both);
    }

    fn is_event_stream(&self) -> bool {
        self.header("content-type") == Some("text/event-stream")
    }

    fn rest(&mut self) -> String {
        match self.header("content-length").map(|length| length.parse().unwrap()) {
            Some(length) => {
                let mut body = vec![0; length];
                self.connection.read_exact(&mut body).unwrap();
                self.ended = true;
                String::from_utf8(body).unwrap()
            }
            None if self.status == 204 => {
                self.ended = true;
                String::new()
            }
            None => {
                while self.more() {}
                std::mem::take(&mut self.text)
            }
        }
    }

    /// Takes in a chunk of the body; false at its end.
    fn more(&mut self) -> bool {
        if self.ended {
            return false;
        }
        match self.chunk() {
            Ok(true) => true,
            Ok(false) => {
                self.ended = true;
                false
            }
            Err(error) => {
                let broken =
                    !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                assert!(broken, "nothing came for {PATIENCE:?} after {:?}", self.text);
                (self.ended, self.cut) = (true, true);
                false
            }
        }
    }

    fn chunk(&mut self) -> std::io::Result<bool> {
        let mut line = String::new();
        self.connection.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim_end(), 16).map_err(std::io::Error::other)?;
        let start = self.bytes.len();
        self.bytes.resize(start + length + 2, 0);
        self.connection.read_exact(&mut self.bytes[start..])?;
        self.bytes.truncate(start + length);
        let whole = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.len(),
            Err(error) => {
                assert!(error.error_len().is_none(), "what came is no UTF-8");
                error.valid_up_to()
            }
        };
        self.text += std::str::from_utf8(&self.bytes[..whole]).unwrap();
        self.bytes.drain(..whole);
        Ok(length > 0)
    }
}

/// Panics unless it is what schemas/event.v1.json says.
fn assert_event(data: &Value) {
    static SCHEMA: LazyLock<Validator> = LazyLock::new(|| schema("event.v1.json"));
    if let Err(error) = SCHEMA.validate(data) {
        panic!("{error} at {}\n{data:#}", error.instance_path());
    }
}

/// What a block dispatches; `None` if nothing.
fn event(raw: String) -> Option<Event> {
    let (mut id, mut name, mut data) = (None, String::new(), None);
    for line in raw.lines() {
        match line.split_once(": ") {
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("event", value)) => name = value.to_owned(),
            Some(("data", value)) => {
                assert!(data.is_none(), "data in two lines: {raw:?}");
                data = Some(serde_json::from_str::<Value>(value).unwrap());
            }
            _ if line.is_empty() || line.starts_with(':') || line.starts_with("retry: ") => {}
            _ => panic!("no line of a stream: {line:?}"),
        }
    }
    let data = data?;
    assert_eq!(data["type"], name, "{raw:?}");
    assert_event(&data);
    Some(Event { id, name, data, raw })
}
