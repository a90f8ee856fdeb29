//! A build of many steps whose service fails at any moment: the build does not notice, and its evidence is whole.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use sealstone::evidence::digest::Digest;
use serde_json::{Value, json};

use crate::faulty::Fault;
use crate::place::Place;
use crate::site::Site;

/// What the build does, with `step` and `report` as they are defined before it.
const BUILD: &str = include_str!("pipeline.sh");

/// Alone: what each step writes is kept, to be held against its log.
const ALONE: &str = r#"
step() {
    name=$1; shift
    while [ "$1" != -- ]; do shift; done
    shift; status=0
    "$@" > "alone/$name.out" 2> "alone/$name.err" || status=$?
    cat "alone/$name.out"; cat "alone/$name.err" >&2
    return $status
}
report() { :; }
open() { :; }
"#;

/// With evidence: the name is given to all but the steps that the program gives one.
const REPORTED: &str = r#"
step() {
    case $1 in
        sh*) shift; "$SEALSTONE" exec --quiet "$@" ;;
        *.2) name=${1%.2}; shift; "$SEALSTONE" exec --quiet --step "$name" "$@" ;;
        *) name=$1; shift; "$SEALSTONE" exec --quiet --step "$name" "$@" ;;
    esac
}
report() {
    "$SEALSTONE" run "$@" > /dev/null 2>> told || echo "run $* gave $?: $(tail -n 1 told)"
}
open() {
    SEALSTONE_RUN=$("$SEALSTONE" run open --project demo --run-id my-run 2>> told)
    export SEALSTONE_RUN
}
"#;

const STEPS: usize = 30;

fn build(place: &Place, functions: &str) -> Command {
    let mut command = Command::new("sh");
    for (name, value) in place.command(&[]).get_envs() {
        let _ = match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["-c", &format!("{functions}\n{BUILD}")]).current_dir(place.path("")).stdin(Stdio::null());
    command.stdout(fs::File::create(place.path("stdout")).unwrap());
    command.stderr(fs::File::create(place.path("stderr")).unwrap());
    command
}

/// What the build is alone.
struct Alone {
    place: Place,
    status: Option<i32>,
}

impl Alone {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir(place.path("alone")).unwrap();
        let status = build(&place, ALONE).status().unwrap().code();
        Self { place, status }
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.place.path(name)).unwrap()
    }

    /// The names of its steps, and what each wrote.
    fn steps(&self) -> BTreeMap<String, [Vec<u8>; 2]> {
        let names = fs::read_dir(self.place.path("alone")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let steps = names.filter_map(|name| {
            let name = name.strip_suffix(".out")?;
            let mut written = ["out", "err"].map(|end| self.read(&format!("alone/{name}.{end}")));
            written[1] = without_the_shell(&written[1]);
            Some((name.to_owned(), written))
        });
        steps.collect()
    }
}

/// What is said by the shell is not, which sees that a signal ended a step.
fn without_the_shell(err: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(err).replace("Killed\n", "").into_bytes()
}

