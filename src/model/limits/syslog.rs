//! Bounds of what machines log to us.

use std::time::Duration;

/// Bytes of one datagram that are read; the rest of a longer one is lost. RFC 5424 wants 2048 to be taken.
pub const SYSLOG_DATAGRAM_BYTES_MAX: usize = 2048;
/// Bytes of one line that are kept, and of what the program that wrote it is called.
pub const SYSLOG_LINE_BYTES_MAX: usize = 240;
/// See above.
pub const SYSLOG_TAG_BYTES_MAX: usize = 48;
/// Lines of one boot that are kept: the last ones. So many of one machine are taken in at once, too.
pub const SYSLOG_LINES_KEPT_MAX: usize = 20;
/// Errors among them that stay while other lines push each other out.
pub const SYSLOG_ERRORS_KEPT_MAX: usize = 5;
/// Lines are gathered for so long: a machine that floods us makes one event in that time.
pub const SYSLOG_GATHER_INTERVAL: Duration = Duration::from_secs(1);
/// Lines that one interface takes in that time; then it rests, and the kernel drops what finds no room.
pub const SYSLOG_LINES_AT_ONCE_MAX: usize = 20_000;
/// Machines whose lines one interface gathers at once.
pub const SYSLOG_MACHINES_MAX: usize = 4096;
/// Addresses that nobody has, of which that is remembered meanwhile.
pub const SYSLOG_STRANGERS_MAX: usize = 1024;
/// How many of the events that are kept for people may be lines.
pub const SYSLOG_EVENTS_KEPT_MAX: usize = 1024;
/// Hexadecimal digits in a row that a line shows: a kernel's address has so many, and a token twice.
pub const SYSLOG_HEX_DIGITS_MAX: usize = 16;
