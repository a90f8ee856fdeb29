use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::evidence::envelope::limits::{is_id, is_path_id};
use crate::exec::{Reach, described};

type Variables = BTreeMap<String, String>;

fn variables(text: &str) -> Variables {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

fn given(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn detected(variables: &Variables, event: Option<&str>, checkout: Option<Subject>) -> Detected {
    let variable = |name: &str| variables.get(name).cloned();
    let file = |_: &Path| event.map(str::to_owned);
    detect(&Environment { variable: &variable, file: &file }, checkout, Path::new("/home/ada/my widget"))
}

/// All that is told, whichever the machine.
fn told(detected: &Detected) -> serde_json::Value {
    let mut members = described(detected, Reach::Pipeline, None, &[]);
    members.remove("producer");
    if !detected.ci {
        members.remove("runner_context");
    }
    let members: serde_json::Value = serde_json::from_str(&members.canonical()).unwrap();
    serde_json::json!({ "project": detected.project, "run_id": detected.run_id, "job": detected.job, "members": members })
}

fn recorded() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/environments");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "env")).collect();
    files.sort();
    files
}

fn look(path: &Path) -> Detected {
    let event = fs::read_to_string(path.with_extension("event")).ok();
    detected(&variables(&fs::read_to_string(path).unwrap()), event.as_deref(), None)
}

fn checkout_of(commit: &str, branch: Option<&str>) -> Subject {
    Subject {
        repo_url: Some("https://h.example/acme/widget.git".into()),
        commit_sha: Some(commit.into()),
        reference: branch.map(|branch| format!("refs/heads/{branch}")),
        dirty: Some(true),
        meta: Vec::new(),
    }
}

#[test]
fn what_is_detected_in_each_recorded_environment_is_what_stands_beside_it() {
    let files = recorded();
    assert!(files.len() >= 24, "{files:?}");
    for path in &files {
        let expected = fs::read_to_string(path.with_extension("json")).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
        assert_eq!(told(&look(path)), expected, "{}", path.display());
    }
}

#[test]
fn each_attempt_of_each_pipeline_has_a_run_id_of_its_own() {
    let mut seen = BTreeMap::new();
    for path in recorded() {
        let detected = look(&path);
        assert!(is_path_id(&detected.project), "{}", path.display());
        // Of the second job the variables differ in what is the job's own.
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let pipeline = name.trim_end_matches("-second-job").to_owned();
        let run_id = detected.run_id.clone().unwrap();
        assert!(is_id(&run_id), "{run_id}");
        let told = described(&detected, Reach::Pipeline, None, &[]).canonical().into_owned();
        let (first, same) = seen.entry(run_id).or_insert((pipeline.clone(), told.clone()));
        assert_eq!((&pipeline, &told), (&*first, &*same), "{name}");
    }
}

#[test]
fn without_a_pipeline_git_tells_and_without_git_the_directory() {
    let none = detected(&given(&[("CI", "false"), ("JENKINS_URL", "https://ci.example/")]), None, None);
    assert_eq!((none.ci, none.project.as_str(), &none.run_id), (false, "my-widget", &None));
    assert!(none.subject.is_none() && none.trigger.is_none());
    let unknown = detected(&given(&[("CI", "1")]), None, Some(checkout_of("9fceb02d", Some("main"))));
    assert_eq!((unknown.ci, unknown.project.as_str(), &unknown.run_id), (true, "acme/widget", &None));
    assert_eq!(unknown.subject, Some(checkout_of("9fceb02d", Some("main"))));
}

#[test]
fn git_tells_of_dirt_and_the_pipeline_of_what_a_detached_head_has_lost() {
    let commit = "ffac537e6cbbf934b08745a378932722df287a53";
    let variables = given(&[
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_REPOSITORY", "octo/hello"),
        ("GITHUB_SHA", commit),
        ("GITHUB_REF", "refs/pull/7/merge"),
    ]);
    let subject = |checkout| told(&detected(&variables, None, Some(checkout)))["members"]["subject"].clone();
    let same = serde_json::json!({
        "repo_url": "https://github.com/octo/hello", "commit_sha": commit, "ref": "refs/pull/7/merge", "dirty": true,
        "meta": { "pull_request": "7" },
    });
    assert_eq!(subject(checkout_of(commit, None)), same);
    // Whoever checks out something else builds that.
    let other = serde_json::json!({
        "repo_url": "https://h.example/acme/widget.git", "commit_sha": "9fceb02d", "dirty": true,
        "meta": { "pull_request": "7", "pipeline_sha": commit },
    });
    assert_eq!(subject(checkout_of("9fceb02d", None)), other);
}

#[test]
fn only_a_job_tells_its_name_and_machine() {
    let variables = given(&[("GITHUB_ACTIONS", "true"), ("GITHUB_JOB", "unit")]);
    let detected = detected(&variables, None, None);
    let pipeline = described(&detected, Reach::Pipeline, None, &[]).canonical().into_owned();
    assert!(!pipeline.contains("unit") && !pipeline.contains(std::env::consts::ARCH), "{pipeline}");
    let job = described(&detected, Reach::Job, None, &[]);
    assert_eq!(job.object("labels").unwrap().text("job"), Some("unit"));
    assert_eq!(job.object("runner_context").unwrap().text("os"), Some(std::env::consts::OS));
    let labelled = described(&detected, Reach::Job, None, &[("job".into(), "mine".into())]);
    assert_eq!(labelled.object("labels").unwrap().text("job"), Some("mine"));
}

#[test]
fn no_odd_value_is_recorded_and_none_fails() {
    let long = "9".repeat(1 << 20);
    let odd = [
        "",
        " ",
        "\u{0}\u{7}",
        "\u{1b}]0;x\u{7}",
        "-1",
        "../..",
        "a b\nc",
        "https://",
        "https://h h/",
        &long,
    ];
    let switches = [
        "GITHUB_ACTIONS",
        "GITLAB_CI",
        "BUILDKITE",
        "CIRCLECI",
        "TF_BUILD",
        "TEKTON_PIPELINE_RUN",
        "BUILD_TAG",
    ];
    for (value, switch) in odd.iter().flat_map(|value| switches.map(|switch| (*value, switch))) {
        let variable = |name: &str| match switches.contains(&name) {
            true => {
                (name == switch).then(|| if name == "BUILD_TAG" { "jenkins-x-1" } else { "true" }.to_owned())
            }
            false => Some(value.to_owned()),
        };
        let file = |_: &Path| Some(value.to_owned());
        let detected = detect(&Environment { variable: &variable, file: &file }, None, Path::new("/"));
        let told = told(&detected);
        let subject = &told["members"]["subject"];
        assert!(subject["commit_sha"].is_null() && subject["repo_url"].is_null(), "{told}");
        let told = told.to_string();
        assert!(told.len() < 2000 && is_path_id(&detected.project), "{switch}={value:.20}: {told:.3000}");
        assert!(detected.run_id.as_deref().is_none_or(is_id), "{told}");
        assert!(!told.contains("\\u"), "{told}");
    }
}

#[test]
fn a_switch_alone_names_the_provider_and_nothing_else() {
    let alone = told(&detected(&given(&[("GITHUB_ACTIONS", "true")]), None, None));
    let expected = serde_json::json!({
        "project": "my-widget", "run_id": null, "job": null,
        "members": { "runner_context": { "runner_type": "ci" }, "trigger": { "provider": "github" } },
    });
    assert_eq!(alone, expected);
}

#[test]
fn no_credential_of_any_variable_is_told() {
    for path in recorded() {
        let mut variables = variables(&fs::read_to_string(&path).unwrap());
        for (name, value) in &mut variables {
            if let Some((scheme, rest)) = value.split_once("://") {
                *value = format!("{scheme}://me:hunter2@{rest}?access_token=hunter2#hunter2");
            }
            // Ours are not asked for, nor are those of others that nobody named.
            assert!(!name.contains("TOKEN") && !name.contains("PASSWORD"), "{name}");
        }
        for secret in
            ["GITHUB_TOKEN", "CI_JOB_TOKEN", "SYSTEM_ACCESSTOKEN", "CI_REPOSITORY_URL", "SEALSTONE_TOKEN"]
        {
            variables.insert(secret.into(), "https://me:hunter2@h.example/hunter2".into());
        }
        let told = told(&detected(&variables, None, None)).to_string();
        assert!(!told.contains("hunter2"), "{}: {told}", path.display());
    }
}
