//! `sealstone spool`: what the service did not acknowledge, listed and sent.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::{Failure, NO_INPUT, UNAVAILABLE, answer, answer_json};
use super::server::ServerArguments;
use super::spooling::{SpoolArguments, warn};
use super::style::printable;
use crate::client::Retry;
use crate::client::report::{Flushed, Undelivered, flush_file};
use crate::client::spool::{Header, KeySource, Spool, SpoolError, SpoolFile, Waiting, waiting_in};

/// How long another process that sends a file is waited for at a time, and how often.
const IN_USE_PAUSE: Duration = Duration::from_millis(100);
const IN_USE_TRIES: u32 = 100;

/// The service refused some of it.
const REFUSED: u8 = 1;

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

/// Sends what waits. Exit status: 0 all of it is with the service, 1 some of it was refused (it is set aside, as FILE.refused), 66 a file
/// cannot be read, 69 the service is away.
#[derive(Args)]
struct FlushArguments {
    /// Files, in the order in which they are sent (default: all that wait in the spool)
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Say nothing but what went wrong
    #[arg(long, short)]
    quiet: bool,
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
    let waiting = waiting(&spool.directory()?)?;
    for Waiting { path, header, is_growing } in &waiting {
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let Header { server, run, keyed_by, .. } = header;
        if arguments.json {
            let json = serde_json::json!({
                "path": path, "run": run, "server": server, "bytes": bytes, "keyed_by": keyed_by.as_str(), "growing": is_growing,
            });
            answer_json(&format!("{json}\n"))?;
        } else {
            let path = path.display().to_string();
            answer(&format!(
                "{}  {}  {bytes} bytes  {}\n",
                printable(&path),
                printable(run),
                printable(server)
            ))?;
        }
    }
    if waiting.is_empty() && !arguments.json {
        answer("nothing waits\n")?;
    }
    Ok(0)
}

fn waiting(directory: &Path) -> Result<Vec<Waiting>, Failure> {
    waiting_in(directory)
        .map_err(|error| Failure::new(NO_INPUT, format!("cannot read {}: {error}", directory.display())))
}

fn flush(arguments: &FlushArguments, spool: &SpoolArguments) -> Result<u8, Failure> {
    let files = match arguments.files.as_slice() {
        [] => waiting(&spool.directory()?)?.into_iter().map(|waiting| waiting.path).collect(),
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
        let flushed = runtime.block_on(flush_one(arguments, spool, path));
        let (status, undelivered) = match &flushed {
            Ok(flushed) => (told(path, flushed, arguments.quiet), flushed.undelivered.as_ref()),
            // Its producer is still at it, and sends it.
            Err(failure) if failure.status() == 0 => continue,
            Err(failure) => {
                warn(failure.message());
                (failure.status(), None)
            }
        };
        sent = sent.saturating_add(usize::from(flushed.is_ok() && undelivered.is_none()));
        worst = worst.max(status);
        if let (Some(header), UNAVAILABLE) = (header, status) {
            held.hold(header, matches!(undelivered, Some(Undelivered::Later { .. })));
        }
    }
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

/// Sends one file; a failure of status 0 is one whose producer is still at it.
async fn flush_one(
    arguments: &FlushArguments,
    spool: &SpoolArguments,
    path: &Path,
) -> Result<Flushed, Failure> {
    let cannot = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let (header, _) = Header::read(path).map_err(|error| Failure::new(NO_INPUT, cannot(&error)))?;
    let token = arguments.server.token().filter(|_| header.keyed_by == KeySource::Token);
    if header.keyed_by == KeySource::Token && token.is_none() {
        return Err(Failure::new(
            NO_INPUT,
            cannot(&"it was written with a token; give it (SEALSTONE_TOKEN)"),
        ));
    }
    let client = arguments.server.client_of(&header.server, Retry::default())?;
    let Some(file) = open(&spool.spool(token)?, path).await.map_err(|failure| match failure {
        SpoolError::InUse => Failure::new(UNAVAILABLE, cannot(&"another process is sending it")),
        error => Failure::new(NO_INPUT, cannot(&error)),
    })?
    else {
        return Err(Failure::new(0, ""));
    };
    let bar = progress(&file, arguments.quiet);
    let flushed = flush_file(&client, file, &mut |sent| bar.set_position(sent as u64)).await;
    bar.finish_and_clear();
    Ok(flushed)
}

/// A file that nobody else is at: who sends it is waited for. `None` if it is not left yet, or gone.
async fn open(spool: &Spool, path: &Path) -> Result<Option<SpoolFile>, SpoolError> {
    let mut tries: u32 = 0;
    loop {
        match spool.open(path) {
            Ok(file) => return Ok(Some(file)),
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
        Some(Undelivered::Later { why } | Undelivered::Held { why } | Undelivered::Refused { why }) => {
            warn(&format!("{}: not sent: {why}", path.display()));
            UNAVAILABLE
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
