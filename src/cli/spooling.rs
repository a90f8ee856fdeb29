//! How commands report to a service that may be away: where the spool is, how long is waited, what is said of it.

use std::future::Future;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;

use super::exit::{Failure, UNAVAILABLE};
use super::local_key;
use super::machine::{now, random};
use super::quantity::{Bytes, Period};
use super::server::ServerArguments;
use super::style::{DOUBT, RESET, printable, say};
use crate::client::Retry;
use crate::client::report::{Delivery, Reporter, Reporting, Unsent};
use crate::client::spool::{Spool, SpoolKey, SpoolKeys};
use crate::exec;

/// After that a person is shown that something is waited for.
const SHOWN_AFTER: Duration = Duration::from_millis(500);

/// How long the spool may take, once the service is waited for no more.
const STUCK_AFTER: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(super) struct SpoolArguments {
    /// Where what the service does not acknowledge is kept (default: ~/.local/state/sealstone/spool)
    #[arg(long, value_name = "DIR", env = "SEALSTONE_SPOOL", global = true)]
    spool: Option<PathBuf>,
    /// How much of it there may be; logs are given up first
    #[arg(long, value_name = "SIZE", default_value = "256MiB", env = "SEALSTONE_SPOOL_LIMIT", global = true)]
    spool_limit: Bytes,
    /// How long the service is waited for at the end, before the rest is spooled
    #[arg(
        long,
        value_name = "PERIOD",
        default_value = "10s",
        env = "SEALSTONE_FLUSH_TIMEOUT",
        global = true
    )]
    flush_timeout: Period,
}

impl SpoolArguments {
    /// The directory: `$XDG_STATE_HOME/sealstone/spool`, by default below the home directory.
    pub(super) fn directory(&self) -> Result<PathBuf, Failure> {
        if let Some(named) = self.spool.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            return Ok(named.clone());
        }
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let state = state.or_else(|| {
            std::env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(".local/state"))
        });
        let state =
            state.ok_or_else(|| Failure::usage("no home directory; name a directory with --spool DIR"))?;
        Ok(state.join("sealstone/spool"))
    }

    /// The spool. Its files are written with a key of the token, else of this machine; those of this machine are read with a token too.
    pub(super) fn spool(&self, token: Option<&str>) -> Result<Spool, Failure> {
        let keys = match token {
            Some(token) => {
                let keys = SpoolKeys::from(SpoolKey::of_token(token));
                machine_key().into_iter().fold(keys, SpoolKeys::and)
            }
            None => {
                let path = machine_key_path()?;
                let key = SpoolKey::of_machine(&path, &random).map_err(|error| {
                    Failure::new(UNAVAILABLE, format!("no key for the spool, {}: {error}", path.display()))
                })?;
                key.into()
            }
        };
        let (directory, max_bytes) = (self.directory()?, self.spool_limit.0);
        Ok(Spool { directory, keys, max_bytes, random: std::sync::Arc::new(random::<16>) })
    }

    /// Begins to report a run. Without a place for a spool it is reported all the same, and said.
    pub(super) fn reporter(&self, server: &ServerArguments, run: &str) -> Result<Reporter, Failure> {
        exec::survive_file_limits();
        let once = Retry { give_up_after: Duration::ZERO, ..Retry::default() };
        let client = server.client(once)?;
        let spool = self.spool(server.token());
        let spool = spool.inspect_err(|failure| warn(&format!("there is no spool: {}", failure.message())));
        let reporting = Reporting { client, run: run.to_owned(), spool: spool.ok(), now: Box::new(now) };
        Reporter::start(reporting).map_err(|error| Failure::new(UNAVAILABLE, error))
    }

    /// How long the service is waited for.
    pub(super) fn within(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.flush_timeout.ms).unwrap_or_default())
    }

    /// Waits for something that is good to have, no longer than for the rest, and not beyond a signal.
    pub(super) fn in_time<T>(&self, awaited: impl Future<Output = T>) -> Result<T, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(UNAVAILABLE, error))?;
        let done = runtime.block_on(async {
            tokio::select! {
                done = tokio::time::timeout(self.within(), awaited) => {
                    done.map_err(|_| Failure::new(UNAVAILABLE, "the service did not answer in time"))
                }
                () = exec::signaled() => Err(Failure::new(UNAVAILABLE, "a signal came first")),
            }
        });
        // What hangs in a look-up of a name is not waited for.
        runtime.shutdown_background();
        done
    }

    /// Waits until all is acknowledged, or spooled. A signal shortens it.
    pub(super) fn finish(&self, reporter: &Reporter) -> Result<Delivery, Failure> {
        let within = self.within();
        let delivery = async {
            let finished = async {
                let mut finished = std::pin::pin!(reporter.finish(within));
                loop {
                    tokio::select! {
                        delivery = &mut finished => return delivery,
                        () = exec::signaled() => reporter.hurry(),
                    }
                }
            };
            let shown = shown("waiting for the service to have it all", finished);
            tokio::time::timeout(within.saturating_add(STUCK_AFTER), shown).await
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new(UNAVAILABLE, error))?;
        let delivery = runtime.block_on(delivery);
        runtime.shutdown_background();
        let stuck = |_| {
            Failure::new(UNAVAILABLE, "the disk of the spool does not answer; what was not sent yet is lost")
        };
        delivery.map_err(stuck)?.ok_or_else(|| {
            Failure::new(UNAVAILABLE, "the reporter ended before its time; please report this")
        })
    }
}

