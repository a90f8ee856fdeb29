//! What may be how large, and how things may be named (ENVELOPE.md section 8).

/// The canonical form of one element, in bytes.
pub const MAX_ELEMENT_BYTES: usize = 256 << 10;
/// How deep an element may be: 58 containers leave room for what it stands in.
pub const MAX_ELEMENT_DEPTH: usize = 58;
/// How many elements a run may have.
pub const MAX_ELEMENTS: usize = 100_000;
/// The canonical form of an envelope, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 64 << 20;
/// A sealed envelope's file, in bytes.
pub const MAX_FILE_BYTES: usize = 128 << 20;
/// One text member, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 << 10;

/// The name of who reports, in bytes, as far as a service gives names.
pub const MAX_REPORTER_BYTES: usize = 64;

/// What may be how large in one run. The default is what the format allows; a service may be stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The canonical form of one element, as it came and as it is recorded.
    pub max_element_bytes: usize,
    /// Elements of a run.
    pub max_elements: usize,
    /// The canonical form of the envelope, with and without what is withheld.
    pub max_envelope_bytes: usize,
    /// The sealed envelope's file.
    pub max_file_bytes: usize,
    /// What stands around elements in an envelope, and around envelope and disclosures in a file: names, the payload, signatures.
    pub frame_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_element_bytes: MAX_ELEMENT_BYTES,
            max_elements: MAX_ELEMENTS,
            max_envelope_bytes: MAX_ENVELOPE_BYTES,
            max_file_bytes: MAX_FILE_BYTES,
            frame_bytes: 1 << 20,
        }
    }
}

const MAX_ID_BYTES: usize = 128;

/// 1–128 of `A–Z a–z 0–9 . _ : -`, first a letter or digit.
pub fn is_id(text: &str) -> bool {
    let charset = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    text.len() <= MAX_ID_BYTES
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(charset)
}

/// An id that may also have `/`, with no empty, `.` or `..` segment: `project`, `step_id`, `artifact_id`.
pub fn is_path_id(text: &str) -> bool {
    is_id(&text.replace('/', "-")) && !text.split('/').any(|segment| matches!(segment, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_section_8_says() {
        for good in ["a", "0", "A.b_c:d-e", &"x".repeat(128)] {
            assert!(is_id(good) && is_path_id(good), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "a/b", "é", "a\n", &"x".repeat(129)] {
            assert!(!is_id(bad), "{bad}");
        }
        for good in ["a/b", "acme/widget/x", "a/.hidden", "a/-"] {
            assert!(is_path_id(good), "{good}");
        }
        for bad in ["/a", "a/", "a//b", "a/./b", "a/..", "..", &"x/".repeat(65)] {
            assert!(!is_path_id(bad), "{bad}");
        }
    }
}
