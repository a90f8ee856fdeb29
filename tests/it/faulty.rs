//! A proxy between the commands and the real service, which does what networks, proxies and services do when they fail.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);
/// Nobody waits longer than that for anything.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long what is late is held back.
const LATE: Duration = Duration::from_millis(400);
const JSON: &str = "application/problem+json";
const HTML: &str = "text/html";
const PAGE: &str = "<!DOCTYPE html><title>Sign in to this network</title>";

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// It goes through, and so does its answer.
    Pass,
    /// There is nobody to connect to.
    Refuse,
    /// It is taken, and never answered.
    Hang,
    /// The connection is reset.
    Reset,
    /// It is answered with that status and a problem.
    Problem(u16),
    /// It is answered with that status and an empty body.
    Bare(u16),
    /// It is answered with that status and a page.
    Page(u16),
    /// It goes through; its answer does not come.
    CutAnswer,
    /// Half of its body goes through, then both sides are cut.
    CutBody,
    /// Half of its body goes through, and the service's own complaint comes back.
    HalfBody,
    /// Its sender is cut, and it goes through all the same, a while later.
    Late,
    /// Its sender is cut in the middle of the body, and the rest of it goes through a while later.
    LateRest,
    /// It trickles, and so does its answer.
    Slow,
    /// It goes through, but for the one that asks for an envelope, which is never answered.
    KeepEnvelope,
}

impl Fault {
    pub(crate) const ALL: [Fault; 26] = [
        Fault::Pass,
        Fault::Refuse,
        Fault::Hang,
        Fault::Reset,
        Fault::Problem(500),
        Fault::Problem(503),
        Fault::Problem(507),
        Fault::Problem(429),
        Fault::Problem(401),
        Fault::Problem(403),
        Fault::Problem(404),
        Fault::Bare(500),
        Fault::Bare(503),
        Fault::Bare(429),
        Fault::Bare(413),
        Fault::Page(200),
        Fault::Page(302),
        Fault::Page(403),
        Fault::Page(404),
        Fault::Page(502),
        Fault::CutAnswer,
        Fault::CutBody,
        Fault::HalfBody,
        Fault::Late,
        Fault::LateRest,
        Fault::Slow,
    ];
}

struct Shared {
    fault: Mutex<Fault>,
    /// Where the service is.
    service: Mutex<String>,
    stopped: AtomicBool,
    /// Requests that did not simply pass.
    spoiled: AtomicU64,
}

impl Shared {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }
}

/// The proxy. It ends when this is dropped.
pub(crate) struct Faulty {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl Faulty {
    /// Before the service at that address.
    pub(crate) fn before(service: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::Pass),
            service: Mutex::new(service.to_owned()),
            stopped: AtomicBool::new(false),
            spoiled: AtomicU64::new(0),
        });
        let of_thread = Arc::clone(&shared);
        let listening = Some(thread::spawn(move || listen(listener, address, &of_thread)));
        Self { address, shared, listening }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on requests fare like that; those under way that hang are let go.
    pub(crate) fn set(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    /// The service is somewhere else now.
    pub(crate) fn lead_to(&self, service: &str) {
        service.clone_into(&mut self.shared.service.lock().unwrap());
    }

    /// How many requests did not simply pass.
    pub(crate) fn spoiled(&self) -> u64 {
        self.shared.spoiled.load(SeqCst)
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        let _ = self.listening.take().map(JoinHandle::join);
    }
}

fn listen(listener: TcpListener, address: SocketAddr, shared: &Arc<Shared>) {
    let mut listener = Some(listener);
    while !shared.stopped.load(SeqCst) {
        if shared.fault() == Fault::Refuse {
            listener = None;
            sleep(POLL);
            continue;
        }
        let Some(listener) = &listener else {
            // Somebody else may have the port for a moment.
            listener = TcpListener::bind(address).ok();
            sleep(POLL / 4);
            continue;
        };
        listener.set_nonblocking(true).unwrap();
        match listener.accept() {
            Ok((client, _)) => {
                client.set_nonblocking(false).unwrap();
                let shared = Arc::clone(shared);
                // What breaks is what the test is about.
                thread::spawn(move || drop(spoil(client, &shared)));
            }
            Err(_) => sleep(POLL / 10),
        }
    }
}

/// A request as far as it came: its head without what keeps the connection, and the size of its body.
struct Request {
    head: Vec<u8>,
    length: usize,
    body: Vec<u8>,
}

impl Request {
    fn read(client: &mut TcpStream) -> io::Result<Self> {
        let mut came = Vec::new();
        let end = loop {
            if let Some(end) = came.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            read_some(client, &mut came)?;
        };
        let body = came.split_off(end);
        let text = String::from_utf8_lossy(&came).into_owned();
        let value = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let length = value("content-length").map_or(0, |length| length.parse().unwrap());
        came.truncate(end - 2);
        came.extend(b"connection: close\r\n\r\n");
        Ok(Self { head: came, length, body })
    }

    /// Reads on until so much of the body is there.
    fn read_to(&mut self, client: &mut TcpStream, length: usize) -> io::Result<()> {
        while self.body.len() < length.min(self.length) {
            read_some(client, &mut self.body)?;
        }
        Ok(())
    }
}

