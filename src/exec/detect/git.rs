//! What git tells of the checkout around the current directory.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::environment::{BRANCHES, project};
use super::subject::Subject;

/// In bytes; no remote that somebody works with is longer.
const LONGEST_URL: usize = 2048;

/// How long git may take; what runs under `exec` waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The checkout around the current directory; `None` where there is none, or no git. An error is git's own word on why it does not
/// tell of a checkout that is there, or that it took too long.
pub(crate) fn checkout() -> Result<Option<Subject>, String> {
    let (tell, told) = mpsc::channel();
    let asking = thread::Builder::new().name("git".into()).spawn(move || tell.send(ask()));
    match asking {
        Ok(_) => told.recv_timeout(PATIENCE).unwrap_or_else(|_| Err("nothing for 10 s".to_owned())),
        Err(_) => ask(),
    }
}

fn ask() -> Result<Option<Subject>, String> {
    // Both at once: each is a process.
    let mut status = Command::new("git");
    status.args(["status", "--porcelain=v2", "--branch"]).env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C");
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
    let remote =
        remote.filter(|url| !url.is_empty() && url.len() <= LONGEST_URL && !url.contains(char::is_control));
    Ok(Some(Subject { repo_url: remote, ..from_status(&String::from_utf8_lossy(&status.stdout)) }))
}

/// Reads `git status --porcelain=v2 --branch`.
fn from_status(status: &str) -> Subject {
    let header = |name: &str| {
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix("# branch.")?.strip_prefix(name)?.strip_prefix(' '));
        value.filter(|value| !value.starts_with('('))
    };
    Subject {
        commit_sha: header("oid").map(str::to_owned),
        reference: header("head").map(|branch| format!("{BRANCHES}{branch}")),
        dirty: Some(status.lines().any(|line| !line.starts_with('#'))),
        ..Subject::default()
    }
}

/// A project's name out of its repository's address: the last two parts of the path, which are owner and name.
pub(super) fn project_of_url(url: &str) -> Option<String> {
    let path = url.split_once("://").map_or_else(
        || url.split_once(':').map(|(_, path)| path),
        |(_, rest)| rest.split_once('/').map(|(_, path)| path),
    )?;
    let path = path.trim_end_matches('/').trim_end_matches(".git");
    let mut last: Vec<&str> = path.rsplit('/').take(2).collect();
    last.reverse();
    project(&last.join("/"))
}

/// A remote's URL without what may be secret in it: a password or token before the `@`, a query, a fragment, parameters. The user of an
/// SSH URL stays. Empty where it cannot be told what is secret.
pub(super) fn without_credentials(url: &str) -> String {
    let (url, cut) = url.split_at(url.find(['?', '#', ';']).unwrap_or(url.len()));
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => url.strip_prefix("//").map_or((None, url), |rest| (Some(""), rest)),
    };
    if scheme.is_some() && !rest.contains(['/', '@']) && cut.contains('@') {
        // A password may hold these, too.
        return String::new();
    }
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
    let scheme = match scheme {
        None => String::new(),
        Some("") => "//".to_owned(),
        Some(scheme) => format!("{scheme}://"),
    };
    scheme + &user + host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_gives_commit_branch_and_dirt() {
        let clean = from_status("# branch.oid 9fceb02d\n# branch.head main\n# branch.ab +0 -0\n");
        assert_eq!(
            (clean.commit_sha.as_deref(), clean.reference.as_deref(), clean.dirty),
            (Some("9fceb02d"), Some("refs/heads/main"), Some(false))
        );
        let fresh = from_status("# branch.oid (initial)\n# branch.head (detached)\n? new\n");
        assert_eq!(fresh, Subject { dirty: Some(true), ..Subject::default() });
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
            ("https://u:p?tok@h.example/a", ""),
            ("https://u:12#tok@h.example/a", ""),
            ("https://h.example/a;jsessionid=secret", "https://h.example/a"),
            ("//u:secret@h.example/a", "//h.example/a"),
        ] {
            assert_eq!(without_credentials(url), without);
        }
    }

    #[test]
    fn a_project_is_named_after_its_repository() {
        for url in [
            "https://h.example/acme/widget.git",
            "git@h.example:acme/widget.git",
            "ssh://h.example/x/acme/widget/",
        ] {
            assert_eq!(project_of_url(url).as_deref(), Some("acme/widget"), "{url}");
        }
        assert_eq!(project_of_url("/srv/git/a.git"), None);
    }
}
