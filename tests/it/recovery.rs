//! What waits in the spool is recorded once, in order, and where it belongs, whatever became of who wrote it or who sent it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::faulty::Fault;
use crate::place::Ran;
use crate::site::Site;

/// Starts a command that is at work until `go` is there.
fn at_work(site: &Site, last: &str) -> Child {
    let script = format!("echo begun; touch ready; while [ ! -e go ]; do sleep 0.02; done; {last}; exit 4");
    let mut command =
        site.command(&["exec", "--quiet", "--run", "demo/my-run", "--step", "work", "--", "sh", "-c"]);
    let child = command.arg(script).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the command is at work", || site.place.path("ready").exists());
    child
}

fn wait_until(what: &str, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(20), "not in time: {what}");
        sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    let kill = std::process::Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(kill.unwrap().success());
}

fn end(site: &Site, child: Child) -> Ran {
    site.place.write("go", "");
    Ran::from(child.wait_with_output().unwrap())
}

/// A run as it stands.
fn envelope(site: &Site, run_id: &str) -> Value {
    site.server.get(&format!("/v1/runs/{run_id}?project=demo")).json()["envelope"].clone()
}

fn is_growing(path: impl AsRef<Path>) -> bool {
    path.as_ref().extension().is_some_and(|end| end == "spooling")
}

/// A service that is killed between its last answer and what the sender remembers of it has the sender send all again.
fn send_twice(site: &Site) {
    let files: Vec<(PathBuf, Vec<u8>)> =
        site.spooled().into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    assert!(!files.is_empty());
    site.flush();
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
    site.flush();
}

#[test]
fn whatever_goes_wrong_with_every_request_the_run_is_sealed_once() {
    let site = Site::new();
    for (n, fault) in Fault::ALL.into_iter().enumerate() {
        site.proxy.set(fault);
        let run_id = format!("run-{n:02}");
        let script = "echo out; echo err >&2; seq 1 20000; exit 3";
        let ran = site.run(&[
            "exec",
            "-q",
            "--project",
            "demo",
            "--run-id",
            &run_id,
            "--step",
            "s",
            "--",
            "sh",
            "-c",
            script,
        ]);
        assert_eq!((ran.status, ran.stdout.len(), ran.stderr.as_str()), (3, 108_898, "err\n"), "{fault:?}");
    }
    site.proxy.set(Fault::Pass);
    site.flush();
    let names: Vec<String> = (0..Fault::ALL.len()).map(|n| format!("run-{n:02}")).collect();
    assert_eq!(site.runs(), names);
    for name in names {
        let run = site.server.get(&format!("/v1/runs/{name}?project=demo")).json();
        let steps = run["envelope"]["execution"]["steps"].as_array().unwrap();
        assert_eq!((&run["state"], steps.len()), (&json!("sealed"), 1), "{name}: {run}");
        assert_eq!(
            (&steps[0]["exit_code"], &steps[0]["log"]["bytes"]),
            (&json!(3), &json!(108_902)),
            "{name}"
        );
    }
}

