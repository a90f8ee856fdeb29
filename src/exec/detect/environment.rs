//! What is asked of the environment: variables by their names, and values that are what they should be.

use std::path::Path;

use super::super::names::path_id;
use super::git::without_credentials;
use crate::evidence::envelope::limits::is_id;

/// The environment of this process. Every variable is asked for by its name, so none is recorded that nobody thought of.
pub(crate) struct Environment<'e> {
    pub(crate) variable: &'e dyn Fn(&str) -> Option<String>,
    /// The text of a file that a variable names.
    pub(crate) file: &'e dyn Fn(&Path) -> Option<String>,
}

/// In bytes. What is longer is left out: a part of it would be something else.
const LONGEST: usize = 1024;

impl Environment<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name).filter(|value| value.len() <= LONGEST)?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// What people call something, without what a terminal would act on.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let text: String = self.value(name)?.chars().filter(|c| !c.is_control()).collect();
        Some(text).filter(|text| !text.is_empty())
    }

    pub(super) fn id(&self, name: &str) -> Option<String> {
        self.value(name).filter(|value| is_id(value))
    }

    pub(super) fn number(&self, name: &str) -> Option<String> {
        self.id(name).filter(|value| value.bytes().all(|b| b.is_ascii_digit()))
    }

    pub(super) fn commit(&self, name: &str) -> Option<String> {
        commit(&self.value(name)?)
    }

    /// The full name of a ref, made of a prefix and a value; a value that is a full name stays as it is.
    pub(super) fn reference(&self, prefix: &str, name: &str) -> Option<String> {
        let value = self.value(name)?;
        reference(&if value.starts_with("refs/") { value } else { format!("{prefix}{value}") })
    }

    /// A branch's own name, of whichever form the value has.
    pub(super) fn branch(&self, name: &str) -> Option<String> {
        let full = self.reference(BRANCHES, name)?;
        Some(full.strip_prefix(BRANCHES).unwrap_or(&full).to_owned())
    }

    /// The address of a page: http or https, without credentials and without a query. A fragment stays if it is a route, as some pages have.
    pub(super) fn page(&self, name: &str) -> Option<String> {
        let value = self.value(name).filter(|value| is_page(value))?;
        let route = value.split_once('#').map(|(_, route)| route);
        let route = route.filter(|route| route.starts_with('/') && !route.contains(['?', '=', '&', '@']));
        Some(without_credentials(&value) + &route.map(|route| format!("#{route}")).unwrap_or_default())
    }

    /// The address of a repository, without credentials.
    pub(super) fn repository(&self, name: &str) -> Option<String> {
        self.value(name).filter(|value| is_repository(value)).map(|value| without_credentials(&value))
    }

    pub(super) fn project(&self, name: &str) -> Option<String> {
        project(&self.value(name)?)
    }
}

/// Before the name of a branch.
pub(super) const BRANCHES: &str = "refs/heads/";
/// Before the name of a tag.
pub(super) const TAGS: &str = "refs/tags/";

/// The text as the whole name of a commit; neither a short one nor the one that stands for none.
pub(super) fn commit(text: &str) -> Option<String> {
    let hex = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && text.bytes().any(|b| b != b'0')).then(|| text.to_ascii_lowercase())
}

/// The text as the name of a project.
pub(super) fn project(text: &str) -> Option<String> {
    Some(path_id(text, "")).filter(|project| !project.is_empty())
}

/// The id of a run; none if it would not be one.
pub(super) fn run_id(parts: &[&str]) -> Option<String> {
    Some(parts.join("-")).filter(|id| is_id(id))
}

/// A server's address as part of an id: `https://h.example/tfs/` is `h.example-tfs`.
pub(super) fn in_id(server: &str) -> String {
    let place = server.split_once("://").map_or(server, |(_, place)| place);
    path_id(place, "").replace('/', "-")
}

fn reference(full: &str) -> Option<String> {
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let rest = full.strip_prefix("refs/")?;
    let formed =
        !rest.contains(forbidden) && !rest.split('/').any(|part| part.is_empty() || part.starts_with('.'));
    (formed && !rest.contains("..")).then(|| full.to_owned())
}

fn is_page(text: &str) -> bool {
    let after = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    after.is_some_and(|after| after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['))
        && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_repository(text: &str) -> bool {
    let scheme = ["ssh://", "git://"].iter().any(|scheme| text.starts_with(scheme));
    let short = !text.contains("://")
        && text.split_once(':').is_some_and(|(host, path)| host.contains('@') && !path.is_empty());
    is_page(text) || ((scheme || short) && text.bytes().all(|b| b.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<T>(value: &str, ask: impl Fn(&Environment<'_>) -> T) -> T {
        let variable = |_: &str| Some(value.to_owned());
        ask(&Environment { variable: &variable, file: &|_| None })
    }

    #[test]
    fn a_ref_is_told_by_its_full_name_or_not_at_all() {
        for (value, full) in [
            ("main", Some("refs/heads/main")),
            (" feature/é\n", Some("refs/heads/feature/é")),
            ("refs/pull/7/merge", Some("refs/pull/7/merge")),
            ("owner:branch", None),
            ("a..b", None),
            ("a//b", None),
            ("a b", None),
            ("$/team/main^", None),
        ] {
            assert_eq!(asked(value, |e| e.reference(BRANCHES, "X")).as_deref(), full, "{value}");
        }
        assert_eq!(asked("refs/heads/main", |e| e.branch("X")).as_deref(), Some("main"));
    }

    #[test]
    fn a_commit_is_a_whole_one() {
        let sha = "FFAC537E6CBBF934B08745A378932722DF287A53";
        assert_eq!(asked(sha, |e| e.commit("X")), Some(sha.to_ascii_lowercase()));
        for other in ["HEAD", "ffac537", &"0".repeat(40), &"g".repeat(40)] {
            assert_eq!(asked(other, |e| e.commit("X")), None, "{other}");
        }
    }

    #[test]
    fn an_address_is_told_without_what_may_be_secret_in_it() {
        for (value, page) in [
            ("https://me:pw@h.example/x?token=y#z", Some("https://h.example/x")),
            ("https://h.example/#/runs/7", Some("https://h.example/#/runs/7")),
            ("https://h.example/#/login?token=y", Some("https://h.example/")),
            ("https://h.example/#access_token=y", Some("https://h.example/")),
            ("javascript:alert(1)", None),
            ("https://h.example/a b", None),
        ] {
            assert_eq!(asked(value, |e| e.page("X")).as_deref(), page, "{value}");
        }
        for (value, repository) in [
            ("https://ci-token:pw@h.example/a/b.git", Some("https://h.example/a/b.git")),
            ("git@h.example:a/b.git", Some("git@h.example:a/b.git")),
            ("ssh://git@h.example:7999/a/b.git", Some("ssh://git@h.example:7999/a/b.git")),
            ("/srv/git/a.git", None),
            ("word", None),
        ] {
            assert_eq!(asked(value, |e| e.repository("X")).as_deref(), repository, "{value}");
        }
    }
}
