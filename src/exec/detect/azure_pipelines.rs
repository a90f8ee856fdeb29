//! Azure Pipelines.

use super::environment::{BRANCHES, in_id, project, run_id};
use super::subject::{Subject, meta};
use super::{Environment, Pipeline};

/// The jobs of a run share its build id, which is unique in its organization. "Rerun failed jobs" keeps that id and counts the attempts of
/// each stage: a stage's second attempt is reported into a second run, together with the second attempts of other stages.
pub(super) fn pipeline(environment: &Environment<'_>) -> Option<Pipeline> {
    if !environment.is_true("TF_BUILD") {
        return None;
    }
    let build = environment.number("BUILD_BUILDID");
    let attempt = environment.number("SYSTEM_STAGEATTEMPT").unwrap_or_else(|| "1".to_owned());
    let collection = environment.page("SYSTEM_COLLECTIONURI").map(|url| url.trim_end_matches('/').to_owned());
    // A name may have spaces; the GUID leads to the same page.
    let team = environment.id("SYSTEM_TEAMPROJECT").or_else(|| environment.id("SYSTEM_TEAMPROJECTID"));
    let organization = collection.as_deref().map(|url| match url.strip_prefix("https://dev.azure.com/") {
        Some(organization) => in_id(organization),
        None => in_id(url),
    });
    let page = |((collection, team), build): ((&String, String), &String)| {
        format!("{collection}/{team}/_build/results?buildId={build}")
    };
    Some(Pipeline {
        provider: "azure",
        project: project_of(environment),
        run_id: organization
            .zip(build.as_ref())
            .and_then(|(organization, build)| run_id(&["azure", &organization, build, &attempt])),
        subject: subject(environment),
        event: environment.text("BUILD_REASON"),
        url: collection.as_ref().zip(team).zip(build.as_ref()).map(page),
        delivery_id: build,
        actor: environment.text("BUILD_REQUESTEDFOR"),
        job: environment.text("SYSTEM_JOBDISPLAYNAME").or_else(|| environment.text("AGENT_JOBNAME")),
    })
}

/// A repository of GitHub has its owner in its name, one of Azure Repos belongs to the team project.
fn project_of(environment: &Environment<'_>) -> Option<String> {
    let name = environment.text("BUILD_REPOSITORY_NAME")?;
    let team = environment.text("SYSTEM_TEAMPROJECT").filter(|_| !name.contains('/'));
    project(&team.map_or_else(|| name.clone(), |team| format!("{team}/{name}")))
}

fn subject(environment: &Environment<'_>) -> Subject {
    let number = environment.number("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER");
    Subject {
        repo_url: environment.repository("BUILD_REPOSITORY_URI"),
        // Of a pull request the merge of its head into its base.
        commit_sha: environment.commit("BUILD_SOURCEVERSION"),
        reference: environment.reference(BRANCHES, "BUILD_SOURCEBRANCH"),
        dirty: None,
        meta: meta([
            ("pull_request", number.or_else(|| environment.number("SYSTEM_PULLREQUEST_PULLREQUESTID"))),
            ("head_sha", environment.commit("SYSTEM_PULLREQUEST_SOURCECOMMITID")),
            ("head_ref", environment.branch("SYSTEM_PULLREQUEST_SOURCEBRANCH")),
            ("base_ref", environment.branch("SYSTEM_PULLREQUEST_TARGETBRANCH")),
        ]),
    }
}
