//! GitLab CI/CD.

use super::environment::{BRANCHES, TAGS, in_id, run_id};
use super::subject::{Subject, meta};
use super::{Environment, Pipeline};

/// The jobs of a pipeline share its id. There is no attempt: a job that is retried stays in its pipeline, and so in its run, which takes
/// nothing more once it is finalized. A new pipeline of the same commit is another run; so is a child pipeline.
pub(super) fn pipeline(environment: &Environment<'_>) -> Option<Pipeline> {
    if !environment.is_true("GITLAB_CI") {
        return None;
    }
    let number = environment.number("CI_PIPELINE_ID");
    let server = environment.page("CI_SERVER_URL");
    let server = server.as_deref().map(|url| url.trim_end_matches('/'));
    Some(Pipeline {
        provider: "gitlab",
        project: environment.project("CI_PROJECT_PATH"),
        run_id: number.as_ref().and_then(|number| match server {
            None | Some("https://gitlab.com") => run_id(&["gitlab", number]),
            Some(other) => run_id(&["gitlab", &in_id(other), number]),
        }),
        subject: subject(environment),
        event: environment.text("CI_PIPELINE_SOURCE"),
        delivery_id: number,
        // Of a job that somebody started by hand, who that was.
        actor: environment.text("GITLAB_USER_LOGIN"),
        url: environment.page("CI_PIPELINE_URL"),
        job: environment.text("CI_JOB_NAME"),
    })
}

fn subject(environment: &Environment<'_>) -> Subject {
    let request = environment.number("CI_MERGE_REQUEST_IID");
    let commit_sha = environment.commit("CI_COMMIT_SHA");
    let mut head_sha = environment.commit("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA");
    let reference = request.as_ref().map(|request| {
        // What is built is the branch itself, or its merge with the target, perhaps after others.
        let built = match environment.text("CI_MERGE_REQUEST_EVENT_TYPE").as_deref() {
            Some("merged_result") => "merge",
            Some("merge_train") => "train",
            _ => {
                head_sha = head_sha.take().or_else(|| commit_sha.clone());
                "head"
            }
        };
        format!("refs/merge-requests/{request}/{built}")
    });
    let tag = || environment.reference(TAGS, "CI_COMMIT_TAG");
    Subject {
        repo_url: environment.page("CI_PROJECT_URL"),
        reference: reference.or_else(tag).or_else(|| environment.reference(BRANCHES, "CI_COMMIT_BRANCH")),
        commit_sha,
        dirty: None,
        meta: meta([
            ("pull_request", request),
            ("head_sha", head_sha),
            ("head_ref", environment.branch("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")),
            ("base_ref", environment.branch("CI_MERGE_REQUEST_TARGET_BRANCH_NAME")),
        ]),
    }
}
