//! Tekton, which sets no variables of its own: a Task hands them on.
//!
//! `TEKTON_PIPELINE_RUN` tells that there is a PipelineRun; all others may be absent. They are those that are customary, and more of
//! their kind; in a Task's step, each fed from a parameter:
//!
//! | variable | value in the Pipeline |
//! | --- | --- |
//! | `TEKTON_PIPELINE_RUN` | `$(context.pipelineRun.name)` |
//! | `TEKTON_PIPELINE_RUN_UID` | `$(context.pipelineRun.uid)`; without it a name that is used again is the same run again |
//! | `TEKTON_NAMESPACE` | `$(context.pipelineRun.namespace)` |
//! | `TEKTON_TASK` | the name of the task in the Pipeline |
//! | `TEKTON_REPO_URL`, `TEKTON_COMMIT_SHA`, `TEKTON_BRANCH`, `TEKTON_TAG` | what is built |
//! | `TEKTON_PULL_REQUEST`, `TEKTON_TARGET_BRANCH` | its number, and the branch that it is for |
//! | `TEKTON_EVENT`, `TEKTON_EVENT_ID`, `TEKTON_ACTOR` | why it runs, as the webhook said |
//! | `TEKTON_URL` | the PipelineRun's page |

use super::environment::{BRANCHES, TAGS, run_id};
use super::git::project_of_url;
use super::subject::{Subject, meta};
use super::{Environment, Pipeline};

/// The tasks of a PipelineRun share its uid; who runs the pipeline again makes another PipelineRun. The `retries` of a task stay in it.
pub(super) fn pipeline(environment: &Environment<'_>) -> Option<Pipeline> {
    let name = environment.id("TEKTON_PIPELINE_RUN")?;
    let uid = environment.id("TEKTON_PIPELINE_RUN_UID");
    let namespace = environment.id("TEKTON_NAMESPACE");
    let subject = subject(environment);
    Some(Pipeline {
        provider: "tekton",
        project: subject.repo_url.as_deref().and_then(project_of_url),
        run_id: match (&uid, &namespace) {
            (Some(uid), _) => run_id(&["tekton", uid]),
            (None, Some(namespace)) => run_id(&["tekton", namespace, &name]),
            (None, None) => run_id(&["tekton", &name]),
        },
        subject,
        event: environment.text("TEKTON_EVENT"),
        delivery_id: environment.text("TEKTON_EVENT_ID").or(uid).or(Some(name)),
        actor: environment.text("TEKTON_ACTOR"),
        url: environment.page("TEKTON_URL"),
        job: environment.text("TEKTON_TASK"),
    })
}

fn subject(environment: &Environment<'_>) -> Subject {
    let request = environment.number("TEKTON_PULL_REQUEST");
    // Whether the branch or a merge of it is checked out, the Pipeline knows alone.
    let branch = || environment.reference(BRANCHES, "TEKTON_BRANCH").filter(|_| request.is_none());
    Subject {
        repo_url: environment.repository("TEKTON_REPO_URL"),
        commit_sha: environment.commit("TEKTON_COMMIT_SHA"),
        reference: environment.reference(TAGS, "TEKTON_TAG").or_else(branch),
        dirty: None,
        meta: match &request {
            None => Vec::new(),
            Some(number) => meta([
                ("pull_request", Some(number.clone())),
                ("head_ref", environment.branch("TEKTON_BRANCH")),
                ("base_ref", environment.branch("TEKTON_TARGET_BRANCH")),
            ]),
        },
    }
}
