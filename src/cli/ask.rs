//! What the commands that ask the daemon have in common: where it is, and how an answer is shown.

use crate::model::WallTime;
use serde::Serialize;
use std::{
    io::{self, Write},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Which daemon, and how its answer is shown.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArgs {
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = "/run/bootwright/admin.sock")]
    pub(super) socket: PathBuf,
    /// JSON instead of text.
    #[arg(long)]
    pub(super) json: bool,
}

impl AdminArgs {
    /// Prints `api` as JSON, or as `text` says it.
    pub(super) fn show<T: Serialize>(&self, answer: &T, text: impl FnOnce(&T) -> String) -> io::Result<()> {
        show(self.json, answer, text)
    }
}

/// Prints `api` as JSON, or as `text` says it.
pub(super) fn show<T: Serialize>(json: bool, answer: &T, text: impl FnOnce(&T) -> String) -> io::Result<()> {
    let shown = if json {
        serde_json::to_string_pretty(answer)? + "\n"
    } else {
        text(answer)
    };
    match io::stdout().lock().write_all(shown.as_bytes()) {
        // `bootwright hosts | head` has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Lines up `rows` under `head`, two blanks between columns.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(head)).chain(rows).collect()
}

/// A moment as people read it, in UTC.
pub(super) fn moment(time: WallTime) -> String {
    let system = UNIX_EPOCH
        .checked_add(Duration::from_secs(time.0))
        // httpdate knows four-digit years only.
        .filter(|_| time.0 < 253_402_300_800);
    system.map_or_else(|| "never".to_owned(), httpdate::fmt_http_date)
}

/// How long until `time`, roughly.
pub(super) fn until(time: WallTime) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let left = time.0.saturating_sub(now);
    match left {
        0..120 => format!("{left} s"),
        120..7_200 => format!("{} min", left / 60),
        7_200..172_800 => format!("{} h", left / 3_600),
        _ => format!("{} days", left / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let rows = [["r1u07".to_owned(), "live".to_owned()], ["a".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "BOOT"], &rows), "NAME   BOOT\nr1u07  live\na\n");
    }

    #[test]
    fn a_moment_beyond_the_calendar_is_never() {
        assert_eq!(moment(WallTime(u64::MAX)), "never");
        assert_eq!(moment(WallTime(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
