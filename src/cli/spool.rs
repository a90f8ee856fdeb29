//! `sealstone spool`: what the service did not acknowledge, listed and sent.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::exit::{Failure, NO_INPUT, REFUSED, UNAVAILABLE, answer, answer_json};
use super::machine::random;
use super::server::ServerArguments;
use super::spooling::{SpoolArguments, machine_key, warn};
use super::style::printable;
use crate::client::report::{Flushed, Undelivered, flush_file};
use crate::client::spool::{
    Header, KeySource, SpoolError, SpoolFile, SpoolKey, Waiting, refused_in, waiting_in,
};
use crate::client::{Client, Retry};
use crate::exec;

/// How long another process that sends a file is waited for at a time, and how often.
const IN_USE_PAUSE: Duration = Duration::from_millis(100);
const IN_USE_TRIES: u32 = 100;

/// A seal of a large run takes a while, however little somebody likes to wait.
const LEAST_SILENCE: Duration = Duration::from_secs(10);

/// What was reported and not acknowledged waits in files, a file for each command and run, encrypted with a key that is made of the token,
/// or of a key of this machine where there is none. The next command that reports to the same service sends it; or `flush` does.
#[derive(Args)]
pub(super) struct SpoolCommandArguments {
    #[command(subcommand)]
    command: SpoolCommand,
    #[command(flatten)]
    spool: SpoolArguments,
}

#[derive(Subcommand)]
enum SpoolCommand {
    /// Show what waits
    List(ListArguments),
    /// Send what waits, in order
    Flush(FlushArguments),
}

#[derive(Args)]
struct ListArguments {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Sends what waits for the service. Exit status: 0 all of it is there, 1 some of it was refused (it is set aside, as FILE.refused) or is
/// not let in, 66 a file cannot be read, 69 the service is away.
#[derive(Args)]
struct FlushArguments {
    /// Files, in the order in which they are sent, each to the service that it was meant for, or where --server says on the command line
    /// (default: all in the spool that wait for the service)
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Say nothing but what went wrong
    #[arg(long, short)]
    quiet: bool,
    /// The token that it was written with, where that is not the one to send it with
    #[arg(long, value_name = "TOKEN", env = "SEALSTONE_SPOOL_TOKEN", hide_env_values = true)]
    spool_token: Option<String>,
    #[command(flatten)]
    server: ServerArguments,
}

pub(super) fn run(arguments: &SpoolCommandArguments) -> Result<u8, Failure> {
    match &arguments.command {
        SpoolCommand::List(list) => self::list(list, &arguments.spool),
        SpoolCommand::Flush(flush) => self::flush(flush, &arguments.spool),
    }
}

fn list(arguments: &ListArguments, spool: &SpoolArguments) -> Result<u8, Failure> {
    let directory = spool.directory()?;
    let (waiting, refused) = (waiting(&directory)?, refused_in(&directory).unwrap_or_default());
    let waits =
        waiting.iter().map(|file| (&file.path, &file.header, if file.is_growing { "growing" } else { "" }));
    for (path, header, state) in waits.chain(refused.iter().map(|file| (&file.path, &file.header, "refused")))
    {
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let Header { server, run, keyed_by, .. } = header;
        if arguments.json {
            let json = serde_json::json!({
                "path": path, "run": run, "server": server, "bytes": bytes, "keyed_by": keyed_by.as_str(),
                "growing": state == "growing", "refused": state == "refused",
            });
            answer_json(&format!("{json}\n"))?;
        } else {
            let path = printable(&path.display().to_string());
            let line = format!("{path}  {}  {bytes} bytes  {}  {state}", printable(run), printable(server));
            answer(&format!("{}\n", line.trim_end()))?;
        }
    }
    if !arguments.json {
        let waits = match waiting.len() {
            0 => "nothing waits".to_owned(),
            n => format!("{n} wait"),
        };
        let refused =
            if refused.is_empty() { String::new() } else { format!(", {} were refused", refused.len()) };
        answer(&format!("{waits}{refused}\n"))?;
    }
    Ok(0)
}

fn waiting(directory: &Path) -> Result<Vec<Waiting>, Failure> {
    waiting_in(directory)
        .map_err(|error| Failure::new(NO_INPUT, format!("cannot read {}: {error}", directory.display())))
}

fn flush(arguments: &FlushArguments, spool: &SpoolArguments) -> Result<u8, Failure> {
    exec::survive_file_limits();
    let flush = Flush::new(arguments, spool.within())?;
    let files = match arguments.files.as_slice() {
        [] => flush.ours(waiting(&spool.directory()?)?),
        files => files.to_vec(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(UNAVAILABLE, error))?;
    let (mut worst, mut sent) = (0, 0_usize);
    let mut held = Held::default();
    for path in &files {
        let header = Header::read(path).map(|(header, _)| header).ok();
        if header.as_ref().is_some_and(|header| held.holds(header)) {
            continue;
        }
        let flushed = runtime.block_on(flush.one(path));
        let (status, undelivered) = match &flushed {
            Ok(flushed) => (told(path, flushed, arguments.quiet), flushed.undelivered.as_ref()),
            // Its producer is still at it, and sends it.
            Err(failure) if failure.status() == 0 => continue,
            Err(failure) => {
                warn(failure.message());
                (failure.status(), None)
            }
        };
        sent = sent.saturating_add(usize::from(flushed.is_ok() && status == 0));
        worst = worst.max(status);
        if let Some(header) = header.filter(|_| status == UNAVAILABLE || undelivered.is_some()) {
            held.hold(header, matches!(undelivered, Some(Undelivered::Later { .. })));
        }
    }
    // What hangs in a look-up of a name is not waited for.
    runtime.shutdown_background();
    if !arguments.quiet {
        answer(&format!("{sent} of {} files sent\n", files.len()))?;
    }
    Ok(worst)
}

/// What is not sent now, because what it may lean on was not.
#[derive(Default)]
struct Held {
    servers: BTreeSet<String>,
    runs: BTreeSet<(String, String)>,
}

impl Held {
    fn holds(&self, header: &Header) -> bool {
        self.servers.contains(&header.server)
            || self.runs.contains(&(header.server.clone(), header.run.clone()))
    }

    /// All of a service that is away, else what is of the same run.
    fn hold(&mut self, header: Header, is_away: bool) {
        match is_away {
            true => drop(self.servers.insert(header.server)),
            false => drop(self.runs.insert((header.server, header.run))),
        }
    }
}

/// Where files are sent, and what they are read with.
struct Flush<'f> {
    arguments: &'f FlushArguments,
    /// The one that was named, else the default.
    named: Client,
    /// Those that a file may have been written with.
    keys: Vec<SpoolKey>,
    silence: Duration,
}

impl<'f> Flush<'f> {
    fn new(arguments: &'f FlushArguments, within: Duration) -> Result<Self, Failure> {
        let token = arguments.server.token();
        let old = arguments.spool_token.as_deref().map(str::trim).filter(|token| !token.is_empty());
        let keys = token.into_iter().chain(old).map(SpoolKey::of_token).chain(machine_key()).collect();
        let silence = within.max(LEAST_SILENCE);
        let retry = Retry { give_up_after: Retry::default().give_up_after.min(within), ..Retry::default() };
        Ok(Self { arguments, named: arguments.server.client(retry)?, keys, silence })
    }

