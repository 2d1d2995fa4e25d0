//! Byte ranges (RFC 9110 §14): which part of a blob a request asks for.
//!
//! Only single ranges are served in part; for the rest the RFC lets a server send everything, and
//! no registry client asks for more.

use axum::http::HeaderMap;
use axum::http::header::{IF_NONE_MATCH, IF_RANGE, RANGE};

/// What is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it.
    Whole,
    /// `length` bytes from `start`; at least one, and all within the content.
    Part {
        /// The first byte's position.
        start: u64,
        /// How many bytes.
        length: u64,
    },
    /// A range that lies past the end.
    Unsatisfiable,
}

impl Selection {
    /// What the headers of a GET ask for, of content with this size and entity tag.
    pub(super) fn of(headers: &HeaderMap, size: u64, entity_tag: &str) -> Self {
        // A range of another version of the content would be useless; only an equal tag proves that
        // it is the same, and dates prove nothing here.
        if headers.get(IF_RANGE).is_some_and(|tag| tag != entity_tag) {
            return Self::Whole;
        }
        let mut values = headers.get_all(RANGE).iter();
        match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
            (Some(range), None) => Self::parse(range, size),
            _ => Self::Whole,
        }
    }

    /// Reads `bytes=first-last`, `bytes=first-` and `bytes=-suffix`; what it cannot read asks for nothing.
    fn parse(range: &str, size: u64) -> Self {
        let spec = match range.split_once('=') {
            Some((unit, spec)) if unit.trim().eq_ignore_ascii_case("bytes") => spec.trim(),
            _ => return Self::Whole,
        };
        let Some((first, last)) = spec.split_once('-') else { return Self::Whole };
        let (first, last) = match (number(first), number(last)) {
            (Ok(Some(first)), Ok(None)) => (first, u64::MAX),
            (Ok(Some(first)), Ok(Some(last))) if first <= last => (first, last),
            (Ok(None), Ok(Some(suffix))) if suffix > 0 => (size.saturating_sub(suffix), u64::MAX),
            (Ok(None), Ok(Some(_))) => return Self::Unsatisfiable,
            _ => return Self::Whole,
        };
        if first >= size {
            return Self::Unsatisfiable;
        }
        Self::Part { start: first, length: last.min(size - 1) - first + 1 }
    }
}

/// A decimal number, or nothing where there is no text. A number too large for this machine is
/// past the end of any content.
fn number(text: &str) -> Result<Option<u64>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

/// Whether the client says that it has the content with this entity tag already.
pub(super) fn is_known(headers: &HeaderMap, entity_tag: &str) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == entity_tag)
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn part(start: u64, length: u64) -> Selection {
        Selection::Part { start, length }
    }

    #[test]
    fn reads_single_ranges() {
        for (range, selection) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-4", part(2, 3)),
            ("bytes=4-", part(4, 6)),
            ("bytes=0-", part(0, 10)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-99", part(0, 10)),
            ("bytes=8-99", part(8, 2)),
            ("Bytes = 8-9", part(8, 2)),
            ("bytes=9-99999999999999999999999", part(9, 1)),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=99999999999999999999999-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=4-2", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=", Selection::Whole),
            ("bytes=0-1,3-4", Selection::Whole),
            ("lines=0-1", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("", Selection::Whole),
        ] {
            assert_eq!(Selection::parse(range, 10), selection, "{range}");
        }
        assert_eq!(Selection::parse("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(Selection::parse("bytes=-1", 0), Selection::Unsatisfiable);
    }

    #[test]
    fn another_version_is_sent_whole() {
        let headers = |pairs: &[(HeaderName, &str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
        };
        let range = (RANGE, "bytes=1-");
        assert_eq!(Selection::of(&headers(std::slice::from_ref(&range)), 10, "\"a\""), part(1, 9));
        assert_eq!(Selection::of(&headers(&[range.clone(), (IF_RANGE, "\"a\"")]), 10, "\"a\""), part(1, 9));
        for other in ["\"b\"", "W/\"a\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(Selection::of(&headers(&[range.clone(), (IF_RANGE, other)]), 10, "\"a\""), Selection::Whole);
        }
    }

    #[test]
    fn knows_what_the_client_has() {
        let known = |list: &str| is_known(&HeaderMap::from_iter([(IF_NONE_MATCH, list.parse().unwrap())]), "\"a\"");
        assert!(known("\"a\"") && known("W/\"a\"") && known("\"b\", \"a\"") && known("*"));
        assert!(!known("\"b\"") && !known("a") && !known(""));
        assert!(!is_known(&HeaderMap::new(), "\"a\""));
    }

    proptest::proptest! {
        #[test]
        fn never_leaves_the_content(range in "(bytes=)?[0-9,-]{0,24}", size in 0_u64..100) {
            if let Selection::Part { start, length } = Selection::parse(&range, size) {
                proptest::prop_assert!(length > 0 && start + length <= size);
            }
        }
    }
}
