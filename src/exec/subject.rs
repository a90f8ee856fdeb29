//! What a run is about: the checkout it ran in, as git tells it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::names::path_id;
use crate::evidence::canonical::Object;

/// A git checkout.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    commit_sha: Option<String>,
    branch: Option<String>,
    repo_url: Option<String>,
    dirty: bool,
}

impl Subject {
    /// The checkout around the current directory; `None` where there is none, or no git.
    pub(crate) fn of_current_directory() -> Option<Self> {
        // Both at once: each is a process.
        let mut status = Command::new("git");
        status.args(["status", "--porcelain=v2", "--branch"]).env("GIT_OPTIONAL_LOCKS", "0");
        let status = status.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let remote =
            Command::new("git").args(["config", "--get", "remote.origin.url"]).stderr(Stdio::null()).output();
        let status = status.wait_with_output().ok().filter(|output| output.status.success())?;
        let remote = remote.ok().filter(|output| output.status.success()).map(|output| output.stdout);
        let remote = remote.map(|url| without_credentials(String::from_utf8_lossy(&url).trim()));
        Some(Self { repo_url: remote, ..Self::from_status(&String::from_utf8_lossy(&status.stdout)) })
    }

    /// Reads `git status --porcelain=v2 --branch`.
    fn from_status(status: &str) -> Self {
        let header = |name: &str| {
            let value = status
                .lines()
                .find_map(|line| line.strip_prefix("# branch.")?.strip_prefix(name)?.strip_prefix(' '));
            value.filter(|value| !value.starts_with('(')).map(str::to_owned)
        };
        let dirty = status.lines().any(|line| !line.starts_with('#'));
        Self { commit_sha: header("oid"), branch: header("head"), repo_url: None, dirty }
    }

    /// The member `subject` of the run.
    pub(super) fn member(&self) -> Object<'static> {
        let mut subject = Object::new();
        if let Some(url) = &self.repo_url {
            subject.insert("repo_url", url.clone());
        }
        if let Some(commit) = &self.commit_sha {
            subject.insert("commit_sha", commit.clone());
        }
        if let Some(branch) = &self.branch {
            subject.insert("ref", format!("refs/heads/{branch}"));
        }
        subject.insert("dirty", self.dirty);
        subject
    }
}

/// A project's name where nobody gave one: owner and repository of the remote, else the directory's name.
pub(crate) fn default_project(subject: Option<&Subject>, directory: &Path) -> String {
    let remote = subject.and_then(|subject| subject.repo_url.as_deref()).and_then(|url| {
        let path = url.split_once("://").map_or_else(
            || url.split_once(':').map(|(_, path)| path),
            |(_, rest)| rest.split_once('/').map(|(_, path)| path),
        )?;
        let path = path.trim_end_matches('/').trim_end_matches(".git");
        let mut last: Vec<&str> = path.rsplit('/').take(2).collect();
        last.reverse();
        Some(last.join("/"))
    });
    let directory =
        || directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path_id(&remote.unwrap_or_else(directory), "local")
}

/// `https://user:token@host/x` without what stands before the `@`: it does not belong into evidence.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((credentials, _)) if scheme != "ssh" => {
            format!("{scheme}://{}", rest.get(credentials.len().saturating_add(1)..).unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_gives_commit_branch_and_dirt() {
        let clean = Subject::from_status("# branch.oid 9fceb02d\n# branch.head main\n# branch.ab +0 -0\n");
        assert_eq!(
            (clean.commit_sha.as_deref(), clean.branch.as_deref(), clean.dirty),
            (Some("9fceb02d"), Some("main"), false)
        );
        let fresh = Subject::from_status("# branch.oid (initial)\n# branch.head (detached)\n? new\n");
        assert_eq!(fresh, Subject { dirty: true, ..Subject::default() });
    }

    #[test]
    fn credentials_never_stand_in_a_url() {
        for (url, without) in [
            ("https://u:p@h.example/a/b.git", "https://h.example/a/b.git"),
            ("https://token@h.example/a@b", "https://h.example/a@b"),
            ("https://h.example/a@b", "https://h.example/a@b"),
            ("git@h.example:a/b.git", "git@h.example:a/b.git"),
            ("ssh://git@h.example/a", "ssh://git@h.example/a"),
        ] {
            assert_eq!(without_credentials(url), without);
        }
    }

    #[test]
    fn a_project_is_named_after_its_repository_or_directory() {
        let of = |url: &str| Subject { repo_url: Some(url.into()), ..Subject::default() };
        let directory = Path::new("/home/ada/my widget");
        assert_eq!(default_project(Some(&of("https://h.example/acme/widget.git")), directory), "acme/widget");
        assert_eq!(default_project(Some(&of("git@h.example:acme/widget.git")), directory), "acme/widget");
        assert_eq!(default_project(None, directory), "my-widget");
        assert_eq!(default_project(None, Path::new("/")), "local");
    }
}
