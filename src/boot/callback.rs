//! What an installer sends back: that it began, how far it is, that it is done, or why it failed.
//!
//! `callback/HOST/TOKEN/WORD`, by GET or POST: the token stands in the path, because query strings and headers do not
//! survive every installer. What goes with a word is in the query or in a form that is posted: `percent` (which may
//! stand behind the word as well, `progress/40`), `message`, and `reason`.

use super::request_path::RequestPath;
use crate::boot::paths;
use crate::model::{CallbackWord, Token, limits::INSTALL_WORDS_BYTES_MAX, text};
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

    /// What it says, with what was sent along.
    pub fn callback(&self, query: Option<&str>, body: &[u8]) -> Option<Callback> {
        let sent = |name: &str| field(query.unwrap_or_default().as_bytes(), name).or_else(|| field(body, name));
        Some(match self.word? {
            CallbackWord::Started => Callback::Started,
            CallbackWord::Done => Callback::Done,
            CallbackWord::Progress => Callback::Progress {
                percent: percent(self.rest).or_else(|| percent(sent("percent").as_deref())),
                message: words(sent("message")),
            },
            CallbackWord::Failed => Callback::Failed {
                reason: words(sent("reason")),
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
fn words(sent: Option<String>) -> Arc<str> {
    let shown = text::shown(sent.unwrap_or_default().trim().to_owned());
    text::prefix(&shown, INSTALL_WORDS_BYTES_MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::request_path::Transport;

    fn read(path: &str, query: Option<&str>, body: &[u8]) -> Option<Callback> {
        let path = RequestPath::parse(Transport::Http, path.as_bytes()).unwrap();
        CallbackPath::of(&path)?.callback(query, body)
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
