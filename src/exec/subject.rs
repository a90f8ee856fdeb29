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
    /// The checkout around the current directory; `None` where there is none, or no git. An error is git's own word on why it does not
    /// tell of a checkout that is there.
    pub(crate) fn of_current_directory() -> Result<Option<Self>, String> {
        // Both at once: each is a process.
        let mut status = Command::new("git");
        status
            .args(["status", "--porcelain=v2", "--branch"])
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("LC_ALL", "C");
        let status = status.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let remote =
            Command::new("git").args(["config", "--get", "remote.origin.url"]).stderr(Stdio::null()).output();
        let Ok(status) = status.and_then(std::process::Child::wait_with_output) else { return Ok(None) };
        if !status.status.success() {
            let said = String::from_utf8_lossy(&status.stderr);
            let first = said.lines().next().unwrap_or_default();
            return if first.contains("not a git repository") { Ok(None) } else { Err(first.to_owned()) };
        }
        let remote = remote.ok().filter(|output| output.status.success()).map(|output| output.stdout);
        let remote = remote.map(|url| without_credentials(String::from_utf8_lossy(&url).trim()));
        Ok(Some(Self { repo_url: remote, ..Self::from_status(&String::from_utf8_lossy(&status.stdout)) }))
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

/// A remote's URL without what may be secret in it: a password or token before the `@`, a query, a fragment. The user of an SSH URL stays.
fn without_credentials(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").map_or((None, url), |(scheme, rest)| (Some(scheme), rest));
    let authority = rest.split('/').next().unwrap_or_default();
    let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
    // A password may hold a slash, and then no `@` stands before it.
    let cut_in_password =
        scheme.is_some() && !authority.contains('@') && !port.bytes().all(|b| b.is_ascii_digit());
    let user_info = if cut_in_password { rest.rsplit_once('@') } else { authority.rsplit_once('@') };
    let Some((user_info, _)) = user_info else { return url.to_owned() };
    let host = rest.get(user_info.len().saturating_add(1)..).unwrap_or_default();
    let user = match scheme {
        Some("ssh") | None => user_info.split(':').next().unwrap_or_default().to_owned() + "@",
        Some(_) => String::new(),
    };
    scheme.map_or(String::new(), |scheme| format!("{scheme}://")) + &user + host
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
            ("ssh://git:secret@h.example/a", "ssh://git@h.example/a"),
            ("me:secret@h.example:a/b", "me@h.example:a/b"),
            ("https://me:s3/cret@h.example/a/b", "https://h.example/a/b"),
            ("https://h.example:8443/a@b", "https://h.example:8443/a@b"),
            ("https://h.example/a/b.git?access_token=secret#x", "https://h.example/a/b.git"),
            ("/srv/git/a.git", "/srv/git/a.git"),
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
