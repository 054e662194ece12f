//! Lines of a log as machines send them: RFC 5424, RFC 3164, and what kernels, busybox, iPXE and people's scripts send
//! that is neither.
//!
//! Every datagram is a line, whatever is in it: what can't be read as a head belongs to the text.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The port that machines know (RFC 5426 section 3.3).
pub const PORT: u16 = 514;

/// How bad a line says that it is: the lower three bits of its priority, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each has the name that syslog(3) and journalctl have for it")]
pub enum SyslogSeverity {
    Emerg,
    Alert,
    Crit,
    Err,
    Warning,
    Notice,
    Info,
    Debug,
}

impl SyslogSeverity {
    /// Every one, by its number.
    pub const ALL: [SyslogSeverity; 8] = [
        SyslogSeverity::Emerg,
        SyslogSeverity::Alert,
        SyslogSeverity::Crit,
        SyslogSeverity::Err,
        SyslogSeverity::Warning,
        SyslogSeverity::Notice,
        SyslogSeverity::Info,
        SyslogSeverity::Debug,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            SyslogSeverity::Emerg => "emerg",
            SyslogSeverity::Alert => "alert",
            SyslogSeverity::Crit => "crit",
            SyslogSeverity::Err => "err",
            SyslogSeverity::Warning => "warning",
            SyslogSeverity::Notice => "notice",
            SyslogSeverity::Info => "info",
            SyslogSeverity::Debug => "debug",
        }
    }

    /// Whether it is an error, or worse.
    pub fn is_error(self) -> bool {
        self <= SyslogSeverity::Err
    }
}

impl fmt::Display for SyslogSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line, of the bytes that it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyslogMessage<'a> {
    /// Which part of a system it is from, by its number: 0 is the kernel.
    pub facility: u8,
    /// How bad it is.
    pub severity: SyslogSeverity,
    /// What its machine calls itself.
    pub host: Option<&'a [u8]>,
    /// The program, without its process.
    pub tag: Option<&'a [u8]>,
    /// What it says, without spaces or line ends around it.
    pub text: &'a [u8],
}

/// What a line is taken for that does not say it (RFC 3164 section 4.3.3): user.notice.
const DEFAULT_PRIORITY: u8 = 13;
/// The highest priority: facility 23, severity 7.
const PRIORITY_MAX: u16 = 191;
/// `Nov 28 23:10:05`.
const TIMESTAMP_BYTES: usize = 15;
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// A longer word before a colon is no program's name.
const TAG_BYTES_MAX: usize = 64;
/// The one program that sends its host's name without a time before it.
const IPXE_TAG: &[u8] = b"ipxe";

/// Reads a datagram; `None` where there is no text in it.
pub fn parse(datagram: &[u8]) -> Option<SyslogMessage<'_>> {
    let datagram = trimmed(datagram);
    let (priority, rest) = priority(datagram).unwrap_or((DEFAULT_PRIORITY, datagram));
    let LineParts { host, tag, text } = rfc5424(rest).unwrap_or_else(|| rfc3164(rest));
    let text = trimmed(text);
    let text = trimmed(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text));
    let message = SyslogMessage {
        facility: priority >> 3,
        severity: SyslogSeverity::ALL[usize::from(priority & 7)],
        host,
        tag,
        text,
    };
    (!text.is_empty()).then_some(message)
}

/// A line's parts.
#[derive(Default)]
struct LineParts<'a> {
    host: Option<&'a [u8]>,
    tag: Option<&'a [u8]>,
    text: &'a [u8],
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_around = |byte: &u8| matches!(byte, 0 | b'\n' | b'\r' | b' ' | b'\t');
    let start = bytes.iter().take_while(|byte| is_around(byte)).count();
    let end = bytes[start..].iter().rev().take_while(|byte| is_around(byte)).count();
    &bytes[start..bytes.len() - end]
}

/// `<13>`, and what comes behind it.
fn priority(line: &[u8]) -> Option<(u8, &[u8])> {
    let rest = line.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|byte| *byte == b'>')?;
    let number = decimal(&rest[..end])?;
    let priority = u8::try_from(number).ok().filter(|_| number <= PRIORITY_MAX)?;
    Some((priority, &rest[end + 1..]))
}

/// A number of at most three digits.
fn decimal(digits: &[u8]) -> Option<u16> {
    let is_number = (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| {
        digits
            .iter()
            .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'))
    })
}

/// The word before the next space, and what comes behind that; the whole where there is none.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(end) => (&line[..end], &line[end + 1..]),
        None => (line, &[]),
    }
}