/// Every step, artifact and observation once, with what it was alone.
fn look(site: &Site, alone: &Alone) {
    let same = |name| {
        let got = fs::read(site.place.path(name)).unwrap();
        let mut wanted = alone.read(name);
        if name == "stderr" {
            wanted = without_the_shell(&wanted);
        }
        assert!(got == wanted, "{name}:\n{}", String::from_utf8_lossy(&got));
    };
    same("stdout");
    same("stderr");
    same("statuses");
    let envelope = site.envelope();
    let steps = envelope["execution"]["steps"].as_array().unwrap();
    let found: BTreeMap<String, &Value> = steps.iter().map(|step| (name(step), step)).collect();
    let wanted = alone.steps();
    assert_eq!(wanted.len(), STEPS);
    assert_eq!((steps.len(), found.len()), (STEPS + 1, STEPS + 1), "{:?}", found.keys());
    for (name, written) in &wanted {
        let step = found.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", found.keys()));
        assert_eq!(step["exit_code"], exit_code(alone, name), "{step}");
        assert_eq!(step["message"].as_str().filter(|message| message.contains("log")), None, "{step}");
        let attempt = step["attempt"].as_u64().unwrap_or(1);
        let log = site.log("my-run", step["step_id"].as_str().unwrap(), attempt);
        if !log.is_empty() {
            assert_eq!(step["log"]["digest"], Digest::of(&log).to_string(), "{step}");
        }
        assert_eq!(step["log"]["bytes"].as_u64().unwrap_or_default(), log.len() as u64, "{step}");
        assert!(
            is_merged(&log, written),
            "{name}: {} of {} and {} bytes",
            log.len(),
            written[0].len(),
            written[1].len()
        );
    }
    let ids = |list: &str, id: &str| -> Vec<String> {
        let list = envelope[list].as_array().unwrap();
        list.iter().map(|element| element[id].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("artifacts", "artifact_id"), ["notes", "dist/tool", "report", "late"]);
    assert_eq!(ids("observations", "observation_id"), ["coverage", "late-size"]);
    assert_eq!(ids("events", "name"), ["checkpoint", "checkpoint", "custom:done"]);
    assert_eq!(envelope["outcome"]["result"], "failed");
}

/// As the build calls it: a later attempt, and one named by the program, by their number.
fn name(step: &Value) -> String {
    let step_id = step["step_id"].as_str().unwrap();
    match step["attempt"].as_u64() {
        Some(attempt @ 2..) => format!("{step_id}.{attempt}"),
        _ => step_id.to_owned(),
    }
}

/// As the build itself told it.
fn exit_code(alone: &Alone, name: &str) -> Value {
    let told = String::from_utf8_lossy(&alone.read("statuses")).into_owned();
    let status = told.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap_or("0");
    match status.parse().unwrap() {
        // Of a signal there is no exit status.
        137 => Value::Null,
        status => json!(status),
    }
}

/// Whether that is both, each in its order, however they came in between each other.
fn is_merged(log: &[u8], [out, err]: &[Vec<u8>; 2]) -> bool {
    if err.is_empty() || out.is_empty() {
        return log == [out.as_slice(), err].concat();
    }
    // What goes to standard error is told by its first byte.
    let (of_err, of_out): (Vec<&[u8]>, Vec<&[u8]>) =
        log.split_inclusive(|byte| *byte == b'\n').partition(|line| line.starts_with(b"!"));
    of_out.concat() == *out && of_err.concat() == *err
}

/// xorshift64*: the same series in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % n
    }

    fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// Lets the build meet one fault after another until it is over.
fn trouble(site: &mut Site, build: &mut Child, random: &mut Random) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = build.try_wait().unwrap() {
            return status.code();
        }
        assert!(began.elapsed() < Duration::from_secs(240), "the build hangs");
        match random.below(10) {
            0 => site.restart(random.ms(0, 600), &[]),
            1 => {
                site.restart(random.ms(0, 100), &["--min-free", "1000TiB"]);
                sleep(random.ms(50, 700));
                site.restart(Duration::ZERO, &[]);
            }
            2 => sleep(random.ms(100, 800)),
            _ => {
                site.proxy.set(Fault::ALL[random.below(Fault::ALL.len() as u64) as usize]);
                sleep(random.ms(20, 900));
                site.proxy.set(Fault::Pass);
            }
        }
        sleep(random.ms(0, 150));
    }
}

fn a_build_in_trouble(alone: &Alone, seed: u64) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed << 32) ^ seed);
    for _ in 0..8 {
        random.below(2);
    }
    let mut site = Site::new();
    // It may be away from the first command on.
    site.proxy.set(Fault::ALL[random.below(Fault::ALL.len() as u64) as usize]);
    let mut build = build(&site.place, REPORTED);
    site.tell_environment(&mut build);
    let mut build = build.spawn().unwrap();
    sleep(random.ms(0, 2000));
    let status = trouble(&mut site, &mut build, &mut random);
    site.proxy.set(Fault::Pass);
    eprintln!("seed {seed}: {} requests went wrong", site.proxy.spoiled());
    assert_eq!(status, alone.status, "seed {seed}");
    assert!(site.proxy.spoiled() > 0, "seed {seed}: nothing went wrong");
    site.flush();
    look(&site, alone);
}

#[test]
fn a_build_whose_service_fails_at_any_moment_does_not_notice_and_its_evidence_is_whole() {
    let seeds = if std::env::var_os("SEALSTONE_LONG").is_some() { 1..60 } else { 1..6 };
    let alone = Alone::new();
    let next = std::sync::Mutex::new(seeds);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(seed) = { next.lock().unwrap().next() } {
                    a_build_in_trouble(&alone, seed);
                }
            });
        }
    });
}
