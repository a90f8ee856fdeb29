//! What is measured: each mode is a table, each case of it a row for every target.

use std::time::Instant;

use crate::crowd::{Crowd, Pace, Role};
use crate::table::Column;
use crate::target::{Begin, Ground, Kind, Target};

/// A measurement at one target; its values stand under the columns of its mode.
pub(crate) type Measure = Box<dyn Fn(&Ground<'_>, Kind) -> Vec<f64>>;

pub(crate) struct Mode {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What a case is.
    pub(crate) case: &'static str,
    pub(crate) columns: &'static [Column],
    pub(crate) cases: fn(quick: bool) -> Vec<(String, Measure)>,
    /// Whether sending alone can do it too.
    pub(crate) has_floor: bool,
}

pub(crate) const MODES: [Mode; 5] = [
    Mode {
        name: "idle",
        title: "Idle: subscribers to whom nothing is sent but heartbeats",
        case: "subscribers",
        columns: &[
            Column::compared("memory each", " KiB", 1),
            Column::compared("CPU connecting, each", " µs", 0),
            Column::compared("CPU idle", " %", 2),
            Column::told("closed", ""),
        ],
        cases: |quick| {
            let case = |subscribers: usize| -> (String, Measure) {
                (subscribers.to_string(), Box::new(move |ground, kind| idle(ground, kind, subscribers)))
            };
            if quick { vec![case(1_000)] } else { vec![case(1_000), case(10_000)] }
        },
        has_floor: false,
    },
    Mode {
        name: "fan-out",
        title: "Fan-out: subscribers of one run",
        case: "subscribers × events/s",
        columns: &[
            Column::compared("deliveries/s", "", 0),
            Column::compared("p50", " ms", 2),
            Column::compared("p99", " ms", 2),
            Column::compared("to the last, p50", " ms", 2),
            Column::compared("to the last, p99", " ms", 2),
            Column::compared("CPU a delivery", " µs", 2),
            Column::told("CPU server", " %"),
            Column::told("CPU generator", " %"),
            Column::told("gaps", ""),
            Column::told("repeats", ""),
            Column::told("missing", ""),
            Column::told("bytes a block", ""),
        ],
        cases: fan_out_cases,
        has_floor: true,
    },
    Mode {
        name: "replay",
        title: "Replay: subscribers that read a run from its beginning",
        case: "subscribers × records",
        columns: &[
            Column::compared("records/s", "", 0),
            Column::compared("CPU a record", " µs", 2),
            Column::told("CPU generator", " %"),
            Column::told("gaps", ""),
            Column::told("repeats", ""),
            Column::told("missing", ""),
        ],
        cases: |quick| {
            let subscribers = if quick { 20 } else { 100 };
            vec![(
                format!("{subscribers} × 10,000"),
                Box::new(move |ground, kind| replay(ground, kind, subscribers, 10_000)),
            )]
        },
        has_floor: false,
    },
    Mode {
        name: "stall",
        title: "Stall: some read nothing while the others are served",
        case: "reading + stalled",
        columns: &[
            Column::compared("p50 of the reading", " ms", 2),
            Column::compared("p99 of the reading", " ms", 2),
            Column::told("memory before", " MiB"),
            Column::told("memory at the end", " MiB"),
            Column::told("gaps", ""),
            Column::told("told gaps", ""),
            Column::told("missing", ""),
            Column::told("stalled: sent away", ""),
            Column::told("stalled: have all in the end", ""),
        ],
        cases: |_| vec![stall_case(100, 0), stall_case(100, 20)],
        has_floor: false,
    },
    Mode {
        name: "storm",
        title: "Storm: 5,000 connect, get three events and go, again and again, beside ten who stay",
        case: "rounds",
        columns: &[
            Column::compared("visits/s", "", 0),
            Column::compared("CPU a visit", " µs", 0),
            Column::compared("p50 of those who stay", " ms", 2),
            Column::compared("p99 of those who stay", " ms", 2),
            Column::told("memory before", " MiB"),
            Column::told("after the first", " MiB"),
            Column::told("after half", " MiB"),
            Column::told("after the last", " MiB"),
            Column::told("gaps", ""),
            Column::told("closed", ""),
        ],
        cases: |quick| {
            let rounds = if quick { 2 } else { 12 };
            vec![(rounds.to_string(), Box::new(move |ground, kind| storm(ground, kind, rounds)))]
        },
        has_floor: false,
    },
];

/// Memory and time of subscribers who only stay connected.
fn idle(ground: &Ground<'_>, kind: Kind, subscribers: usize) -> Vec<f64> {
    let target = Target::start(ground, kind);
    let mut crowd = Crowd::of(&target);
    // The first few make what is made once.
    crowd.join(50, Role::Idler, Begin::Earliest);
    crowd.rest(0.5);
    let (memory, cpu) = (target.resident_kib(), target.cpu_seconds());
    crowd.join(subscribers, Role::Idler, Begin::Earliest);
    crowd.rest(1.0);
    let each = subscribers as f64;
    let memory_each = (target.resident_kib() - memory) / each;
    let connecting_each = (target.cpu_seconds() - cpu) * 1e6 / each;
    let cpu = target.cpu_seconds();
    // A heartbeat comes every fifteen seconds.
    let seconds = if ground.quick { 3.0 } else { 30.0 };
    crowd.rest(seconds);
    let cpu_idle = (target.cpu_seconds() - cpu) / seconds * 100.0;
    vec![memory_each, connecting_each, cpu_idle, crowd.tally.closed as f64]
}

fn fan_out_cases(quick: bool) -> Vec<(String, Measure)> {
    let seconds = if quick { 3.0 } else { 10.0 };
    let rate = |subscribers: usize, per_second: f64| -> (String, Measure) {
        let measure = move |ground: &Ground<'_>, kind: Kind| {
            fan_out(ground, kind, subscribers, Pace::Rate(per_second), 1, seconds)
        };
        (format!("{subscribers} × {per_second}"), Box::new(measure))
    };
    let most = |subscribers: usize, batch: u64| -> (String, Measure) {
        let measure = move |ground: &Ground<'_>, kind: Kind| {
            fan_out(ground, kind, subscribers, Pace::Behind(4 * batch), batch, seconds)
        };
        (format!("{subscribers} × most, in batches of {batch}"), Box::new(measure))
    };
    vec![rate(1_000, 50.0), rate(10_000, 10.0), most(1_000, 1), most(1_000, 16)]
}

