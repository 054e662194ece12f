//! What clients say is data: shown escaped, refused where it could become a command.

use std::fmt::Write;

/// `bytes` as printable ASCII: control characters, quotes' backslashes and everything beyond ASCII
/// become `\xNN`, so that a log line or a terminal can't be steered by a client.
pub fn escape(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => shown.push_str("\\\\"),
            0x20..=0x7e => shown.push(char::from(*byte)),
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\x{byte:02x}");
            }
        }
    }
    shown
}

/// The first control character in `text` (C0, DEL, C1 or a Unicode line separator), if any. A value
/// that has one is refused in scripts and on kernel command lines: a newline there is a command.
pub fn control_character(text: &str) -> Option<char> {
    text.chars()
        .find(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_shown_and_none_steers_a_terminal() {
        let all: Vec<u8> = (0..=255).collect();
        assert!(escape(&all).bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        assert_eq!(escape(b"PXE\x1b[31m\\"), "PXE\\x1b[31m\\\\");
    }

    #[test]
    fn a_newline_in_any_alphabet_is_found() {
        for text in ["a\nb", "a\rb", "a\0b", "a\u{85}b", "a\u{2028}b", "a\x7f"] {
            assert!(control_character(text).is_some(), "{text:?}");
        }
        assert_eq!(control_character("Zürich rack 7"), None);
    }
}
