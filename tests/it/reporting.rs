//! `exec --server` and `run …`: who watches sees it live, who asks it to stop is heard, and no build breaks by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::place::{Place, Ran};
use crate::server::Server;
use crate::sse::Stream;

/// A service, and who reports to it, in one place.
pub(crate) struct Reporting {
    pub(crate) place: Place,
    pub(crate) server: Server,
}

impl Reporting {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        let place = Place::new();
        let server = Server::start(&place, arguments);
        Self { place, server }
    }

    /// `exec` with a run of its own, `p/RUN_ID`.
    pub(crate) fn exec(&self, run_id: &str, options: &[&str], script: &str) -> std::process::Command {
        let url = self.server.url();
        let own = ["exec", "--server", &url, "--project", "p", "--run-id", run_id];
        self.place.command(&[&own[..], options, &["--", "sh", "-c", script]].concat())
    }

    /// `exec` as a step of a run.
    pub(crate) fn step(&self, run: &str, options: &[&str], script: &str) -> std::process::Command {
        let url = self.server.url();
        let own = ["exec", "--server", &url, "--run", run];
        self.place.command(&[&own[..], options, &["--", "sh", "-c", script]].concat())
    }

    /// `run …`
    pub(crate) fn tell(&self, run: &str, arguments: &[&str]) -> Ran {
        let url = self.server.url();
        self.place.run(&[&["run"][..], arguments, &["--run", run, "--server", &url]].concat())
    }

    pub(crate) fn settle(&self, settings: &Value) {
        let headers = [("Content-Type", "application/json")];
        let answer = self.server.request("PUT", "/v1/projects/p", &headers, settings.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.json());
    }

    pub(crate) fn away(&mut self) {
        self.server.kill();
    }

    /// Back at the same address.
    pub(crate) fn back(&mut self) {
        let address = self.server.address.clone();
        self.server = Server::start(&self.place, &["--listen", &address]);
    }

    /// Opens a run `p/RUN_ID`; its evidence_id.
    pub(crate) fn open(&self, run_id: &str) -> String {
        let opened = self.server.post("/v1/runs", &json!({ "project": "p", "run_id": run_id }));
        assert_eq!(opened.status, 201, "{opened:?}");
        opened.json()["evidence_id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn finalize(&self, run_id: &str, result: &str) -> u16 {
        self.server
            .post(&format!("/v1/runs/{run_id}/finalize?project=p"), &json!({ "result": result }))
            .status
    }

    pub(crate) fn run(&self, run_id: &str) -> Value {
        self.server.get(&format!("/v1/runs/{run_id}?project=p")).json()
    }

    pub(crate) fn is_there(&self, run_id: &str) -> bool {
        self.server.get(&format!("/v1/runs/{run_id}?project=p")).status == 200
    }

    /// The steps of a run by name, attempt and status.
    pub(crate) fn steps(&self, run_id: &str) -> Vec<(String, u64, String)> {
        let run = self.run(run_id);
        let steps = run["envelope"]["execution"]["steps"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let told = |step: &Value| {
            (text(&step["step_id"]), step["attempt"].as_u64().unwrap_or(1), text(&step["status"]))
        };
        steps.iter().map(told).collect()
    }

    pub(crate) fn wait_for_run(&self, run_id: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.server
            .wait_until(&format!("/v1/runs/{run_id}?project=p"), |run| run["run_id"] == run_id && is(run))
    }

    /// The exact bytes of a log.
    pub(crate) fn log(&self, run_id: &str, step_id: &str, attempt: u64) -> String {
        let path = format!("/v1/runs/{run_id}/logs?project=p&step_id={step_id}&attempt={attempt}");
        let answer = self.server.get(&path);
        if answer.status == 200 { String::from_utf8(answer.body).unwrap() } else { String::new() }
    }

    /// The files in the spool, by their extension.
    pub(crate) fn spooled(&self, extension: &str) -> Vec<std::path::PathBuf> {
        spooled_in(&self.place.path("state/sealstone/spool"), extension)
    }

    pub(crate) fn flush(&self) -> Ran {
        self.place.run(&["spool", "flush", "--server", &self.server.url()])
    }
}

pub(crate) fn spooled_in(directory: &std::path::Path, extension: &str) -> Vec<std::path::PathBuf> {
    let found = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = found.filter(|path| path.extension().is_some_and(|is| is == extension)).collect();
    found.sort();
    found
}

pub(crate) fn ran(mut command: std::process::Command) -> Ran {
    Ran::from(command.output().unwrap())
}

pub(crate) fn started(mut command: std::process::Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn ended(child: Child) -> Ran {
    Ran::from(child.wait_with_output().unwrap())
}

pub(crate) fn wait_until(what: &str, is: impl Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what} does not come");
        sleep(Duration::from_millis(20));
    }
}

