//! What a service counts, every figure on one screen; each service has its own.
//!
//! To count is to add to a few atomics: no lock, and no allocation but for the first of a row. Known crates for this are one for the
//! whole process, lock at every duration, or keep each until somebody asks for it: so the atomics and their text are our own.

mod count;
mod text;

pub(crate) use count::{Count, Histogram, Level, Rows};

use self::text::Text;

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
/// Up to a minute, in microseconds: some routes wait.
const SECONDS: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];
const BATCHES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];
const BYTES: &[u64] =
    &[1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 21, 1 << 22, 1 << 23, 1 << 24];

/// What is counted as it happens.
pub(crate) struct Figures {
    /// By route and method.
    pub(crate) requests: Rows<Requests>,
    /// By code.
    pub(crate) problems: Rows<Count>,
    pub(crate) connections: Level,
    pub(crate) max_connections: Level,
    pub(crate) runs_opened: Count,
    /// By the result that they were closed with.
    pub(crate) runs_overdue: Rows<Count>,
    /// By type.
    pub(crate) records: Rows<Count>,
    pub(crate) commit_batches: Histogram,
    pub(crate) commit_bytes: Histogram,
    pub(crate) commit_seconds: Histogram,
    /// By reason.
    pub(crate) batches_refused: Rows<Count>,
    pub(crate) written_bytes: Count,
    /// By outcome.
    pub(crate) seals: Rows<Count>,
    pub(crate) seal_seconds: Histogram,
    /// By verdict.
    pub(crate) verifications: Rows<Count>,
    /// By outcome.
    pub(crate) signals: Rows<Count>,
}

/// What is looked at when somebody asks.
pub(crate) struct Levels {
    pub(crate) ready: bool,
    pub(crate) started_at_seconds: i64,
    pub(crate) commits_waiting: usize,
    /// `None` where the store does not answer.
    pub(crate) runs_closing: Option<usize>,
    pub(crate) seals_failing: usize,
    /// Free bytes, and how many are kept so; `None` where there is no disk.
    pub(crate) disk: Option<(u64, u64)>,
    /// Who follows streams.
    pub(crate) subscribers: usize,
}

/// The requests of one route and method.
pub(crate) struct Requests {
    /// Of [`CLASSES`].
    classes: [Count; 4],
    pub(crate) seconds: Histogram,
}

impl Requests {
    fn new() -> Self {
        Self { classes: Default::default(), seconds: Histogram::of_seconds(SECONDS) }
    }

    /// Of the class of a status.
    pub(crate) fn class(&self, status: u16) -> Option<&Count> {
        self.classes.get(usize::from(status / 100).checked_sub(2)?)
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            requests: Rows::new(Requests::new),
            problems: Rows::new(Count::default),
            connections: Level::default(),
            max_connections: Level::default(),
            runs_opened: Count::default(),
            runs_overdue: Rows::new(Count::default),
            records: Rows::new(Count::default),
            commit_batches: Histogram::new(BATCHES),
            commit_bytes: Histogram::new(BYTES),
            commit_seconds: Histogram::of_seconds(SECONDS),
            batches_refused: Rows::new(Count::default),
            written_bytes: Count::default(),
            seals: Rows::new(Count::default),
            seal_seconds: Histogram::of_seconds(SECONDS),
            verifications: Rows::new(Count::default),
            signals: Rows::new(Count::default),
        }
    }
}

impl Figures {
    /// All of it, as Prometheus reads it.
    pub(crate) fn text(&self, levels: &Levels) -> String {
        let mut text = Text::default();
        self.write_requests(&mut text);
        self.write_records(&mut text, levels);
        self.write_seals(&mut text, levels);
        let help = "Signals sent: taken, or dropped because their project does not take them.";
        text.counters("sealstone_signals_total", help, "outcome", &self.signals);
        text.gauge("sealstone_subscribers", "Streams that are followed.", levels.subscribers as u64);
        let ready = u64::from(levels.ready);
        text.gauge("sealstone_ready", "1 when everything answers that a run needs, as /readyz says.", ready);
        let at = u64::try_from(levels.started_at_seconds).unwrap_or_default();
        text.gauge("sealstone_start_time_seconds", "When the service started, in seconds since 1970.", at);
        if let Some((free, kept)) = levels.disk {
            text.gauge("sealstone_disk_free_bytes", "Bytes that the disk of the records has left.", free);
            text.gauge("sealstone_disk_min_free_bytes", "Below so many bytes nothing is recorded.", kept);
        }
        text.end()
    }

