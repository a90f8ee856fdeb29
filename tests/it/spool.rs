//! The spool: what the service did not acknowledge is kept, can be read by nobody else, and is sent once.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

use crate::place::{Place, Ran, text};
use crate::reporting::{Reporting, ended, ran, spooled_in, started, wait_until};

const SHORTLY: [&str; 2] = ["--flush-timeout", "200ms"];
const AWAY: &str = "http://127.0.0.1:1";

/// The service goes away, the command runs, the service is back.
fn while_away(it: &mut Reporting, command: impl FnOnce(&Reporting) -> Command) -> Ran {
    it.away();
    let ran = ran(command(it));
    it.back();
    ran
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_told_while_the_service_is_away_is_there_once_it_is_sent() {
    let mut it = Reporting::start();
    let ran = while_away(&mut it, |it| it.exec("r", &SHORTLY, "echo one; echo two >&2; exit 3"));
    assert_eq!((ran.status, ran.stdout.as_str()), (3, "one\n"), "{ran:?}");
    let files = it.spooled("spool");
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert!(ran.stderr.contains(text(file)), "{ran:?}");
    assert_eq!((mode(file), mode(file.parent().unwrap())), (0o600, 0o700));

    let listed = it.place.run(&["spool", "list"]);
    assert!(listed.stdout.contains("p/r") && listed.stdout.contains(&it.server.url()), "{listed:?}");
    let listed = it.place.run(&["spool", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!((&listed["run"], &listed["keyed_by"]), (&"p/r".into(), &"machine".into()));
    assert_eq!((&listed["path"], &listed["growing"]), (&text(file).into(), &false.into()));

    let flushed = it.flush();
    assert_eq!((flushed.status, flushed.stdout.as_str()), (0, "1 of 1 files sent\n"), "{flushed:?}");
    assert_eq!(it.steps("r"), [("sh".into(), 1, "failed".into())]);
    assert_eq!((it.run("r")["result"].clone(), it.log("r", "sh", 1).len()), ("failed".into(), 8));
    assert!(it.spooled("spool").is_empty());
    assert_eq!(it.place.run(&["spool", "list"]).stdout, "nothing waits\n");
}

#[test]
fn a_service_that_comes_back_gets_all_of_a_log_and_all_of_it_once() {
    let mut it = Reporting::start();
    let script = "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); sleep 0.01; done";
    let child = started(it.exec("r", &["-q"], script));
    it.wait_for_run("r", |run| run["pending_steps"][0]["step_id"] == "sh");
    for _ in 0..2 {
        it.away();
        sleep(Duration::from_millis(1_200));
        it.back();
        sleep(Duration::from_millis(500));
    }
    let ran = ended(child);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert_eq!(it.log("r", "sh", 1), ran.stdout);
    assert_eq!(it.run("r")["result"], "succeeded");
    assert!(it.spooled("spool").is_empty() && it.spooled("spooling").is_empty());
}

#[test]
fn the_next_command_sends_what_waits_of_its_run_first_and_then_of_others() {
    let mut it = Reporting::start();
    it.open("r");
    it.open("other");
    it.away();
    let first = ran(it.step("p/r", &[&SHORTLY[..], &["--step", "first"]].concat(), "true"));
    let other = ran(it.step("p/other", &SHORTLY, "true"));
    assert_eq!((first.status, other.status, it.spooled("spool").len()), (0, 0, 2));
    it.back();
    let second = ran(it.step("p/r", &["--step", "second"], "true"));
    assert_eq!(second.status, 0, "{second:?}");
    let passed = |step: &str| (step.to_owned(), 1, "passed".to_owned());
    assert_eq!(it.steps("r"), [passed("first"), passed("second")]);
    assert_eq!(it.steps("other"), [passed("sh")]);
    assert!(it.spooled("spool").is_empty());
}

#[test]
fn who_has_the_token_sends_it_from_anywhere_and_nobody_else() {
    let place = Place::new();
    let away =
        ["exec", "--server", AWAY, "--token", "sst_the-token", "--project", "p", "--run-id", "r", "-q"];
    let ran = place.run(&[&away[..], &SHORTLY, &["--", "echo", "out"]].concat());
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "out\n"), "{ran:?}");
    let files = spooled_in(&place.path("state/sealstone/spool"), "spool");
    let [file] = files.as_slice() else { panic!("{files:?}") };
    assert_eq!(place.files_with("the-token"), Vec::<String>::new());

    let it = Reporting::start();
    let url = it.server.url();
    let flush =
        |token: &[&str]| it.place.run(&[&["spool", "flush", text(file), "--server", &url], token].concat());
    let refused = flush(&[]);
    assert!(refused.status == 66 && refused.stderr.contains("SEALSTONE_TOKEN"), "{refused:?}");
    let refused = flush(&["--token", "sst_another"]);
    assert!(refused.status == 66 && refused.stderr.contains("another token"), "{refused:?}");
    assert!(file.exists());
    // A service without tokens takes any.
    let sent = flush(&["--token", "sst_the-token"]);
    assert_eq!(sent.status, 0, "{sent:?}");
    assert_eq!(it.run("r")["result"], "succeeded");
    assert!(!file.exists());
}

/// What comes in at an address where nobody answers.
fn heard(listener: std::net::TcpListener) -> String {
    let mut heard = Vec::new();
    listener.set_nonblocking(true).unwrap();
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nonblocking(true).unwrap();
        let _ = std::io::Read::read_to_end(&mut stream, &mut heard);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

#[test]
fn nothing_is_sent_to_a_service_that_nobody_named_and_no_token_to_one_that_only_a_file_names() {
    let it = Reporting::start();
    let mine = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", mine.local_addr().unwrap());
    let spooled = |options: &[&str]| {
        let away =
            ["exec", "--server", &url, "--project", "p", "--run-id", "r", "-q", "--flush-timeout", "0s"];
        assert_eq!(it.place.run(&[&away[..], options, &["--", "true"]].concat()).status, 0);
    };
    spooled(&[]);
    let file = it.spooled("spool").remove(0);
    // Another service is named.
    let mut command = it.place.command(&["spool", "flush"]);
    let flushed = ran({
        command.env("SEALSTONE_SERVER", it.server.url());
        command
    });
    assert_eq!((flushed.status, flushed.stdout.as_str()), (0, "0 of 0 files sent\n"), "{flushed:?}");
    assert!(flushed.stderr.contains("1 files wait for other services") && flushed.stderr.contains(&url));
    assert!(file.exists() && !it.is_there("r"));
    // A file of this machine, and a token that is not for whom it names.
    let flush = ["spool", "flush", "--token", "sst_mine", "--flush-timeout", "500ms", text(&file)];
    let child = started(it.place.command(&flush));
    let mut child = child;
    sleep(Duration::from_secs(1));
    child.kill().unwrap();
    child.wait().unwrap();
    let heard = heard(mine);
    assert!(heard.contains("POST /v1/runs") && !heard.contains("sst_mine"), "{heard}");
    // It goes elsewhere where that is said.
    let sent = it.place.run(&["spool", "flush", text(&file), "--server", &it.server.url()]);
    assert_eq!(sent.status, 0, "{sent:?}");
    assert_eq!(it.run("r")["result"], "succeeded");
}

#[test]
fn a_token_that_is_no_longer_good_still_opens_what_was_written_with_it() {
    let mut it = Reporting::start();
    let away =
        while_away(&mut it, |it| it.exec("r", &[&SHORTLY[..], &["--token", "sst_old"]].concat(), "true"));
    assert_eq!(away.status, 0, "{away:?}");
    let flush = |more: &[&str]| {
        it.place
            .run(&[&["spool", "flush", "--token", "sst_new", "--server", &it.server.url()], more].concat())
    };
    let refused = flush(&[]);
    assert!(refused.status == 66 && refused.stderr.contains("another token"), "{refused:?}");
    assert_eq!(flush(&["--spool-token", "sst_old"]).status, 0);
    assert_eq!(it.run("r")["result"], "succeeded");
}

#[test]
fn what_waits_from_before_there_was_a_token_is_sent_by_who_has_one() {
    let mut it = Reporting::start();
    it.open("r");
    let away = while_away(&mut it, |it| it.step("p/r", &SHORTLY, "true"));
    assert_eq!((away.status, it.spooled("spool").len()), (0, 1));
    assert_eq!(ran(it.step("p/r", &["--token", "sst_t"], "true")).status, 0);
    assert_eq!((it.steps("r").len(), it.spooled("spool").len()), (2, 0));
}

#[test]
fn two_who_send_at_once_send_everything_once() {
    let mut it = Reporting::start();
    it.open("r");
    it.away();
    for n in 0..6 {
        let options = ["-q", "--flush-timeout", "0s"];
        assert_eq!(ran(it.step("p/r", &options, &format!("echo {n}; exit {n}"))).status, n);
    }
    assert_eq!(it.spooled("spool").len(), 6);
    it.back();
    let flushes: Vec<_> = (0..3)
        .map(|_| started(it.place.command(&["spool", "flush", "--server", &it.server.url()])))
        .collect();
    for flush in flushes {
        let ran = ended(flush);
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    assert_eq!(it.flush().status, 0);
    let steps = it.run("r")["envelope"]["execution"]["steps"].as_array().unwrap().clone();
    assert_eq!(steps.len(), 6, "{steps:?}");
    for step in steps {
        let (id, n) = (step["step_id"].as_str().unwrap(), &step["exit_code"]);
        assert_eq!(it.log("r", id, 1), format!("{n}\n"));
    }
    assert!(it.spooled("spool").is_empty());
}

#[test]
fn a_log_without_room_is_cut_and_entries_are_kept_and_it_is_said() {
    let mut it = Reporting::start();
    let script = "head -c 5000000 /dev/zero | tr '\\0' x; echo end >&2";
    let ran =
        while_away(&mut it, |it| it.exec("r", &[&SHORTLY[..], &["--spool-limit", "1MiB"]].concat(), script));
    assert_eq!((ran.status, ran.stdout.len()), (0, 5_000_000));
    assert!(ran.stderr.contains("--spool-limit"), "{}", ran.stderr);
    let size = fs::metadata(&it.spooled("spool")[0]).unwrap().len();
    assert!(size < (1 << 20) + (64 << 10), "{size}");
    assert_eq!(it.flush().status, 0);
    let step = it.run("r")["envelope"]["execution"]["steps"][0].clone();
    assert!(step["message"].as_str().unwrap().contains("log not complete"), "{step}");
    let bytes = step["log"]["bytes"].as_u64().unwrap();
    assert!((900_000..=1 << 20).contains(&bytes), "{step}");
    assert_eq!(it.run("r")["result"], "succeeded");
}

#[test]
fn without_a_place_for_a_spool_the_command_runs_as_alone_and_it_is_said() {
    let place = Place::new();
    place.write("plain", "");
    let exec = |spool: &str| {
        let own = ["exec", "--server", AWAY, "--token", "sst_t", "--project", "p", "--spool", spool];
        [&own[..], &SHORTLY, &["--", "sh", "-c", "echo out; echo err >&2; exit 3"]].concat().join(" ")
    };
    // Of a file, below a file, on a device that is full, and beyond what a file may have.
    for (limit, spool) in [("", "plain"), ("", "plain/below"), ("", "/dev/full"), ("ulimit -f 0;", "kept")] {
        let program = env!("CARGO_BIN_EXE_sealstone");
        let script = format!("{limit} exec {program} {}", exec(spool));
        let script =
            script.replace("sh -c echo out; echo err >&2; exit 3", "sh -c 'echo out; echo err >&2; exit 3'");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).current_dir(place.path("")).env("XDG_DATA_HOME", place.path("data"));
        let ran = Ran::from(command.output().unwrap());
        assert_eq!((ran.status, ran.stdout.as_str()), (3, "out\n"), "{spool} {ran:?}");
        assert!(ran.stderr.starts_with("err\n") && ran.stderr.contains("are lost"), "{spool} {ran:?}");
    }
}

#[test]
fn a_home_that_cannot_be_written_to_changes_nothing_while_the_service_is_there() {
    let it = Reporting::start();
    for token in [&[][..], &["--token", "sst_t"]] {
        let run_id = format!("r{}", token.len());
        let mut command = it.exec(&run_id, token, "echo out; exit 3");
        command
            .env("XDG_DATA_HOME", "/proc/none")
            .env("XDG_STATE_HOME", "/proc/none")
            .env("HOME", "/proc/none");
        let ran = ran(command);
        assert_eq!((ran.status, ran.stdout.as_str()), (3, "out\n"), "{ran:?}");
        assert_eq!(it.run(&run_id)["result"], "failed");
    }
}

#[test]
fn what_the_service_refuses_is_told_and_set_aside() {
    let mut it = Reporting::start();
    it.open("r");
    let told = it.tell("p/r", &["step", "unit", "--status", "passed", "--kind", "test"]);
    assert_eq!(told.status, 0, "{told:?}");
    it.away();
    for step in [["unit", "failed"], ["more", "passed"]] {
        let told = it
            .tell("p/r", &["step", step[0], "--status", step[1], "--kind", "test", "--flush-timeout", "0s"]);
        assert_eq!((told.status, told.stdout.as_str()), (0, ""), "{told:?}");
        assert!(told.stderr.contains(".spool"), "{told:?}");
    }
    it.back();
    let flushed = it.flush();
    assert_eq!(flushed.status, 1, "{flushed:?}");
    assert!(flushed.stderr.contains("step unit") && flushed.stderr.contains("step_exists"), "{flushed:?}");
    assert_eq!(flushed.stdout, "1 of 2 files sent\n");
    assert_eq!((it.spooled("spool").len(), it.spooled("refused").len()), (0, 1));
    let listed = it.place.run(&["spool", "list"]).stdout;
    assert!(
        listed.contains("  refused\n") && listed.ends_with("nothing waits, 1 were refused\n"),
        "{listed}"
    );
    assert_eq!(it.steps("r").len(), 2);
    let again = it.flush();
    assert_eq!((again.status, again.stdout.as_str()), (0, "0 of 0 files sent\n"), "{again:?}");
}

#[test]
fn a_file_that_is_damaged_is_told_and_what_is_before_the_damage_is_sent() {
    let mut it = Reporting::start();
    while_away(&mut it, |it| it.exec("r", &SHORTLY, "echo out"));
    let file = it.spooled("spool").remove(0);
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let flushed = it.flush();
    assert!(flushed.status == 66 && flushed.stderr.contains("is damaged"), "{flushed:?}");
    assert!(it.is_there("r"));
    assert_eq!((it.spooled("spool").len(), it.spooled("refused").len()), (0, 1));

    let name = it.place.path("state/sealstone/spool/00000000000001-aa.spool");
    for other in ["garbage\n", "{\"format\":\"sealstone.spool.v2\"}\n", ""] {
        fs::write(&name, other).unwrap();
        let flushed = it.place.run(&["spool", "flush", text(&name)]);
        assert!(flushed.status == 66 && flushed.stderr.contains("no spool file"), "{flushed:?}");
        assert!(name.exists());
    }
    let gone = it.place.run(&["spool", "flush", "nowhere.spool"]);
    assert_eq!(gone.status, 66, "{gone:?}");
}

#[test]
fn what_a_killed_reporter_left_is_sent_under_the_names_it_had() {
    let mut it = Reporting::start();
    it.open("r");
    assert_eq!(ran(it.step("p/r", &[], "echo first")).status, 0);
    let mut child =
        started(it.step("p/r", &[], "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; sleep 20"));
    it.wait_for_run("r", |run| run["pending_steps"][0]["step_id"] == "sh-2");
    wait_until("the first line", || it.log("r", "sh-2", 1) == "one\n");
    it.away();
    it.place.write("go", "");
    wait_until("a file", || !it.spooled("spooling").is_empty());
    sleep(Duration::from_millis(300));
    child.kill().unwrap();
    child.wait().unwrap();
    it.back();
    let flushed = it.flush();
    assert_eq!(flushed.status, 0, "{flushed:?}");
    assert_eq!((it.log("r", "sh", 1), it.log("r", "sh-2", 1)), ("first\n".into(), "one\ntwo\n".into()));
}

#[test]
fn a_pipeline_that_never_saw_the_service_is_there_once_it_is_sent() {
    let mut it = Reporting::start();
    it.away();
    let url = it.server.url();
    let open = ["run", "open", "--project", "p", "--run-id", "r", "--no-subject", "--flush-timeout", "0s"];
    let opened = it.place.run(&[&open[..], &["--server", &url]].concat());
    assert_eq!((opened.status, opened.stdout.trim()), (0, "p/r"), "{opened:?}");
    let run = opened.stdout.trim();
    for status in [1, 0] {
        let options = ["-q", "--step", "unit", "--flush-timeout", "0s"];
        assert_eq!(ran(it.step(run, &options, &format!("echo {status}; exit {status}"))).status, status);
    }
    let end = it.tell(run, &["finalize", "success", "--flush-timeout", "0s"]);
    assert_eq!((end.status, it.spooled("spool").len()), (0, 4), "{end:?}");
    it.back();
    let flushed = it.flush();
    assert_eq!(flushed.status, 0, "{flushed:?}");
    assert_eq!(it.run("r")["result"], "succeeded");
    assert_eq!(it.steps("r"), [("unit".into(), 1, "failed".into()), ("unit".into(), 2, "passed".into())]);
    assert_eq!((it.log("r", "unit", 1), it.log("r", "unit", 2)), ("1\n".into(), "0\n".into()));
}

#[test]
fn what_comes_after_the_end_of_a_run_is_in_one_run_that_names_it() {
    let mut it = Reporting::start();
    let opening = json!({ "project": "p", "run_id": "r", "labels": { "team": "core" },
        "intent": "why", "subject": { "commit_sha": "abc" }, "private": ["/run/intent"] });
    let opened = it.server.post("/v1/runs", &opening).json();
    it.away();
    // Two machines, and then the end of the run, each in a file of its own.
    let one = ran(it.step("p/r", &[&SHORTLY[..], &["--kind", "test"]].concat(), "echo one"));
    let two = ran(it.step("p/r", &[&SHORTLY[..], &["--spool", "other"]].concat(), "echo two"));
    let end = it.tell("p/r", &["finalize", "succeeded", "--flush-timeout", "0s"]);
    assert_eq!((one.status, two.status, end.status), (0, 0, 0), "{end:?}");
    it.back();
    assert_eq!(it.finalize("r", "failed"), 200);
    let files = it.spooled("spool");
    let copies: Vec<_> = files.iter().map(|path| (fs::read(path).unwrap(), path)).collect();

    let flushed = it.place.run(&["spool", "flush", text(&files[0])]);
    assert!(flushed.status == 0 && flushed.stderr.contains("p/r:rest"), "{flushed:?}");
    let flushed = it.place.run(&["spool", "flush", "--server", &it.server.url(), "--spool", "other"]);
    assert_eq!(flushed.status, 0, "{flushed:?}");
    let flushed = it.flush();
    assert_eq!(flushed.status, 0, "{flushed:?}");
    let check = || {
        let rest = it.run("r:rest");
        assert_eq!((&rest["state"], &rest["result"]), (&"sealed".into(), &"succeeded".into()));
        let run = &rest["envelope"]["run"];
        assert_eq!(run["links"], json!([{ "rel": "previous", "evidence_id": opened["evidence_id"] }]));
        assert_eq!((&run["labels"]["team"], &run["subject"]["commit_sha"]), (&"core".into(), &"abc".into()));
        let passed = |step: &str| (step.to_owned(), 1, "passed".to_owned());
        assert_eq!(it.steps("r:rest"), [passed("sh"), passed("sh-2")]);
        let steps = &rest["envelope"]["execution"]["steps"];
        assert_eq!((&steps[0]["kind"], &steps[1]["kind"]), (&"test".into(), &"command".into()));
        assert!(steps[1]["command"]["$withheld"].is_string(), "{steps}");
        assert_eq!(
            (it.log("r:rest", "sh", 1), it.log("r:rest", "sh-2", 1)),
            ("one\n".into(), "two\n".into())
        );
        assert!(it.steps("r").is_empty());
    };
    check();
    // As after a crash that forgot what was answered.
    copies.iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
    let again = it.flush();
    assert_eq!(again.status, 0, "{again:?}");
    check();
    assert!(!it.is_there("r:rest.2"));
    // And what comes after that end is in another.
    let late = ran(it.step("p/r", &[], "echo late"));
    assert!(late.status == 0 && late.stderr.contains("p/r:rest.2"), "{late:?}");
    assert_eq!(it.log("r:rest.2", "sh", 1), "late\n");
    assert_eq!(
        it.run("r:rest.2")["envelope"]["run"]["links"][0]["evidence_id"],
        it.run("r:rest")["evidence_id"]
    );
    check();
}

#[test]
fn a_run_that_is_closed_under_a_running_command_has_the_rest_from_where_it_was_cut() {
    let mut it = Reporting::start();
    it.open("r");
    it.place.write("made", "of the step");
    let script = "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; while [ ! -e go-on ]; do sleep 0.02; done; echo three";
    let options = ["--artifact", "made", "--flush-timeout", "1s"];
    let child = started(it.step("p/r", &options, script));
    it.wait_for_run("r", |run| run["pending_steps"][0]["step_id"] == "sh");
    wait_until("the first line", || it.log("r", "sh", 1) == "one\n");
    assert_eq!(it.finalize("r", "failed"), 200);
    it.place.write("go", "");
    wait_until("the rest", || it.is_there("r:rest") && it.log("r:rest", "sh", 1) == "two\n");
    // And away, so that the end is told by another.
    it.away();
    it.place.write("go-on", "");
    let ran = ended(child);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "one\ntwo\nthree\n"), "{ran:?}");
    it.back();
    assert_eq!(it.finalize("r:rest", "aborted"), 200);
    let flushed = it.flush();
    assert_eq!(flushed.status, 0, "{flushed:?}");
    assert_eq!(it.log("r", "sh", 1) + &it.log("r:rest", "sh", 1) + &it.log("r:rest.2", "sh", 1), ran.stdout);
    assert_eq!(it.steps("r:rest.2"), [("sh".into(), 1, "passed".into())]);
    assert_eq!(it.steps("r:rest"), [("sh".into(), 1, "incomplete".into())]);
    assert_eq!(it.run("r:rest.2")["envelope"]["artifacts"][0]["artifact_id"], "made");
}

