//! What a perfect server could do: one thread that sends what is published to every socket, and nothing else.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The argument that makes this program the floor in place of the bench.
pub(crate) const ARGUMENT: &str = "--as-floor";

/// Serves until it is stopped; its address is the one line that it prints.
pub(crate) fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    let subscribers = Arc::new(Mutex::new(Vec::new()));
    for stream in listener.incoming() {
        let (stream, subscribers) = (stream.unwrap(), subscribers.clone());
        std::thread::spawn(move || take_in(stream, &subscribers));
    }
}

/// Whoever asks is a subscriber; the other one publishes.
fn take_in(mut stream: TcpStream, subscribers: &Mutex<Vec<TcpStream>>) {
    let mut request = Vec::new();
    read_head(&mut stream, &mut request);
    if !request.starts_with(b"GET") {
        return fan_out(stream, request, subscribers);
    }
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\n\n";
    stream.write_all(head.as_bytes()).unwrap();
    subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
}

/// Sends the body of each request to everybody, then answers it.
fn fan_out(mut publisher: TcpStream, mut request: Vec<u8>, subscribers: &Mutex<Vec<TcpStream>>) {
    loop {
        let Some(body) = read_head(&mut publisher, &mut request) else { return };
        let head = String::from_utf8_lossy(&request[..body]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let end = body + length.parse::<usize>().unwrap();
        while request.len() < end {
            if !read_more(&mut publisher, &mut request) {
                return;
            }
        }
        let block = &request[body..end];
        let mut all = subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain_mut(|subscriber| subscriber.write_all(block).is_ok());
        drop(all);
        request.drain(..end);
        if publisher.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

/// Reads on until the head of a request is there. Where its body begins; nothing at the end of the connection.
fn read_head(stream: &mut TcpStream, request: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(end) = memchr::memmem::find(request, b"\r\n\r\n") {
            return Some(end + 4);
        }
        if !read_more(stream, request) {
            return None;
        }
    }
}

fn read_more(stream: &mut TcpStream, into: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 1 << 16];
    let read = stream.read(&mut buffer).unwrap_or(0);
    into.extend_from_slice(&buffer[..read]);
    read > 0
}
