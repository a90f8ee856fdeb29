//! Counts, levels and distributions, of atomics alone.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How many rows a table has at most. Labels come from our own code: routes, codes, kinds.
const MAX_ROWS: usize = 256;

/// What only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicU64);

impl Level {
    pub(crate) fn set(&self, n: usize) {
        self.0.store(n as u64, Relaxed);
    }

    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// How many values lie between some bounds, and their sum.
#[derive(Debug)]
pub(crate) struct Histogram {
    /// The highest value of each stretch but the last, which has no end.
    pub(super) bounds: &'static [u64],
    stretches: Vec<AtomicU64>,
    sum: AtomicU64,
    /// How many of what is observed make one of what is shown.
    pub(super) per_unit: u64,
}

impl Histogram {
    pub(super) fn new(bounds: &'static [u64]) -> Self {
        let stretches = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, stretches, sum: AtomicU64::new(0), per_unit: 1 }
    }

    /// Of durations, shown in seconds; the bounds are microseconds.
    pub(super) fn of_seconds(bounds: &'static [u64]) -> Self {
        Self { per_unit: 1_000_000, ..Self::new(bounds) }
    }

    pub(crate) fn observe(&self, value: usize) {
        self.count(value as u64);
    }

    pub(crate) fn took(&self, duration: Duration) {
        self.count(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    fn count(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(stretch) = self.stretches.get(at) {
            stretch.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
    }

    /// How many values are in each stretch, and their sum.
    pub(super) fn get(&self) -> (Vec<u64>, u64) {
        (self.stretches.iter().map(|stretch| stretch.load(Relaxed)).collect(), self.sum.load(Relaxed))
    }
}

/// One of something for each combination of labels that was seen. Rows are added and never moved, so that finding one takes no lock.
#[derive(Debug)]
pub(crate) struct Rows<T> {
    rows: Vec<OnceLock<(Vec<String>, T)>>,
    make: fn() -> T,
}

impl<T> Rows<T> {
    pub(super) fn new(make: fn() -> T) -> Self {
        Self { rows: (0..MAX_ROWS).map(|_| OnceLock::new()).collect(), make }
    }

    /// The row of these labels; `None` beyond the last.
    pub(crate) fn row(&self, labels: &[&str]) -> Option<&T> {
        self.rows.iter().find_map(|row| {
            let new = || (labels.iter().map(|label| (*label).to_owned()).collect(), (self.make)());
            let (found, value) = row.get_or_init(new);
            found.iter().eq(labels).then_some(value)
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Vec<String>, T)> {
        self.rows.iter().map_while(OnceLock::get)
    }
}

impl Rows<Count> {
    pub(crate) fn add(&self, label: &str, n: usize) {
        if let Some(count) = self.row(&[label]) {
            count.add(n);
        }
    }
}
