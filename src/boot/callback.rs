//! What an installer sends back: that it began, how far it is, that it is done, or why it failed.
//!
//! `callback/HOST/TOKEN/WORD`, by GET or POST: the token stands in the path, because query strings and headers do not
//! survive every installer. What goes with a word is in the query or in a form that is posted: `percent` (which may
//! stand behind the word as well, `progress/40`), `message`, and `reason`.
//!
//! Programs that tell of themselves in their own way have a word each, and what they send is taken as it is:
//! `phone_home` is cloud-init's form, `reporting` an event of cloud-init's or subiquity's webhook ([`report`]),
//! `proxmox` the webhook of Proxmox's installer. With `started` may come which disks the machine has ([`told_disks`]). What is in them is an installer's words, and no more.

mod disks;
mod report;

pub use disks::told_disks;

use super::{method::Method, request_path::RequestPath};
use crate::boot::paths;
use crate::model::{CallbackDoubt, CallbackWord, Token, limits::INSTALL_WORDS_BYTES_MAX, text};
use percent_encoding::percent_decode;
use std::sync::Arc;

/// The path of a callback, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackPath<'p> {
    /// Whose token it is.
    pub token: Option<Token>,
    /// What it says.
    pub word: Option<CallbackWord>,
    /// What stands behind that.
    rest: Option<&'p str>,
}

/// What an installer says, and what it says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callback {
    /// It began.
    Started,
    /// How far it is.
    Progress {
        /// Of a hundred.
        percent: Option<u8>,
        /// In its own words: without control characters, and not too long.
        message: Arc<str>,
    },
    /// What it is doing, by a program that goes on to tell of itself when the install has ended.
    Report {
        /// In its own words: without control characters, and not too long. Empty where it says no more than that it
        /// is at work.
        message: Arc<str>,
    },
    /// It is done.
    Done,
    /// It failed.
    Failed {
        /// In its own words: without control characters, and not too long.
        reason: Arc<str>,
    },
}

