//! CI systems, as far as the snippets need them: each runs its own file the way it documents.

use std::collections::BTreeMap;

use serde_json::Value;

use super::clean::Clean;
use super::yaml;
use crate::place::Ran;

type Variables = Vec<(String, String)>;

/// Runs the lines in one shell, and says whether it ended well.
fn passes(clean: &Clean, shell: &str, script: &str, variables: &Variables) -> bool {
    let mut command = clean.command(shell, &["-e", "-c", script]);
    command.envs(variables.iter().cloned());
    let ran = Ran::from(command.output().unwrap());
    println!("{script}\n{ran:?}");
    ran.status == 0
}

/// The jobs of a workflow, one after the other; the result of each. Nothing reaches a step but what the workflow gives it.
pub(super) fn github_workflow(clean: &Clean, file: &str) -> BTreeMap<String, String> {
    let workflow = yaml::parse(file);
    let mut results = BTreeMap::<String, String>::new();
    // In the order of the file, in which `needs` point back.
    for name in file.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':')) {
        let Some(job) = workflow["jobs"].get(name).filter(|job| job.is_object()) else { continue };
        let needs: Vec<&str> =
            job["needs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let go_on = job["if"] == "always()" || needs.iter().all(|need| results[*need] == "success");
        let needed: Vec<String> = needs.iter().map(|need| results[*need].clone()).collect();
        let expression = |text: &str| github_expression(clean, text, &needed, "success");
        let mut variables = vec![("GITHUB_JOB".to_owned(), name.to_owned())];
        for members in [&workflow["env"], &job["env"]].into_iter().filter_map(Value::as_object) {
            variables.extend(
                members.iter().map(|(name, value)| (name.clone(), expression(value.as_str().unwrap()))),
            );
        }
        let result = match go_on {
            true => github_steps(clean, &job["steps"], variables),
            false => "skipped",
        };
        results.insert(name.to_owned(), result.to_owned());
    }
    results
}

/// The steps of a job: after one that fails only those with `always()`; what a step writes to GITHUB_ENV is there for the next.
pub(super) fn github_steps(clean: &Clean, steps: &Value, mut variables: Variables) -> &'static str {
    let mut status = "success";
    for step in steps.as_array().unwrap() {
        let Some(run) = step["run"].as_str() else {
            assert_eq!(step["uses"], "actions/checkout@v4");
            continue;
        };
        if status == "success" || step["if"] == "always()" {
            let script = github_expression(clean, run, &[], status);
            if !passes(clean, "bash", &script, &variables) {
                status = "failure";
            }
            let told = clean.take("tmp/github-env");
            variables.extend(told.lines().map(|line| {
                let (name, value) = line.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            }));
        }
    }
    status
}

/// Puts the values of `${{ … }}` in their places.
fn github_expression(clean: &Clean, text: &str, needed: &[String], status: &str) -> String {
    let Some((before, rest)) = text.split_once("${{ ") else { return text.to_owned() };
    let (expression, after) = rest.split_once(" }}").unwrap();
    let value = match expression.split_once('.') {
        Some(("vars" | "secrets", name)) => clean.settled[name].clone(),
        Some(("job", "status")) => status.to_owned(),
        _ => expression.split(" || ").find_map(|part| of_needs(part, needed)).unwrap(),
    };
    format!("{before}{value}{}", github_expression(clean, after, needed, status))
}

/// `contains(needs.*.result, 'X') && 'Y'`, or `'Y'`.
fn of_needs(part: &str, needed: &[String]) -> Option<String> {
    let quoted = |text: &str| text.strip_prefix('\'')?.strip_suffix('\'').map(str::to_owned);
    let Some((condition, value)) = part.split_once(" && ") else { return quoted(part) };
    let wanted = condition.strip_prefix("contains(needs.*.result, ").unwrap().strip_suffix(')').unwrap();
    needed.contains(&quoted(wanted).unwrap()).then(|| quoted(value).unwrap())
}

/// A job of GitLab: `before_script` and `script` in one shell, `after_script` in another, whose status changes nothing.
pub(super) fn gitlab_job(clean: &Clean, file: &str, job: &str) -> &'static str {
    let file = yaml::parse(file);
    let lines = |name: &str| {
        let lines = file[job][name].as_array().unwrap_or_else(|| panic!("{job} has no {name}"));
        lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
    };
    let script = format!("set -o pipefail\n{}\n{}", lines("before_script"), lines("script"));
    let settled = clean.settled();
    let status = if passes(clean, "bash", &script, &settled) { "success" } else { "failed" };
    let told = ("CI_JOB_STATUS".to_owned(), status.to_owned());
    passes(clean, "bash", &lines("after_script"), &[settled, vec![told]].concat());
    status
}

/// A declarative pipeline of Jenkins: the `sh` of its stages until one fails, then those of `post`.
pub(super) fn jenkins_pipeline(clean: &Clean, file: &str) -> &'static str {
    let (before, post) = file.split_once("post {").unwrap();
    let (environment, stages) = before.split_once("stages {").unwrap();
    let names = environment.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim());
    let mut variables: Variables = names.map(|name| (name.to_owned(), clean.settled[name].clone())).collect();
    let mut result = "SUCCESS";
    for line in stages.lines().map(str::trim) {
        if result != "SUCCESS" {
            break;
        }
        if let Some((name, script)) = line
            .strip_prefix("script { env.")
            .and_then(|line| line.split_once(" = sh(returnStdout: true, script: '"))
        {
            let script = script.strip_suffix("').trim() }").unwrap();
            let mut command = clean.command("sh", &["-xe", "-c", script]);
            let ran = Ran::from(command.envs(variables.iter().cloned()).output().unwrap());
            assert_eq!(ran.status, 0, "{ran:?}");
            variables.push((name.to_owned(), ran.stdout.trim().to_owned()));
        } else if let Some(script) = line.strip_prefix("sh '").and_then(|line| line.strip_suffix('\'')) {
            if !passes(clean, "sh", script, &variables) {
                result = "FAILURE";
            }
        } else {
            let is_frame = line.ends_with('{') || line.chars().all(|character| character == '}');
            assert!(is_frame || line.starts_with("//"), "not read as a stage: {line}");
        }
    }
    let script = post.lines().find_map(|line| line.trim().strip_prefix("always { sh \"")).unwrap();
    let script = script.strip_suffix("\" }").unwrap().replace("${currentBuild.currentResult}", result);
    if passes(clean, "sh", &script, &variables) { result } else { "FAILURE" }
}
