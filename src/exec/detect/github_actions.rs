//! GitHub Actions, and servers that speak like it.

use std::path::Path;

use serde::Deserialize;

use super::environment::{BRANCHES, commit, in_id, run_id};
use super::subject::{Subject, meta};
use super::{Environment, Pipeline};
use crate::evidence::envelope::limits::is_path_id;

/// What of the event's file is read.
#[derive(Default, Deserialize)]
struct Event {
    pull_request: Option<PullRequest>,
}

#[derive(Deserialize)]
struct PullRequest {
    number: u64,
    head: Head,
}

#[derive(Deserialize)]
struct Head {
    sha: String,
}

/// The jobs of a workflow run share its id and attempt; "re-run", of all jobs or of those that failed, is another attempt. The attempts of
/// one run say the same of themselves but for who asked for it.
pub(super) fn pipeline(environment: &Environment<'_>) -> Option<Pipeline> {
    if !environment.is_true("GITHUB_ACTIONS") {
        return None;
    }
    let server = environment.page("GITHUB_SERVER_URL").map(|url| url.trim_end_matches('/').to_owned());
    let repository = environment.text("GITHUB_REPOSITORY").filter(|name| is_path_id(name));
    let repo_url =
        server.as_ref().zip(repository).map(|(server, repository)| format!("{server}/{repository}"));
    let number = environment.number("GITHUB_RUN_ID");
    let attempt = environment.number("GITHUB_RUN_ATTEMPT").unwrap_or_else(|| "1".to_owned());
    let page = |(repository, number): (&String, &String)| {
        format!("{repository}/actions/runs/{number}/attempts/{attempt}")
    };
    let event = environment.text("GITHUB_EVENT_NAME");
    let reference = environment.reference(BRANCHES, "GITHUB_REF");
    let pull = event.as_deref().filter(|event| event.starts_with("pull_request"));
    let pull = pull.and_then(|_| event_of(environment).pull_request);
    let of_ref = || {
        reference.as_ref()?.strip_prefix("refs/pull/")?.split_once('/').map(|(number, _)| number.to_owned())
    };
    let pull_request = pull.as_ref().map(|pull| pull.number.to_string()).or_else(of_ref);
    Some(Pipeline {
        provider: "github",
        project: environment.project("GITHUB_REPOSITORY"),
        run_id: number.as_ref().and_then(|number| match server.as_deref() {
            None | Some("https://github.com") => run_id(&["github", number, &attempt]),
            Some(other) => run_id(&["github", &in_id(other), number, &attempt]),
        }),
        url: repo_url.as_ref().zip(number.as_ref()).map(page),
        subject: Subject {
            repo_url,
            // Of a pull request the merge of its head into its base, which is what is checked out.
            commit_sha: environment.commit("GITHUB_SHA"),
            reference,
            dirty: None,
            meta: meta([
                ("pull_request", pull_request),
                ("head_sha", pull.as_ref().and_then(|pull| commit(&pull.head.sha))),
                ("head_ref", environment.branch("GITHUB_HEAD_REF")),
                ("base_ref", environment.branch("GITHUB_BASE_REF")),
            ]),
        },
        event,
        delivery_id: number,
        actor: environment.text("GITHUB_TRIGGERING_ACTOR").or_else(|| environment.text("GITHUB_ACTOR")),
        job: environment.text("GITHUB_JOB"),
    })
}

fn event_of(environment: &Environment<'_>) -> Event {
    let path = environment.text("GITHUB_EVENT_PATH");
    let text = path.and_then(|path| (environment.file)(Path::new(&path)));
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}
