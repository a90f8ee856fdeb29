//! `exec` through a service: a run of this command alone, or a step of a run that is open there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::exit::Failure;
use super::super::spooling::{tell, warn};
use super::super::style::{FAINT, GOOD, RESET, printable, say};
use super::{ExecArguments, NO_EVIDENCE};
use crate::client::Retry;
use crate::client::report::{Delivery, Reporter};
use crate::exec::{self, Recording};
use crate::files::write_durably;

/// Runs the command, and tells the service of it meanwhile. What the service does not acknowledge in time is spooled.
pub(super) fn run(arguments: &ExecArguments, mut recording: Recording<'_>) -> Result<u8, Failure> {
    let joined = arguments.run();
    if let Some(run) = joined.filter(|_| arguments.says_what_the_run_is()) {
        let ours = "--run-id, --intent, --label and --private say what a run is that this command opens";
        warn(&format!("{ours}; it is a step of run {run}, which is open"));
    }
    let run = joined.map_or_else(|| recording.run_name(), str::to_owned);
    let reporter = match arguments.spool.reporter(&arguments.server, &run) {
        Ok(reporter) => reporter,
        Err(failure) => return alone(arguments, &failure),
    };
    recording.report_to(reporter.clone(), joined.is_some());
    recording.begin();
    let (execution, log) = super::execute(arguments, Some((&reporter, recording.log_place())))?;
    let end = End::new(&reporter);
    super::record_files(arguments, &mut recording, &execution, &|| end.is_hurried());
    let closed = recording.close(&execution, &log);
    end.all_is_told();
    closed.map_err(|error| Failure::new(NO_EVIDENCE, error))?;
    let delivery = match arguments.spool.finish(&reporter) {
        Ok(delivery) => delivery,
        Err(failure) => {
            warn(failure.message());
            return Ok(if arguments.require_evidence { NO_EVIDENCE } else { execution.ended.status() });
        }
    };
    let is_there = tell(&delivery, &run, arguments.quiet);
    if is_there {
        tell_where(arguments, &run, &delivery);
    }
    let is_missed = arguments.require_evidence && !(is_there && delivery.lost_log_bytes == 0);
    Ok(if is_missed { NO_EVIDENCE } else { execution.ended.status() })
}

/// Runs the command where nothing can be told of it: no build breaks by that, unless it asks for it.
fn alone(arguments: &ExecArguments, failure: &Failure) -> Result<u8, Failure> {
    if arguments.require_evidence {
        return Err(Failure::new(NO_EVIDENCE, format!("{}; nothing was run", failure.message())));
    }
    warn(&format!("no evidence of this run: {}", failure.message()));
    let (execution, _) = super::execute(arguments, None)?;
    Ok(execution.ended.status())
}

/// From the end of the command on: a signal has what is left spooled, as soon as all of it is told; the next one ends this process.
struct End {
    is_hurried: Arc<AtomicBool>,
    is_told: Arc<AtomicBool>,
    reporter: Reporter,
}

impl End {
    fn new(reporter: &Reporter) -> Self {
        let (is_hurried, is_told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let end = Self { is_hurried, is_told, reporter: reporter.clone() };
        let (is_hurried, is_told) = (Arc::clone(&end.is_hurried), Arc::clone(&end.is_told));
        let reporter = reporter.clone();
        exec::end_on_second_signal(move || {
            is_hurried.store(true, Ordering::SeqCst);
            if is_told.load(Ordering::SeqCst) {
                reporter.hurry();
            }
        });
        end
    }

    fn is_hurried(&self) -> bool {
        self.is_hurried.load(Ordering::SeqCst)
    }

    fn all_is_told(&self) {
        self.is_told.store(true, Ordering::SeqCst);
        if self.is_hurried() {
            self.reporter.hurry();
        }
    }
}

/// Says where the evidence is, and keeps a copy where that was asked for.
fn tell_where(arguments: &ExecArguments, run: &str, delivery: &Delivery) {
    let Some(sealed) = &delivery.told.sealed else {
        if !arguments.quiet {
            say(format_args!("{GOOD}recorded{RESET} in run {}", printable(run)));
        }
        return;
    };
    let evidence_id = printable(&sealed.evidence_id);
    if !arguments.quiet {
        say(format_args!(
            "{GOOD}sealed{RESET} {evidence_id}\n{FAINT}envelope {}{RESET}",
            sealed.envelope_digest
        ));
        say(format_args!("{FAINT}check it: sealstone verify {evidence_id} --keys KEYRING{RESET}"));
    }
    let Some(out) = &arguments.out else { return };
    let client = arguments.server.client(Retry::default());
    let kept = client
        .and_then(|client| arguments.spool.in_time(client.envelope(&sealed.evidence_id)))
        .and_then(|fetched| fetched.map_err(|error| Failure::new(NO_EVIDENCE, error)))
        .and_then(|file| write_durably(out, &file).map_err(|error| super::local::cannot_write(out, &error)));
    if let Err(failure) = kept {
        warn(&format!("no copy of the envelope: {}", failure.message()));
    }
}
