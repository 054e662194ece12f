//! URLs of files: joined, taken apart and judged. No URL is resolved here beyond what a catalogue
//! and a file of checksums need. Not the crate `url`: it writes a URL anew (`..`, `\`, blanks and names in other
//! scripts), and what is asked for, noted and shown is what was written, or nothing.

use crate::model::{Name, text};

/// Why a text can't be the URL of a file, or nothing.
pub fn refuse(url: &str) -> Result<(), String> {
    let shown = text::escape(url.as_bytes());
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return Err(format!("`{shown}` is not a URL that begins with https:// or http://"));
    };
    if url.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(format!(
            "`{shown}` has a blank or another character that no URL has; write it as %20 or the like"
        ));
    }
    let host = rest.split('/').next().unwrap_or_default();
    if host.contains('@') {
        return Err(format!(
            "`{shown}` has a user in it, and it would be written down; take it out"
        ));
    }
    match host.is_empty() || !rest.contains('/') {
        true => Err(format!("`{shown}` names no file on a server")),
        false => Ok(()),
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
pub(super) fn kept_as(file: &str) -> Result<Name, String> {
    file.parse().map_err(|error| {
        format!("the last part of the URL must be able to name a file: {error}; fetch it with another program, and say `bootwright image add`")
    })
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
        for url in [
            "",
            "ftp://a/b",
            "https://",
            "https://a",
            "http:///x",
            "https://a/b c",
            "https://u:p@a/b",
            "file:///x",
        ] {
            assert!(refuse(url).is_err(), "{url}");
        }
        assert_eq!(refuse("https://a.example/linux"), Ok(()));
    }
}