impl<'p> CallbackPath<'p> {
    /// That of a path, if it is one of a callback.
    pub fn of(path: &'p RequestPath) -> Option<CallbackPath<'p>> {
        let mut components = path.components();
        if components.next() != Some(paths::CALLBACK) {
            return None;
        }
        let _host = components.next();
        let token = components.next().and_then(Token::parse);
        let named = components.next();
        Some(CallbackPath {
            token,
            word: CallbackWord::ALL.into_iter().find(|word| Some(word.name()) == named),
            rest: components.next(),
        })
    }

    /// What it says, with what was sent along: of a longer body than is kept, its beginning.
    ///
    /// # Errors
    /// It is no callback, or brings what its word does not stand for.
    pub fn callback(&self, method: Method, (query, body): (Option<&str>, &[u8])) -> Result<Callback, CallbackDoubt> {
        let sent = |name: &str| field(query.unwrap_or_default().as_bytes(), name).or_else(|| field(body, name));
        let of_post = |said: Option<Callback>| said.filter(|_| method == Method::Post).ok_or(CallbackDoubt::Body);
        Ok(match self.word.ok_or(CallbackDoubt::Path)? {
            CallbackWord::Started => Callback::Started,
            CallbackWord::PhoneHome => return of_post(sent("instance_id").map(|_| Callback::Done)),
            CallbackWord::Reporting => return of_post(report::callback(body)),
            CallbackWord::Proxmox => {
                return of_post(body.trim_ascii_start().starts_with(b"{").then_some(Callback::Done));
            }
            CallbackWord::Done => Callback::Done,
            CallbackWord::Progress => Callback::Progress {
                percent: percent(self.rest).or_else(|| percent(sent("percent").as_deref())),
                message: words(&sent("message").unwrap_or_default()),
            },
            CallbackWord::Failed => Callback::Failed {
                reason: words(&sent("reason").unwrap_or_default()),
            },
        })
    }
}

/// A field of a query or a form.
fn field(form: &[u8], name: &str) -> Option<String> {
    let mut pairs = form.split(|byte| *byte == b'&');
    pairs.find_map(|pair| {
        let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let spaced: Vec<u8> = value
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect();
        Some(percent_decode(&spaced).decode_utf8_lossy().into_owned())
    })
}

/// `40`, `40%`, and `40.7` of programs that are exact.
fn percent(text: Option<&str>) -> Option<u8> {
    let text = text?.trim().trim_end_matches('%');
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().ok().filter(|percent| *percent <= 100)
}

/// Words of an installer, fit to be shown.
fn words(sent: &str) -> Arc<str> {
    let shown = text::shown(sent.trim().to_owned());
    text::prefix(&shown, INSTALL_WORDS_BYTES_MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::request_path::Transport;

    fn read(path: &str, query: Option<&str>, body: &[u8]) -> Option<Callback> {
        let path = RequestPath::parse(Transport::Http, path.as_bytes()).unwrap();
        CallbackPath::of(&path)?.callback(Method::Post, (query, body)).ok()
    }

    #[test]
    fn programs_that_tell_of_themselves_in_their_own_way_are_taken_as_they_are_and_nothing_else_is() {
        // As cloud-init 25.1 sends it: what is missing is `N/A`.
        let home = b"pub_key_rsa=N%2FA&pub_key_ecdsa=ecdsa-sha2-nistp256+AAAA+root%40web-7%0A&pub_key_ed25519=N%2FA\
            &instance_id=r1u07&hostname=web-7&fqdn=web-7.example";
        let hook = br#"{"$schema":{"version":"1.2"},"debian-version":"13.4","product":{"fullname":"Proxmox VE"#;
        for (word, body, expected) in [
            ("phone_home", home.as_slice(), Some(Callback::Done)),
            ("phone_home", b"hostname=web-7", None),
            ("phone_home", b"", None),
            ("proxmox", hook, Some(Callback::Done)),
            ("proxmox", b"done", None),
            ("proxmox", b"", None),
            ("reporting", b"", None),
        ] {
            assert_eq!(read(&format!("{BASE}/{word}"), None, body), expected, "{word}");
        }
        let path = RequestPath::parse(Transport::Http, format!("{BASE}/phone_home").as_bytes()).unwrap();
        let by_get = CallbackPath::of(&path)
            .unwrap()
            .callback(Method::Get, (Some("instance_id=r1u07"), b""));
        assert_eq!(
            by_get,
            Err(CallbackDoubt::Body),
            "a person who looks at it ends no install"
        );
    }

    const BASE: &str = "/callback/r1u07/30313233343536373839616263646566";

    #[test]
    fn a_word_has_what_goes_with_it_from_path_query_or_form() {
        let progress = |percent, message: &str| {
            Some(Callback::Progress {
                percent,
                message: message.into(),
            })
        };
        let path = |word: &str| format!("{BASE}/{word}");
        assert_eq!(read(&path("started"), None, b""), Some(Callback::Started));
        assert_eq!(read(&path("done"), None, b"anything"), Some(Callback::Done));
        assert_eq!(read(&path("progress/40"), None, b""), progress(Some(40), ""));
        let query = Some("percent=40.7%25&message=base+system");
        assert_eq!(read(&path("progress"), query, b""), progress(Some(40), "base system"));
        let form = b"message=a%0ab&percent=140";
        assert_eq!(read(&path("progress"), None, form), progress(None, "a\\u{a}b"));
        let reason = "no%20disk".into();
        let failed = read(&path("failed"), None, b"reason=no%20disk");
        assert_ne!(failed, Some(Callback::Failed { reason }));
        assert_eq!(
            failed,
            Some(Callback::Failed {
                reason: "no disk".into()
            })
        );
    }

    #[test]
    fn words_are_short_and_steer_no_terminal() {
        let body = [b"reason=\x1b[31m".as_slice(), "ü".repeat(500).as_bytes()].concat();
        let Some(Callback::Failed { reason }) = read(&format!("{BASE}/failed"), None, &body) else {
            panic!("it is one");
        };
        assert!(
            reason.len() <= INSTALL_WORDS_BYTES_MAX && !reason.chars().any(text::steers),
            "{reason}"
        );
    }

    #[test]
    fn what_is_no_callback_is_none() {
        for path in [
            "/callback",
            "/callback/r1u07",
            "/callback/r1u07/30",
            &format!("{BASE}/finished"),
            "/answer/a/b/done",
        ] {
            assert_eq!(read(path, None, b""), None, "{path}");
        }
    }
}