#[test]
fn what_is_sent_again_after_the_run_is_sealed_changes_nothing() {
    let site = Site::new();
    site.proxy.set(Fault::Refuse);
    let ran = site.run(&[
        "exec",
        "-q",
        "--project",
        "demo",
        "--run-id",
        "r",
        "--step",
        "s",
        "--",
        "seq",
        "1",
        "200000",
    ]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    site.proxy.set(Fault::Pass);
    send_twice(&site);
    assert_eq!(site.runs(), ["r"]);
    assert_eq!(site.log("r", "s", 1).len(), ran.stdout.len());
}

#[test]
fn what_came_after_a_run_was_closed_is_once_in_its_remainder() {
    let site = Site::new();
    site.open();
    let child = at_work(&site, "seq 1 200000");
    let path = "/v1/runs/my-run?project=demo&envelope=false";
    site.server.wait_until(path, |_| site.log("my-run", "work", 1) == b"begun\n");
    site.proxy.set(Fault::Refuse);
    let ran = end(&site, child);
    assert_eq!((ran.status, ran.stderr.as_str()), (4, ""));
    let closed = site.server.post("/v1/runs/my-run/finalize?project=demo", &json!({ "result": "aborted" }));
    assert_eq!(closed.status, 200, "{closed:?}");
    site.proxy.set(Fault::Pass);
    send_twice(&site);
    assert_eq!(site.runs(), ["my-run", "my-run:rest"]);
    let step = &envelope(&site, "my-run:rest")["execution"]["steps"][0];
    assert_eq!((&step["step_id"], &step["exit_code"]), (&json!("work"), &json!(4)));
    assert_eq!(site.log("my-run", "work", 1), b"begun\n");
    let rest: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(site.log("my-run:rest", "work", 1) == rest.as_bytes());
}

#[test]
fn what_leans_on_something_that_waits_is_not_sent_before_it() {
    let site = Site::new();
    site.open();
    site.proxy.set(Fault::Refuse);
    let child = at_work(&site, ":");
    wait_until("it is spooled", || site.spooled().iter().any(is_growing));
    site.place.write("notes.txt", "notes");
    let run = |arguments: &[&str]| {
        let ran = site.run(&[&["run"], arguments, &["--run", "demo/my-run"]].concat());
        assert_eq!(ran.status, 0, "{ran:?}");
        ran
    };
    run(&["artifact", "notes.txt", "--id", "notes"]);
    site.proxy.set(Fault::Pass);
    run(&["observe", "coverage", "0.9", "--basis", "notes"]);
    let observed = &envelope(&site, "my-run")["observations"];
    assert_eq!(observed.as_array().map(Vec::len), Some(1), "{observed}");
    assert_eq!(end(&site, child).status, 4);
    site.flush();
}

#[test]
fn what_a_killed_reporter_left_is_sent_by_the_next_command() {
    let site = Site::new();
    site.open();
    site.proxy.set(Fault::Hang);
    let mut child = at_work(&site, ":");
    // More than a header and a mark: what there is to tell by now is told.
    let size = || site.spooled().first().map_or(0, |path| fs::metadata(path).unwrap().len());
    wait_until("it is spooled", || size() > 600);
    wait_until("all of it is", || {
        let before = size();
        sleep(Duration::from_millis(200));
        before == size()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    site.place.write("go", "");
    site.proxy.set(Fault::Pass);
    let ran = site.run(&["exec", "-q", "--run", "demo/my-run", "--step", "next", "--", "true"]);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(site.spooled().is_empty(), "{:?}", site.spooled());
    let ended = site.run(&["run", "finalize", "failed", "--run", "demo/my-run"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    let envelope = site.envelope();
    let steps = envelope["execution"]["steps"].as_array().unwrap();
    let told: Vec<(&Value, &Value)> = steps.iter().map(|step| (&step["step_id"], &step["status"])).collect();
    let (next, work) = ((&json!("next"), &json!("passed")), (&json!("work"), &json!("incomplete")));
    assert!(told == [next, work] || told == [work, next], "{told:?}");
    assert_eq!(site.log("my-run", "work", 1), b"begun\n");
}

#[test]
fn a_signal_while_the_service_is_waited_for_spools_the_rest_at_once() {
    let site = Site::new();
    site.open();
    site.proxy.set(Fault::Hang);
    let mut command =
        site.command(&["exec", "-q", "--run", "demo/my-run", "--step", "s", "--", "sh", "-c", "exit 5"]);
    command.env("SEALSTONE_FLUSH_TIMEOUT", "1h");
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    wait_until("it is spooled", || site.spooled().iter().any(is_growing));
    signal(&child, "-TERM");
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.status, ran.stderr.as_str()), (5, ""));
    site.proxy.set(Fault::Pass);
    site.flush();
    assert_eq!(envelope(&site, "my-run")["execution"]["steps"][0]["exit_code"], 5);
}

#[test]
fn a_run_that_is_held_up_holds_up_no_other() {
    let site = Site::new();
    site.proxy.set(Fault::Refuse);
    let exec = |arguments: &[&str]| {
        let ran = site.run(&[&["exec", "-q"], arguments, &["--", "true"]].concat());
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    };
    exec(&["--run", "demo/nobody-opened-it"]);
    exec(&["--project", "demo", "--run-id", "r"]);
    site.proxy.set(Fault::Pass);
    let ran = site.run(&["spool", "flush"]);
    assert!(ran.status == 1 && ran.stderr.contains("run_not_found"), "{ran:?}");
    assert_eq!((site.runs(), site.spooled().len()), (vec!["r".to_owned()], 1));
}

#[test]
fn a_copy_of_the_envelope_is_not_waited_for_longer_than_for_the_rest() {
    let site = Site::new();
    site.proxy.set(Fault::KeepEnvelope);
    let ran = site.run(&["exec", "-q", "--project", "demo", "--out", "e.json", "--", "sh", "-c", "exit 6"]);
    assert!(ran.status == 6 && ran.stderr.contains("no copy of the envelope"), "{ran:?}");
}

#[test]
fn a_standard_error_that_is_full_changes_no_exit_status() {
    let site = Site::new();
    site.proxy.set(Fault::Refuse);
    for report in
        [&["exec", "--project", "demo", "--", "true"][..], &["run", "event", "e", "--run", "demo/r"]]
    {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(site.command(report).stderr(full).status().unwrap().code(), Some(0), "{report:?}");
    }
}
