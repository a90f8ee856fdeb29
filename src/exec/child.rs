//! The child process: its output passed through as it is, its end waited for, signals passed on.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
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

/// Takes what a command writes, before it is passed on; until it is closed.
#[derive(Clone)]
pub(crate) struct Sink(Arc<Mutex<Option<Box<Take>>>>);

type Take = dyn FnMut(Stream, &[u8]) + Send;

impl Sink {
    pub(crate) fn new(take: impl FnMut(Stream, &[u8]) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::new(take)))))
    }

    fn take(&self, stream: Stream, bytes: &[u8]) {
        if let Some(take) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            take(stream, bytes);
        }
    }

    /// What something that the command left behind writes after this is not of the command.
    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What came of running a command.
#[derive(Debug)]
pub(crate) struct Execution {
    /// How it ended.
    pub(crate) ended: Ended,
    /// Who asked it to end meanwhile.
    pub(crate) aborted: Option<AskedBy>,
    /// Whether something that the child left behind still held its output open.
    pub(crate) output_left_open: bool,
    /// Why its output could not all be passed on, where whoever reads it is still there.
    pub(crate) output_failed: Option<io::Error>,
    /// When it began, or would have.
    pub(crate) started_at: Timestamp,
    /// When it ended.
    pub(crate) finished_at: Timestamp,
}

/// Runs the command to its end. Its standard input is this process's; its output goes to this process's as it comes, and
/// into the sink. SIGINT, SIGQUIT, SIGTERM and SIGHUP are passed on (SIGUSR1 and SIGUSR2 too, which ask for no end), `abort` is a SIGTERM, and after the grace the child is killed.
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
                output_failed: None,
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
                match (aborted, asks_to_end(received)) {
                    (Some(AskedBy::Signal), true) => kill(&mut child),
                    _ => pass_on(&child, received),
                }
                if asks_to_end(received) {
                    aborted = Some(AskedBy::Signal);
                }
            }
            () = &mut abort, if aborted.is_none() => {
                send(&child, Signal::TERM);
                aborted = Some(AskedBy::Abort);
            }
            status = child.wait() => break status?,
            () = sleep(grace), if aborted.is_some() => kill(&mut child),
        }
    };
    let finished_at = now();
    let mut output_failed = None;
    let drained = timeout(DRAIN, async {
        for pump in pumps {
            // The sender is dropped when its thread ends, however it ends.
            output_failed = pump.await.ok().or(output_failed.take());
        }
    });
    let output_left_open = drained.await.is_err();
    sink.close();
    let ended = ended(status);
    Ok(Execution { ended, aborted, output_left_open, output_failed, started_at, finished_at })
}

/// Returns at the next SIGINT, SIGTERM or SIGHUP; never where nobody can listen for them.
pub(crate) async fn signaled() {
    match Signals::listen() {
        Ok(mut signals) => drop(signals.next_to_end().await),
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

/// From now on SIGINT, SIGQUIT, SIGTERM and SIGHUP end this process, as they would have if nobody had listened for them.
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
                signals.next_to_end().await;
                first();
            }
            io::Result::Ok(signals.next_to_end().await)
        })?;
        std::process::exit(received.as_raw().saturating_add(128))
    };
    // Without the thread a signal waits until the evidence is written; there is nobody better to tell.
    let _ = thread::Builder::new().name("signals".into()).spawn(listen);
}

/// Each ends with why it could not pass on all, if so.
type Pumps = [oneshot::Receiver<io::Error>; 2];

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
fn pump(from: OwnedFd, to: OwnedFd, stream: Stream, sink: &Sink) -> io::Result<oneshot::Receiver<io::Error>> {
    let (done, ended) = oneshot::channel();
    let (mut from, mut to, sink) = (File::from(from), File::from(to), sink.clone());
    thread::Builder::new().name("output".into()).spawn(move || {
        let mut buffer = vec![0; PIPE_BYTES / 4];
        while let Ok(n) = from.read(&mut buffer) {
            let bytes = buffer.get(..n).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            sink.take(stream, bytes);
            if let Err(error) = write_all(&mut to, bytes) {
                if error.kind() != io::ErrorKind::BrokenPipe {
                    // Nobody waits for it after the end.
                    let _ = done.send(error);
                }
                break;
            }
        }
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

/// A terminal sends SIGINT and SIGQUIT to the child as well; twice is more than was meant.
fn pass_on(child: &Child, received: Signal) {
    let by_key = [Signal::INT, Signal::QUIT].contains(&received);
    let sent_by_terminal = by_key && io::stdin().is_terminal();
    if !sent_by_terminal {
        send(child, received);
    }
}

/// One who asks for something else is not asked to end.
fn asks_to_end(signal: Signal) -> bool {
    ![Signal::USR1, Signal::USR2].contains(&signal)
}

/// What we may not kill, as it has become somebody else, is waited for.
fn kill(child: &mut Child) {
    let _ = child.start_kill();
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // It may have ended in this moment; then there is nobody to tell.
        let _ = kill_process(pid, signal);
    }
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    user: [tokio::signal::unix::Signal; 2],
    terminate: tokio::signal::unix::Signal,
    /// Not where it was ignored when this process began, as `nohup` arranges it.
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            user: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
            terminate: signal(SignalKind::terminate())?,
            hangup: if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    async fn next_to_end(&mut self) -> Signal {
        loop {
            let received = self.next().await;
            if asks_to_end(received) {
                return received;
            }
        }
    }

    async fn next(&mut self) -> Signal {
        let [user1, user2] = &mut self.user;
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.quit.recv() => Signal::QUIT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = user1.recv() => Signal::USR1,
            _ = user2.recv() => Signal::USR2,
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