fn read_some(from: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<()> {
    let mut some = [0; 16 << 10];
    match from.read(&mut some)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        n => {
            into.extend(&some[..n]);
            Ok(())
        }
    }
}

fn spoil(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let fault = shared.fault();
    if fault != Fault::Pass {
        shared.spoiled.fetch_add(1, SeqCst);
    }
    if fault == Fault::Reset {
        // What came and was not read makes the kernel say so.
        let _ = client.peek(&mut [0]);
        return Ok(());
    }
    let mut request = Request::read(&mut client)?;
    let service = || TcpStream::connect(shared.service.lock().unwrap().as_str());
    let half = request.length / 2;
    if fault == Fault::KeepEnvelope && request.head.starts_with(b"GET /v1/envelopes/") {
        return hang(&mut client, shared, fault);
    }
    match fault {
        Fault::Refuse | Fault::Hang => hang(&mut client, shared, fault),
        Fault::Problem(status) => {
            request.read_to(&mut client, usize::MAX)?;
            let problem =
                format!(r#"{{"type":"about:blank","title":"T","status":{status},"code":"c","detail":"d"}}"#);
            answer(&mut client, status, JSON, &problem)
        }
        Fault::Bare(status) => {
            request.read_to(&mut client, usize::MAX)?;
            answer(&mut client, status, "", "")
        }
        Fault::Page(status) => {
            request.read_to(&mut client, usize::MAX)?;
            answer(&mut client, status, HTML, PAGE)
        }
        Fault::Pass | Fault::Reset | Fault::KeepEnvelope => {
            let mut service = service()?;
            service.write_all(&request.head)?;
            service.write_all(&request.body)?;
            let mut sent = request.body.len();
            while sent < request.length {
                request.body.clear();
                read_some(&mut client, &mut request.body)?;
                service.write_all(&request.body)?;
                sent += request.body.len();
            }
            pass_back(&mut service, &mut client, shared, Duration::ZERO)
        }
        Fault::CutAnswer => {
            request.read_to(&mut client, usize::MAX)?;
            let mut service = service()?;
            service.write_all(&[request.head, request.body].concat())?;
            read_some(&mut service, &mut Vec::new())
        }
        Fault::CutBody | Fault::HalfBody | Fault::LateRest => {
            request.read_to(&mut client, half)?;
            let mut service = service()?;
            service.write_all(&[&request.head, &request.body[..half]].concat())?;
            if fault == Fault::HalfBody {
                request.read_to(&mut client, usize::MAX)?;
                service.shutdown(Shutdown::Write)?;
                return pass_back(&mut service, &mut client, shared, Duration::ZERO);
            }
            if fault == Fault::LateRest {
                request.read_to(&mut client, usize::MAX)?;
                drop(client);
                sleep(LATE);
                service.write_all(&request.body[half..])?;
                return read_some(&mut service, &mut Vec::new());
            }
            Ok(())
        }
        Fault::Late => {
            request.read_to(&mut client, usize::MAX)?;
            let mut service = service()?;
            drop(client);
            sleep(LATE);
            service.write_all(&[request.head, request.body].concat())?;
            read_some(&mut service, &mut Vec::new())
        }
        Fault::Slow => {
            request.read_to(&mut client, usize::MAX)?;
            let mut service = service()?;
            service.set_nodelay(true)?;
            let all = [request.head, request.body].concat();
            for piece in all.chunks(all.len() / 10 + 1) {
                service.write_all(piece)?;
                sleep(POLL / 2);
            }
            pass_back(&mut service, &mut client, shared, POLL / 4)
        }
    }
}

/// Says nothing until it is another's turn, or nobody listens any more.
fn hang(client: &mut TcpStream, shared: &Shared, fault: Fault) -> io::Result<()> {
    client.set_read_timeout(Some(POLL))?;
    while shared.fault() == fault && !shared.stopped.load(SeqCst) {
        match client.read(&mut [0; 4096]) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(client: &mut TcpStream, status: u16, content_type: &str, body: &str) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} S\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !content_type.is_empty() {
        head += &format!("content-type: {content_type}\r\n");
    }
    client.write_all(format!("{head}location: http://127.0.0.1:1/\r\n\r\n{body}").as_bytes())
}

/// Passes on what the service answers until it ends, in small pieces where it pauses between them.
fn pass_back(
    service: &mut TcpStream,
    client: &mut TcpStream,
    shared: &Shared,
    pause: Duration,
) -> io::Result<()> {
    service.set_read_timeout(Some(POLL))?;
    let mut buffer = vec![0; if pause.is_zero() { 16 << 10 } else { 64 }];
    let mut heard = Instant::now();
    while !shared.stopped.load(SeqCst) && heard.elapsed() < PATIENCE {
        match service.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                client.write_all(&buffer[..n])?;
                heard = Instant::now();
                sleep(pause);
            }
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
                // Who asked may be gone: an event stream has nothing to say for long.
                client.set_nonblocking(true)?;
                let gone = matches!(client.peek(&mut [0]), Ok(0));
                client.set_nonblocking(false)?;
                if gone {
                    break;
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
