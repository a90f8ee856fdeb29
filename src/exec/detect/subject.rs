//! What a run is about.

use crate::evidence::canonical::Object;

/// A commit of a repository, and how it came to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(super) repo_url: Option<String>,
    pub(super) commit_sha: Option<String>,
    /// The full name of the ref.
    pub(super) reference: Option<String>,
    /// Whether files differ from the commit; git alone can tell.
    pub(super) dirty: Option<bool>,
    /// Of a pull request: its number, the commit and branch that it brings, the branch that it is for.
    pub(super) meta: Vec<(&'static str, String)>,
}

/// Those of the members that there are.
pub(super) fn meta<const N: usize>(
    members: [(&'static str, Option<String>); N],
) -> Vec<(&'static str, String)> {
    members.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

impl Subject {
    /// What a pipeline says of its subject, and git of the checkout that is there. Where both speak of one commit, the pipeline
    /// knows more: the checkout is often detached from its branch. Of another commit git alone speaks.
    pub(super) fn of(pipeline: Self, checkout: Option<Self>) -> Option<Self> {
        let Some(git) = checkout else { return Some(pipeline).filter(|subject| *subject != Self::default()) };
        let same = match (&pipeline.commit_sha, &git.commit_sha) {
            (Some(told), Some(there)) => told == there,
            _ => true,
        };
        if same {
            return Some(Self {
                repo_url: pipeline.repo_url.or(git.repo_url),
                commit_sha: git.commit_sha.or(pipeline.commit_sha),
                reference: pipeline.reference.or(git.reference),
                dirty: git.dirty,
                meta: pipeline.meta,
            });
        }
        let mut meta = pipeline.meta;
        meta.extend(pipeline.commit_sha.map(|commit| ("pipeline_sha", commit)));
        Some(Self { repo_url: git.repo_url.or(pipeline.repo_url), meta, ..git })
    }

    /// The member `subject` of the run.
    pub(crate) fn member(&self) -> Object<'static> {
        let texts =
            [("repo_url", &self.repo_url), ("commit_sha", &self.commit_sha), ("ref", &self.reference)];
        let mut subject: Object<'static> =
            texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))).collect();
        if let Some(dirty) = self.dirty {
            subject.insert("dirty", dirty);
        }
        if !self.meta.is_empty() {
            subject.insert("meta", self.meta.iter().cloned().collect::<Object<'_>>());
        }
        subject
    }
}
