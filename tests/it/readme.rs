//! The README, tried as a new user would: each of its snippets for builders, watchers and auditors is run from a clean directory, against
//! the real service, and does what is said of it.

mod clean;
mod pipelines;
mod yaml;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::clean::Clean;
use self::pipelines::{github_steps, github_workflow, gitlab_job, jenkins_pipeline};

/// Runs a snippet and checks what the README says of it.
type Try = fn(&str);

/// How each snippet begins, and who tries it.
const TRIED: [(&str, Try); 15] = [
    ("sealstone exec --step unit", one_line),
    ("# .github/workflows/checks.yml", github_jobs),
    ("- run: echo \"SEALSTONE_RUN=", github_job),
    ("# .gitlab-ci.yml", gitlab),
    ("pipeline {", jenkins),
    ("EVIDENCE =", make),
    ("export SEALSTONE_RUN=$(sealstone run open)\ntrap", script),
    ("sealstone spool list", spool),
    ("export SEALSTONE_RUN=$(sealstone run open --project acme/widget --plan unit)", piece_by_piece),
    ("sealstone watch", watch),
    ("sealstone keygen", keygen),
    ("sealstone pack", pack),
    ("printf '%s\\n' '{\"type\": \"run\"", one_connection),
    ("curl -N -H", events),
    ("sealstone verify public.json", auditors),
];

/// Snippets that nobody can run, and why.
const NOT_RUN: [(&str, &str); 3] = [
    ("id: 17", "what a stream looks like, not a command"),
    (
        "let context = RunContext::current()",
        "examples/run_context.rs has it, is compiled, and held to it by a test",
    ),
    ("cargo build --release --no-default-features", "tests/run.sh builds it, and judges with it"),
];

#[test]
fn the_snippets_for_builders_do_what_is_said_of_them() {
    try_all("For those who build");
}

#[test]
fn the_snippets_for_watchers_do_what_is_said_of_them() {
    try_all("For those who watch");
}

#[test]
fn the_snippets_for_auditors_do_what_is_said_of_them() {
    try_all("For auditors");
}

#[test]
fn nothing_is_tried_that_the_readme_no_longer_says() {
    let said = ["For those who build", "For those who watch", "For auditors"].map(snippets).concat();
    let tried = TRIED.iter().map(|(first, _)| first);
    for first in tried.chain(NOT_RUN.iter().map(|(first, _)| first)) {
        assert_eq!(said.iter().filter(|snippet| snippet.starts_with(first)).count(), 1, "{first}");
    }
}

/// Each snippet of a section, side by side; one that nobody tries is an error.
fn try_all(section: &str) {
    let snippets = snippets(section);
    assert!(!snippets.is_empty());
    std::thread::scope(|scope| {
        for snippet in &snippets {
            if NOT_RUN.iter().any(|(first, _)| snippet.starts_with(first)) {
                continue;
            }
            let tried = TRIED.iter().find(|(first, _)| snippet.starts_with(first));
            let (_, tried) = tried.unwrap_or_else(|| panic!("nobody tries this snippet:\n{snippet}"));
            scope.spawn(move || tried(snippet));
        }
    });
}

/// The blocks of a section, indented or fenced, without their indentation.
fn snippets(section: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let section = readme.split("\n## ").find(|part| part.starts_with(section)).unwrap();
    let (mut snippets, mut open): (Vec<String>, bool) = (Vec::new(), false);
    let mut is_fenced = false;
    for line in section.lines() {
        if line.starts_with("```") {
            is_fenced = !is_fenced;
            open = false;
            continue;
        }
        let own = if is_fenced { Some(line) } else { line.strip_prefix("    ") };
        match (own, open) {
            (Some(line), true) => snippets.last_mut().unwrap().extend([line, "\n"]),
            (Some(line), false) => snippets.push(format!("{line}\n")),
            (None, _) => {}
        }
        open = own.is_some();
    }
    assert!(!is_fenced, "a fence is not closed");
    snippets.iter().map(|snippet| without_indent(snippet)).collect()
}

fn without_indent(snippet: &str) -> String {
    let depth = snippet.len() - snippet.trim_start().len();
    snippet.lines().map(|line| format!("{}\n", line.get(depth..).unwrap_or_default())).collect()
}

