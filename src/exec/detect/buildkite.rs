//! Buildkite.

use super::environment::{BRANCHES, TAGS, run_id};
use super::git::project_of_url;
use super::subject::{Subject, meta};
use super::{Environment, Pipeline};

/// The jobs of a build share its UUID; a rebuild is another build. A job that is retried stays in its build, and so in its run: its
/// `BUILDKITE_RETRY_COUNT` is its own.
pub(super) fn pipeline(environment: &Environment<'_>) -> Option<Pipeline> {
    if !environment.is_true("BUILDKITE") {
        return None;
    }
    let subject = subject(environment);
    let build = environment.id("BUILDKITE_BUILD_ID");
    Some(Pipeline {
        provider: "buildkite",
        project: subject.repo_url.as_deref().and_then(project_of_url),
        run_id: build.as_ref().and_then(|build| run_id(&["buildkite", build])),
        subject,
        event: environment.text("BUILDKITE_SOURCE"),
        delivery_id: build,
        actor: environment.text("BUILDKITE_BUILD_CREATOR"),
        url: environment.page("BUILDKITE_BUILD_URL"),
        job: environment.text("BUILDKITE_STEP_KEY").or_else(|| environment.text("BUILDKITE_LABEL")),
    })
}

fn subject(environment: &Environment<'_>) -> Subject {
    // "false" where there is none.
    let request = environment.number("BUILDKITE_PULL_REQUEST");
    let commit = environment.commit("BUILDKITE_COMMIT");
    // Then the agent checks out the merge of that commit, of which nothing tells before it is there.
    let merged = request.is_some() && environment.is_true("BUILDKITE_PULL_REQUEST_USING_MERGE_REFSPEC");
    let on_github = environment
        .text("BUILDKITE_PIPELINE_PROVIDER")
        .is_some_and(|provider| provider.starts_with("github"));
    let pull = request.as_ref().filter(|_| on_github).map(|request| {
        let built = if merged { "merge" } else { "head" };
        format!("refs/pull/{request}/{built}")
    });
    let tag = || environment.reference(TAGS, "BUILDKITE_TAG");
    Subject {
        repo_url: environment.repository("BUILDKITE_REPO"),
        commit_sha: commit.clone().filter(|_| !merged),
        // A branch of a fork is `owner:branch`, which is no ref.
        reference: pull.or_else(tag).or_else(|| environment.reference(BRANCHES, "BUILDKITE_BRANCH")),
        dirty: None,
        meta: match request {
            None => Vec::new(),
            Some(request) => meta([
                ("pull_request", Some(request)),
                ("head_sha", commit),
                ("head_ref", environment.text("BUILDKITE_BRANCH")),
                ("base_ref", environment.branch("BUILDKITE_PULL_REQUEST_BASE_BRANCH")),
            ]),
        },
    }
}
