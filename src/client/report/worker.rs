//! The thread that sends: reports in order, hints beside them, and an ear for who asks the producer to stop.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until};

use super::courier::{Courier, Told, Undelivered};
use super::reporter::{Delivery, Shared, Unsent};
use crate::client::error::ClientError;
use crate::client::http::Client;
use crate::client::spool::{Spool, SpoolError, SpoolFile, Unread, Waiting};
use crate::evidence::canonical::Object;
use crate::evidence::time::Timestamp;

/// Pauses between tries: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often it is looked whether something waits too long in memory.
const SPILL_PAUSE: Duration = Duration::from_millis(100);
/// How long another process that sends what comes before is waited for at a time.
const IN_USE_PAUSE: Duration = Duration::from_millis(100);
/// How long reports of others are sent, once our own are.
const OTHERS: Duration = Duration::from_secs(2);
/// After so many acknowledged reports the file remembers it.
const MARK_EVERY: usize = 64;
/// Who is quicker than that needs no sign of life.
const ALIVE_AFTER: Duration = Duration::from_millis(500);
/// How long a hint may take; the next is as good.
const HINT_TIMEOUT: Duration = Duration::from_secs(5);
/// The service's own idle timeout, where it does not tell.
const IDLE_TIMEOUT_S: u64 = 3600;

/// Sends until all is acknowledged and nothing more comes, or until it is time to leave the rest on disk.
pub(super) fn work(
    shared: &Shared,
    client: &Client,
    run: &str,
    spool: Option<&Spool>,
    now: &dyn Fn() -> Timestamp,
) -> Delivery {
    let mut courier = Courier::new(client, run, None);
    let mut sending = Sending::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                () = send(shared, &mut courier, spool, &mut sending) => {}
                () = end(shared) => {}
                () = keep(shared, now) => {}
                () = hint(shared, client) => {}
                () = listen(shared, client) => {}
            }
        }),
        Err(error) => sending.why = Some(error.to_string()),
    }
    leave(shared, courier, sending, now)
}

/// How far it came.
#[derive(Default)]
struct Sending {
    /// The last failure, since the last success.
    why: Option<String>,
    /// Of what waited before.
    older: Told,
}

async fn send(shared: &Shared, courier: &mut Courier<'_>, spool: Option<&Spool>, sending: &mut Sending) {
    if let Some(spool) = spool {
        let is_ours = |waiting: &Waiting| waiting.header.server == courier.client.server();
        shared.behind.store(spool.waiting().iter().any(is_ours), Ordering::Relaxed);
        send_older(courier, spool, sending).await;
    }
    let mut pause = FIRST_PAUSE;
    let mut acknowledged: usize = 0;
    loop {
        let front = shared.outbox().front();
        let keyed = match front {
            Ok(Some(keyed)) => keyed,
            Ok(None) if shared.deadline.borrow().is_some() => {
                // What others could not send is sent by who can.
                let others = send_others(courier.client, spool);
                let _ = tokio::time::timeout(OTHERS, others).await;
                return;
            }
            Ok(None) => {
                shared.to_send.notified().await;
                continue;
            }
            Err(error) => return sending.why = Some(error.to_string()),
        };
        let delivered = courier.deliver(&keyed).await;
        shared.run.send_if_modified(|run| {
            let moved = run != courier.run();
            if moved {
                *run = courier.run().to_owned();
            }
            moved
        });
        match delivered {
            Ok(()) => {}
            Err(Undelivered::Refused { why }) => courier.told.refused.push(why),
            Err(Undelivered::Held { why }) => {
                sending.why = Some(why);
                // Somebody has to do something: trying again before does not help.
                return end_of_producer(shared).await;
            }
            Err(Undelivered::Later { why }) => {
                sending.why = Some(why);
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                continue;
            }
        }
        (sending.why, pause) = (None, FIRST_PAUSE);
        shared.answered.store(true, Ordering::Relaxed);
        acknowledged = acknowledged.saturating_add(1);
        let mut outbox = shared.outbox();
        outbox.done();
        if courier.has_news() || acknowledged.is_multiple_of(MARK_EVERY) {
            outbox.mark(courier.state());
        }
    }
}