    fn write_requests(&self, text: &mut Text) {
        text.family("counter", "sealstone_http_requests_total", "Requests answered, by class of status.");
        for (labels, requests) in self.requests.iter() {
            let [route, method] = labels.as_slice() else { continue };
            for (class, count) in CLASSES.iter().zip(&requests.classes) {
                let labels = [("route", route.as_str()), ("method", method), ("status", class)];
                text.sample("", &labels, count.get());
            }
        }
        let help = "From the head of a request to the head of its answer.";
        text.family("histogram", "sealstone_http_request_duration_seconds", help);
        for (labels, requests) in self.requests.iter() {
            let [route, method] = labels.as_slice() else { continue };
            text.distribution(&[("route", route), ("method", method)], &requests.seconds);
        }
        let help = "Requests answered with a problem, by its code.";
        text.counters("sealstone_http_problems_total", help, "code", &self.problems);
        text.gauge("sealstone_http_connections", "Open connections.", self.connections.get());
        let help = "How many connections may be open; more wait to be accepted.";
        text.gauge("sealstone_http_max_connections", help, self.max_connections.get());
    }

    fn write_records(&self, text: &mut Text, levels: &Levels) {
        text.counter("sealstone_runs_opened_total", "Runs opened.", &self.runs_opened);
        let help = "Runs that nobody closed in time, and the service did.";
        text.counters("sealstone_runs_overdue_total", help, "result", &self.runs_overdue);
        let help = "Records that are durable, by type: elements of envelopes, notices, seals.";
        text.counters("sealstone_records_total", help, "type", &self.records);
        text.histogram("sealstone_commit_batches", "Batches written in one commit.", &self.commit_batches);
        text.histogram("sealstone_commit_bytes", "About how large one commit is.", &self.commit_bytes);
        let help = "Writing one commit, until it is durable.";
        text.histogram("sealstone_commit_duration_seconds", help, &self.commit_seconds);
        let help = "Batches that were not written, by reason.";
        text.counters("sealstone_batches_refused_total", help, "reason", &self.batches_refused);
        let help = "Requests to the writer that wait.";
        text.gauge("sealstone_commits_waiting", help, levels.commits_waiting as u64);
        let help = "About how many bytes of journals and sealed files are durable.";
        text.counter("sealstone_written_bytes_total", help, &self.written_bytes);
    }

    fn write_seals(&self, text: &mut Text, levels: &Levels) {
        let help = "Attempts to seal a run: done, or failed and tried again.";
        text.counters("sealstone_seals_total", help, "outcome", &self.seals);
        let help = "Sealing one run: read, sealed, verified, stored.";
        text.histogram("sealstone_seal_duration_seconds", help, &self.seal_seconds);
        if let Some(closing) = levels.runs_closing {
            let help = "Runs that are closed and not sealed yet.";
            text.gauge("sealstone_runs_closing", help, closing as u64);
        }
        let help = "Runs that could not be sealed when it was last tried.";
        text.gauge("sealstone_seals_failing", help, levels.seals_failing as u64);
        let help = "Envelopes judged, by verdict.";
        text.counters("sealstone_verifications_total", help, "verdict", &self.verifications);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_shows_each_stretch_with_all_below_it() {
        let histogram = Histogram::of_seconds(&[500, 1_000_000]);
        for micros in [0, 500, 501, 1_000_000, 2_500_000] {
            histogram.took(std::time::Duration::from_micros(micros));
        }
        let mut text = Text::default();
        text.histogram("h_seconds", "Help.", &histogram);
        let wanted = "# HELP h_seconds Help.\n# TYPE h_seconds histogram\n\
                      h_seconds_bucket{le=\"0.0005\"} 2\nh_seconds_bucket{le=\"1\"} 4\nh_seconds_bucket{le=\"+Inf\"} 5\n\
                      h_seconds_sum 3.501001\nh_seconds_count 5\n";
        assert_eq!(text.end(), wanted);
    }

    #[test]
    fn labels_are_escaped_and_rows_found_again_by_many_at_once() {
        let counts = Rows::new(Count::default);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|i| counts.add(["a", "\"\\\n", "c"][i % 3], 1)));
            }
        });
        let mut text = Text::default();
        text.counters("c_total", "Help.", "l", &counts);
        let text = text.end();
        for line in
            ["c_total{l=\"a\"} 1336\n", "c_total{l=\"\\\"\\\\\\n\"} 1332\n", "c_total{l=\"c\"} 1332\n"]
        {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn a_table_that_is_full_takes_no_more_and_harms_nobody() {
        let counts = Rows::new(Count::default);
        (0..1_000).for_each(|i| counts.add(&i.to_string(), 1));
        assert_eq!(counts.iter().count(), 256);
        assert!(counts.row(&["0"]).is_some() && counts.row(&["999"]).is_none());
    }
}