/// What has to be recorded, whether the step `unit` passed or not: it, those beside it, and, if it passed, those after it.
fn assert_recorded(clean: &Clean, fails: bool, beside: &[&str], after: &[&str]) -> Value {
    let envelope = clean.the_run();
    let (status, after) = if fails { ("failed", &[][..]) } else { ("passed", after) };
    let mut expected = BTreeMap::from([("unit", status)]);
    expected.extend([beside, after].concat().into_iter().map(|step| (step, "passed")));
    assert_eq!(statuses(&envelope), expected);
    assert_eq!(envelope["outcome"]["result"], if fails { "failed" } else { "succeeded" });
    envelope
}

fn statuses(envelope: &Value) -> BTreeMap<&str, &str> {
    let steps = envelope["execution"]["steps"].as_array().unwrap();
    steps.iter().map(|step| (step["step_id"].as_str().unwrap(), step["status"].as_str().unwrap())).collect()
}

/// A pipeline that passes and one that fails, with a service that is there, that is away, and that lets nobody in: its status is the
/// same, and in the end all is sealed that may be.
fn each_way(environment: &str, beside: &[&str], after: &[&str], pipeline: impl Fn(&Clean) -> bool) {
    for (status, fails) in [("0", false), ("1", true)] {
        let machine = || Clean::new().within(environment).with("STATUS", status);
        let sealed = |clean: &Clean| {
            let envelope = assert_recorded(clean, fails, beside, after);
            assert_eq!(envelope["run"]["runner_context"]["runner_type"], "ci");
        };
        let there = machine();
        assert_eq!(pipeline(&there), !fails, "the service is there");
        sealed(&there);

        let mut away = machine();
        away.go_away();
        assert_eq!(pipeline(&away), !fails, "the service is away");
        away.come_back();
        let away = away.told_of_the_service();
        away.run("sealstone spool flush");
        sealed(&away);

        let refused = machine().given("SEALSTONE_TOKEN", "sst_of-nobody");
        assert_eq!(pipeline(&refused), !fails, "the service lets nobody in");
        assert!(refused.runs().is_empty());
    }
}

fn one_line(snippet: &str) {
    for status in [0, 1] {
        let clean = Clean::new().with("STATUS", &status.to_string());
        let ran = clean.shell(snippet);
        assert_eq!((ran.status, ran.stdout.as_str()), (status, "cargo test\n"), "{ran:?}");
        let keyring = "$HOME/.local/share/sealstone/keyring.json";
        clean.run(&format!("sealstone verify sealstone-evidence/*.json --keys {keyring}"));

        let clean = clean.told_of_the_service();
        let ran = clean.shell(snippet);
        assert_eq!((ran.status, ran.stdout.as_str()), (status, "cargo test\n"), "{ran:?}");
        let envelope = assert_recorded(&clean, status != 0, &[], &[]);
        assert_eq!(envelope["run"]["project"], "acme/widget");
    }
}

fn github_jobs(snippet: &str) {
    each_way("github-push.env", &["build"], &[], |clean| {
        let results = github_workflow(clean, snippet);
        assert_eq!((&*results["build"], &*results["seal"]), ("success", "success"));
        results["unit"] == "success"
    });
}

fn github_job(snippet: &str) {
    each_way("github-push.env", &[], &[], |clean| {
        github_steps(clean, &yaml::parse(snippet), clean.settled()) == "success"
    });
}

fn gitlab(snippet: &str) {
    each_way("gitlab-push.env", &[], &[], |clean| gitlab_job(clean, snippet, "unit") == "success");
}

fn jenkins(snippet: &str) {
    each_way("jenkins-push.env", &[], &[], |clean| jenkins_pipeline(clean, snippet) == "SUCCESS");
}

fn make(snippet: &str) {
    for (status, passes) in [("0", true), ("1", false)] {
        let clean = Clean::new().told_of_the_service().with("STATUS", status);
        clean.write("Makefile", snippet);
        assert_eq!(clean.shell("make unit").status == 0, passes);
        assert_recorded(&clean, !passes, &[], &[]);
    }
}

fn script(snippet: &str) {
    for environment in ["buildkite-push.env", "circleci-push.env"] {
        each_way(environment, &[], &["build"], |clean| {
            let mut command = clean.command("sh", &["-e", "-c", snippet]);
            command.envs(clean.settled()).output().unwrap().status.success()
        });
    }
}