    fn has_token(&self) -> bool {
        self.keys.iter().any(|key| key.source() == KeySource::Token)
    }

    /// Those that wait for the service that is named; of the others it is told that they are there.
    fn ours(&self, waiting: Vec<Waiting>) -> Vec<PathBuf> {
        let (ours, others): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|waiting| waiting.header.server == self.named.server());
        let servers: BTreeSet<&str> = others.iter().map(|waiting| waiting.header.server.as_str()).collect();
        if !servers.is_empty() && !self.arguments.quiet {
            let servers = servers.into_iter().collect::<Vec<_>>().join(", ");
            warn(&format!(
                "{} files wait for other services, and are sent to none but those: spool flush --server URL ({servers})",
                others.len()
            ));
        }
        ours.into_iter().map(|waiting| waiting.path).collect()
    }

    /// Sends one file; a failure of status 0 is one whose producer is still at it, or that another process sent.
    async fn one(&self, path: &Path) -> Result<Flushed, Failure> {
        let cannot = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let opened = self.open_unless_used(path).await.map_err(|error| match error {
            SpoolError::InUse => Failure::new(UNAVAILABLE, cannot(&"another process is sending it")),
            // It was there a moment ago: another process sent it.
            SpoolError::Io(error)
                if error.kind() == io::ErrorKind::NotFound && self.arguments.files.is_empty() =>
            {
                Failure::new(0, "")
            }
            SpoolError::WrongKey { source: KeySource::Token } if !self.has_token() => {
                Failure::new(NO_INPUT, cannot(&"it was written with a token; give it (SEALSTONE_TOKEN)"))
            }
            error => Failure::new(NO_INPUT, cannot(&error)),
        });
        let Some((file, key)) = opened? else { return Err(Failure::new(0, "")) };
        let other = self.other_client(&file, key)?;
        let bar = progress(&file, self.arguments.quiet);
        let flushed = self.send(other.as_ref().unwrap_or(&self.named), file, &bar).await;
        bar.finish_and_clear();
        Ok(flushed)
    }

