//! What the machine tells of a process, and which core a process runs on.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};

/// The core of whoever serves.
const SERVER_CORE: &str = "0";
/// The core of who subscribes and publishes.
const OWN_CORE: &str = "1";

/// A command that runs on the core of the servers, where the machine has two and `taskset`.
pub(crate) fn on_server_core(program: impl AsRef<OsStr>) -> Command {
    if !can_pin() {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]).arg(program);
    command
}

/// Puts this process on the other core. Whether that is so now.
pub(crate) fn leave_server_core() -> bool {
    let own = std::process::id().to_string();
    let mut taskset = Command::new("taskset");
    can_pin() && succeeds(taskset.args(["-c", "-p", OWN_CORE, &own]))
}

fn can_pin() -> bool {
    [SERVER_CORE, OWN_CORE].iter().all(|core| succeeds(Command::new("taskset").args(["-c", core, "true"])))
}

/// Whether a command is there and ends well.
fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// User and system time of a process so far, in seconds.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
