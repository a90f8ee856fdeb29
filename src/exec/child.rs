//! The child process: its output passed through as it is, its end waited for, signals passed on.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::client::report::Stream;
use crate::evidence::time::Timestamp;

/// How long output is waited for that something left behind by the child still holds open.
const DRAIN: Duration = Duration::from_secs(2);

/// How much a command can write before it waits for us.
const PIPE_BYTES: usize = 1 << 20;

/// How the command ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It never began.
    NotStarted(io::Error),
}

impl Ended {
    /// The status that a shell would give: 127 not found, 126 not executable, 128 + n by signal n.
    pub(crate) fn status(&self) -> u8 {
        let status = match self {
            Ended::Exited(status) => *status,
            Ended::Killed(signal) => signal.saturating_add(128),
            Ended::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => 127,
            Ended::NotStarted(_) => 126,
        };
        u8::try_from(status).unwrap_or(u8::MAX)
    }
}

/// Who asked a command to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedBy {
    /// Somebody who watches the run.
    Abort,
    /// A signal to this process.
    Signal,
}

/// Takes what a command writes, before it is passed on.
pub(crate) type Sink = Arc<dyn Fn(Stream, &[u8]) + Send + Sync>;

/// What came of running a command.
#[derive(Debug)]
pub(crate) struct Execution {
    /// How it ended.
    pub(crate) ended: Ended,
    /// Who asked it to end meanwhile.
    pub(crate) aborted: Option<AskedBy>,
    /// Whether something that the child left behind still held its output open.
    pub(crate) output_left_open: bool,
    /// When it began, or would have.
    pub(crate) started_at: Timestamp,
    /// When it ended.
    pub(crate) finished_at: Timestamp,
}

/// Runs the command to its end. Its standard input is this process's; its output goes to this process's as it comes, and
/// into the sink. SIGINT, SIGTERM and SIGHUP are passed on, `abort` is a SIGTERM, and after the grace the child is killed.
pub(crate) async fn run(
    command: &[OsString],
    sink: Sink,
    abort: impl Future<Output = ()>,
    grace: Duration,
    now: &dyn Fn() -> Timestamp,
) -> io::Result<Execution> {
    let mut signals = Signals::listen()?;
    let started_at = now();
    let (mut child, pumps) = match start(command, &sink)? {
        Ok(started) => started,
        Err(error) => {
            let ended = Ended::NotStarted(error);
            return Ok(Execution {
                ended,
                aborted: None,
                output_left_open: false,
                started_at,
                finished_at: now(),
            });
        }
    };
    let mut aborted = None;
    let mut abort = std::pin::pin!(abort);
    let status = loop {
        tokio::select! {
            // A signal first: a child that it ended may be gone as soon as we hear of it, and the run was aborted all the same.
            biased;
            received = signals.next() => {
                match aborted {
                    Some(AskedBy::Signal) => child.start_kill()?,
                    _ => pass_on(&child, received),
                }
                aborted = Some(AskedBy::Signal);
            }
            () = &mut abort, if aborted.is_none() => {
                send(&child, Signal::TERM);
                aborted = Some(AskedBy::Abort);
            }
            status = child.wait() => break status?,
            () = sleep(grace), if aborted.is_some() => child.start_kill()?,
        }
    };
    let finished_at = now();
    let drained = timeout(DRAIN, async {
        for pump in pumps {
            // The sender is dropped when its thread ends, however it ends.
            let _ = pump.await;
        }
    });
    let output_left_open = drained.await.is_err();
    Ok(Execution { ended: ended(status), aborted, output_left_open, started_at, finished_at })
}

/// Returns at the next SIGINT, SIGTERM or SIGHUP; never where nobody can listen for them.
pub(crate) async fn signaled() {
    match Signals::listen() {
        Ok(mut signals) => drop(signals.next().await),
        Err(_) => std::future::pending().await,
    }
}

/// From now on writing more than a file may have (`ulimit -f`) is an error, and no longer the end of this process. Commands that it
/// starts have what they had.
pub(crate) fn survive_file_limits() {
    // Once listened for a signal stays caught. Where that cannot be, all is as it was.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let _ = runtime.and_then(|runtime| {
        let _inside = runtime.enter();
        signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
    });
}

