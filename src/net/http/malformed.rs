//! Heads that hyper refuses before any code of ours sees a request: what was heard, and what it most likely is.

use crate::model::{
    limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADER_TIMEOUT, HTTP_HEADERS_MAX},
    text,
};

/// Bytes of a request's beginning that are kept, to say what it was.
const HEARD_BYTES_MAX: usize = 96;

/// What a client said since the last answer.
#[derive(Debug, Default)]
pub(super) struct ReceivedPrefix {
    bytes: Vec<u8>,
    is_answered: bool,
}

impl ReceivedPrefix {
    /// Takes what came.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        if std::mem::take(&mut self.is_answered) {
            self.bytes.clear();
        }
        let buffer = HEARD_BYTES_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(buffer)]);
    }

    /// Something was said to the client.
    pub(super) fn resolved(&mut self) {
        self.is_answered = true;
    }

    /// Why hyper refused it, where that was not the client's own leaving.
    pub(super) fn refused(&self, error: &hyper::Error) -> Option<String> {
        let begins = || format!("; it begins `{}`", text::escape(&self.bytes));
        if error.is_timeout() {
            // An idle connection is closed as well, and nothing was asked on it.
            let is_begun = !self.is_answered && !self.bytes.is_empty();
            let within_s = HTTP_HEADER_TIMEOUT.as_secs();
            return is_begun.then(|| format!("its head did not end in {within_s} s{}", begins()));
        }
        if error.is_parse_too_large() {
            return Some(format!(
                "its head has more than {HTTP_HEADERS_MAX} lines or {HTTP_HEAD_BYTES_MAX} bytes{}",
                begins()
            ));
        }
        error
            .is_parse()
            .then(|| format!("{}{}", likely(&self.bytes).unwrap_or(&error.to_string()), begins()))
    }
}

/// What a client that is none of ours most likely speaks, or got wrong.
fn likely(heard: &[u8]) -> Option<&'static str> {
    if heard.starts_with(&[0x16, 3]) {
        return Some("it speaks TLS, and this port has none: its URL is to begin with http://");
    }
    if heard.starts_with(b"PRI * HTTP/2") {
        return Some("it speaks HTTP/2, and HTTP/1.1 is served");
    }
    if heard.starts_with(b"SSH-") {
        return Some("it speaks SSH");
    }
    let line = heard.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_whole = line.len() < heard.len();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    match words[..] {
        _ if heard.first().is_some_and(|byte| !byte.is_ascii_graphic()) => Some("it does not speak HTTP"),
        [_, _] if is_whole => Some("no version stands behind its path: HTTP/1.1 is served, and no HTTP/0.9"),
        [_, _, .., last] if words.len() > 3 && last.starts_with(b"HTTP/") => {
            Some("a blank is in its path or its query: it is written as %20")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_is_told_by_its_beginning() {
        let said = |heard: &[u8]| likely(heard).unwrap_or("?");
        for (heard, words) in [
            (&b"\x16\x03\x01\x02\0\x01\0"[..], "TLS"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2,"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
            (b"GET /snponly.efi\r\n", "HTTP/0.9"),
            (b"GET /snp only.efi HTTP/1.1\r\nHost: x\r\n", "%20"),
            (b"GET /boot.ipxe?serial=A B HTTP/1.1\r\n", "%20"),
            (b"\xff\xfe\xfd", "does not speak"),
            (b"GET /snponly.efi HTTP/1.1\r\ngarbage\r\n", "?"),
            (b"GET /snponly", "?"),
        ] {
            assert!(said(heard).contains(words), "{heard:?}: {}", said(heard));
        }
    }

    #[test]
    fn only_the_beginning_of_the_last_request_is_kept() {
        let mut heard = ReceivedPrefix::default();
        heard.hear(b"GET /a ");
        heard.hear(b"HTTP/1.1");
        assert_eq!(heard.bytes, b"GET /a HTTP/1.1");
        heard.resolved();
        heard.hear(&[7; 1000]);
        assert_eq!(heard.bytes, [7; HEARD_BYTES_MAX]);
    }
}
