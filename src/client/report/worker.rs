//! The thread that sends: reports in order, hints beside them, and an ear for who asks the producer to stop.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until};

use super::backlog::{is_ours, send_older, send_others};
use super::courier::{Courier, Told, Undelivered};
use super::reporter::{Delivery, Progress, Shared, Unsent};
use crate::client::error::ClientError;
use crate::client::http::Client;
use crate::client::spool::Spool;
use crate::evidence::canonical::Object;
use crate::evidence::time::Timestamp;

/// Pauses between tries: the first, and the longest.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often it is looked whether something waits too long in memory.
const SPILL_PAUSE: Duration = Duration::from_millis(100);
/// How long reports of others are sent, once our own are.
const OTHERS: Duration = Duration::from_secs(2);
/// After so many acknowledged reports the file remembers it.
pub(super) const MARK_EVERY: usize = 64;
/// Who is quicker than that needs no sign of life.
const ALIVE_AFTER: Duration = Duration::from_millis(500);
/// How long at most between two questions for a run that is not there yet.
const LONGEST_HINT_PAUSE: Duration = Duration::from_secs(30);
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
        Ok(runtime) => {
            runtime.block_on(async {
                tokio::select! {
                    () = send(shared, &mut courier, spool, &mut sending) => {}
                    () = end(shared) => {}
                    () = keep(shared, now) => {}
                    () = hint(shared, client) => {}
                    () = listen(shared, client) => {}
                }
            });
            // A name that is still being looked up is waited for by nobody.
            runtime.shutdown_background();
        }
        Err(error) => {
            sending.why = Some(error.to_string());
            while shared.deadline.borrow().is_none() {
                std::thread::sleep(SPILL_PAUSE);
                shared.spill(now());
            }
        }
    }
    leave(shared, courier, sending, now)
}

/// How far it came.
#[derive(Default)]
pub(super) struct Sending {
    /// The last failure, since the last success.
    pub(super) why: Option<String>,
    /// Trying again does not help.
    pub(super) is_held: bool,
    /// Of what waited before.
    pub(super) older: Told,
}

async fn send(shared: &Shared, courier: &mut Courier<'_>, spool: Option<&Spool>, sending: &mut Sending) {
    if let Some(spool) = spool {
        let behind = spool.waiting().iter().any(|waiting| is_ours(waiting, courier.client));
        shared.behind.store(behind, Ordering::Relaxed);
        if !send_older(courier, spool, sending).await {
            // What is told now would be held too, or go before what it leans on.
            return end_of_producer(shared).await;
        }
    }
    let mut pause = FIRST_PAUSE;
    let mut acknowledged: usize = 0;
    loop {
        let front = shared.outbox().front();
        let keyed = match front {
            Ok(Some(keyed)) => keyed,
            Ok(None) if shared.deadline.borrow().is_some() => {
                // What others could not send is sent by who can.
                let others = send_others(courier.client, spool, &mut sending.older);
                let _ = tokio::time::timeout(OTHERS, others).await;
                return;
            }
            Ok(None) => {
                shared.to_send.notified().await;
                continue;
            }
            Err(error) => {
                sending.why = Some(error.to_string());
                return end_of_producer(shared).await;
            }
        };
        let delivered = courier.deliver(&keyed).await;
        shared.run.send_if_modified(|run| {
            let moved = run != courier.run();
            if moved {
                *run = courier.run().to_owned();
            }
            moved
        });
        let is_refused = matches!(delivered, Err(Undelivered::Refused { .. }));
        match delivered {
            Ok(()) => {}
            Err(Undelivered::Refused { why }) => courier.told.refused.push(why),
            Err(Undelivered::Held { why } | Undelivered::Unreadable { why }) => {
                (sending.why, sending.is_held) = (Some(why), true);
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
        outbox.done(is_refused);
        shared.progress.send_modify(Progress::answered);
        let news = courier.news();
        if acknowledged.is_multiple_of(MARK_EVERY) || news.is_some() {
            outbox.mark(news);
        }
    }
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
    shared.progress.send_modify(Progress::held);
    // Who could tell us otherwise is gone.
    let _ = shared.deadline.subscribe().wait_for(Option::is_some).await;
}

/// Puts on disk what waits too long, or is too much.
async fn keep(shared: &Shared, now: &dyn Fn() -> Timestamp) {
    loop {
        shared.to_spill.notified().await;
        while shared.outbox().len() > 0 {
            shared.spill(now());
            let _ = tokio::time::timeout(SPILL_PAUSE, shared.to_spill.notified()).await;
        }
    }
}

/// Sends hints as they come, and a sign of life at a quarter of the time after which the run would be given up.
async fn hint(shared: &Shared, client: &Client) {
    let heartbeat = Object::from_iter([("type", "heartbeat")]);
    let mut alive_at = Instant::now().checked_add(ALIVE_AFTER);
    let (mut period, mut pause) = (None, ALIVE_AFTER);
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
            alive_at = Instant::now().checked_add(period.unwrap_or(pause));
            pause = pause.saturating_mul(2).min(LONGEST_HINT_PAUSE);
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
    told.notes.splice(0..0, sending.older.notes);
    let older_refused = sending.older.refused;
    if reports == 0 {
        // Of all that was in it the file has nothing that waits.
        let _ = outbox.take_file();
        return Delivery { told, older_refused, unsent: None, lost_log_bytes };
    }
    outbox.spill(now());
    outbox.mark(Some(state));
    let lost = outbox.in_memory();
    let failed = outbox.spool_failed.take().map(|why| format!("the spool: {why}"));
    let path = outbox.take_file().map(|mut file| {
        // Under its old name it is found as well.
        let _ = file.leave();
        file.path().to_owned()
    });
    let partly = (lost > 0 && path.is_some()).then(|| format!("{lost} of {reports} reports are lost"));
    let why = [sending.why, failed, partly].into_iter().flatten().collect::<Vec<_>>().join("; ");
    let why = if why.is_empty() { "it did not answer in time".to_owned() } else { why };
    let unsent = Some(Unsent { path, reports, lost, why, is_held: sending.is_held });
    Delivery { told, older_refused, unsent, lost_log_bytes }
}
