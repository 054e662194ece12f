//! Files of checksums, in every form that distributions write: no I/O.
//!
//! | form | line |
//! |---|---|
//! | GNU `SHA256SUMS`, and `FILE.sha256` | `HEX  name`, `HEX *name`, or `HEX` alone |
//! | BSD, as in Fedora's `CHECKSUM` | `SHA256 (name) = HEX` |
//! | Debian's `Release` | ` HEX length name` |
//! | `.treeinfo` | `name = sha256:HEX` |
//! | Alpine's `latest-releases.yaml` | `file: name`, and later `sha256: HEX` |
//! | Fedora CoreOS' stream (JSON) | objects with `location` and `sha256` |
//!
//! Each line tells its own form, so that the operator need not say which. What is none of them is passed over.

use super::url;
use crate::images::checksum;
use crate::model::text;
use std::cmp::Ordering;

/// One file and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    /// The file's URL, joined to that of the file of checksums.
    pub(super) url: String,
    pub(super) sha256: [u8; 32],
}

/// The checksums in `body`, which came from `from`.
pub(super) fn read(from: &str, body: &str) -> Vec<Sum> {
    let mut found = Vec::new();
    if body.trim_start().starts_with('{') {
        let parsed: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
        stream(&parsed, from, &mut found);
        return found;
    }
    let mut file = None;
    for line in body.lines() {
        let key = line.trim().trim_start_matches("- ");
        if let Some(name) = key.strip_prefix("file:") {
            file = Some(name.trim());
        } else if let Some(digits) = key.strip_prefix("sha256:") {
            let sha256 = checksum::from_hex(digits.trim());
            found.extend(file.take().zip(sha256).map(|(name, sha256)| sum(from, name, sha256)));
        } else if let Some((name, sha256)) = entry(line) {
            found.push(sum(from, name.unwrap_or(of_itself(from)), sha256));
        }
    }
    found
}

fn sum(from: &str, name: &str, sha256: [u8; 32]) -> Sum {
    Sum {
        url: url::join(from, name),
        sha256,
    }
}

/// `linux.sha256` with nothing but digits in it speaks of `linux`.
fn of_itself(from: &str) -> &str {
    let name = url::file_name(from);
    name.strip_suffix(".sha256")
        .or_else(|| name.strip_suffix(".sha256sum"))
        .unwrap_or(name)
}

/// One line's file, if it names one, and checksum.
fn entry(line: &str) -> Option<(Option<&str>, [u8; 32])> {
    if let Some((name, digits)) = line.strip_prefix("SHA256 (").and_then(|rest| rest.split_once(") = ")) {
        return Some((Some(name), checksum::from_hex(digits.trim())?));
    }
    if let Some((name, digits)) = line.split_once(" = sha256:") {
        return Some((Some(name.trim()), checksum::from_hex(digits.trim())?));
    }
    let (digits, rest) = line.trim_start().split_at_checked(64)?;
    let sha256 = checksum::from_hex(digits)?;
    if rest.trim().is_empty() {
        return Some((None, sha256));
    }
    let name = match line.starts_with(' ') {
        true => rest
            .trim()
            .split_once(' ')
            .filter(|(length, _)| length.parse::<u64>().is_ok())?
            .1
            .trim(),
        false => rest.strip_prefix("  ").or_else(|| rest.strip_prefix(" *"))?.trim_end(),
    };
    Some((Some(name), sha256))
}

