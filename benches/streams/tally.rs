//! What the subscribers of a measurement saw.

/// Latencies in steps of 10 µs; what is over ten seconds counts as ten seconds.
pub(crate) struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Latencies {
    const STEP_NS: u64 = 10_000;
    const STEPS: usize = 1_000_000;

    fn new() -> Self {
        Self { counts: vec![0; Self::STEPS], total: 0 }
    }

    fn add(&mut self, ns: u64) {
        self.counts[((ns / Self::STEP_NS) as usize).min(Self::STEPS - 1)] += 1;
        self.total += 1;
    }

    /// In milliseconds; not a number where there are none.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let mut left = (self.total as f64 * share) as u64;
        let step = self.counts.iter().position(|&count| {
            let found = left < count;
            left = left.saturating_sub(count);
            found
        });
        step.map_or(f64::NAN, |step| step as f64 * Self::STEP_NS as f64 / 1e6)
    }
}

/// Deliveries, and what was wrong with them.
pub(crate) struct Tally {
    /// Events that reached a watched subscriber.
    pub(crate) deliveries: u64,
    /// From just before an event was sent to its arrival at a watched subscriber.
    pub(crate) latencies: Latencies,
    /// To its arrival at the last of them.
    pub(crate) to_the_last: Latencies,
    /// Events that a subscriber did not get between two that it got.
    pub(crate) gaps: u64,
    /// Events that a subscriber got again or too late.
    pub(crate) repeats: u64,
    /// `stream_gap` events: the server said that something is missing.
    pub(crate) told_gaps: u64,
    /// Connections that the server closed.
    pub(crate) closed: u64,
    /// How large the block of the last event was.
    pub(crate) block_bytes: usize,
    /// Who got each event already.
    seen: Vec<u32>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            deliveries: 0,
            latencies: Latencies::new(),
            to_the_last: Latencies::new(),
            gaps: 0,
            repeats: 0,
            told_gaps: 0,
            closed: 0,
            block_bytes: 0,
            seen: Vec::new(),
        }
    }

    /// An event after the one that a subscriber got last.
    pub(crate) fn order(&mut self, last: Option<u64>, number: u64) {
        let Some(last) = last else { return };
        if number <= last {
            self.repeats += 1;
        } else {
            self.gaps += number - last - 1;
        }
    }

    /// An event at one of `watched` subscribers.
    pub(crate) fn deliver(&mut self, number: u64, ns: u64, watched: u32) {
        self.deliveries += 1;
        self.latencies.add(ns);
        let index = number as usize;
        if self.seen.len() <= index {
            self.seen.resize(index + 1, 0);
        }
        self.seen[index] += 1;
        if self.seen[index] == watched {
            self.to_the_last.add(ns);
        }
    }
}