/// `1 2026-11-28T23:10:05Z host program 42 ID [data] text`, where every word but the first may be a hyphen.
fn rfc5424(line: &[u8]) -> Option<LineParts<'_>> {
    let (version, rest) = word(line);
    decimal(version).filter(|version| *version > 0)?;
    let (time, rest) = word(rest);
    let is_time = time == b"-" || (time.len() >= 20 && time[4] == b'-' && time[10] == b'T');
    let (host, rest) = word(Some(rest).filter(|_| is_time)?);
    let (tag, rest) = word(rest);
    let (_process, rest) = word(rest);
    let (_id, rest) = word(rest);
    let said = |word: &'_ [u8]| !matches!(word, b"" | b"-");
    Some(LineParts {
        host: Some(host).filter(|host| said(host)),
        tag: Some(tag).filter(|tag| said(tag)),
        text: behind_structured_data(rest),
    })
}

/// What follows `-` or `[id name="value"][...]`. Where that has no end, all of it is text.
fn behind_structured_data(rest: &[u8]) -> &[u8] {
    if let Some(text) = rest.strip_prefix(b"-") {
        return text;
    }
    let mut at = 0;
    while rest.get(at) == Some(&b'[') {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let ends = |byte: &u8| {
            let is_end = *byte == b']' && !is_quoted;
            is_quoted ^= *byte == b'"' && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        };
        match rest[at..].iter().position(ends) {
            Some(end) => at += end + 1,
            None => return rest,
        }
    }
    &rest[at..]
}

/// `Nov 28 23:10:05 host program[42]: text`, without any part that is not there.
fn rfc3164(line: &[u8]) -> LineParts<'_> {
    let (is_timed, rest) = match timestamp(line) {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    if let Some((tag, text)) = tagged(rest) {
        return LineParts {
            host: None,
            tag: Some(tag),
            text,
        };
    }
    let (host, behind) = word(rest);
    let tagged = tagged(behind).filter(|(tag, _)| is_timed || *tag == IPXE_TAG);
    match tagged {
        Some((tag, text)) => LineParts {
            host: Some(host),
            tag: Some(tag),
            text,
        },
        None => LineParts {
            text: rest,
            ..LineParts::default()
        },
    }
}

/// What follows the time of RFC 3164; its day may be one digit behind a space or a zero.
fn timestamp(line: &[u8]) -> Option<&[u8]> {
    let time = line.get(..TIMESTAMP_BYTES)?;
    let is_digits = |of: &[usize]| of.iter().all(|at| time[*at].is_ascii_digit());
    let is_time = MONTHS.iter().any(|month| time.starts_with(*month))
        && [3, 6].iter().all(|at| time[*at] == b' ')
        && [9, 12].iter().all(|at| time[*at] == b':')
        && is_digits(&[5, 7, 8, 10, 11, 13, 14])
        && (time[4] == b' ' || time[4].is_ascii_digit());
    let rest = &line[TIMESTAMP_BYTES..];
    match rest.first() {
        None => Some(rest).filter(|_| is_time),
        Some(next) => Some(&rest[1..]).filter(|_| is_time && *next == b' '),
    }
}