/// serde_json bounds the depth.
fn stream(value: &serde_json::Value, from: &str, found: &mut Vec<Sum>) {
    let text = |key: &str| value.get(key).and_then(serde_json::Value::as_str);
    if let (Some(location), Some(sha256)) = (text("location"), text("sha256").and_then(checksum::from_hex)) {
        found.push(sum(from, location, sha256));
    }
    match value {
        serde_json::Value::Object(fields) => fields.values().for_each(|value| stream(value, from, found)),
        serde_json::Value::Array(items) => items.iter().for_each(|value| stream(value, from, found)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

/// The file that `wanted` names among `sums`. It may have a `*` in it, for a version that changes;
/// of several the newest is meant. It stands for no folder: `gtk/mini.iso` is another file.
pub(super) fn find<'a>(sums: &'a [Sum], wanted: &str) -> Option<&'a Sum> {
    match wanted.contains('*') {
        false => sums.iter().find(|sum| sum.url == wanted),
        true => sums
            .iter()
            .filter(|sum| text::glob(wanted, &sum.url) && url::host(&sum.url) == url::host(wanted))
            .filter(|sum| folders(&sum.url) == folders(wanted))
            .max_by(|one, other| by_version(&one.url, &other.url)),
    }
}

fn folders(url: &str) -> usize {
    url.bytes().filter(|byte| *byte == b'/').count()
}

/// Whether the file has another checksum among the `sums` too: which is right can't be told.
pub(super) fn is_contradicted(sums: &[Sum], one: &Sum) -> bool {
    sums.iter()
        .any(|other| other.url == one.url && other.sha256 != one.sha256)
}

/// Digits count as numbers: 24.04.10 is newer than 24.04.9.
fn by_version(one: &str, other: &str) -> Ordering {
    pieces(one).cmp(&pieces(other))
}

fn pieces(text: &str) -> Vec<(u64, &str)> {
    text.split_inclusive(|byte: char| !byte.is_ascii_digit())
        .map(|piece| {
            let digits = piece.trim_end_matches(|byte: char| !byte.is_ascii_digit());
            (digits.parse().unwrap_or(0), &piece[digits.len()..])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn read_one(from: &str, body: &str, wanted: &str) -> Option<u8> {
        find(&read(from, body), wanted).map(|sum| sum.sha256[0])
    }

    #[test]
    fn every_form_says_the_same() {
        let from = "https://a.example/d/SUMS";
        let linux = "https://a.example/d/n/linux";
        for body in [
            format!("{B}  other\n{A}  ./n/linux\n"),
            format!("{B} *other\n{A} *n/linux\n"),
            format!("# Fedora\nSHA256 (other) = {B}\nSHA256 (n/linux) = {A}\n"),
            format!(
                "Origin: Debian\nMD5Sum:\n 0123456789abcdef0123456789abcdef 12 n/linux\nSHA256:\n {B}   7 other\n {A} 8222656 n/linux\n"
            ),
            format!("[checksums]\nother = sha256:{B}\nn/linux = sha256:{A}\n\n[general]\nname = x\n"),
            format!("-\n  title: x\n  file: other\n  sha256: {B}\n-\n  file: n/linux\n  size: 5\n  sha256: {A}\n"),
            format!(
                r#"{{"x":[{{"location":"{linux}","sha256":"{A}"}},{{"location":"https://a.example/d/other","sha256":"{B}"}}]}}"#
            ),
        ] {
            assert_eq!(read_one(from, &body, linux), Some(0xaa), "{body}");
            assert_eq!(read_one(from, &body, "https://a.example/d/other"), Some(0xbb), "{body}");
            assert_eq!(read_one(from, &body, "https://a.example/d/linux"), None, "{body}");
        }
        assert_eq!(
            read_one("https://a.example/linux.sha256", A, "https://a.example/linux"),
            Some(0xaa)
        );
    }

    #[test]
    fn what_is_no_checksum_is_passed_over() {
        for body in [
            "",
            "<html>not found</html>",
            "deadbeef  linux",
            "{",
            &A[1..],
            "ä".repeat(80).as_str(),
        ] {
            assert_eq!(read("https://a.example/SUMS", body), [], "{body}");
        }
    }

    #[test]
    fn a_star_finds_the_newest_version_on_the_same_server() {
        let body =
            format!("{A}  u-24.04.9.iso\n{B}  u-24.04.10.iso\n{A}  u-24.04.2.iso\n{A}  https://b.example/u-99.iso\n");
        assert_eq!(
            read_one("https://a.example/SUMS", &body, "https://a.example/u-*.iso"),
            Some(0xbb)
        );
        assert_eq!(read_one("https://a.example/SUMS", &body, "https://*/u-99.iso"), None);
        let deeper = format!("{A}  n/24.04/mini.iso\n{B}  n/24.04/gtk/mini.iso\n");
        let wanted = "https://a.example/n/*/mini.iso";
        assert_eq!(read_one("https://a.example/SUMS", &deeper, wanted), Some(0xaa));
    }
}