#[test]
fn a_run_that_expired_while_something_waits_goes_on_in_another() {
    let mut it = Reporting::start();
    it.settle(&json!({ "idle_timeout": 1 }));
    it.away();
    let ran = ran(it.exec("r", &SHORTLY, "echo one; sleep 2; echo two"));
    assert_eq!(ran.status, 0, "{ran:?}");
    it.back();
    assert_eq!(it.flush().status, 0);
    assert_eq!(
        (it.run("r")["result"].clone(), it.log("r", "sh", 1)),
        ("succeeded".into(), "one\ntwo\n".into())
    );

    // An artifact stands in the run before, and what cites it comes after its end.
    it.open("s");
    it.place.write("made", "of the step");
    assert_eq!(it.tell("p/s", &["artifact", "made", "--id", "made"]).status, 0);
    it.wait_for_run("s", |run| run["state"] == "sealed");
    let told =
        it.tell("p/s", &["step", "late", "--status", "passed", "--kind", "test", "--artifact-id", "made"]);
    assert!(told.status == 0 && told.stderr.contains("p/s:rest"), "{told:?}");
    assert_eq!(it.steps("s:rest"), [("late".into(), 1, "passed".into())]);
}

const SECRET: &str = "hunter-7777";

/// What the reporter has on disk, and says, has no secret in it; nor, with `of_service`, what the service has.
fn assert_no_secret(place: &Place, told: &[&Ran], of_service: bool) {
    for ran in told {
        assert!(!ran.stderr.contains(SECRET), "{ran:?}");
    }
    let files = place.files_with(SECRET);
    let files: Vec<_> = files.iter().filter(|file| of_service || !file.contains("/records/")).collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn no_secret_is_in_any_file_of_a_reporter_whether_the_service_is_there_or_away() {
    let mut it = Reporting::start();
    it.settle(&json!({ "redact": [{ "rule_id": "word", "pattern": "hunter-[0-9]+" }] }));
    let (label, intent) = (format!("key={SECRET}"), format!("with {SECRET}"));
    let private = ["/run/labels/key", "/run/intent", "/execution/steps/*/command"];
    let private = private.map(|pointer| ["--private", pointer]).concat();
    let options =
        [&["--label", &label, "--intent", &intent, "--token", SECRET][..], &private, &SHORTLY].concat();
    let script = format!("echo {SECRET}; test {SECRET}");
    let up = ran(it.exec("up", &options, &script));
    assert_no_secret(&it.place, &[&up], true);
    it.away();
    let away = ran(it.exec("away", &options, &script));
    assert_eq!((up.status, away.status, it.spooled("spool").len()), (0, 0, 1), "{up:?} {away:?}");
    assert_no_secret(&it.place, &[&away], true);
    it.back();
    let flushed = it.place.run(&["spool", "flush", "--server", &it.server.url(), "--token", SECRET]);
    assert_eq!(flushed.status, 0, "{flushed:?}");
    assert_no_secret(&it.place, &[&flushed], true);
    for run_id in ["up", "away"] {
        let run = it.run(run_id)["envelope"].clone();
        for withheld in
            [&run["run"]["labels"]["key"], &run["run"]["intent"], &run["execution"]["steps"][0]["command"]]
        {
            assert!(withheld["$withheld"].is_string(), "{run_id} {run}");
        }
        assert_eq!(it.log(run_id, "sh", 1).matches("***********").count(), 1);
    }
}

#[test]
fn what_a_run_withholds_is_withheld_in_its_remainder_too() {
    let mut it = Reporting::start();
    let private = ["--private", "/run/labels/key", "--private", "/execution/steps/*/message"];
    let label = format!("key={SECRET}");
    let options = [&["--label", &label, "--label", "team=core", "--grace", "5s"][..], &private].concat();
    let child = started(it.exec("r", &options, "exec sleep 20"));
    it.wait_for_run("r", |run| run["pending_steps"][0]["step_id"] == "sh");
    assert_eq!(it.tell("p/r", &["abort", "--force"]).status, 0);
    let ran = ended(child);
    assert_eq!(ran.status, 143, "{ran:?}");
    it.away();
    it.back();
    let rest = it.run("r:rest")["envelope"].clone();
    assert_eq!(rest["run"]["labels"], json!({ "team": "core" }));
    assert!(rest["execution"]["steps"][0]["message"]["$withheld"].is_string(), "{rest}");
    assert_no_secret(&it.place, &[&ran], false);
}
