//! CircleCI.

use super::environment::{BRANCHES, TAGS, project, run_id};
use super::git::project_of_url;
use super::subject::{Subject, meta};
use super::{Environment, Pipeline};

/// The jobs of a workflow share its UUID; a rerun, from its start or from what failed, is another workflow. So is each of several workflows
/// of one pipeline. Nothing in a job's environment tells what started it.
pub(super) fn pipeline(environment: &Environment<'_>) -> Option<Pipeline> {
    if !environment.is_true("CIRCLECI") {
        return None;
    }
    let subject = subject(environment);
    let workflow = environment.id("CIRCLE_WORKFLOW_ID");
    let owner = environment.text("CIRCLE_PROJECT_USERNAME");
    let named = owner.zip(environment.text("CIRCLE_PROJECT_REPONAME"));
    let named = named.and_then(|(owner, name)| project(&format!("{owner}/{name}")));
    // A job's page is on the same server; that of a workflow is known of the public one alone.
    let public = environment.page("CIRCLE_BUILD_URL").is_some_and(|url| {
        ["https://circleci.com/", "https://app.circleci.com/"].iter().any(|public| url.starts_with(public))
    });
    let page = |workflow: &String| format!("https://app.circleci.com/pipelines/workflows/{workflow}");
    Some(Pipeline {
        provider: "circleci",
        project: named.or_else(|| project_of_url(subject.repo_url.as_deref()?)),
        run_id: workflow.as_ref().and_then(|workflow| run_id(&["circleci", workflow])),
        subject,
        event: None,
        url: workflow.as_ref().filter(|_| public).map(page),
        delivery_id: workflow,
        actor: environment.text("CIRCLE_USERNAME"),
        job: environment.text("CIRCLE_JOB"),
    })
}

fn subject(environment: &Environment<'_>) -> Subject {
    let commit = environment.commit("CIRCLE_SHA1");
    // The number itself is given of forks alone, the page of every pull request.
    let page = environment.page("CIRCLE_PULL_REQUEST");
    let last = page.as_deref().and_then(|page| page.rsplit('/').next());
    let last = last.filter(|last| !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()));
    let request = environment.number("CIRCLE_PR_NUMBER").or_else(|| last.map(str::to_owned));
    let branch = environment.branch("CIRCLE_BRANCH");
    // A fork's branch is not in the repository: it is built as `pull/N`.
    let pull = branch.as_deref().filter(|branch| branch.starts_with("pull/")).map(|pull| {
        let pull = pull.trim_end_matches("/head");
        format!("refs/{pull}/head")
    });
    let tag = || environment.reference(TAGS, "CIRCLE_TAG");
    Subject {
        repo_url: environment.repository("CIRCLE_REPOSITORY_URL"),
        reference: pull.clone().or_else(tag).or_else(|| environment.reference(BRANCHES, "CIRCLE_BRANCH")),
        commit_sha: commit.clone(),
        dirty: None,
        meta: match request {
            None => Vec::new(),
            Some(request) => meta([
                ("pull_request", Some(request)),
                ("head_sha", commit),
                ("head_ref", branch.filter(|_| pull.is_none())),
            ]),
        },
    }
}