const UNTIL_GO: &str = "while [ ! -e go ]; do sleep 0.02; done";

#[test]
fn who_watches_sees_a_step_begin_and_its_lines_before_it_ends() {
    let it = Reporting::start();
    let mut child =
        started(it.exec("r", &[], &format!("echo one; {UNTIL_GO}; echo two; echo err >&2; exit 3")));
    it.wait_for_run("r", |_| true);
    let mut events = Stream::open(&it.server, "/v1/runs/r/events?project=p", &[]);
    assert_eq!(events.next_named("step_started").data["step_id"], "sh");
    let mut lines = Stream::open(&it.server, "/v1/runs/r/logs/stream?project=p&from=0", &[]);
    assert_eq!(lines.next_named("log").data["text"], "one");
    assert!(child.try_wait().unwrap().is_none(), "it is over already");
    it.place.write("go", "");
    let ran = ended(child);
    assert_eq!((ran.status, ran.stdout.as_str()), (3, "one\ntwo\n"), "{ran:?}");
    assert!(ran.stderr.contains("sealed"), "{ran:?}");
    assert_eq!(events.next_named("run_failed").data["result"], "failed");
    let run = it.run("r");
    assert_eq!((&run["state"], &run["result"]), (&"sealed".into(), &"failed".into()));
    assert_eq!(run["envelope"]["execution"]["steps"][0]["exit_code"], 3);
    assert!(it.spooled("spool").is_empty() && it.spooled("spooling").is_empty());
}

#[test]
fn logs_are_complete_and_each_stream_is_in_its_order() {
    let it = Reporting::start();
    let script = "i=0; while [ $i -lt 2000 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; printf rest";
    let ran = ran(it.exec("r", &["--quiet"], script));
    assert_eq!(ran.status, 0, "{ran:?}");
    let (mut from, mut lines) = (0, BTreeMap::<String, Vec<String>>::new());
    loop {
        let page = it.server.get(&format!("/v1/runs/r/logs?project=p&from={from}&limit=1000")).body;
        let page: Vec<Value> = page
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let Some(last) = page.last() else { break };
        from = last["log_pos"].as_u64().unwrap() + 1;
        for line in &page {
            let stream = line["stream"].as_str().unwrap().to_owned();
            lines.entry(stream).or_default().push(line["text"].as_str().unwrap().to_owned());
        }
    }
    let all = |name: &str| (0..2000).map(|i| format!("{name} {i}")).collect::<Vec<_>>();
    assert_eq!(lines["stderr"], all("err"));
    assert_eq!(lines["stdout"], [all("out"), vec!["rest".into()]].concat());
    assert_eq!(it.log("r", "sh", 1).len(), ran.stdout.len() + ran.stderr.len());
}