/// From now on SIGINT, SIGTERM and SIGHUP end this process, as they would have if nobody had listened for them.
pub(crate) fn end_on_signal() {
    end_on_signal_after(None::<fn()>);
}

/// That, but for the first one, which is told to who is asked to be quick.
pub(crate) fn end_on_second_signal(first: impl FnOnce() + Send + 'static) {
    end_on_signal_after(Some(first));
}

fn end_on_signal_after(first: Option<impl FnOnce() + Send + 'static>) {
    let listen = move || -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let received = runtime.block_on(async {
            let mut signals = Signals::listen()?;
            if let Some(first) = first {
                signals.next().await;
                first();
            }
            io::Result::Ok(signals.next().await)
        })?;
        std::process::exit(received.as_raw().saturating_add(128))
    };
    // Without the thread a signal waits until the evidence is written; there is nobody better to tell.
    let _ = thread::Builder::new().name("signals".into()).spawn(listen);
}

type Pumps = [oneshot::Receiver<()>; 2];

/// The inner error is the command's own: it cannot be started. After an outer one nothing runs.
fn start(command: &[OsString], sink: &Sink) -> io::Result<io::Result<(Child, Pumps)>> {
    let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("no command"))?;
    let ends = [io::stdout().as_fd().try_clone_to_owned()?, io::stderr().as_fd().try_clone_to_owned()?];
    let ((out, out_writer), (err, err_writer)) = (io::pipe()?, io::pipe()?);
    for writer in [out_writer.as_fd(), err_writer.as_fd()] {
        // Where the system has no more to give, the command waits for us a little more often.
        let _ = fcntl_setpipe_size(writer, PIPE_BYTES);
    }
    let [to_out, to_err] = ends;
    let pumps =
        [pump(out.into(), to_out, Stream::Stdout, sink)?, pump(err.into(), to_err, Stream::Stderr, sink)?];
    let mut child = Command::new(program);
    let spawned =
        child.args(arguments).stdout(Stdio::from(out_writer)).stderr(Stdio::from(err_writer)).spawn();
    // The writing ends are closed with `child`, so that the pumps end when the command's own copies do.
    Ok(spawned.map(|spawned| (spawned, pumps)))
}

/// Passes on what comes, until the end of `from` or until `to` takes no more; then `from` is closed, and who goes on
/// writing is told so by the kernel, as without us.
fn pump(from: OwnedFd, to: OwnedFd, stream: Stream, sink: &Sink) -> io::Result<oneshot::Receiver<()>> {
    let (done, ended) = oneshot::channel();
    let (mut from, mut to, sink) = (File::from(from), File::from(to), Arc::clone(sink));
    thread::Builder::new().name("output".into()).spawn(move || {
        let mut buffer = vec![0; PIPE_BYTES / 4];
        while let Ok(n) = from.read(&mut buffer) {
            let bytes = buffer.get(..n).unwrap_or_default();
            sink(stream, bytes);
            if bytes.is_empty() || write_all(&mut to, bytes).is_err() {
                break;
            }
        }
        drop(done);
    })?;
    Ok(ended)
}

/// Waits where the other end was made non-blocking and is full.
fn write_all(to: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1))
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A terminal sends SIGINT to the child as well; twice is more than was meant.
fn pass_on(child: &Child, received: Signal) {
    let sent_by_terminal = received == Signal::INT && io::stdin().is_terminal();
    if !sent_by_terminal {
        send(child, received);
    }
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // It may have ended in this moment; then there is nobody to tell.
        let _ = kill_process(pid, signal);
    }
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// Not where it was ignored when this process began, as `nohup` arranges it.
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    async fn next(&mut self) -> Signal {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = hangup => Signal::HUP,
        }
    }
}

/// As Linux tells it; elsewhere signals are taken as they come.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    ignored & 1 == 1
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, signal) => Ended::Killed(signal.unwrap_or_default()),
    }
}
