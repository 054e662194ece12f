//! Ranges and preconditions (RFC 9110 sections 13 and 14), for files.

use hyper::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

/// What tells a representation from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validators {
    /// A strong entity tag, with its quotes.
    pub etag: String,
    /// When the file was last modified.
    pub modified: SystemTime,
}

/// What a request comes to once its conditions are weighed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConditionalOutcome {
    /// 200.
    Full,
    /// 206, with these bytes.
    FdShare(Range<u64>),
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// 416.
    Unsatisfiable,
}

/// Weighs a GET or HEAD of `length` bytes, in the order of RFC 9110 section 13.2.2.
pub(super) fn evaluate_conditions(headers: &HeaderMap, validators: &Validators, length: u64) -> ConditionalOutcome {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let date = |name: HeaderName| text(name).and_then(|value| httpdate::parse_http_date(value).ok());
    let modified = whole_seconds(validators.modified);

    let matched = match text(IF_MATCH) {
        Some(tags) => lists(tags, &validators.etag, Comparison::Strong),
        None => date(IF_UNMODIFIED_SINCE).is_none_or(|since| modified <= since),
    };
    if !matched {
        return ConditionalOutcome::Failed;
    }
    let unchanged = match text(IF_NONE_MATCH) {
        Some(tags) => lists(tags, &validators.etag, Comparison::Weak),
        None => date(IF_MODIFIED_SINCE).is_some_and(|since| modified <= since),
    };
    if unchanged {
        return ConditionalOutcome::NotModified;
    }
    let same = match text(IF_RANGE) {
        None => true,
        Some(tag) if tag.starts_with('"') => tag == validators.etag,
        Some(tag) => httpdate::parse_http_date(tag).is_ok_and(|at| at == modified),
    };
    match text(RANGE).filter(|_| same) {
        Some(asked) => range(asked, length),
        None => ConditionalOutcome::Full,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags names `etag`. Ours have no comma in them.
fn lists(tags: &str, etag: &str, comparison: Comparison) -> bool {
    tags.split(',').map(str::trim).any(|tag| {
        let weak = tag.strip_prefix("W/").filter(|_| comparison == Comparison::Weak);
        tag == "*" || weak.unwrap_or(tag) == etag
    })
}

/// The one range of `Range: bytes=…`. What is no range, or several, is answered whole, which every
/// client must take (RFC 9110 section 14.2).
fn range(asked: &str, length: u64) -> ConditionalOutcome {
    let Some((first, last)) = asked
        .strip_prefix("bytes=")
        .filter(|ranges| !ranges.contains(','))
        .and_then(|range| range.trim().split_once('-'))
    else {
        return ConditionalOutcome::Full;
    };
    let number = |digits: &str| -> Option<u64> {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        // Longer than any number is beyond every file.
        (plain && !digits.is_empty()).then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let part = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(count)) if first.is_empty() => length.saturating_sub(count)..length,
        _ => return ConditionalOutcome::Full,
    };
    if part.is_empty() {
        ConditionalOutcome::Unsatisfiable
    } else {
        ConditionalOutcome::FdShare(part)
    }
}

/// HTTP's dates have no fractions.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn weighed(headers: &[(HeaderName, &str)]) -> ConditionalOutcome {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        let validators = Validators {
            etag: "\"a-1\"".to_owned(),
            modified: httpdate::parse_http_date(MODIFIED).unwrap() + Duration::from_millis(700),
        };
        evaluate_conditions(&headers, &validators, 1000)
    }

    #[test]
    fn a_range_is_one_part_and_what_is_no_range_is_the_whole() {
        let range = |asked: &'static str| weighed(&[(RANGE, asked)]);
        assert_eq!(range("bytes=0-0"), ConditionalOutcome::FdShare(0..1));
        assert_eq!(range("bytes=500-"), ConditionalOutcome::FdShare(500..1000));
        assert_eq!(range("bytes=-100"), ConditionalOutcome::FdShare(900..1000));
        assert_eq!(range("bytes=-5000"), ConditionalOutcome::FdShare(0..1000));
        assert_eq!(
            range("bytes=900-99999999999999999999999"),
            ConditionalOutcome::FdShare(900..1000)
        );
        assert_eq!(range("bytes=1000-"), ConditionalOutcome::Unsatisfiable);
        assert_eq!(range("bytes=-0"), ConditionalOutcome::Unsatisfiable);
        for whole in [
            "bytes=5-2",
            "bytes=-",
            "bytes=+1-2",
            "lines=1-2",
            "bytes=0-1,5-6",
            "bytes",
        ] {
            assert_eq!(range(whole), ConditionalOutcome::Full, "{whole}");
        }
    }

    #[test]
    fn a_resume_of_another_version_gets_the_whole() {
        let resumed = |validator| weighed(&[(RANGE, "bytes=10-"), (IF_RANGE, validator)]);
        assert_eq!(resumed("\"a-1\""), ConditionalOutcome::FdShare(10..1000));
        assert_eq!(resumed("\"b-1\""), ConditionalOutcome::Full);
        assert_eq!(resumed("W/\"a-1\""), ConditionalOutcome::Full);
        assert_eq!(resumed(MODIFIED), ConditionalOutcome::FdShare(10..1000));
        assert_eq!(resumed(LATER), ConditionalOutcome::Full);
    }

    #[test]
    fn preconditions_come_before_ranges() {
        assert_eq!(weighed(&[(IF_MATCH, "\"b\", \"a-1\"")]), ConditionalOutcome::Full);
        assert_eq!(
            weighed(&[(IF_MATCH, "\"b\""), (RANGE, "bytes=0-1")]),
            ConditionalOutcome::Failed
        );
        assert_eq!(
            weighed(&[(IF_NONE_MATCH, "W/\"a-1\"")]),
            ConditionalOutcome::NotModified
        );
        assert_eq!(
            weighed(&[(IF_MODIFIED_SINCE, MODIFIED)]),
            ConditionalOutcome::NotModified
        );
        assert_eq!(weighed(&[(IF_UNMODIFIED_SINCE, MODIFIED)]), ConditionalOutcome::Full);
        let both = [(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, LATER)];
        assert_eq!(
            weighed(&both),
            ConditionalOutcome::Full,
            "the tag is asked before the date"
        );
    }
}
