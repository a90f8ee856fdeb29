//! Where a run is reported from: a pipeline of a CI system, a checkout, a directory.
//!
//! A provider's file reads the variables that its documentation names, and nothing else. What is missing or odd is left out: nothing here
//! fails. What a provider says of the *pipeline* is the same in each of its jobs, because each of them may be the one that opens the run.

mod azure_pipelines;
mod buildkite;
mod circleci;
mod environment;
mod git;
mod github_actions;
mod gitlab_ci;
mod jenkins;
mod subject;
mod tekton;
#[cfg(test)]
mod tests;

use std::path::Path;

pub(crate) use environment::Environment;
pub(crate) use git::checkout;
pub(crate) use subject::Subject;

use self::git::project_of_url;
use super::names::path_id;
use crate::evidence::canonical::Object;

/// Where this process reports from.
pub(crate) struct Detected {
    /// Whether a CI system runs this, a known one or another.
    pub(crate) ci: bool,
    /// The repository's owner and name, else the directory's name.
    pub(crate) project: String,
    /// What the jobs of one attempt of a pipeline share.
    pub(crate) run_id: Option<String>,
    pub(crate) subject: Option<Subject>,
    /// The member `trigger` of the run.
    pub(crate) trigger: Option<Object<'static>>,
    /// The name of this one job.
    pub(crate) job: Option<String>,
}

/// What a CI system says of a pipeline, and of the job that asks.
#[derive(Default)]
struct Pipeline {
    provider: &'static str,
    project: Option<String>,
    run_id: Option<String>,
    subject: Subject,
    /// Why it runs, in the provider's words.
    event: Option<String>,
    /// The provider's own number or name of it.
    delivery_id: Option<String>,
    actor: Option<String>,
    /// Its page.
    url: Option<String>,
    job: Option<String>,
}

/// Jenkins is the last: its variables also stand in the environment of what its agents start.
const PROVIDERS: [fn(&Environment<'_>) -> Option<Pipeline>; 7] = [
    github_actions::pipeline,
    gitlab_ci::pipeline,
    buildkite::pipeline,
    circleci::pipeline,
    azure_pipelines::pipeline,
    tekton::pipeline,
    jenkins::pipeline,
];

/// Looks at the environment, and at the checkout in the directory if there is one.
pub(crate) fn detect(environment: &Environment<'_>, checkout: Option<Subject>, directory: &Path) -> Detected {
    let found = PROVIDERS.iter().find_map(|pipeline| pipeline(environment));
    let ci = found.is_some() || environment.text("CI").is_some_and(|ci| ci != "false");
    let trigger = found.as_ref().map(Pipeline::trigger);
    let pipeline = found.unwrap_or_default();
    let remote = || checkout.as_ref().and_then(|git| project_of_url(git.repo_url.as_deref()?));
    let directory = || {
        let name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
        path_id(&name.unwrap_or_default(), "local")
    };
    Detected {
        ci,
        project: pipeline.project.or_else(remote).unwrap_or_else(directory),
        run_id: pipeline.run_id,
        subject: Subject::of(pipeline.subject, checkout),
        trigger,
        job: pipeline.job,
    }
}

impl Pipeline {
    fn trigger(&self) -> Object<'static> {
        let mut trigger = Object::from_iter([("provider", self.provider)]);
        let told = [
            ("event", &self.event),
            ("delivery_id", &self.delivery_id),
            ("actor", &self.actor),
            ("url", &self.url),
        ];
        for (name, value) in told {
            if let Some(value) = value {
                trigger.insert(name, value.clone());
            }
        }
        trigger
    }
}
