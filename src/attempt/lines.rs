//! The last lines of a machine's own log in one boot.

use crate::boot::event::{LoggedLine, LoggedLines, make_room};
use serde::{Deserialize, Serialize};

/// One line, and when it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptLine {
    /// When, in ms since the attempt began.
    pub at_ms: u64,
    /// The line.
    #[serde(flatten)]
    pub line: LoggedLine,
}

/// What a machine logged in one boot: the last lines of it, and a few errors before them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptLog {
    /// The lines, at most [`crate::model::limits::SYSLOG_LINES_KEPT_MAX`].
    pub lines: Vec<AttemptLine>,
    /// Lines before and between them that are not kept.
    #[serde(default)]
    pub omitted: u64,
}

impl AttemptLog {
    /// Takes in what was logged at a moment.
    pub(super) fn take_in(&mut self, said: &LoggedLines, at_ms: u64) {
        let at_ms = at_ms.max(self.last_ms());
        self.omitted = self.omitted.saturating_add(said.omitted);
        for line in &said.lines {
            let line = line.clone();
            let is_full = make_room(&mut self.lines, |kept: &AttemptLine| kept.line.is_error());
            self.omitted = self.omitted.saturating_add(u64::from(is_full));
            self.lines.push(AttemptLine { at_ms, line });
        }
    }

    /// Whether nothing was logged.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.omitted == 0
    }

    /// How many lines there were, kept or not.
    pub fn count(&self) -> u64 {
        self.omitted.saturating_add(self.lines.len() as u64)
    }

    /// When the last one came, in ms since the attempt began.
    pub(super) fn last_ms(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.at_ms)
    }
}
