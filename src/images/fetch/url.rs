//! URLs of files: joined, taken apart and judged. No URL is resolved here beyond what a catalogue
//! and a file of checksums need. Not the crate `url`: it writes a URL anew (`..`, `\`, blanks and names in other
//! scripts), and what is asked for, noted and shown is what was written, or nothing.

use crate::model::{Name, NameError, text};
use std::fmt;

/// Why a text can't be the URL of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlFault {
    /// It is of no scheme that is fetched.
    Scheme,
    /// It has a character that no URL has.
    Character,
    /// It has a user in it, and perhaps a password.
    User,
    /// It names a server, or nothing.
    NoFile,
}

/// A text that can't be the URL of a file, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlError<'a> {
    url: &'a str,
    fault: UrlFault,
}

impl fmt::Display for UrlError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.fault {
            UrlFault::Scheme => "is not a URL that begins with https:// or http://",
            UrlFault::Character => "has a blank or another character that no URL has; write it as %20 or the like",
            UrlFault::User => "has a user in it, and it would be written down; take it out",
            UrlFault::NoFile => "names no file on a server",
        };
        write!(f, "`{}` {why}", text::escaped(self.url))
    }
}

/// Whether a text can be the URL of a file.
///
/// # Errors
/// Where it can't.
pub fn validate(url: &str) -> Result<(), UrlError<'_>> {
    fault(url).map_or(Ok(()), |fault| Err(UrlError { url, fault }))
}

fn fault(url: &str) -> Option<UrlFault> {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return Some(UrlFault::Scheme);
    };
    let host = rest.split('/').next().unwrap_or_default();
    if url.bytes().any(|byte| !byte.is_ascii_graphic()) {
        Some(UrlFault::Character)
    } else if host.contains('@') {
        Some(UrlFault::User)
    } else {
        (host.is_empty() || !rest.contains('/')).then_some(UrlFault::NoFile)
    }
}

/// What people say of a file, seen from `base`: a whole URL, or a path beneath the folder of `base`.
pub fn join(base: &str, reference: &str) -> String {
    if reference.starts_with("https://") || reference.starts_with("http://") {
        return reference.to_owned();
    }
    let folder = base.rfind('/').map_or("", |end| &base[..=end]);
    format!("{folder}{}", reference.trim_start_matches("./"))
}

/// The URL as others may read it: a query may have a password in it.
pub(super) fn public(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// What the file is called: the last part of the path, without a query.
pub(super) fn file_name(url: &str) -> &str {
    public(url).rsplit('/').next().unwrap_or_default()
}

/// The server that is asked.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// The name under which a file is kept, where it can stand in a URL of ours.
pub(super) fn kept_as(file: &str) -> Result<Name, KeptAsError> {
    file.parse().map_err(KeptAsError)
}

/// Why the last part of a URL is no name for a file of an image.
pub(super) struct KeptAsError(NameError);

impl fmt::Display for KeptAsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the last part of the URL must be able to name a file: {}; fetch it with another program, and say `bootwright image add`",
            self.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_seen_from_the_folder_of_its_base() {
        assert_eq!(
            join("https://a.example/d/SUMS", "./n/linux"),
            "https://a.example/d/n/linux"
        );
        assert_eq!(join("https://a.example/d/", "linux"), "https://a.example/d/linux");
        assert_eq!(join("https://a.example/d/", "http://b.example/x"), "http://b.example/x");
        assert_eq!(file_name("https://a.example/d/linux?raw=1"), "linux");
        assert_eq!(host("https://a.example:8443/d"), "a.example:8443");
    }

    #[test]
    fn what_is_no_url_of_a_file_is_refused() {
        for (url, why) in [
            ("", UrlFault::Scheme),
            ("ftp://a/b", UrlFault::Scheme),
            ("https://", UrlFault::NoFile),
            ("https://a", UrlFault::NoFile),
            ("http:///x", UrlFault::NoFile),
            ("https://a/b c", UrlFault::Character),
            ("https://u:p@a/b", UrlFault::User),
            ("file:///x", UrlFault::Scheme),
        ] {
            assert_eq!(fault(url), Some(why), "{url}");
        }
        assert_eq!(validate("https://a.example/linux"), Ok(()));
    }
}
