//! Lines of a machine's own log: what it says there is data, and escaped and cut here, once for everybody who shows it.

use crate::boot::paths;
use crate::model::{
    limits::{
        SYSLOG_ERRORS_KEPT_MAX, SYSLOG_HEX_DIGITS_MAX, SYSLOG_LINE_BYTES_MAX, SYSLOG_LINES_KEPT_MAX,
        SYSLOG_TAG_BYTES_MAX,
    },
    text::{escape, prefix},
};
use crate::proto::syslog::{SyslogMessage, SyslogSeverity};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt};

/// One line of a machine's own log, in printable ASCII. What may be an install's token is stars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedLine {
    /// How bad it says that it is.
    pub severity: SyslogSeverity,
    /// The program that wrote it, at most [`SYSLOG_TAG_BYTES_MAX`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Box<str>>,
    /// What it says, at most [`SYSLOG_LINE_BYTES_MAX`] bytes.
    pub text: Box<str>,
}

impl LoggedLine {
    /// Whether it is an error, or worse.
    pub fn is_error(&self) -> bool {
        self.severity.is_error()
    }
}

impl From<&SyslogMessage<'_>> for LoggedLine {
    fn from(message: &SyslogMessage<'_>) -> LoggedLine {
        let kernel = Some("kernel").filter(|_| message.facility == 0);
        let tag = message.tag.map(|tag| shown(tag, SYSLOG_TAG_BYTES_MAX));
        LoggedLine {
            severity: message.severity,
            tag: tag.or_else(|| kernel.map(Box::from)),
            text: shown(message.text, SYSLOG_LINE_BYTES_MAX),
        }
    }
}

/// `netcfg: no link`.
impl fmt::Display for LoggedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tag {
            Some(tag) => write!(f, "{tag}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Behind a line that is cut.
const CUT: &str = "...";

/// As much of a machine's words as so many bytes show.
fn shown(words: &[u8], bytes_max: usize) -> Box<str> {
    let escaped = escape(&with_numbers_hidden(&paths::with_tokens_hidden(words)));
    if escaped.len() <= bytes_max {
        return escaped.into();
    }
    let mut shown = prefix(&escaped, bytes_max - CUT.len()).to_owned();
    shown.push_str(CUT);
    shown.into()
}

/// Stars in place of every number that may be a token, wherever it stands: a kernel breaks long lines in two, and what
/// says that it is one may be in the other.
fn with_numbers_hidden(line: &[u8]) -> Cow<'_, [u8]> {
    let is_long = |run: &[u8]| run.len() > SYSLOG_HEX_DIGITS_MAX && run[0].is_ascii_hexdigit();
    let is_one_kind = |one: &u8, next: &u8| one.is_ascii_hexdigit() == next.is_ascii_hexdigit();
    if !line.chunk_by(is_one_kind).any(is_long) {
        return Cow::Borrowed(line);
    }
    let mut hidden = line.to_vec();
    for run in hidden.chunk_by_mut(is_one_kind).filter(|run| is_long(run)) {
        run.fill(b'*');
    }
    Cow::Owned(hidden)
}

/// What a machine logged within a moment: the last lines of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoggedLines {
    /// The lines, at most [`SYSLOG_LINES_KEPT_MAX`].
    pub lines: Vec<LoggedLine>,
    /// Lines before and between them that there was no room for.
    pub omitted: u64,
}

impl LoggedLines {
    /// Takes one more; whether another one had to go for it.
    pub fn push(&mut self, line: LoggedLine) -> bool {
        let is_full = make_room(&mut self.lines, LoggedLine::is_error);
        self.omitted += u64::from(is_full);
        self.lines.push(line);
        is_full
    }
}

impl fmt::Display for LoggedLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.omitted.saturating_add(self.lines.len() as u64);
        match self.lines.last() {
            Some(line) if count == 1 => write!(f, "its own log says ({}) {line}", line.severity),
            Some(line) => write!(f, "its own log says {count} lines, the last ({}) {line}", line.severity),
            None => f.write_str("its own log says nothing"),
        }
    }
}

