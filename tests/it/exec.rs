//! `sealstone exec`: the build's output and exit status are those it had alone, and what it did is sealed.

use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::place::{Place, Ran, text};

/// The envelope in this file, once it is verified by the key that made it and held against its schema.
fn envelope(place: &Place, file: &str) -> Value {
    let keyring = place.keyring();
    let ran = place.run(&["verify", file, "--keys", text(&keyring)]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let bytes = fs::read(place.path(file)).unwrap();
    crate::schemas::assert_sealed_envelope(&bytes);
    serde_json::from_slice::<Value>(&bytes).unwrap()["envelope"].clone()
}

fn exec(place: &Place, options: &[&str], command: &[&str]) -> (Ran, Value) {
    let ran = place.run(&[&["exec", "--out", "out.json"], options, &["--"], command].concat());
    (ran, envelope(place, "out.json"))
}

#[test]
fn output_and_status_are_passed_on_and_the_run_is_sealed() {
    let place = Place::new();
    let script = "echo err >&2; sleep 0.3; echo out; printf 'no line feed'; exit 7";
    let options = [
        "--step",
        "unit/a",
        "--kind",
        "test",
        "--project",
        "acme/widget",
        "--label",
        "team=core",
        "--log",
        "kept.log",
        "--intent",
        "try it",
        "--run-id",
        "r-1",
        "--quiet",
    ];
    let (ran, envelope) = exec(&place, &options, &["sh", "-c", script]);
    assert_eq!((ran.status, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\nno line feed", "err\n"));
    let (run, step) = (&envelope["run"], &envelope["execution"]["steps"][0]);
    assert_eq!(
        (&run["project"], &run["run_id"], &run["labels"]["team"]),
        (&"acme/widget".into(), &"r-1".into(), &"core".into())
    );
    assert_eq!(
        (&step["step_id"], &step["kind"], &step["status"]),
        (&"unit/a".into(), &"test".into(), &"failed".into())
    );
    assert_eq!((&step["exit_code"], &envelope["outcome"]["result"]), (&7.into(), &"failed".into()));
    let log = fs::read(place.path("kept.log")).unwrap();
    assert_eq!((log.len(), &step["log"]["bytes"], &step["log"]["lines"]), (20, &20.into(), &3.into()));
    let keyring = place.keyring();
    let given = format!("log:unit/a#1={}", text(&place.path("kept.log")));
    assert_eq!(place.run(&["verify", "out.json", "--keys", text(&keyring), "--artifact", &given]).status, 0);
}

#[test]
fn the_command_is_withheld_unless_said_otherwise_and_a_pack_does_not_show_it() {
    let place = Place::new();
    let (_, sealed) = exec(&place, &[], &["echo", "hunter2"]);
    assert!(sealed["execution"]["steps"][0]["command"]["$withheld"].is_string());
    assert!(!sealed.to_string().contains("hunter2"));
    assert!(fs::read_to_string(place.path("out.json")).unwrap().contains("hunter2"));
    let pack = place.run(&["pack", "out.json", "--out", "pack.json"]);
    assert_eq!(pack.status, 0);
    assert!(!fs::read_to_string(place.path("pack.json")).unwrap().contains("hunter2"));
    envelope(&place, "pack.json");

    let (_, sealed) = exec(&place, &["--private", "/run/labels", "--label", "a=secret"], &["echo", "x"]);
    assert_eq!(sealed["execution"]["steps"][0]["command"], serde_json::json!(["echo", "x"]));
    assert!(sealed["run"]["labels"]["$withheld"].is_string());
    let ran = place.run(&["exec", "--private", "/run/project", "--", "touch", "ran"]);
    assert!(ran.status == 64 && !place.path("ran").exists(), "{ran:?}");
}

#[test]
fn what_is_named_to_be_private_is_a_commitment_and_kept_nowhere() {
    let place = Place::new();
    let options = ["--private", "/execution/steps/*/command", "--private", "/run/labels/key"];
    let (ran, sealed) =
        exec(&place, &[&options[..], &["--label", "key=hunter2"]].concat(), &["test", "hunter2"]);
    assert_eq!((ran.status, place.files_with("hunter2")), (0, vec![]));
    assert!(sealed["execution"]["steps"][0]["command"]["$withheld"].is_string());
    assert!(sealed["run"]["labels"]["key"]["$withheld"].is_string());
    let keyring = place.keyring();
    let verified = place.run(&["verify", "out.json", "--json", "--keys", text(&keyring)]);
    let report: Value = serde_json::from_str(&verified.stdout).unwrap();
    let told = (&report["verdict"], &report["withheld"], &report["axes"]["disclosure"]);
    assert_eq!(told, (&"verified".into(), &2.into(), &"not_checked".into()));
}

#[test]
fn a_command_that_cannot_be_started_is_a_sealed_failure() {
    let place = Place::new();
    place.write("plain", "no program");
    for (command, status) in [("./nowhere", 127), ("./plain", 126)] {
        let (ran, envelope) = exec(&place, &[], &[command]);
        assert_eq!(ran.status, status, "{ran:?}");
        assert!(ran.stderr.contains("cannot run"), "{ran:?}");
        assert_eq!(envelope["outcome"]["result"], "failed");
        assert_eq!(envelope["execution"]["steps"][0]["exit_code"], status);
    }
}

#[test]
fn a_command_that_dies_of_a_signal_gives_128_and_the_signal() {
    let place = Place::new();
    let (ran, envelope) = exec(&place, &[], &["sh", "-c", "kill -9 $$"]);
    assert_eq!(ran.status, 137);
    assert_eq!(envelope["execution"]["steps"][0]["exit_code"], Value::Null);
    assert_eq!(envelope["outcome"]["result"], "failed");
}

#[test]
fn a_signal_ends_the_command_and_the_run_is_sealed_as_aborted() {
    for (signal, trap, status) in [
        ("TERM", "", 143),
        ("INT", "trap 'exit 5' INT;", 5),
        ("HUP", "", 129),
        ("QUIT", "trap 'exit 6' QUIT;", 6),
    ] {
        let place = Place::new();
        let script = format!("{trap} touch ready; while :; do sleep 0.05; done");
        let mut child = place.command(&["exec", "--out", "out.json", "--", "sh", "-c", &script]);
        let child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&place, "ready");
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!(ran.status, status, "{signal}");
        let envelope = envelope(&place, "out.json");
        assert_eq!(envelope["outcome"]["result"], "aborted", "{signal}");
        assert_eq!(envelope["execution"]["steps"][0]["status"], "canceled", "{signal}");
    }
}

#[test]
fn a_signal_that_does_not_ask_for_the_end_is_the_commands_own() {
    let place = Place::new();
    let script = "trap 'exit 9' USR1; touch ready; while :; do sleep 0.05; done";
    let mut child = place.command(&["exec", "--out", "out.json", "--", "sh", "-c", script]);
    let child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&place, "ready");
    assert!(Command::new("kill").args(["-s", "USR1", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(Ran::from(child.wait_with_output().unwrap()).status, 9);
    assert_eq!(envelope(&place, "out.json")["outcome"]["result"], "failed");
}

#[test]
fn output_that_cannot_be_passed_on_is_told() {
    let place = Place::new();
    let mut command = place.command(&["exec", "--out", "out.json", "--", "echo", "hi"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = Ran::from(command.stdout(full).output().unwrap());
    assert!(ran.stderr.contains("could not all be passed on"), "{ran:?}");
    let envelope = envelope(&place, "out.json");
    let message = envelope["execution"]["steps"][0]["message"].as_str().unwrap();
    assert!(message.contains("could not all be passed on"), "{message}");
}

#[test]
fn artifacts_are_recorded_by_digest_and_a_missing_one_is_told() {
    let place = Place::new();
    let options = [
        "--artifact",
        "dist/a.bin",
        "--artifact",
        "report=r.xml",
        "--artifact",
        "gone",
        "--artifact",
        "report=r.xml",
    ];
    let (ran, envelope) =
        exec(&place, &options, &["sh", "-c", "mkdir dist; printf a > dist/a.bin; printf r > r.xml"]);
    assert_eq!(ran.status, 0);
    assert!(ran.stderr.contains("artifact gone is not recorded"), "{ran:?}");
    assert!(ran.stderr.contains("artifact r.xml is not recorded"), "{ran:?}");
    let ids: Vec<&Value> =
        envelope["artifacts"].as_array().unwrap().iter().map(|a| &a["artifact_id"]).collect();
    assert_eq!(ids, ["dist/a.bin", "report"]);
    assert_eq!(
        envelope["execution"]["steps"][0]["artifact_ids"],
        serde_json::json!(["dist/a.bin", "report"])
    );
    let keyring = place.keyring();
    let ran = place.run(&["verify", "out.json", "--keys", text(&keyring), "--artifacts", "."]);
    assert!(ran.status == 0 && ran.stdout.contains("artifacts ✓"), "{ran:?}");
}

#[test]
fn the_subject_is_the_checkout_without_credentials() {
    let place = Place::new();
    let script = "git init -q . && git config user.email a@b && git config user.name a && git commit -q --allow-empty -m x \
                  && git remote add origin https://me:secret@git.example/acme/widget.git && git rev-parse HEAD";
    let made = Command::new("sh").args(["-c", script]).current_dir(place.path("")).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let commit = String::from_utf8(made.stdout).unwrap();
    place.write(".git/info/exclude", "data\n");
    for run_id in ["first", "second"] {
        assert_eq!(place.run(&["exec", "--run-id", run_id, "--", "true"]).status, 0);
    }
    let files = fs::read_dir(place.path("sealstone-evidence")).unwrap().map(|entry| entry.unwrap().path());
    let second =
        files.into_iter().find(|path| fs::read_to_string(path).unwrap().contains("\"second\"")).unwrap();
    let run = envelope(&place, text(&second))["run"].clone();
    assert_eq!(run["project"], "acme/widget");
    assert_eq!(run["subject"]["commit_sha"], commit.trim());
    assert_eq!(run["subject"]["repo_url"], "https://git.example/acme/widget.git");
    assert_eq!(run["subject"]["dirty"], false, "evidence of the run before does not make the checkout dirty");
}

#[test]
fn evidence_that_cannot_be_made_changes_the_status_only_when_it_is_required() {
    let place = Place::new();
    place.write("bad.pem", "no key");
    let ran = place.run(&["exec", "--key", "bad.pem", "--", "sh", "-c", "exit 3"]);
    assert!(ran.status == 3 && ran.stderr.contains("no evidence of this run"), "{ran:?}");
    let ran = place.run(&["exec", "--key", "bad.pem", "--require-evidence", "--", "touch", "ran"]);
    assert!(ran.status == 125 && !place.path("ran").exists(), "{ran:?}");
    let ran = place.run(&["exec", "--out", "no/such/dir.json", "--", "true"]);
    assert!(ran.status == 0 && ran.stderr.contains("cannot write"), "{ran:?}");
    let ran = place.run(&["exec", "--out", "no/such/dir.json", "--require-evidence", "--", "true"]);
    assert_eq!(ran.status, 125);
}

#[test]
fn a_device_is_written_to_and_not_replaced() {
    use std::os::unix::fs::FileTypeExt as _;
    let place = Place::new();
    let fifo = place.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = Command::new("cat").arg(&fifo).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(place.run(&["exec", "--out", "fifo", "--", "true"]).status, 0);
    assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
    place.write("copy.json", reader.wait_with_output().unwrap().stdout);
    envelope(&place, "copy.json");
}

#[test]
fn names_that_cannot_be_recorded_are_told_before_anything_runs() {
    let place = Place::new();
    for wrong in [
        ["--step", "a b"],
        ["--project", "/x"],
        ["--label", "a b=c"],
        ["--label", "x"],
        ["--run-id", "a/b"],
        ["--out", "-"],
    ] {
        let ran = place.run(&["exec", wrong[0], wrong[1], "--", "touch", "ran"]);
        assert!(ran.status == 64 && !place.path("ran").exists(), "{wrong:?}: {ran:?}");
    }
}

#[test]
fn a_command_too_long_to_record_still_runs() {
    let place = Place::new();
    let long = "x".repeat(100_000);
    let (ran, envelope) = exec(&place, &["--private", "/run/labels"], &["sh", "-c", "exit 0", &long]);
    assert_eq!(ran.status, 0);
    assert_eq!(envelope["execution"]["steps"][0]["command"], serde_json::json!(["sh", "-c", "exit 0"]));
    assert!(envelope["execution"]["steps"][0]["message"].as_str().unwrap().contains("shortened"));
}

#[test]
fn a_reader_that_goes_away_ends_the_command_as_it_would_have() {
    let place = Place::new();
    let script = "\"$0\" exec --out out.json -- yes | head -n 1; exit ${PIPESTATUS[0]}";
    let mut command = place.command(&[]);
    let exe = command.get_program().to_owned();
    command = {
        let mut bash = Command::new("bash");
        bash.args(["-c", script])
            .arg(exe)
            .current_dir(place.path(""))
            .env("XDG_DATA_HOME", place.path("data"));
        bash
    };
    let ran = Ran::from(command.output().unwrap());
    assert_eq!((ran.status, ran.stdout.as_str()), (141, "y\n"));
    envelope(&place, "out.json");
}

#[test]
fn output_that_something_left_behind_holds_open_is_not_waited_for_and_the_record_says_so() {
    let place = Place::new();
    let (ran, envelope) = exec(&place, &["--quiet"], &["sh", "-c", "echo before; sleep 60 & echo $! > pid"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "before\n"));
    assert!(envelope["execution"]["steps"][0]["message"].as_str().unwrap().contains("held its output open"));
    let pid = fs::read_to_string(place.path("pid")).unwrap();
    assert!(Command::new("kill").arg(pid.trim()).status().unwrap().success());
}

#[test]
fn a_second_signal_kills_a_command_that_does_not_end() {
    let place = Place::new();
    let script = "trap '' TERM; touch ready; while :; do sleep 0.05; done";
    let mut child = place.command(&["exec", "--quiet", "--out", "out.json", "--", "sh", "-c", script]);
    let child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&place, "ready");
    let pid = child.id().to_string();
    for _ in 0..2 {
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        sleep(Duration::from_millis(300));
    }
    assert_eq!(Ran::from(child.wait_with_output().unwrap()).status, 137);
    assert_eq!(envelope(&place, "out.json")["outcome"]["result"], "aborted");
}

#[test]
fn nohup_is_honoured() {
    let place = Place::new();
    let script = "touch ready; sleep 1; exit 4";
    let exe = place.command(&[]).get_program().to_owned();
    let mut child = Command::new("sh");
    child
        .args(["-c", "trap '' HUP; exec \"$0\" exec --quiet --out out.json -- sh -c \"$1\""])
        .arg(exe)
        .arg(script);
    child.current_dir(place.path("")).env("XDG_DATA_HOME", place.path("data")).env_remove("SEALSTONE_KEY");
    let child = child.stdin(Stdio::null()).spawn().unwrap();
    wait_for(&place, "ready");
    assert!(Command::new("kill").args(["-s", "HUP", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(Ran::from(child.wait_with_output().unwrap()).status, 4);
    assert_eq!(envelope(&place, "out.json")["outcome"]["result"], "failed");
}

#[test]
fn neither_the_key_nor_a_link_is_written_over() {
    let place = Place::new();
    assert_eq!(place.run(&["keygen", "--out", "key.pem"]).status, 0);
    let key = fs::read(place.path("key.pem")).unwrap();
    for option in ["--out", "--log"] {
        let ran = place.run(&["exec", "--key", "key.pem", option, "./key.pem", "--", "touch", "ran"]);
        assert!(ran.status == 64 && !place.path("ran").exists(), "{ran:?}");
        assert_eq!(fs::read(place.path("key.pem")).unwrap(), key);
    }
    place.write("target.json", "");
    std::os::unix::fs::symlink("target.json", place.path("link.json")).unwrap();
    assert_eq!(place.run(&["exec", "--out", "link.json", "--", "true"]).status, 0);
    assert!(fs::symlink_metadata(place.path("link.json")).unwrap().is_symlink());
    envelope(&place, "target.json");
    // A link to this process's own output leads to a file that is open: it is added to.
    std::os::unix::fs::symlink("/proc/self/fd/1", place.path("stdout")).unwrap();
    let mut command = place.command(&["exec", "--quiet", "--out", "stdout", "--", "echo", "hi"]);
    assert!(command.stdout(fs::File::create(place.path("all")).unwrap()).status().unwrap().success());
    let all = fs::read_to_string(place.path("all")).unwrap();
    assert!(all.starts_with("hi\n{"), "{all}");
    place.write("rest.json", &all[3..]);
    envelope(&place, "rest.json");
}

#[test]
fn empty_variables_are_as_good_as_none() {
    let place = Place::new();
    let mut command = place.command(&["exec", "--out", "out.json", "--", "true"]);
    command.env("SEALSTONE_KEY", "").env("SEALSTONE_PROJECT", "");
    assert!(command.status().unwrap().success());
    envelope(&place, "out.json");
}

#[test]
fn two_who_make_the_key_at_once_agree() {
    let place = Place::new();
    let outs: Vec<String> = (0..8).map(|i| format!("{i}.json")).collect();
    let children: Vec<_> = outs
        .iter()
        .map(|out| place.command(&["exec", "-q", "--out", out, "--", "true"]).spawn().unwrap())
        .collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    for out in outs {
        envelope(&place, &out);
    }
}

#[test]
fn a_log_that_cannot_be_kept_is_told_and_changes_nothing() {
    let place = Place::new();
    let (ran, envelope) = exec(&place, &["--log", "no/such/log"], &["echo", "hi"]);
    assert!(
        ran.status == 0 && ran.stdout == "hi\n" && ran.stderr.contains("cannot write the log"),
        "{ran:?}"
    );
    assert_eq!(envelope["execution"]["steps"][0]["log"]["bytes"], 3);
}

fn wait_for(place: &Place, name: &str) {
    for _ in 0..400 {
        if place.path(name).exists() {
            return;
        }
        sleep(Duration::from_millis(25));
    }
    panic!("{name} never came");
}

#[test]
fn a_key_that_is_revoked_seals_nothing_and_the_command_runs_all_the_same() {
    let place = Place::new();
    assert_eq!(place.run(&["keygen", "--out", "key.pem"]).status, 0);
    let run = |options: &[&str]| {
        place.run(
            &[&["exec", "--key", "key.pem", "--out", "out.json"], options, &["--", "echo", "ran"]].concat(),
        )
    };
    let listed = place.run(&["keys", "list", "keyring.json"]).stdout;
    assert_eq!(place.run(&["keys", "revoke", &listed[..64], "--key", "key.pem"]).status, 0);
    let told = run(&[]);
    assert!(told.status == 0 && told.stdout == "ran\n" && told.stderr.contains("revoked"), "{told:?}");
    let refused = run(&["--require-evidence"]);
    assert!(refused.status == 125 && refused.stdout.is_empty(), "{refused:?}");
    assert!(!place.path("out.json").exists());
    assert_eq!(place.run(&["keys", "rotate", "--key", "key.pem"]).status, 0);
    assert_eq!(run(&["--require-evidence"]).status, 0);
    assert_eq!(place.run(&["verify", "out.json", "--keys", "keyring.json"]).status, 0);
}
