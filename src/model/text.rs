//! What clients say is data: shown escaped, refused where it could become a command, held against an
//! operator's pattern.

use std::fmt::{self, Write};

/// Parts of keys whose values are secrets, in small letters.
const SECRET_KEYS: &[&str] = &[
    "passw",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "hash",
    "private",
    "crypt",
];

/// `bytes` as printable ASCII: control characters, quotes' backslashes and everything beyond ASCII
/// become `\xNN`, so that a log line or a terminal can't be steered by a client.
pub fn escape(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write_escaped(&mut shown, *byte);
    }
    shown
}

/// What is shown, as [`escape`] shows bytes, and written nowhere before.
pub fn escaped<T: fmt::Display>(shown: T) -> EscapedText<T> {
    EscapedText(shown)
}

/// See [`escaped`].
pub struct EscapedText<T>(T);

impl<T: fmt::Display> fmt::Display for EscapedText<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.bytes().try_for_each(|byte| write_escaped(self.0, byte))
            }
        }
        write!(Escaping(f), "{}", self.0)
    }
}

fn write_escaped(to: &mut impl Write, byte: u8) -> fmt::Result {
    match byte {
        b'\\' => to.write_str("\\\\"),
        0x20..=0x7e => to.write_char(char::from(byte)),
        _ => write!(to, "\\x{byte:02x}"),
    }
}

/// The first control character in `text` (C0, DEL, C1 or a Unicode line separator), if any. A value
/// that has one is refused in scripts and on kernel command lines: a newline there is a command.
pub fn control_character(text: &str) -> Option<char> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return None;
    }
    text.chars()
        .find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Whether a key's value is a secret, by the key's own words.
pub fn names_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_KEYS.iter().any(|secret| key.contains(secret))
}

/// Whether a value has a secret in it, by the words of a table's keys, or is what crypt(3) makes of a password.
pub fn holds_secret(value: &str) -> bool {
    let is_hash = |scheme: &&str| value.contains(scheme);
    value.contains('{') && names_secret(value) || ["$1$", "$2", "$5$", "$6$", "$y$"].iter().any(is_hash)
}

/// Whether a character does something to the text around it: a control character, one that ends a line, or one
/// that turns the direction of what follows. In a log line it would show other words than are there.
pub fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` with whatever steers written out as `\u{...}`, and everything else as it is: for words of people that are
/// shown to people.
pub fn shown(text: String) -> String {
    if !text.chars().any(steers) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match steers(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

/// As much of the beginning of `text` as `bytes` hold.
pub fn prefix(text: &str, bytes: usize) -> &str {
    let fits = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=bytes.min(text.len())).rev().find(fits).unwrap_or(0);
    &text[..end]
}

/// `1 host`, `2 hosts`: a number and its noun.
pub fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// Whether `text` is a domain name, a host's among them (RFC 1123): labels of letters, digits and hyphens
/// between dots, none with a hyphen at either end.
pub fn is_domain_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether `text` fits `pattern`: `*` stands for any run, `?` for one character, ASCII case is
/// ignored. Linear in both: at a mismatch only the last `*` is tried again.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((star, taken)) => {
                    retry = Some((star, taken + 1));
                    p = star + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_a_character_does() {
        assert_eq!(prefix("größe", 3), "gr");
        assert_eq!(prefix("größe", 4), "grö");
        assert_eq!(prefix("gr", 100), "gr");
        assert_eq!(prefix("ö", 1), "");
    }

    #[test]
    fn every_byte_is_shown_and_none_steers_a_terminal() {
        let all: Vec<u8> = (0..=255).collect();
        assert!(escape(&all).bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        assert_eq!(escape(b"PXE\x1b[31m\\"), "PXE\\x1b[31m\\\\");
        let client = "PXE\x1b[31m\\é";
        let sentence = escaped(format_args!("a client of {client}")).to_string();
        assert_eq!(sentence, escape(format!("a client of {client}").as_bytes()));
    }

    #[test]
    fn what_steers_is_written_out_and_letters_stay() {
        assert_eq!(
            shown("Zürich `a\nb\u{1b}[2J\u{202e}`".into()),
            "Zürich `a\\u{a}b\\u{1b}[2J\\u{202e}`"
        );
        assert_eq!(shown("rack 7".into()), "rack 7");
    }

    #[test]
    fn a_newline_in_any_alphabet_is_found() {
        for text in ["a\nb", "a\rb", "a\0b", "a\u{85}b", "a\u{2028}b", "a\x7f"] {
            assert!(control_character(text).is_some(), "{text:?}");
        }
        assert_eq!(control_character("Zürich rack 7"), None);
    }

    #[test]
    fn a_glob_takes_any_run_one_character_and_no_case() {
        assert!(glob("ACME*", "acme Blade 7"));
        assert!(glob("*7", "r1u07"));
        assert!(glob("52:54:*:0?", "52:54:00:11:22:07"));
        assert!(!glob("ACME", "ACME Blade"));
        assert!(!glob("", "x"));
        assert!(glob("*", ""));
    }

    #[test]
    fn a_hostile_glob_is_not_exponential() {
        let text = "a".repeat(20_000);
        assert!(!glob("*a*a*a*a*a*a*b", &text));
    }
}