/// What comes before, of the same run first.
async fn send_older(courier: &Courier<'_>, spool: &Spool, sending: &mut Sending) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut waiting = spool.waiting();
        waiting.retain(|waiting| waiting.header.server == courier.client.server());
        let Some(next) = waiting.iter().position(|waiting| waiting.header.run == courier.run()) else {
            return;
        };
        let waiting = waiting.swap_remove(next);
        let file = match spool.open(&waiting.path) {
            Ok(file) => file,
            // It goes on beside us.
            Err(SpoolError::InUse) if waiting.is_growing => return,
            Err(SpoolError::InUse) => {
                sleep(IN_USE_PAUSE).await;
                continue;
            }
            Err(SpoolError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return sending
                    .older
                    .notes
                    .push(format!("{} cannot be sent: {error}", waiting.path.display()));
            }
        };
        let flushed = flush_file(courier.client, file, &mut |_| ()).await;
        sending.older.refused.extend(flushed.told.refused);
        sending.older.notes.extend(flushed.told.notes);
        let damaged = flushed.damaged.map(|why| format!("{}: {why}", waiting.path.display()));
        sending.older.notes.extend(damaged);
        match flushed.undelivered {
            None => pause = FIRST_PAUSE,
            Some(Undelivered::Later { why }) => {
                sending.why = Some(why);
                sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
            // What is told now would be held too.
            Some(Undelivered::Held { why } | Undelivered::Refused { why }) => {
                sending.why = Some(why);
                return;
            }
        }
    }
}

/// What waits of other runs at the same service, as far as it can be sent now.
async fn send_others(client: &Client, spool: Option<&Spool>) {
    let waiting = spool.map(Spool::waiting).unwrap_or_default();
    for waiting in waiting.iter().filter(|waiting| waiting.header.server == client.server()) {
        let Ok(file) = spool.map_or(Err(SpoolError::NotASpool), |spool| spool.open(&waiting.path)) else {
            continue;
        };
        if matches!(flush_file(client, file, &mut |_| ()).await.undelivered, Some(Undelivered::Later { .. }))
        {
            return;
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
            Err(error) => break Some(Undelivered::Held { why: error.to_string() }),
        };
        match courier.deliver(&keyed).await {
            Ok(()) => {}
            Err(Undelivered::Refused { why }) => courier.told.refused.push(why),
            Err(undelivered) => break Some(undelivered),
        }
        file.acknowledge();
        acknowledged = acknowledged.saturating_add(1);
        if courier.has_news() || acknowledged.is_multiple_of(MARK_EVERY) {
            // Without it more than has to be is sent again.
            let _ = file.mark(courier.state());
        }
        progress(acknowledged);
    };
    let damaged = match file.unread() {
        Some(Unread::Damaged { frame }) => Some(SpoolError::Damaged { frame }.to_string()),
        _ => None,
    };
    if file.unread() == Some(Unread::Unfinished) {
        courier.told.notes.push("what was written last of what waited was not whole, and is left out".into());
    }
    let kept = match &undelivered {
        None if courier.told.refused.is_empty() && damaged.is_none() => file.remove(),
        None => file.set_aside(),
        // Where nothing can be remembered more than has to be is sent again.
        Some(_) if acknowledged > 0 && damaged.is_none() => file.mark(courier.state()),
        Some(_) => Ok(()),
    };
    let kept = kept.err().map(|error| Undelivered::Held { why: error.to_string() });
    Flushed { told: courier.told, undelivered: undelivered.or(kept), damaged }
}

/// Returns when it is time to leave.
async fn end(shared: &Shared) {
    let mut deadline = shared.deadline.subscribe();
    loop {
        let until = *deadline.borrow_and_update();
        tokio::select! {
            () = async {
                match until {
                    Some(until) => sleep_until(until.into()).await,
                    None => std::future::pending().await,
                }
            } => return,
            changed = deadline.changed() => if changed.is_err() { return },
        }
    }
}

/// Returns when nothing more comes.
async fn end_of_producer(shared: &Shared) {
    // Who could tell us otherwise is gone.
    let _ = shared.deadline.subscribe().wait_for(Option::is_some).await;
}

