//! Lists of runs and of sealed envelopes: what is asked for, and the one index that serves it.

use super::{Action, Caller, Service, ServiceError};
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;
use crate::journal::{Overview, Standing, State};
use crate::store::list::{Dimension, Page, Place, Query};

/// How many runs are looked at for one page.
const MAX_CANDIDATES: usize = 5_000;

/// Which runs are wanted; what is `None` or empty does not matter.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunFilter {
    pub(crate) project: Option<String>,
    pub(crate) state: Option<State>,
    pub(crate) result: Option<String>,
    pub(crate) commit_sha: Option<String>,
    /// Names and values.
    pub(crate) labels: Vec<(String, String)>,
    /// Later than that: opened, or sealed.
    pub(crate) later: Option<Timestamp>,
    /// Earlier than that.
    pub(crate) earlier: Option<Timestamp>,
}

impl RunFilter {
    fn takes(&self, overview: &Overview, standing: &Standing) -> bool {
        let text =
            |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_str).map(str::to_owned);
        let commit_sha = || overview.subject.as_ref().and_then(|subject| text(subject.get("commit_sha")));
        let is = |wanted: &Option<String>, found: Option<String>| wanted.is_none() || *wanted == found;
        is(&self.project, Some(overview.project.clone()))
            && self.state.is_none_or(|state| state == standing.state)
            && is(&self.result, standing.result.clone())
            && (self.commit_sha.is_none() || is(&self.commit_sha, commit_sha()))
            && self
                .labels
                .iter()
                .all(|(name, value)| text(overview.labels.get(name)).as_deref() == Some(value))
    }

    /// The index with the fewest runs that are not wanted, as far as can be guessed.
    fn dimension(&self) -> Dimension {
        let common = self.result.as_deref() == Some("succeeded");
        match (&self.commit_sha, self.state, &self.result, self.labels.first()) {
            (Some(commit), ..) => Dimension::OpenedCommit(commit.clone()),
            (_, Some(state @ (State::Open | State::Closing)), ..) => Dimension::OpenedState(state),
            (.., Some(result), _) if !common => Dimension::OpenedResult(result.clone()),
            (.., Some((name, value))) => Dimension::OpenedLabel(name.clone(), value.clone()),
            (.., Some(result), _) => Dimension::OpenedResult(result.clone()),
            (_, Some(state), ..) => Dimension::OpenedState(state),
            _ => Dimension::Opened,
        }
    }

    fn dimension_sealed(&self, artifact: Option<Digest>) -> Dimension {
        match (artifact, &self.commit_sha, &self.result) {
            (Some(digest), ..) => Dimension::SealedArtifact(digest),
            (_, Some(commit), _) => Dimension::SealedCommit(commit.clone()),
            (.., Some(result)) => Dimension::SealedResult(result.clone()),
            _ => Dimension::Sealed,
        }
    }
}

impl Service {
    /// The newest runs that the filter takes and the caller sees, after the one that a page before ended with.
    pub(crate) async fn list(
        &self,
        caller: &Caller,
        filter: RunFilter,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Page, ServiceError> {
        let dimension = filter.dimension();
        self.found_by(caller, dimension, filter, after, limit).await
    }

    /// The same for sealed envelopes, by when they were sealed; with that artifact in them.
    pub(crate) async fn list_sealed(
        &self,
        caller: &Caller,
        artifact: Option<Digest>,
        filter: RunFilter,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Page, ServiceError> {
        let dimension = filter.dimension_sealed(artifact);
        self.found_by(caller, dimension, filter, after, limit).await
    }

    async fn found_by(
        &self,
        caller: &Caller,
        dimension: Dimension,
        filter: RunFilter,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Page, ServiceError> {
        caller.check(Action::Read)?;
        let caller = caller.clone();
        self.read(move |store| {
            store.newest(&Query {
                dimension,
                projects: &|project| caller.sees(project),
                project: filter.project.as_deref(),
                later: filter.later,
                earlier: filter.earlier,
                after: after.as_ref(),
                limit,
                candidates: MAX_CANDIDATES,
                wanted: &|overview, standing| filter.takes(overview, standing),
            })
        })
        .await
    }
}
