//! Heads that hyper refuses before any code of ours sees a request: what was heard, and what it most likely is.

use crate::boot::{
    event::{HttpFault, Reason},
    paths,
};

/// Bytes of a request's beginning that are kept, to say what it was.
const HEARD_BYTES_MAX: usize = 96;

/// What a client sent since the last response.
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

    /// Something was sent to the client.
    pub(super) fn resolved(&mut self) {
        self.is_answered = true;
    }

    /// Why hyper refused it, where that was not the client's own leaving.
    pub(super) fn refused(&self, error: &hyper::Error) -> Option<Reason> {
        let fault = if error.is_timeout() {
            // An idle connection is closed as well, and nothing was asked on it.
            let is_begun = !self.is_answered && !self.bytes.is_empty();
            is_begun.then_some(HttpFault::Overdue)
        } else if error.is_parse_too_large() {
            Some(HttpFault::TooLarge)
        } else {
            let likely = || likely(&self.bytes).unwrap_or_else(|| HttpFault::Other(error.to_string().into()));
            error.is_parse().then(likely)
        };
        let begins = shown(&self.bytes).into();
        Some(Reason::NotHttp { fault: fault?, begins })
    }
}

/// What of a request is shown: of a number that may go on behind what was kept, which may be a token, nothing.
fn shown(heard: &[u8]) -> String {
    let is_cut = heard.len() == HEARD_BYTES_MAX;
    let is_of_number = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'%';
    let behind = heard.iter().rev().take_while(|byte| is_of_number(byte)).count();
    let kept = if is_cut { heard.len() - behind } else { heard.len() };
    paths::refused(&heard[..kept])
}

/// What a client that is none of ours most likely speaks, or got wrong.
fn likely(heard: &[u8]) -> Option<HttpFault> {
    if heard.starts_with(&[0x16, 3]) {
        return Some(HttpFault::Tls);
    }
    if heard.starts_with(b"PRI * HTTP/2") {
        return Some(HttpFault::Http2);
    }
    if heard.starts_with(b"SSH-") {
        return Some(HttpFault::Ssh);
    }
    let line = heard.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_whole = line.len() < heard.len();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    match words[..] {
        _ if heard.first().is_some_and(|byte| !byte.is_ascii_graphic()) => Some(HttpFault::NotText),
        [_, _] if is_whole => Some(HttpFault::NoVersion),
        [_, _, .., last] if words.len() > 3 && last.starts_with(b"HTTP/") => Some(HttpFault::Blank),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spoken_is_told_by_its_beginning() {
        for (heard, fault) in [
            (&b"\x16\x03\x01\x02\0\x01\0"[..], Some(HttpFault::Tls)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(HttpFault::Http2)),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Some(HttpFault::Ssh)),
            (b"GET /snponly.efi\r\n", Some(HttpFault::NoVersion)),
            (b"GET /snp only.efi HTTP/1.1\r\nHost: x\r\n", Some(HttpFault::Blank)),
            (b"GET /boot.ipxe?serial=A B HTTP/1.1\r\n", Some(HttpFault::Blank)),
            (b"\xff\xfe\xfd", Some(HttpFault::NotText)),
            (b"GET /snponly.efi HTTP/1.1\r\ngarbage\r\n", None),
            (b"GET /snponly", None),
        ] {
            assert_eq!(likely(heard), fault, "{heard:?}");
        }
    }

    #[test]
    fn no_token_is_shown_not_even_the_part_of_one_that_was_kept() {
        let token = "30313233343536373839616263646566";
        let line = format!("GET /%63allback/r1u07/{token}/done\r\n");
        assert_eq!(shown(line.as_bytes()), "GET /%63allback/r1u07/TOKEN/done\\x0d\\x0a");
        for before in 20..HEARD_BYTES_MAX {
            let mut heard = ReceivedPrefix::default();
            heard.hear(format!("GET /{}/{token}\r\n", "x".repeat(before)).as_bytes());
            let shown = shown(&heard.bytes);
            assert!(!shown.contains("3031"), "{shown}");
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
