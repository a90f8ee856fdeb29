//! Ids made out of what people call things.

use crate::evidence::envelope::limits::is_path_id;

const LONGEST: usize = 100;

/// An id that may have `/`, as near to the text as one can be; `otherwise` if nothing is left.
pub(crate) fn path_id(text: &str, otherwise: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:-/".contains(c);
    let replaced: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let segments = replaced.split('/').map(|segment| segment.trim_start_matches(['.', '-', ':', '_']));
    let joined = segments.filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/");
    let start = joined.len().saturating_sub(LONGEST);
    let id = joined.get(start..).unwrap_or_default().trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if is_path_id(id) { id.to_owned() } else { otherwise.to_owned() }
}

/// A part of an id that says what it is about, and is not enough to tell it from others: the end of the text, in the letters of an
/// id. `-` if nothing is left.
pub(super) fn id_part(text: &str, longest: usize) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
    let words: Vec<&str> = text.split(|c| !allowed(&c)).filter(|word| !word.is_empty()).collect();
    let joined = words.join("-");
    let part = joined.get(joined.len().saturating_sub(longest)..).unwrap_or_default();
    if part.is_empty() { "-".to_owned() } else { part.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_text_an_id_comes_out() {
        for (text, id) in [
            ("cargo", "cargo"),
            ("./a/../b c.xml", "a/b-c.xml"),
            ("/usr/bin/true", "usr/bin/true"),
            ("", "x"),
            ("..", "x"),
            ("ünïx", "n-x"),
            ("-rf", "rf"),
        ] {
            assert_eq!(path_id(text, "x"), id, "{text}");
        }
        assert!(is_path_id(&path_id(&"é/".repeat(500), "x")));
        assert!(is_path_id(&path_id(&"ab/".repeat(500), "x")));
    }

    #[test]
    fn a_part_of_an_id_is_the_end_of_a_text() {
        for (text, part) in
            [("", "-"), ("äöü", "-"), ("adds [1, 2] » 3", "2-3"), ("a::b/c_d", "c_d"), ("abc", "abc")]
        {
            assert_eq!(id_part(text, 3), part, "{text}");
        }
    }
}
