//! When the service closes a run that nobody closes (API.md section 2).

use super::standing::{Overview, Standing, State};
use crate::evidence::time::Timestamp;

/// How long a run may take, unless its project has settled otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periods {
    /// From its opening, in milliseconds.
    pub max_run_duration_ms: i64,
    /// From the last thing that was accepted under it, in milliseconds.
    pub idle_timeout_ms: i64,
    /// From the request to abort, in milliseconds.
    pub abort_grace_ms: i64,
}

impl Default for Periods {
    fn default() -> Self {
        Self { max_run_duration_ms: 24 * 3_600_000, idle_timeout_ms: 3_600_000, abort_grace_ms: 30_000 }
    }
}

/// What is due for a run, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub at: Timestamp,
    /// As what it is to be closed then.
    pub result: &'static str,
    /// Why.
    pub reason: String,
}

impl Due {
    /// When an open run has to be closed, and why; `None` for one that is closed. `started_at` is when the service started:
    /// what it did not hear while it was away counts for nobody.
    pub fn of(
        overview: &Overview,
        standing: &Standing,
        started_at: Timestamp,
        periods: &Periods,
    ) -> Option<Self> {
        if standing.state != State::Open {
            return None;
        }
        let periods = &overview.settings.periods(periods);
        let expired = |at, what: &str, ms| Due {
            at,
            result: "expired",
            reason: format!("{what} of {} s passed", ms / 1_000),
        };
        let longest = after(overview.opened_at, periods.max_run_duration_ms);
        let mut due = vec![expired(longest, "max_run_duration", periods.max_run_duration_ms)];
        if standing.open_gates == 0 {
            let idle = after(standing.active_at.max(started_at), periods.idle_timeout_ms);
            due.push(expired(idle, "idle_timeout", periods.idle_timeout_ms));
        }
        if let Some(asked_at) = standing.abort_requested_at {
            let at = after(asked_at, periods.abort_grace_ms);
            let reason = format!(
                "abort was asked for, and the run not closed within {} s",
                periods.abort_grace_ms / 1_000
            );
            due.push(Due { at, result: "aborted", reason });
        }
        due.into_iter().min_by_key(|due| due.at)
    }
}

/// When the logs of a sealed run are to be deleted.
pub fn logs_due(overview: &Overview, standing: &Standing) -> Option<Timestamp> {
    let seconds = overview.settings.log_retention.filter(|_| standing.state == State::Sealed)?;
    Some(after(standing.active_at, i64::from(seconds).saturating_mul(1_000)))
}

fn after(time: Timestamp, ms: i64) -> Timestamp {
    Timestamp::from_unix_ms(time.unix_ms().saturating_add(ms))
}
