//! `Range` (RFC 9110, section 14): which bytes are asked for.

use axum::http::HeaderMap;
use axum::http::header::{IF_RANGE, RANGE};

/// What of so many bytes is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    All,
    /// First and last.
    Part(u64, u64),
    /// None of them is there.
    Nothing,
}

/// One range is taken; what cannot be read, and several, are as good as none.
pub(super) fn wanted(headers: &HeaderMap, bytes: u64, tag: Option<&str>) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if headers.contains_key(IF_RANGE) && (tag.is_none() || text(IF_RANGE) != tag) {
        return Wanted::All;
    }
    let Some(range) = text(RANGE).and_then(|range| range.strip_prefix("bytes=")) else { return Wanted::All };
    let Some((first, last)) = range.split_once('-') else { return Wanted::All };
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let end = bytes.saturating_sub(1);
    let (first, last) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.min(end)),
        (Some(first), None) if last.is_empty() => (first, end),
        (None, Some(0)) if first.is_empty() => return Wanted::Nothing,
        (None, Some(suffix)) if first.is_empty() => (bytes.saturating_sub(suffix), end),
        _ => return Wanted::All,
    };
    if first < bytes { Wanted::Part(first, last) } else { Wanted::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_taken_and_what_is_none_is_ignored() {
        let of = |range: &str, bytes| {
            let headers = HeaderMap::from_iter([(RANGE, range.parse().unwrap())]);
            wanted(&headers, bytes, None)
        };
        assert_eq!(of("bytes=0-4", 10), Wanted::Part(0, 4));
        assert_eq!(of("bytes=5-", 10), Wanted::Part(5, 9));
        assert_eq!(of("bytes=5-99", 10), Wanted::Part(5, 9));
        assert_eq!(of("bytes=-3", 10), Wanted::Part(7, 9));
        assert_eq!(of("bytes=-30", 10), Wanted::Part(0, 9));
        for nothing in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(of(nothing, 10), Wanted::Nothing, "{nothing}");
        }
        assert_eq!(of("bytes=0-", 0), Wanted::Nothing);
        for ignored in ["bytes=4-2", "bytes=0-1,3-4", "lines=0-1", "bytes=+1-2", "bytes=a-b", "bytes=-"] {
            assert_eq!(of(ignored, 10), Wanted::All, "{ignored}");
        }
    }

    #[test]
    fn a_range_of_another_version_is_the_whole() {
        let headers = HeaderMap::from_iter([
            (RANGE, "bytes=0-4".parse().unwrap()),
            (IF_RANGE, "\"one\"".parse().unwrap()),
        ]);
        assert_eq!(wanted(&headers, 10, Some("\"one\"")), Wanted::Part(0, 4));
        assert_eq!(wanted(&headers, 10, Some("\"two\"")), Wanted::All);
        assert_eq!(wanted(&headers, 10, None), Wanted::All);
    }
}
