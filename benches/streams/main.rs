//! What a stream costs per subscriber and per delivery: Sealstone, nginx with the nchan module, and the bare sending of the same
//! bytes, on the same core in the same run.
//!
//! `cargo bench --bench streams` prints all tables, `-- --quick` shorter ones. Words choose: `idle`, `fan-out`, `replay`, `stall`,
//! `storm` what is measured, `sealstone`, `nchan`, `floor` at whom. `--engine memory` takes the disk out of it.
//!
//! One server at a time, pinned to the first core; subscribers and publisher share one thread on the second. What Sealstone delivers
//! was made durable before; what nchan delivers was kept in memory. Where as much is published as is delivered ("most"), up to four
//! batches are under way: the latencies there are those of that queue.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench stops by a panic"
)]

mod crowd;
mod floor;
mod machine;
mod modes;
mod publisher;
mod table;
mod tally;
mod target;
mod wire;

use crowd::{Crowd, Role};
use modes::{MODES, Mode};
use table::Table;
use target::{Begin, Ground, Kind, Target};

/// How large blocks are where Sealstone is not measured.
const BLOCK_BYTES: usize = 420;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if has(floor::ARGUMENT) {
        return floor::serve();
    }
    let engine =
        arguments.iter().position(|argument| argument == "--engine").map(|i| arguments[i + 1].clone());
    let chosen = |names: &[&str], name: &str| has(name) || !names.iter().any(|name| has(name));
    let modes = MODES.iter().filter(|mode| chosen(&MODES.map(|mode| mode.name), mode.name));
    let kinds = Kind::ALL.into_iter().filter(|kind| chosen(&Kind::ALL.map(Kind::name), kind.name()));
    let kinds: Vec<Kind> = kinds.collect();

    let pinned = machine::leave_server_core();
    let place = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut ground = Ground {
        place: place.path(),
        engine: engine.unwrap_or_else(|| "fjall".into()),
        block_bytes: BLOCK_BYTES,
        quick: has("--quick"),
    };
    if kinds.contains(&Kind::Sealstone) {
        ground.block_bytes = block_of_sealstone(&ground);
    }
    println!(
        "engine {}, blocks of {} bytes, {}",
        ground.engine,
        ground.block_bytes,
        if pinned { "servers on a core of their own" } else { "no core is pinned" }
    );
    for mode in modes {
        measure(mode, &ground, &kinds);
    }
}

/// Every case of a mode at every target, and how Sealstone stands to its peer.
fn measure(mode: &Mode, ground: &Ground<'_>, kinds: &[Kind]) {
    let table = Table::begin(mode.title, mode.case, mode.columns);
    for (case, measured) in (mode.cases)(ground.quick) {
        let mut rows: Vec<(Kind, Vec<f64>)> = Vec::new();
        for &kind in kinds.iter().filter(|&&kind| mode.has_floor || kind != Kind::Floor) {
            if !kind.is_installed() {
                table.nothing(&case, kind.name(), "not installed");
                continue;
            }
            let values = measured(ground, kind);
            table.row(&case, kind.name(), &values);
            rows.push((kind, values));
        }
        let of = |wanted: Kind| rows.iter().find(|(kind, _)| *kind == wanted).map(|(_, values)| values);
        if let (Some(own), Some(of_peer)) = (of(Kind::Sealstone), of(Kind::Nchan)) {
            table.ratios(&case, "sealstone ÷ nchan", own, of_peer);
        }
    }
}

/// How large the block of the thousandth event is, as Sealstone writes it; the numbers in it grow with the run.
fn block_of_sealstone(ground: &Ground<'_>) -> usize {
    let target = Target::start(ground, Kind::Sealstone);
    let mut crowd = Crowd::of(&target);
    crowd.join(1, Role::Watched, Begin::Earliest);
    crowd.fill(1_000, 1_000);
    crowd.catch_up();
    crowd.tally.block_bytes
}
