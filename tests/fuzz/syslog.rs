//! What must hold of every datagram on the log server's port: what is read of it are bytes of it, and what people see is
//! short, printable, and no token.

use bootwright::boot::event::LoggedLine;
use bootwright::model::limits::{SYSLOG_HEX_DIGITS_MAX, SYSLOG_LINE_BYTES_MAX, SYSLOG_TAG_BYTES_MAX};
use bootwright::proto::syslog::parse;

/// Reads one datagram; whether it has a text. Panics where a property does not hold.
pub fn judge(input: &[u8]) -> bool {
    let Some(message) = parse(input) else { return false };
    let within = input.as_ptr_range();
    for part in [message.host, message.tag, Some(message.text)].into_iter().flatten() {
        let range = part.as_ptr_range();
        assert!(within.start <= range.start && range.end <= within.end);
    }
    let line = LoggedLine::from(&message);
    assert!(!line.text.is_empty() && line.text.len() <= SYSLOG_LINE_BYTES_MAX);
    assert!(line.tag.as_ref().is_none_or(|tag| tag.len() <= SYSLOG_TAG_BYTES_MAX));
    let shown = line.to_string();
    assert!(shown.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{shown:?}");
    let mut numbers = line.text.split(|c: char| !c.is_ascii_hexdigit());
    // An escaped byte before one is written in two digits more.
    assert!(
        numbers.all(|digits| digits.len() <= SYSLOG_HEX_DIGITS_MAX + 2),
        "{shown}"
    );
    true
}
