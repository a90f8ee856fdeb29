//! What others left in the spool: sent in order, before what is told now where it is of the same run.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::courier::{Courier, Told, Undelivered};
use super::worker::{FIRST_PAUSE, LONGEST_PAUSE, MARK_EVERY, Sending};
use crate::client::http::Client;
use crate::client::spool::{Spool, SpoolError, SpoolFile, Unread, Waiting};

/// How long another process that sends a file is waited for at a time.
const IN_USE_PAUSE: Duration = Duration::from_millis(100);

/// Whether it is for that service.
pub(super) fn is_ours(waiting: &Waiting, client: &Client) -> bool {
    waiting.header.server == client.server()
}

/// Sends what comes before, of the same run; false if the service holds it up.
pub(super) async fn send_older(courier: &Courier<'_>, spool: &Spool, sending: &mut Sending) -> bool {
    let mut pause = FIRST_PAUSE;
    // What goes on beside us, and what nobody can read here.
    let mut passed = BTreeSet::new();
    loop {
        let mut waiting = spool.waiting();
        waiting.retain(|waiting| is_ours(waiting, courier.client) && waiting.header.run == courier.run());
        let Some(waiting) = waiting.into_iter().find(|waiting| !passed.contains(&waiting.path)) else {
            return true;
        };
        let undelivered = match spool.open(&waiting.path) {
            Ok(file) => {
                let flushed = flush_file(courier.client, file, &mut |_| ()).await;
                gather(&mut sending.older, &waiting.path, flushed)
            }
            Err(SpoolError::InUse) if waiting.is_growing => {
                passed.insert(waiting.path);
                continue;
            }
            Err(SpoolError::InUse) => {
                sleep(IN_USE_PAUSE).await;
                continue;
            }
            Err(SpoolError::Io(error)) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Some(Undelivered::Unreadable { why: error.to_string() }),
        };
        match undelivered {
            None => pause = FIRST_PAUSE,
            Some(Undelivered::Later { why }) => {
                sending.why = Some(why);
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
            Some(Undelivered::Unreadable { why }) => {
                sending.older.notes.push(format!("{} cannot be sent: {why}", waiting.path.display()));
                passed.insert(waiting.path);
            }
            Some(Undelivered::Held { why } | Undelivered::Refused { why }) => {
                (sending.why, sending.is_held) = (Some(why), true);
                return false;
            }
        }
    }
}

/// What became of a file that waited is told by who sent it. Why it is still there.
fn gather(older: &mut Told, path: &Path, flushed: Flushed) -> Option<Undelivered> {
    let damaged = flushed.damaged.map(|why| format!("{}: {why}", path.display()));
    older.refused.extend(flushed.told.refused);
    older.notes.extend(flushed.told.notes.into_iter().chain(damaged));
    flushed.undelivered
}

/// What waits of other runs at the same service, as far as it can be sent now.
pub(super) async fn send_others(client: &Client, spool: Option<&Spool>, older: &mut Told) {
    let Some(spool) = spool else { return };
    // Nothing goes before what it may lean on.
    let mut held = BTreeSet::new();
    for Waiting { path, header, is_growing } in spool.waiting() {
        if header.server != client.server() || held.contains(&header.run) {
            continue;
        }
        let undelivered = match spool.open(&path) {
            Ok(file) => gather(older, &path, flush_file(client, file, &mut |_| ()).await),
            Err(SpoolError::InUse) if !is_growing => Some(Undelivered::Held { why: String::new() }),
            Err(_) => None,
        };
        match undelivered {
            Some(Undelivered::Later { .. }) => return,
            Some(Undelivered::Held { .. } | Undelivered::Refused { .. }) => drop(held.insert(header.run)),
            Some(Undelivered::Unreadable { .. }) | None => {}
        }
    }
}

/// What became of a spool file.
pub(crate) struct Flushed {
    pub(crate) told: Told,
    /// Why it is still there.
    pub(crate) undelivered: Option<Undelivered>,
    /// Why not all of it could be read; all that could be is sent, and the file set aside.
    pub(crate) damaged: Option<String>,
}

/// Sends what a spool file holds, in order; once all is answered the file is gone, or set aside with what was refused.
pub(crate) async fn flush_file(
    client: &Client,
    mut file: SpoolFile,
    progress: &mut dyn FnMut(usize),
) -> Flushed {
    let run = file.header().run.clone();
    let mut courier = Courier::new(client, &run, file.state());
    let mut acknowledged: usize = 0;
    let undelivered = loop {
        let keyed = match file.front() {
            Ok(Some(keyed)) => keyed,
            Ok(None) => break None,
            Err(error) => break Some(Undelivered::Unreadable { why: error.to_string() }),
        };
        match courier.deliver(&keyed).await {
            Ok(()) => {}
            Err(Undelivered::Refused { why }) => courier.told.refused.push(why),
            Err(undelivered) => break Some(undelivered),
        }
        file.acknowledge();
        acknowledged = acknowledged.saturating_add(1);
        if acknowledged.is_multiple_of(MARK_EVERY) || courier.news().is_some() {
            // Without it more than has to be is sent again.
            let _ = file.mark(courier.state());
        }
        progress(acknowledged);
    };
    let damaged = match file.unread() {
        Some(Unread::Damaged { frame }) => Some(SpoolError::Damaged { frame }.to_string()),
        _ => None,
    };
    if undelivered.is_none() && file.unread() == Some(Unread::Unfinished) {
        let note =
            "what was written last of what waited is not whole, and is left out; the file is set aside";
        courier.told.notes.push(format!("{}: {note}", file.path().display()));
    }
    let kept = match &undelivered {
        None if courier.told.refused.is_empty() && file.unread().is_none() => file.remove(),
        None => file.set_aside(),
        // Where nothing can be remembered more than has to be is sent again.
        Some(_) if acknowledged > 0 && file.unread().is_none() => file.mark(courier.state()),
        Some(_) => Ok(()),
    };
    let kept = kept.err().map(|error| Undelivered::Unreadable { why: error.to_string() });
    Flushed { told: courier.told, undelivered: undelivered.or(kept), damaged }
}