/// `program[42]: text` or `program: text`: the program, and the text.
fn tagged(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, text) = word(line);
    let named = word.strip_suffix(b":")?;
    let tag = match named.iter().position(|byte| *byte == b'[') {
        Some(process) => named.ends_with(b"]").then(|| &named[..process])?,
        None => named,
    };
    let is_name = (1..=TAG_BYTES_MAX).contains(&tag.len()) && tag.iter().all(u8::is_ascii_graphic);
    is_name.then_some((tag, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Facility, severity, host, tag and text.
    fn read(line: &str) -> Option<(u8, &str, &str, &str, &str)> {
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        let message = parse(line.as_bytes())?;
        Some((
            message.facility,
            message.severity.name(),
            text(message.host.unwrap_or_default()),
            text(message.tag.unwrap_or_default()),
            text(message.text),
        ))
    }

    #[test]
    fn lines_of_rfc_5424() {
        let ours = "<165>1 2003-10-11T22:14:15.003Z node7 evntslog - ID47 ";
        let expected = |text| Some((20, "notice", "node7", "evntslog", text));
        let with = |rest: &str| [ours, rest].concat();
        assert_eq!(read(&with("- An application")), expected("An application"));
        assert_eq!(read(&with("- \u{feff}An application")), expected("An application"));
        let data = "[a@1 iut=\"3\" x=\"a \\\"quoted]\\\" b\"][b@1 y=\"\"] it failed\n";
        assert_eq!(read(&with(data)), expected("it failed"));
        assert_eq!(read(&with("[a@1 x=\"no end")), expected("[a@1 x=\"no end"));
        assert_eq!(read(&with("-")), None, "nothing is said");
        assert_eq!(read("<0>1 - - - - - - down"), Some((0, "emerg", "", "", "down")));
        // util-linux logger --rfc5424.
        let logger = "<13>1 2026-11-28T23:10:05.000000+00:00 deb root - - [timeQuality tzKnown=\"1\"] hello";
        assert_eq!(read(logger), Some((1, "notice", "deb", "root", "hello")));
    }

    #[test]
    fn lines_of_rfc_3164_and_of_whoever_leaves_parts_of_it_out() {
        let expected = Some((4, "crit", "node7", "su", "'su root' failed"));
        assert_eq!(read("<34>Oct 11 22:14:15 node7 su[230]: 'su root' failed\0"), expected);
        // glibc's syslog(3), which busybox passes on as it is.
        let own = Some((3, "err", "", "netcfg", "no link"));
        assert_eq!(read("<27>Nov  8 03:10:05 netcfg[812]: no link\n"), own);
        assert_eq!(read("<27>netcfg: no link"), own);
        // iPXE, with a host's name and without.
        let ipxe = |host| Some((16, "info", host, "ipxe", "https://192.0.2.1/boot... ok"));
        assert_eq!(read("<134>r1u07 ipxe: https://192.0.2.1/boot... ok"), ipxe("r1u07"));
        assert_eq!(read("<134>ipxe: https://192.0.2.1/boot... ok"), ipxe(""));
    }

    #[test]
    fn what_has_no_head_is_text() {
        let bare = |text| Some((1, "notice", "", "", text));
        assert_eq!(read("just words"), bare("just words"));
        assert_eq!(read("  \r\n words \0\n"), bare("words"));
        for odd in ["<>x", "<1234>x", "<192>x", "<1x>y", "<", "<13", "< 3>x"] {
            assert_eq!(read(odd), bare(odd));
        }
        let kernel = "[   12.345] usb 1-1: new device";
        assert_eq!(read(&["<6>", kernel].concat()), Some((0, "info", "", "", kernel)));
        assert_eq!(
            read("<6>usb 1-1: new device"),
            Some((0, "info", "", "", "usb 1-1: new device"))
        );
        assert_eq!(read("<13>1 apple and 2 pears"), bare("1 apple and 2 pears"));
        assert_eq!(read("<13>Nov 28 23:10:05 nothing more"), bare("nothing more"));
        assert_eq!(read("<13>Nov 28 23:10:5x x: y"), bare("Nov 28 23:10:5x x: y"));
        for empty in ["", "\n\0", "<13>", "<13> \n", "<13>Nov 28 23:10:05", "<13>su[1]:"] {
            assert_eq!(read(empty), None, "{empty:?}");
        }
    }

    /// What stands in lines, and anything.
    fn datagram() -> impl Strategy<Value = Vec<u8>> {
        let parts = prop_oneof![
            Just(b"<13>".to_vec()),
            Just(b"1 2003-10-11T22:14:15.003Z ".to_vec()),
            Just(b"Nov  8 03:10:05 ".to_vec()),
            Just(b"[a b=\"\\\"]\"] ".to_vec()),
            Just(b"- ".to_vec()),
            Just(b"host prog[7]: ".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..40),
        ];
        proptest::collection::vec(parts, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn every_datagram_is_read_and_nothing_is_made_up(datagram in datagram()) {
            let Some(message) = parse(&datagram) else { return Ok(()) };
            let within = datagram.as_ptr_range();
            let parts = [message.host, message.tag, Some(message.text)];
            for part in parts.into_iter().flatten() {
                let range = part.as_ptr_range();
                prop_assert!(within.start <= range.start && range.end <= within.end);
            }
            prop_assert!(!message.text.is_empty() && message.facility < 24);
        }

        #[test]
        fn a_text_comes_through_every_head(text in "[!-~]( ?[!-~]){0,60}", severity in 0usize..8) {
            for head in ["1 - - - - - - ", "1 - h p - - [a b=\"c\"] ", "Nov 28 23:10:05 h p[1]: ", "p: "] {
                let line = format!("<{severity}>{head}{text}\n");
                let message = parse(line.as_bytes()).unwrap();
                prop_assert_eq!(message.text, text.as_bytes());
                prop_assert_eq!(message.severity, SyslogSeverity::ALL[severity]);
            }
        }
    }
}