fn spool(snippet: &str) {
    let mut clean = Clean::new().told_of_the_service();
    clean.go_away();
    let ran = clean.run("sealstone exec --step unit -- cargo test");
    assert!(ran.stderr.contains("sealstone spool flush"), "{ran:?}");
    clean.come_back();
    let ran = clean.run(snippet);
    assert!(ran.stdout.contains("acme/widget") && ran.stdout.contains("1 of 1 files sent"), "{ran:?}");
    assert_recorded(&clean, false, &[], &[]);
    assert_eq!(clean.run("sealstone spool list").stdout, "nothing waits\n");
}

#[test]
fn a_run_that_was_not_opened_is_told_of_at_once_and_nothing_is_spooled_for_it() {
    let clean = Clean::new().told_of_the_service();
    for finalize in ["SEALSTONE_RUN= sealstone run finalize 0", "sealstone run finalize 0 --run ''"] {
        let unnamed = clean.shell(finalize);
        assert_eq!(unnamed.status, 64, "{unnamed:?}");
    }
    assert_eq!(clean.run("sealstone spool list").stdout, "nothing waits\n");
}

fn piece_by_piece(snippet: &str) {
    let clean = Clean::new().told_of_the_service();
    std::thread::scope(|scope| {
        scope.spawn(|| clean.run(snippet));
        let started = Instant::now();
        let answer = json!({ "decision": "approved" });
        // Who runs it approves it meanwhile.
        while clean.runs().first().is_none_or(|run| {
            let gate = format!("/v1/runs/{}/gates/gate-1", run["evidence_id"].as_str().unwrap());
            clean.post(&gate, &answer).status != 200
        }) {
            assert!(started.elapsed() < Duration::from_secs(20), "no gate was opened");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let envelope = assert_recorded(&clean, false, &[], &[]);
    assert_eq!(envelope["artifacts"][0]["artifact_id"], "widget");
    assert_eq!(envelope["observations"][0]["basis_artifact_ids"], json!(["widget"]));
    assert_eq!(envelope["gates"][0]["decision"], "approved");
}

/// A run that is sealed, and its name.
fn sealed() -> (Clean, String) {
    let clean = Clean::new().with_all_rights();
    clean.give_keyring();
    clean.run("sealstone exec --step unit --artifact widget=dist/widget.tar.gz -- cargo test");
    let run = clean.the_run()["evidence_id"].as_str().unwrap().to_owned();
    (clean.with("SEALSTONE_RUN", &run), run)
}

fn watch(snippet: &str) {
    let (clean, _) = sealed();
    let ran = clean.run(snippet);
    assert!(ran.stdout.contains("verified") || ran.stderr.contains("verified"), "{ran:?}");
}

fn keygen(snippet: &str) {
    let clean = Clean::new();
    let told = clean.run(&format!("mkdir ci\n{snippet}")).stdout;
    assert_eq!(told.matches("always, for every project").count(), 1, "{told}");
    clean.run("sealstone exec --key ci/key.pem --out out.json -- cargo test");
    clean.run("sealstone verify out.json --keys ci/keyring.json");
}

fn pack(snippet: &str) {
    let clean = Clean::new();
    clean.run("sealstone exec -- cargo test --quiet");
    clean.run(&snippet.replace('…', "*"));
    let public = String::from_utf8(clean.read("public.json")).unwrap();
    assert!(!public.contains("--quiet"), "the command line is withheld");
    clean.run("sealstone verify public.json --keys $HOME/.local/share/sealstone/keyring.json");
}

fn one_connection(snippet: &str) {
    let clean = Clean::new().told_of_the_service();
    let ran = clean.run(snippet);
    assert!(ran.stdout.contains("run_finalized"), "{ran:?}");
    assert_recorded(&clean, false, &[], &[]);
}

fn events(snippet: &str) {
    let (clean, run) = sealed();
    let told = clean.run(snippet).stdout;
    assert!(told.contains("event: step_finished") && told.contains(&run), "{told}");
}

fn auditors(snippet: &str) {
    let (clean, run) = sealed();
    let commit = clean.run("git rev-parse HEAD").stdout;
    clean.run("sealstone fetch $SEALSTONE_RUN --out public.json && cp public.json evidence/");
    let told = clean.run(&snippet.replace("9fceb02…", commit.trim()).replace("RUN", &run)).stdout;
    assert_eq!(told.lines().filter(|line| line.starts_with("verified")).count(), 3, "{told}");
    assert!(told.contains("artifacts ✓"), "{told}");
    assert!(!clean.read("sealed.json").is_empty() && !clean.read("evidence.tar").is_empty());
}