/// Deliveries of what is published while it is published.
fn fan_out(
    ground: &Ground<'_>,
    kind: Kind,
    subscribers: usize,
    pace: Pace,
    batch: u64,
    seconds: f64,
) -> Vec<f64> {
    let target = Target::start(ground, kind);
    let mut crowd = Crowd::of(&target);
    crowd.join(subscribers, Role::Watched, Begin::Earliest);
    crowd.rest(0.5);
    let clocks = Clocks::of(&target);
    let seconds = crowd.fan_out(pace, batch, seconds);
    let (server, own) = clocks.passed(&target);
    let (tally, missing) = (&crowd.tally, crowd.missing());
    let deliveries = tally.deliveries as f64;
    vec![
        deliveries / seconds,
        tally.latencies.at(0.5),
        tally.latencies.at(0.99),
        tally.to_the_last.at(0.5),
        tally.to_the_last.at(0.99),
        server * 1e6 / deliveries,
        server / seconds * 100.0,
        own / seconds * 100.0,
        tally.gaps as f64,
        tally.repeats as f64,
        missing as f64,
        tally.block_bytes as f64,
    ]
}

/// How fast what was recorded before is read by those who come late.
fn replay(ground: &Ground<'_>, kind: Kind, subscribers: usize, records: u64) -> Vec<f64> {
    let target = Target::start(ground, kind);
    let mut crowd = Crowd::of(&target);
    crowd.fill(records, 500);
    let (clocks, started) = (Clocks::of(&target), Instant::now());
    crowd.join(subscribers, Role::Watched, Begin::Earliest);
    crowd.catch_up();
    let seconds = started.elapsed().as_secs_f64();
    let (server, own) = clocks.passed(&target);
    let (tally, missing) = (&crowd.tally, crowd.missing());
    let deliveries = tally.deliveries as f64;
    vec![
        deliveries / seconds,
        server * 1e6 / deliveries,
        own / seconds * 100.0,
        tally.gaps as f64,
        tally.repeats as f64,
        missing as f64,
    ]
}

fn stall_case(reading: usize, stalled: usize) -> (String, Measure) {
    (format!("{reading} + {stalled}"), Box::new(move |ground, kind| stall(ground, kind, reading, stalled)))
}

/// What those who do not read do to the others and to the server.
fn stall(ground: &Ground<'_>, kind: Kind, reading: usize, stalled: usize) -> Vec<f64> {
    let target = Target::start(ground, kind);
    let mut crowd = Crowd::of(&target);
    crowd.join(reading, Role::Watched, Begin::Earliest);
    crowd.join(stalled, Role::Idler, Begin::Earliest);
    crowd.rest(0.5);
    let memory = target.resident_kib();
    crowd.stall();
    // Some megabytes for each: more than the sockets take.
    crowd.fan_out(Pace::Rate(30.0), 16, if ground.quick { 10.0 } else { 30.0 });
    let memory_after = target.resident_kib();
    let complete = crowd.resume(5.0);
    let (tally, missing) = (&crowd.tally, crowd.missing());
    vec![
        tally.latencies.at(0.5),
        tally.latencies.at(0.99),
        memory / 1024.0,
        memory_after / 1024.0,
        tally.gaps as f64,
        tally.told_gaps as f64,
        missing as f64,
        tally.closed as f64,
        complete as f64,
    ]
}

/// What those who come and go do to those who stay, and what they leave behind.
fn storm(ground: &Ground<'_>, kind: Kind, rounds: usize) -> Vec<f64> {
    const GUESTS: usize = 5_000;
    let target = Target::start(ground, kind);
    let mut crowd = Crowd::of(&target);
    crowd.join(10, Role::Watched, Begin::Earliest);
    crowd.rest(0.5);
    let clocks = Clocks::of(&target);
    let mut memory = vec![target.resident_kib()];
    let mut seconds = 0.0;
    for _ in 0..rounds {
        seconds += crowd.storm(GUESTS, 3, 20.0);
        crowd.rest(1.0);
        memory.push(target.resident_kib());
    }
    let visits = (GUESTS * rounds) as f64;
    let (server, _) = clocks.passed(&target);
    let tally = &crowd.tally;
    vec![
        visits / seconds,
        server * 1e6 / visits,
        tally.latencies.at(0.5),
        tally.latencies.at(0.99),
        memory[0] / 1024.0,
        memory[1] / 1024.0,
        memory[rounds / 2] / 1024.0,
        memory[rounds] / 1024.0,
        tally.gaps as f64,
        tally.closed as f64,
    ]
}

/// The time that the server and this process have spent, at a moment.
struct Clocks {
    server: f64,
    own: f64,
}

impl Clocks {
    fn of(target: &Target) -> Self {
        Self { server: target.cpu_seconds(), own: crate::machine::cpu_seconds(std::process::id()) }
    }

    /// What both have spent since.
    fn passed(&self, target: &Target) -> (f64, f64) {
        let now = Self::of(target);
        (now.server - self.server, now.own - self.own)
    }
}