    /// A client of the service that a file names, if it goes there. What anybody can write on a disk gets no token: only the one that the
    /// file was written with, whose holder named that service.
    fn other_client(&self, file: &SpoolFile, key: &SpoolKey) -> Result<Option<Client>, Failure> {
        let (header, server) = (file.header(), &self.arguments.server);
        if header.server == self.named.server() || self.arguments.files.is_empty() || server.is_named_here() {
            return Ok(None);
        }
        let token = server.token().filter(|token| *key == SpoolKey::of_token(token));
        server.client_of(&header.server, token, Retry::default()).map(Some)
    }

    /// Until nothing more is taken for a while.
    async fn send(&self, client: &Client, file: SpoolFile, bar: &ProgressBar) -> Flushed {
        let (progressed, mut taken) = watch::channel(());
        let mut on_progress = |sent: usize| {
            bar.set_position(sent as u64);
            progressed.send_replace(());
        };
        let mut flushed = std::pin::pin!(flush_file(client, file, &mut on_progress));
        loop {
            tokio::select! {
                flushed = &mut flushed => return flushed,
                taken = tokio::time::timeout(self.silence, taken.changed()) => if taken.is_err() { break },
            }
        }
        let why = "the service did not take anything for too long".to_owned();
        Flushed { told: Default::default(), undelivered: Some(Undelivered::Later { why }), damaged: None }
    }

    /// A file that nobody else is at: who sends it is waited for. `None` if it is not left yet, or gone.
    async fn open_unless_used(&self, path: &Path) -> Result<Option<(SpoolFile, &SpoolKey)>, SpoolError> {
        let mut tries: u32 = 0;
        loop {
            match self.open(path) {
                Ok(opened) => return Ok(Some(opened)),
                Err(SpoolError::InUse) if path.extension().is_some_and(|end| end == "spooling") => {
                    return Ok(None);
                }
                Err(SpoolError::Io(error)) if error.kind() == io::ErrorKind::NotFound && tries > 0 => {
                    return Ok(None);
                }
                Err(SpoolError::InUse) if tries < IN_USE_TRIES => tries = tries.saturating_add(1),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(IN_USE_PAUSE).await;
        }
    }

    /// With the key that it was written with.
    fn open(&self, path: &Path) -> Result<(SpoolFile, &SpoolKey), SpoolError> {
        let source = Header::read(path)?.0.keyed_by;
        let mut failed = SpoolError::WrongKey { source };
        for key in self.keys.iter().filter(|key| key.source() == source) {
            match SpoolFile::open(path, key, Arc::new(random::<16>)) {
                Ok(file) => return Ok((file, key)),
                Err(error @ SpoolError::WrongKey { .. }) => failed = error,
                Err(error) => return Err(error),
            }
        }
        Err(failed)
    }
}

fn progress(file: &SpoolFile, quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(file.waiting() as u64);
    let style = ProgressStyle::with_template("{wide_msg} {bar:20} {pos}/{len}");
    let bar = bar.with_message(printable(&file.header().run));
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Says what became of a file; the status that it gives.
fn told(path: &Path, flushed: &Flushed, quiet: bool) -> u8 {
    flushed.told.notes.iter().filter(|_| !quiet).for_each(|note| warn(note));
    for refused in &flushed.told.refused {
        warn(&format!("{}: the service refused {refused}", path.display()));
    }
    if let Some(damaged) = &flushed.damaged {
        warn(&format!("{}: {damaged}; what is before it is sent", path.display()));
    }
    match &flushed.undelivered {
        Some(Undelivered::Later { why }) => {
            warn(&format!("{}: not sent: {why}", path.display()));
            UNAVAILABLE
        }
        Some(Undelivered::Held { why } | Undelivered::Refused { why }) => {
            warn(&format!("{}: not sent: {why}", path.display()));
            REFUSED
        }
        Some(Undelivered::Unreadable { why }) => {
            warn(&format!("{}: {why}", path.display()));
            NO_INPUT
        }
        None if flushed.damaged.is_some() => NO_INPUT,
        None if flushed.told.refused.is_empty() => 0,
        None => REFUSED,
    }
}
