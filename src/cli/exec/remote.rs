//! `exec` through a service: a run of this command alone, or a step of a run that is open there.

use super::super::exit::Failure;
use super::super::spooling::{tell, warn};
use super::super::style::{FAINT, GOOD, RESET, printable, say};
use super::{ExecArguments, NO_EVIDENCE};
use crate::client::Retry;
use crate::client::report::Delivery;
use crate::exec::Recording;
use crate::files::write_durably;

/// Runs the command, and tells the service of it meanwhile. What the service does not acknowledge in time is spooled.
pub(super) fn run(arguments: &ExecArguments, mut recording: Recording<'_>) -> Result<u8, Failure> {
    let joined = arguments.run();
    let run = joined.map_or_else(|| recording.run_name(), str::to_owned);
    let reporter = arguments.spool.reporter(&arguments.server, &run)?;
    recording.report_to(reporter.clone(), joined.is_some());
    recording.begin();
    let (execution, log) = super::execute(arguments, Some((&reporter, recording.log_place())))?;
    super::record_files(arguments, &mut recording, &execution);
    recording.close(&execution, &log).map_err(|error| Failure::new(NO_EVIDENCE, error))?;
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
    let is_missed = arguments.require_evidence && !is_there;
    Ok(if is_missed { NO_EVIDENCE } else { execution.ended.status() })
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