fn machine_key_path() -> Result<PathBuf, Failure> {
    Ok(local_key::default_path()?.with_file_name("spool.key"))
}

/// The key of this machine, if there is one: to read with, none is made.
pub(super) fn machine_key() -> Option<SpoolKey> {
    SpoolKey::read(&machine_key_path().ok()?).ok()
}

/// Shows on a terminal that something is waited for.
async fn shown<T>(what: &'static str, awaited: impl Future<Output = T>) -> T {
    let mut awaited = std::pin::pin!(awaited);
    if let Ok(done) = tokio::time::timeout(SHOWN_AFTER, &mut awaited).await {
        return done;
    }
    let spinner = io::stderr().is_terminal().then(|| ProgressBar::new_spinner().with_message(what));
    if let Some(spinner) = &spinner {
        spinner.enable_steady_tick(Duration::from_millis(100));
    }
    let done = awaited.await;
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    done
}

/// Says what did not go as it should. What waits on disk is safe: with `quiet` nothing is said of it. Whether all is with the service.
pub(super) fn tell(delivery: &Delivery, run: &str, quiet: bool) -> bool {
    tell_aside(delivery, quiet);
    let mut refused = delivery.told.refused.clone();
    refused.dedup();
    for refused in &refused {
        warn(&format!("the service refused {refused}"));
    }
    match &delivery.unsent {
        Some(Unsent { path: Some(path), lost: 0, why, .. }) if !quiet => warn(&format!(
            "the service does not have all of run {run} yet ({why}); the rest is kept in {}. The next command sends it, or: sealstone spool flush",
            path.display()
        )),
        Some(Unsent { lost: lost @ 1.., why, .. }) => warn(&format!(
            "{lost} reports of run {run} are lost: neither the service nor the spool took them ({why})"
        )),
        _ => {}
    }
    delivery.unsent.is_none() && delivery.told.refused.is_empty()
}

/// Says what is not of the last report.
pub(super) fn tell_aside(delivery: &Delivery, quiet: bool) {
    let notes = delivery.told.notes.iter().filter(|_| !quiet);
    notes.for_each(|note| warn(note));
    if delivery.lost_log_bytes > 0 {
        warn(&format!(
            "{} bytes of the log had no room in the spool and are lost; see --spool-limit",
            delivery.lost_log_bytes
        ));
    }
    for refused in &delivery.older_refused {
        warn(&format!("of what waited in the spool the service refused {refused}; it is set aside there"));
    }
}

pub(super) fn warn(message: &str) {
    say(format_args!("{DOUBT}sealstone:{RESET} {}", printable(message)));
}
