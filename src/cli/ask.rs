//! What the commands that ask the daemon have in common: where it is, one question for all of them, and how an
//! answer or a refusal is shown.

use crate::admin::{
    Document, Lines,
    api::{Problem, Timestamp},
    client::{self, ClientError},
    routes::Endpoint,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    error::Error,
    fmt::Write as _,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

/// Which daemon, and how its answer is shown.
#[derive(Debug, clap::Args)]
pub(super) struct AdminArgs {
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = "/run/bootwright/admin.sock")]
    socket: PathBuf,
    /// JSON instead of text; a refusal is JSON too.
    #[arg(long)]
    json: bool,
}

impl AdminArgs {
    /// The daemon's socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Whether the answer is to be JSON.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Asks `E` for its object, and shows that as JSON or as `text` says it.
    pub(super) fn document<E, T>(&self, request: &E::Request, text: impl FnOnce(&T) -> String) -> ExitCode
    where
        E: Endpoint<Response = Document<T>>,
        T: Serialize + DeserializeOwned,
    {
        let answer = client::document::<E, T>(&self.socket, request);
        super::finish(self.show(answer, text))
    }

    /// Asks `E` for its list, and shows that as a JSON array or as `text` says it.
    pub(super) fn list<E, T>(&self, request: &E::Request, text: impl FnOnce(&[T]) -> String) -> ExitCode
    where
        E: Endpoint<Response = Lines<T>>,
        T: Serialize + DeserializeOwned,
    {
        let answer = client::list::<E, T>(&self.socket, request);
        super::finish(self.show(answer, |items| text(items)))
    }

    fn show<T: Serialize>(
        &self,
        answer: Result<T, ClientError>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Box<dyn Error>> {
        match answer {
            Ok(answer) => Ok(show(self.json, &answer, text)?),
            Err(error) => {
                // What it says in one line is the command's own error.
                show(self.json, &error.refusal(), |refusal| errors_text(&refusal.errors))?;
                Err(error.into())
            }
        }
    }
}

/// Everything that is wrong, a line each.
pub(super) fn errors_text(errors: &[Problem]) -> String {
    let mut text = String::new();
    for error in errors {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "error: {error}");
    }
    text
}

/// Prints `answer` as JSON, or as `text` says it.
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
    let mut text = String::new();
    let rows = rows.iter().map(|row| row.each_ref().map(String::as_str));
    for cells in std::iter::once(head).chain(rows) {
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(text, "{cell:width$}  ");
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

/// How long until `time`, roughly.
pub(super) fn until(time: Timestamp) -> String {
    length(time.wall().0.saturating_sub(now()))
}

/// How long ago `time` was, roughly.
pub(super) fn since(time: Timestamp) -> String {
    length(now().saturating_sub(time.wall().0))
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}

fn length(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
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
}
