//! Jenkins, with the variables of its git plugin and of multibranch projects.

use super::super::names::path_id;
use super::environment::{BRANCHES, TAGS, run_id};
use super::git::project_of_url;
use super::subject::{Subject, meta};
use super::{Environment, Pipeline};
use crate::evidence::digest::Digest;

/// All stages of a build share its job and number; a rebuild, a replay and a restart from a stage have another number. What is retried
/// within a build stays in it. Nothing tells what started a build.
pub(super) fn pipeline(environment: &Environment<'_>) -> Option<Pipeline> {
    let server = environment.page("JENKINS_URL");
    let tag = environment.text("BUILD_TAG").filter(|tag| tag.starts_with("jenkins-"));
    if server.is_none() && tag.is_none() {
        return None;
    }
    let job = environment.text("JOB_NAME")?;
    let number = environment.number("BUILD_NUMBER")?;
    let subject = subject(environment);
    Some(Pipeline {
        provider: "jenkins",
        project: subject.repo_url.as_deref().and_then(project_of_url),
        run_id: run_id(&["jenkins", &job_in_id(server.as_deref(), &job), &number]),
        subject,
        event: None,
        delivery_id: tag.or(Some(number)),
        // Of a plugin.
        actor: environment.text("BUILD_USER_ID"),
        url: environment.page("BUILD_URL"),
        job: environment.text("STAGE_NAME"),
    })
}

/// What people know the job by, and so much of a digest that no other job, here or on another server, is taken for it.
fn job_in_id(server: Option<&str>, job: &str) -> String {
    let digest = Digest::of(format!("{}\n{job}", server.unwrap_or_default())).to_hex();
    let digest: String = digest.chars().take(8).collect();
    let name = path_id(job, "").replace('/', "-");
    let readable: String = name.chars().take(60).collect();
    if readable.is_empty() { digest } else { format!("{readable}-{digest}") }
}

fn subject(environment: &Environment<'_>) -> Subject {
    let change = environment.id("CHANGE_ID");
    // Of a change the branch is named PR-12 or so; whether its head or a merge is built is settled in the project.
    let branch = || environment.reference(BRANCHES, "BRANCH_NAME").or_else(|| branch_of_git(environment));
    Subject {
        repo_url: environment.repository("GIT_URL"),
        commit_sha: environment.commit("GIT_COMMIT"),
        reference: environment.reference(TAGS, "TAG_NAME").or_else(|| branch().filter(|_| change.is_none())),
        dirty: None,
        meta: meta([
            ("pull_request", change.clone()),
            ("head_ref", environment.branch("CHANGE_BRANCH")),
            ("base_ref", environment.branch("CHANGE_TARGET")),
        ]),
    }
}

/// The branch as git's remote has it.
fn branch_of_git(environment: &Environment<'_>) -> Option<String> {
    let branch = environment.branch("GIT_BRANCH").filter(|branch| branch != "detached")?;
    let branch = branch.trim_start_matches("refs/remotes/").trim_start_matches("origin/");
    Some(format!("{BRANCHES}{branch}"))
}