/// Puts on disk what waits too long, or is too much.
async fn keep(shared: &Shared, now: &dyn Fn() -> Timestamp) {
    loop {
        shared.to_spill.notified().await;
        while shared.outbox().len() > 0 {
            shared.spill(now(), false);
            let _ = tokio::time::timeout(SPILL_PAUSE, shared.to_spill.notified()).await;
        }
    }
}

/// Sends hints as they come, and a sign of life at a quarter of the time after which the run would be given up.
async fn hint(shared: &Shared, client: &Client) {
    let heartbeat = Object::from_iter([("type", "heartbeat")]);
    let mut alive_at = Instant::now().checked_add(ALIVE_AFTER);
    let mut period = None;
    loop {
        let until = alive_at.unwrap_or_else(Instant::now);
        let time = tokio::time::timeout_at(until.into(), shared.to_signal.notified()).await;
        let mut signals: Vec<Object<'static>> =
            shared.signals.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let run = shared.run.borrow().clone();
        if time.is_err() {
            if period.is_none() {
                let known =
                    tokio::time::timeout(HINT_TIMEOUT, client.run(&run)).await.ok().and_then(Result::ok);
                period = known.map(|run| idle_quarter(run.idle_timeout.unwrap_or(IDLE_TIMEOUT_S)));
            } else {
                signals.push(heartbeat.clone());
            }
            alive_at = Instant::now().checked_add(period.unwrap_or(ALIVE_AFTER));
        }
        if !signals.is_empty() {
            // Hints are told once, or not at all.
            let _ = tokio::time::timeout(HINT_TIMEOUT, client.signal(&run, &signals)).await;
        }
    }
}

fn idle_quarter(idle_timeout_s: u64) -> Duration {
    Duration::from_millis(idle_timeout_s.saturating_mul(250)).max(Duration::from_millis(250))
}

/// Hears when somebody asks the producer to stop, or closed the run over its head: of the run that takes what is told now.
async fn listen(shared: &Shared, client: &Client) {
    let mut run = shared.run.subscribe();
    loop {
        let now = run.borrow_and_update().clone();
        tokio::select! {
            () = listen_to(shared, client, &now) => {}
            // Who moves on lives as long as we do.
            _ = run.changed() => {}
        }
    }
}

async fn listen_to(shared: &Shared, client: &Client, run: &str) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut events = client.run_events(run, &[("types", "abort_requested")]);
        loop {
            match events.next().await {
                Ok(Some(event)) if ["abort_requested", "run_aborted"].contains(&event.event.as_str()) => {
                    shared.abort.send_replace(true);
                }
                Ok(Some(_)) => pause = FIRST_PAUSE,
                // A run that is over has nobody to stop.
                Ok(None) => return std::future::pending().await,
                Err(ClientError::Refused { status: 401 | 403, .. }) => return std::future::pending().await,
                // It may not be there yet.
                Err(_) => break,
            }
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// What is left goes to disk, and the file to who sends it next.
fn leave(shared: &Shared, courier: Courier<'_>, sending: Sending, now: &dyn Fn() -> Timestamp) -> Delivery {
    let mut outbox = shared.outbox();
    let (reports, lost_log_bytes) = (outbox.len(), outbox.lost_log_bytes);
    let state = courier.state();
    let mut told = courier.told;
    told.refused.splice(0..0, sending.older.refused);
    told.notes.splice(0..0, sending.older.notes);
    if reports == 0 {
        if let Some(mut file) = outbox.take_file() {
            let kept = if told.refused.is_empty() { file.remove() } else { file.set_aside() };
            // It is all answered: sent again it changes nothing.
            let _ = kept;
        }
        return Delivery { told, unsent: None, lost_log_bytes };
    }
    outbox.spill(now());
    outbox.mark(state);
    let failed = outbox.spool_failed.clone();
    let file = outbox.take_file().filter(|_| failed.is_none());
    let path: Option<PathBuf> = file.map(|mut file| {
        // Under its old name it is found as well.
        let _ = file.leave();
        file.path().to_owned()
    });
    let why = [sending.why, failed.map(|why| format!("the spool: {why}"))];
    let why = why.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let why = if why.is_empty() { "it did not answer in time".to_owned() } else { why };
    Delivery { told, unsent: Some(Unsent { path, reports, why }), lost_log_bytes }
}
