//! Lists of runs and of sealed envelopes: under what a run is found, and what can be asked.

use super::Sealing;
use crate::evidence::digest::Digest;
use crate::evidence::time::Timestamp;
use crate::journal::{Overview, Standing, State};

/// What a run is found under, in its project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dimension {
    /// Runs, by when they were opened: all, or those with that.
    Opened,
    OpenedCommit(String),
    OpenedLabel(String, String),
    OpenedResult(String),
    OpenedState(State),
    /// Sealed envelopes, by when they were sealed: all, or those with that.
    Sealed,
    SealedArtifact(Digest),
    SealedCommit(String),
    SealedResult(String),
}

impl Dimension {
    /// A tag for what it is of, and the value.
    pub(super) fn parts(&self) -> (u8, String) {
        match self {
            Dimension::Opened => (b'T', String::new()),
            Dimension::OpenedCommit(commit) => (b'C', commit.clone()),
            Dimension::OpenedLabel(name, value) => (b'L', format!("{}:{name}{value}", name.len())),
            Dimension::OpenedResult(result) => (b'R', result.clone()),
            Dimension::OpenedState(state) => (b'S', state.as_str().to_owned()),
            Dimension::Sealed => (b't', String::new()),
            Dimension::SealedArtifact(digest) => (b'a', digest.to_string()),
            Dimension::SealedCommit(commit) => (b'c', commit.clone()),
            Dimension::SealedResult(result) => (b'r', result.clone()),
        }
    }
}

/// Where a run stands in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// When it was opened, or sealed.
    pub(crate) at: Timestamp,
    pub(crate) evidence_id: String,
}

/// Decides which of the found are wanted.
pub(crate) type Wanted<'q> = &'q (dyn Fn(&Overview, &Standing) -> bool + 'q);

/// What is asked of a list. The newest come first.
pub(crate) struct Query<'q> {
    pub(crate) dimension: Dimension,
    /// In these projects.
    pub(crate) projects: &'q (dyn Fn(&str) -> bool + 'q),
    /// In this one alone.
    pub(crate) project: Option<&'q str>,
    /// Later than that.
    pub(crate) later: Option<Timestamp>,
    /// Earlier than that.
    pub(crate) earlier: Option<Timestamp>,
    /// After the one that a page before ended with.
    pub(crate) after: Option<&'q Place>,
    pub(crate) limit: usize,
    /// How many are looked at.
    pub(crate) candidates: usize,
    pub(crate) wanted: Wanted<'q>,
}

/// A stretch of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) runs: Vec<(Overview, Standing)>,
    /// Where the next page begins; `None` at the end.
    pub(crate) next: Option<Place>,
}

/// Under what a run is found as it stands, with the moment by which it is ordered there. `sealing` is what its envelope holds.
pub(crate) fn entries(
    overview: &Overview,
    standing: &Standing,
    sealing: Option<&Sealing>,
) -> Vec<(Dimension, Timestamp)> {
    let text =
        |value: Option<&serde_json::Value>| value.and_then(serde_json::Value::as_str).map(str::to_owned);
    let commit = overview.subject.as_ref().and_then(|subject| text(subject.get("commit_sha")));
    let mut opened = vec![Dimension::Opened, Dimension::OpenedState(standing.state)];
    opened.extend(standing.result.clone().map(Dimension::OpenedResult));
    opened.extend(commit.clone().map(Dimension::OpenedCommit));
    for (name, value) in overview.labels.as_object().into_iter().flatten() {
        opened.extend(text(Some(value)).map(|value| Dimension::OpenedLabel(name.clone(), value)));
    }
    let mut sealed = Vec::new();
    if let Some(sealing) = sealing {
        sealed.push(Dimension::Sealed);
        sealed.extend(standing.result.clone().map(Dimension::SealedResult));
        sealed.extend(commit.map(Dimension::SealedCommit));
        sealed.extend(sealing.artifacts.iter().copied().map(Dimension::SealedArtifact));
    }
    let opened = opened.into_iter().map(|dimension| (dimension, overview.opened_at));
    // The last record of a sealed run is its seal.
    opened.chain(sealed.into_iter().map(|dimension| (dimension, standing.active_at))).collect()
}