/// Drops a line where there is no room for another: the oldest one, but for a few
/// errors. Whether one was dropped.
pub fn make_room<T>(lines: &mut Vec<T>, is_error: impl Fn(&T) -> bool) -> bool {
    if lines.len() < SYSLOG_LINES_KEPT_MAX {
        return false;
    }
    let errors = lines.iter().filter(|line| is_error(line)).count();
    let is_kept = |line: &T| is_error(line) && errors <= SYSLOG_ERRORS_KEPT_MAX;
    let oldest = lines.iter().position(|line| !is_kept(line));
    lines.remove(oldest.unwrap_or(0));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Token;
    use crate::proto::syslog::parse;

    fn line(datagram: &[u8]) -> LoggedLine {
        LoggedLine::from(&parse(datagram).unwrap())
    }

    #[test]
    fn a_line_is_escaped_and_cut() {
        let hostile = line(b"<3>x\x1b[2J: \x1b]0;title\x07 \xc3\xa9\n\\ end");
        assert_eq!(
            hostile.to_string(),
            "kernel: x\\x1b[2J: \\x1b]0;title\\x07 \\xc3\\xa9\\x0a\\\\ end"
        );
        let long = line(&[b"<13>t: ".as_slice(), &[b'x'; 5000]].concat());
        assert_eq!(long.text.len(), SYSLOG_LINE_BYTES_MAX);
        assert!(long.text.ends_with("xx..."), "{long}");
        let named = line(&[&[b'n'; 60], b": y".as_slice()].concat());
        assert_eq!(named.tag.unwrap().len(), SYSLOG_TAG_BYTES_MAX);
    }

    #[test]
    fn no_token_is_in_it_however_the_line_was_broken() {
        let token = Token::of_random([0xa5; 16]).reveal();
        let whole =
            format!("Kernel command line: quiet bootwright=http://192.0.2.1/callback/r1u07/{token} console=ttyS0");
        for cut in 0..=whole.len() {
            let (first, second) = whole.split_at(cut);
            for part in [first, second]
                .map(str::trim)
                .into_iter()
                .filter(|part| !part.is_empty())
            {
                let shown = line(part.as_bytes()).to_string();
                let longest = shown.split(|c: char| !c.is_ascii_hexdigit()).map(str::len).max();
                // Half of a token that was broken in two is not enough to go on.
                assert!(longest.unwrap_or(0) <= SYSLOG_HEX_DIGITS_MAX, "{shown}");
            }
        }
        let oops = "RIP: 0010:ffffffffa0123456 wwn-0x5000c500a1b2c3d4 52:54:00:00:00:07";
        assert_eq!(
            &*line(oops.as_bytes()).text,
            "0010:ffffffffa0123456 wwn-0x5000c500a1b2c3d4 52:54:00:00:00:07"
        );
    }

    #[test]
    fn the_last_lines_stay_and_a_few_errors_with_them() {
        let mut said = LoggedLines::default();
        for number in 0..3 {
            said.push(line(format!("<3>error {number}").as_bytes()));
        }
        for number in 0..1000 {
            said.push(line(format!("<6>line {number}").as_bytes()));
        }
        assert_eq!((said.lines.len(), said.omitted), (SYSLOG_LINES_KEPT_MAX, 983));
        let texts: Vec<&str> = said.lines.iter().map(|line| &*line.text).collect();
        assert_eq!(texts[..4], ["error 0", "error 1", "error 2", "line 983"]);
        for number in 0..1000 {
            said.push(line(format!("<0>worse {number}").as_bytes()));
        }
        said.push(line(b"<6>the end"));
        let errors = said.lines.iter().filter(|line| line.is_error()).count();
        assert_eq!((&*said.lines[0].text, errors), ("worse 981", SYSLOG_LINES_KEPT_MAX - 1));
        assert_eq!(
            said.to_string(),
            "its own log says 2004 lines, the last (info) kernel: the end"
        );
    }
}