#[test]
fn what_a_rule_of_the_project_matches_is_in_no_file_anywhere() {
    let it = Reporting::start();
    it.settle(&json!({ "redact": [{ "rule_id": "word", "pattern": "hunter-[0-9]+" }] }));
    let ran =
        ran(it.exec("r", &["--intent", "say hunter-7777"], "echo a hunter-7777 b; echo hunter-7777 >&2"));
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "a hunter-7777 b\n"));
    assert_eq!(it.log("r", "sh", 1).matches("***********").count(), 2);
    assert_eq!(it.place.files_with("hunter-7777"), Vec::<String>::new());
}

#[test]
fn a_command_that_says_nothing_gives_signs_of_life() {
    let it = Reporting::start();
    it.settle(&json!({ "idle_timeout": 2 }));
    let own = started(it.exec("own", &[], "sleep 5"));
    it.open("joined");
    let joined = started(it.step("p/joined", &[], "sleep 5"));
    for child in [own, joined] {
        let ran = ended(child);
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    assert_eq!(it.run("own")["result"], "succeeded");
    assert_eq!(it.run("joined")["state"], "open");
    assert_eq!(it.steps("joined"), [("sh".into(), 1, "passed".into())]);
    assert!(!it.is_there("own:rest") && !it.is_there("joined:rest"));
}

#[test]
fn who_asks_a_run_to_stop_ends_its_command() {
    let it = Reporting::start();
    let child = started(it.exec("r", &[], "echo begun; exec sleep 30"));
    it.wait_for_run("r", |run| run["pending_steps"][0]["step_id"] == "sh");
    assert_eq!(it.tell("p/r", &["abort", "--reason", "enough"]).status, 0);
    let ran = ended(child);
    assert_eq!((ran.status, ran.stdout.as_str()), (143, "begun\n"), "{ran:?}");
    let run = it.run("r");
    assert_eq!((&run["state"], &run["result"]), (&"sealed".into(), &"aborted".into()));
    assert_eq!(it.steps("r"), [("sh".into(), 1, "canceled".into())]);
    let step = &run["envelope"]["execution"]["steps"][0];
    assert!(step["message"].as_str().unwrap().contains("asked to end"), "{step}");
}

#[test]
fn a_run_that_is_aborted_by_force_ends_its_command_too() {
    let it = Reporting::start();
    let child = started(it.exec("r", &[], "exec sleep 30"));
    it.wait_for_run("r", |run| run["pending_steps"][0]["step_id"] == "sh");
    assert_eq!(it.tell("p/r", &["abort", "--force"]).status, 0);
    let ran = ended(child);
    assert_eq!(ran.status, 143, "{ran:?}");
    assert_eq!(it.run("r")["result"], "aborted");
    assert_eq!(it.steps("r:rest"), [("sh".into(), 1, "canceled".into())]);
    let rest = it.run("r:rest");
    assert_eq!((&rest["state"], &rest["result"]), (&"sealed".into(), &"aborted".into()));
    assert!(ran.stderr.contains("r:rest"), "{ran:?}");
}

#[test]
fn a_command_that_does_not_heed_is_killed_after_the_grace() {
    let it = Reporting::start();
    let script = "trap '' TERM; while :; do sleep 0.05; done";
    let child = started(it.exec("r", &["--grace", "300ms"], script));
    it.wait_for_run("r", |run| run["pending_steps"][0]["step_id"] == "sh");
    let began = Instant::now();
    assert_eq!(it.tell("p/r", &["abort"]).status, 0);
    let ran = ended(child);
    assert_eq!(ran.status, 137, "{ran:?}");
    assert!(began.elapsed() < Duration::from_secs(8), "the grace is not heeded");
    assert_eq!(it.run("r")["result"], "aborted");
    assert_eq!(it.steps("r"), [("sh".into(), 1, "canceled".into())]);
}

#[test]
fn an_abort_cancels_the_step_of_a_joined_run_which_stays_open_to_who_finalizes_it() {
    let it = Reporting::start();
    it.open("r");
    let child = started(it.step("p/r", &[], "exec sleep 30"));
    it.wait_for_run("r", |run| run["pending_steps"][0]["step_id"] == "sh");
    assert_eq!(it.tell("p/r", &["abort"]).status, 0);
    assert_eq!(ended(child).status, 143);
    assert_eq!(it.run("r")["state"], "open");
    assert_eq!(it.steps("r"), [("sh".into(), 1, "canceled".into())]);
    assert_eq!(it.tell("p/r", &["finalize", "cancelled"]).status, 0);
    assert_eq!(it.run("r")["result"], "aborted");
}

#[test]
fn many_commands_at_once_are_as_many_steps_each_with_its_log() {
    let it = Reporting::start();
    it.open("r");
    let script = |n: usize| format!("echo begin {n}; sleep 0.2; echo end {n}; exit {n}");
    let children: Vec<_> = (0..10).map(|n| started(it.step("p/r", &["-q"], &script(n)))).collect();
    for (n, child) in children.into_iter().enumerate() {
        let ran = ended(child);
        assert_eq!((ran.status, ran.stdout), (n as i32, format!("begin {n}\nend {n}\n")), "{}", ran.stderr);
    }
    let run = it.run("r");
    let steps = run["envelope"]["execution"]["steps"].as_array().unwrap();
    let names: BTreeSet<&str> = steps.iter().map(|step| step["step_id"].as_str().unwrap()).collect();
    let expected: BTreeSet<String> =
        (1..=10).map(|n| if n == 1 { "sh".into() } else { format!("sh-{n}") }).collect();
    assert_eq!(names, expected.iter().map(String::as_str).collect());
    for step in steps {
        let (id, n) = (step["step_id"].as_str().unwrap(), step["exit_code"].as_u64().unwrap());
        assert_eq!(it.log("r", id, 1), format!("begin {n}\nend {n}\n"), "{id}");
    }
}

/// The attempts of a step: number, status, exit code, and the log.
fn attempts(it: &Reporting, run_id: &str, step_id: &str) -> Vec<(u64, String, Option<u64>, String)> {
    let run = it.run(run_id);
    let steps = run["envelope"]["execution"]["steps"].as_array().unwrap().iter();
    let of_step = steps.filter(|step| step["step_id"] == step_id);
    of_step
        .map(|step| {
            let attempt = step["attempt"].as_u64().unwrap_or(1);
            let status = step["status"].as_str().unwrap().to_owned();
            (attempt, status, step["exit_code"].as_u64(), it.log(run_id, step_id, attempt))
        })
        .collect()
}

#[test]
fn the_same_step_again_is_its_next_attempt() {
    let it = Reporting::start();
    it.open("r");
    for n in [1, 2, 0] {
        let ran = ran(it.step("p/r", &["--step", "unit"], &format!("echo {n}; exit {n}")));
        assert_eq!(ran.status, n, "{ran:?}");
    }
    let expected = [(1, "failed", 1), (2, "failed", 2), (3, "passed", 0)]
        .map(|(attempt, status, code)| (attempt, status.into(), Some(code), format!("{code}\n")));
    assert_eq!(attempts(&it, "r", "unit"), expected);
}

#[test]
fn each_attempt_has_its_artifacts_and_what_its_tests_said() {
    let it = Reporting::start();
    it.open("r");
    let options = ["--step", "unit", "--artifact", "made", "--junit", "report.xml"];
    for n in 1..=3 {
        let test = |n: u32| format!(r#"<testcase name="a"><failure message="no {n}"/></testcase>"#);
        let xml = format!(r#"<testsuite name="s">{}</testsuite>"#, test(n));
        let script = format!("echo {n} > made; echo '{xml}' > report.xml; exit 1");
        let ran = ran(it.step("p/r", &options, &script));
        assert!(ran.status == 1 && !ran.stderr.contains("refused"), "{ran:?}");
    }
    let run = it.run("r")["envelope"].clone();
    let ids =
        |value: &Value| value.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    let cited: Vec<BTreeSet<String>> =
        run["execution"]["steps"].as_array().unwrap().iter().map(|step| ids(&step["artifact_ids"])).collect();
    let expected = ["", "-2", "-3"].map(|end| ["made", "report.xml"].map(|id| format!("{id}{end}")).into());
    assert_eq!(cited, expected);
    assert_eq!(run["artifacts"].as_array().unwrap().len(), 6);
    let basis: Vec<BTreeSet<String>> = run["observations"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|observation| observation["name"] == "junit.failed_test")
        .map(|observation| ids(&observation["basis_artifact_ids"]))
        .collect();
    assert_eq!(basis, ["", "-2", "-3"].map(|end| BTreeSet::from([format!("report.xml{end}")])));
}

#[test]
fn attempts_of_one_step_at_once_are_all_recorded_with_all_that_they_wrote() {
    let it = Reporting::start();
    it.open("r");
    let script = |n: usize| format!("echo begin {n}; sleep 0.{n}; echo end {n}; exit {n}");
    let children: Vec<_> =
        (1..=5).rev().map(|n| (n, started(it.step("p/r", &["-q", "--step", "unit"], &script(n))))).collect();
    for (n, child) in children {
        let ran = ended(child);
        assert_eq!((ran.status, ran.stderr.as_str()), (n as i32, ""), "{n}");
    }
    let attempts = attempts(&it, "r", "unit");
    let codes: BTreeSet<u64> = attempts.iter().filter_map(|(_, _, code, _)| *code).collect();
    assert_eq!(codes, (1..=5).collect(), "{attempts:?}");
    let logs: String = attempts.iter().map(|(_, _, _, log)| log.as_str()).collect();
    for n in 1..=5 {
        for line in [format!("begin {n}\n"), format!("end {n}\n")] {
            assert_eq!(logs.matches(&line).count(), 1, "{line} {attempts:?}");
        }
        let own = attempts.iter().find(|(_, _, code, _)| *code == Some(n)).unwrap();
        assert!(own.3.ends_with(&format!("end {n}\n")), "{attempts:?}");
    }
}

#[test]
fn a_gate_is_told_and_waits_over_a_restart_of_the_service() {
    let mut it = Reporting::start();
    it.open("r");
    let url = it.server.url();
    for (gate_id, answer, status) in [("ship", "--approve", 0), ("more", "--reject", 2)] {
        let gate = ["run", "gate", gate_id, "--reason", "ship it?", "--wait", "30s", "--run", "p/r"];
        let child = started(it.place.command(&[&gate[..], &["--server", &url]].concat()));
        it.wait_for_run("r", |run| run["needs_input"] == true);
        it.away();
        sleep(Duration::from_millis(300));
        it.back();
        let answered = it.tell("p/r", &["gate", gate_id, answer]);
        assert_eq!(answered.status, 0, "{answered:?}");
        let ran = ended(child);
        assert_eq!(ran.status, status, "{ran:?}");
        assert!(ran.stderr.contains("waiting for an answer") && ran.stderr.contains("ship it?"), "{ran:?}");
    }
    let unanswered = it.tell("p/r", &["gate", "--reason", "hm?", "--wait", "1s"]);
    assert_eq!(unanswered.status, 2, "{unanswered:?}");
}

#[test]
fn nobody_can_be_asked_while_the_service_is_away() {
    let ran =
        Place::new().run(&["run", "gate", "--reason", "ok?", "--run", "r", "--server", "http://127.0.0.1:1"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (69, ""), "{ran:?}");
    assert!(ran.stderr.contains("the service does not answer"), "{ran:?}");
}

#[test]
fn evidence_that_is_required_and_not_with_the_service_is_125() {
    let place = Place::new();
    let exec = |options: &[&str]| {
        let own = ["exec", "--server", "http://127.0.0.1:1", "--project", "p", "--flush-timeout", "300ms"];
        place.run(&[&own[..], options, &["--", "sh", "-c", "echo out; exit 3"]].concat())
    };
    let told = exec(&[]);
    assert_eq!((told.status, told.stdout.as_str()), (3, "out\n"), "{told:?}");
    assert!(told.stderr.contains(".spool") && told.stderr.contains("spool flush"), "{told:?}");
    let quiet = exec(&["--quiet"]);
    assert_eq!((quiet.status, quiet.stdout.as_str(), quiet.stderr.as_str()), (3, "out\n", ""));
    let required = exec(&["--require-evidence"]);
    assert_eq!((required.status, required.stdout.as_str()), (125, "out\n"), "{required:?}");
}

#[test]
fn a_copy_of_what_the_service_sealed_verifies() {
    let it = Reporting::start();
    let ran = ran(it.exec("r", &["--out", "out.json"], "echo x"));
    assert_eq!(ran.status, 0, "{ran:?}");
    it.place.write("keys.json", it.server.get("/v1/keys").body);
    assert_eq!(it.place.run(&["verify", "out.json", "--keys", "keys.json"]).status, 0);
}

#[test]
fn a_run_that_nobody_knows_does_not_keep_the_command_from_running() {
    let it = Reporting::start();
    let ran = ran(it.step("p/nobody", &["--flush-timeout", "5s"], "echo out; exit 4"));
    assert_eq!((ran.status, ran.stdout.as_str()), (4, "out\n"), "{ran:?}");
    assert!(ran.stderr.contains("run_not_found"), "{ran:?}");
    assert!(!it.is_there("nobody"));
    // Once there is one, what waits for it is sent.
    it.open("nobody");
    assert_eq!(it.flush().status, 0);
    assert_eq!(it.steps("nobody"), [("sh".into(), 1, "failed".into())]);
}

#[test]
fn what_only_the_reporter_needs_does_not_keep_a_command_from_running() {
    let it = Reporting::start();
    let exec = |name: &str, value: &str, options: &[&str]| {
        let mut command = it.exec("r", options, "echo out; exit 3");
        command.env(name, value);
        ran(command)
    };
    assert!(std::process::Command::new("mkfifo").arg(it.place.path("fifo")).status().unwrap().success());
    for (name, value) in
        [("SEALSTONE_CA", "/nope"), ("SEALSTONE_CA", "fifo"), ("SEALSTONE_TOKEN", "a\u{e9}b")]
    {
        let alone = exec(name, value, &[]);
        assert_eq!((alone.status, alone.stdout.as_str()), (3, "out\n"), "{alone:?}");
        assert!(alone.stderr.contains("no evidence of this run"), "{alone:?}");
        let required = exec(name, value, &["--require-evidence"]);
        assert_eq!((required.status, required.stdout.as_str()), (125, ""), "{required:?}");
    }
    assert!(!it.is_there("r"));
    let trimmed = exec("SEALSTONE_TOKEN", "sst_t\n", &["--log", "fifo"]);
    assert_eq!((trimmed.status, it.run("r")["result"].clone()), (3, "failed".into()), "{trimmed:?}");
    assert!(trimmed.stderr.contains("cannot write the log"), "{trimmed:?}");
}

#[test]
fn a_gate_is_not_opened_before_what_was_reported_before_it() {
    let it = Reporting::start();
    it.open("r");
    it.place.write("not-there", "");
    // Written with a token that is lost.
    let spool = it.place.path("state/sealstone/spool");
    let away = Place::new();
    let lost = ["exec", "--server", "http://127.0.0.1:1", "--token", "sst_lost", "--run", "p/r", "-q"];
    let mut command = away.command(&[&lost[..], &["--flush-timeout", "0s", "--", "true"]].concat());
    assert!(command.env("SEALSTONE_SPOOL", &spool).status().unwrap().success());
    let file = it.spooled("spool").remove(0);
    let text = fs::read(&file).unwrap();
    let end = text.iter().position(|byte| *byte == b'\n').unwrap();
    let header = String::from_utf8(text[..end].to_vec()).unwrap();
    let header = header.replace("http://127.0.0.1:1/", &format!("{}/", it.server.url()));
    fs::write(&file, [header.as_bytes(), &text[end..]].concat()).unwrap();
    let asked = it.tell("p/r", &["gate", "--reason", "ship it?", "--wait", "0s"]);
    assert!(asked.status == 69 && asked.stderr.contains(file.to_str().unwrap()), "{asked:?}");
    assert_eq!(it.run("r")["needs_input"], false);
    fs::remove_file(&file).unwrap();
    assert_eq!(it.tell("p/r", &["gate", "--reason", "ship it?", "--wait", "0s"]).status, 0);
}

#[test]
fn a_signal_while_artifacts_are_read_ends_soon_and_loses_nothing() {
    let it = Reporting::start();
    fs::File::create(it.place.path("large")).unwrap().set_len(3 << 30).unwrap();
    let options = ["--artifact", "large", "--artifact", "other=large"];
    let child = started(it.exec("r", &options, "exit 3"));
    it.wait_for_run("r", |run| run["pending_steps"][0]["step_id"] == "sh");
    sleep(Duration::from_millis(500));
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let ran = ended(child);
    assert!(ran.status == 3 && ran.stderr.contains("a signal came first"), "{ran:?}");
    assert_eq!(it.flush().status, 0);
    assert_eq!(it.run("r")["result"], "failed");
}

#[test]
fn variables_that_are_empty_are_none() {
    let it = Reporting::start();
    let names = [
        "SERVER",
        "TOKEN",
        "CA",
        "RUN",
        "PROJECT",
        "SPOOL",
        "SPOOL_LIMIT",
        "FLUSH_TIMEOUT",
        "KEY",
        "CONFIG",
        "GRACE",
    ];
    let mut local = it.place.command(&["exec", "--out", "here.json", "--label", "a=b", "--", "true"]);
    let mut remote = it.exec("r", &["--label", "a=b"], "true");
    remote.env_clear().envs(std::env::vars().filter(|(name, _)| !name.starts_with("SEALSTONE_")));
    for command in [&mut local, &mut remote] {
        command.env("XDG_STATE_HOME", it.place.path("state")).env("XDG_DATA_HOME", it.place.path("data"));
        names.iter().for_each(|name| {
            command.env(format!("SEALSTONE_{name}"), "");
        });
    }
    let (local, remote) = (ran(local), ran(remote));
    assert_eq!((local.status, remote.status), (0, 0), "{local:?} {remote:?}");
    assert!(it.place.path("here.json").exists());
    assert_eq!(it.run("r")["labels"]["a"], "b");
}

#[test]
fn the_service_may_stand_in_the_file_of_options() {
    let it = Reporting::start();
    let config = format!("server = \"{}\"\n[exec]\nproject = \"p\"\nspool = \"kept\"\n", it.server.url());
    it.place.write("sealstone.toml", config);
    assert_eq!(it.place.run(&["exec", "--run-id", "r", "--", "true"]).status, 0);
    assert_eq!(it.run("r")["state"], "sealed");
}

#[test]
fn what_a_command_left_behind_writes_after_its_end_is_of_no_run() {
    let it = Reporting::start();
    let behind = "timeout 6 sh -c 'while :; do seq 1 200; done' & echo mine";
    let ran = ended(started(it.exec("r", &[], behind)));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(it.run("r")["result"], "succeeded");
    assert!(!it.is_there("r:rest"), "{}", ran.stderr);
    let message = it.run("r")["envelope"]["execution"]["steps"][0]["message"].to_string();
    assert!(message.contains("held its output open"), "{message}");
}
