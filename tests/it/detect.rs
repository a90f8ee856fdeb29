//! Where a run is reported from: the jobs of a pipeline get one run, and what is sealed says what the pipeline was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::place::{Place, Ran, text};
use crate::server::Server;

fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/environments").join(name)
}

/// `sealstone` in an environment that was recorded, with a secret that such an environment has.
fn job(place: &Place, environment: &str, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    let text = fs::read_to_string(recorded(environment)).unwrap();
    command.envs(text.lines().filter_map(|line| line.split_once('=')));
    command.env("GITHUB_EVENT_PATH", recorded(environment).with_extension("event"));
    command.env("GITHUB_TOKEN", "hunter2");
    command
}

fn ran(mut command: Command) -> Ran {
    Ran::from(command.output().unwrap())
}

#[test]
fn the_jobs_of_a_pipeline_open_one_run_whichever_is_first() {
    let place = Place::new();
    let server = Server::start(&place, &[]);
    let url = server.url();
    let open = |environment: &str, more: &[&str]| {
        ran(job(&place, environment, &[&["run", "open", "--server", &url], more].concat()))
    };
    let first = open("github-push.env", &[]);
    assert_eq!((first.status, first.stderr.as_str()), (0, ""), "{first:?}");
    let id = first.stdout.trim().to_owned();
    let run = server.get("/v1/runs/github-1658821493-1?project=octo-org/hello-world").json();
    assert_eq!((&run["evidence_id"], &run["state"]), (&json!(id), &json!("open")));
    assert_eq!(run["envelope"]["run"]["runner_context"], json!({ "runner_type": "ci" }));

    // Another job on another machine says the same; one that says more is told whose word stands.
    let second = open("github-push-second-job.env", &[]);
    assert_eq!((second.status, &second.stdout, second.stderr.as_str()), (0, &first.stdout, ""));
    let third = open("github-push-second-job.env", &["--label", "team=core", "--json"]);
    let found: Value = serde_json::from_str(&third.stdout).unwrap();
    assert_eq!((third.status, &found["evidence_id"], &found["head"]["seq"]), (0, &json!(id), &json!(0)));
    assert!(third.stderr.contains("github-1658821493-1"), "{third:?}");

    let again = open("github-rerun.env", &[]);
    assert_eq!(again.status, 0);
    assert_ne!(again.stdout, first.stdout);
    // A name that somebody gave is not taken for another's.
    let given = ["--run-id", "github-1658821493-1", "--label", "team=core"];
    let refused = open("github-push.env", &given);
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.stderr.contains("run_exists"), "{refused:?}");
}

#[test]
fn what_is_sealed_says_what_the_pipeline_was_and_which_job_this_is() {
    let place = Place::new();
    let exec = ["exec", "--quiet", "--out", "out.json", "--private", "/run/labels/none", "--", "true"];
    let done = ran(job(&place, "github-pull-request.env", &exec));
    assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{done:?}");
    let keyring = place.keyring();
    assert_eq!(place.run(&["verify", "out.json", "--keys", text(&keyring)]).status, 0);
    let bytes = fs::read(place.path("out.json")).unwrap();
    crate::schemas::assert_sealed_envelope(&bytes);
    let run = serde_json::from_slice::<Value>(&bytes).unwrap()["envelope"]["run"].clone();
    let golden = fs::read_to_string(recorded("github-pull-request.json")).unwrap();
    let golden: Value = serde_json::from_str(&golden).unwrap();
    assert_eq!(run["project"], golden["project"]);
    assert_eq!(run["trigger"], golden["members"]["trigger"]);
    assert_eq!(run["subject"], golden["members"]["subject"]);
    assert_eq!(run["labels"], json!({ "job": "unit" }));
    assert_eq!(run["runner_context"]["os"], std::env::consts::OS);
    assert_eq!(run["run_id"], run["evidence_id"], "a command alone is not the whole pipeline");
    assert!(!String::from_utf8(bytes).unwrap().contains("hunter2"));
}

#[test]
fn what_a_run_would_be_opened_with_can_be_looked_at_without_a_service() {
    let place = Place::new();
    let print = ["run", "open", "--print", "--plan", "unit"];
    let printed = ran(job(&place, "github-pull-request.env", &print));
    assert_eq!((printed.status, printed.stderr.as_str()), (0, ""), "{printed:?}");
    let printed: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(printed["run_id"], "github-1658821500-1");
    assert_eq!(printed["trigger"]["event"], "pull_request");
    assert_eq!(printed["subject"]["ref"], "refs/pull/1347/merge");
    let silent = ran(job(&place, "github-pull-request.env", &["run", "open", "--print", "--no-subject"]));
    let silent: Value = serde_json::from_str(&silent.stdout).unwrap();
    assert_eq!((&silent["subject"], &silent["run_id"]), (&Value::Null, &json!("github-1658821500-1")));
    let alone: Value = serde_json::from_str(&place.run(&["run", "open", "--print"]).stdout).unwrap();
    assert_eq!((&alone["trigger"], &alone["run_id"]), (&Value::Null, &Value::Null));
    assert_eq!(alone["runner_context"]["os"], std::env::consts::OS);
}
