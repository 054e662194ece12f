//! Everything found wrong so far: collected, never thrown, so that one run says it all.

use super::{Diagnostic, Report};
use crate::boot::{render::TemplateError, snapshot::Origin};
use std::collections::HashSet;

/// The diagnostics of one load.
#[derive(Default)]
pub(super) struct Problems {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// What is judged are kept files: what lies outside of them may have changed since, and is odd then
    /// and no error.
    of_kept_files: bool,
}

impl Problems {
    /// Those of files that are kept.
    pub(super) fn of_kept_files() -> Problems {
        Problems {
            of_kept_files: true,
            ..Problems::default()
        }
    }

    /// Whether what is judged are kept files.
    pub(super) fn are_of_kept_files(&self) -> bool {
        self.of_kept_files
    }

    /// Looks at what lies outside of the files that are kept: loaders, images.
    pub(super) fn outside<T>(&mut self, look: impl FnOnce(&mut Problems) -> T) -> T {
        let before = self.errors.len();
        let found = look(self);
        if self.of_kept_files {
            self.warnings.extend(self.errors.drain(before..));
        }
        found
    }

    /// A value that can't be used.
    pub(super) fn error(&mut self, at: &Origin, message: String, help: impl Into<String>) {
        self.errors.push(diagnostic(at, message, help.into()));
    }

    /// An error that is worded already.
    pub(super) fn add_error(&mut self, error: Diagnostic) {
        self.errors.push(error);
    }

    /// Something odd that does not keep the room from booting.
    pub(super) fn warn(&mut self, at: &Origin, message: String, help: impl Into<String>) {
        self.warnings.push(diagnostic(at, message, help.into()));
    }

    /// A file or folder that can't be used at all.
    pub(super) fn whole_file(&mut self, file: &str, message: String, help: impl Into<String>) {
        self.errors.push(Diagnostic {
            message,
            help: Some(help.into()).filter(|help| !help.is_empty()),
            file: file.to_owned(),
            place: None,
        });
    }

    /// A template that does not compile or does not render.
    pub(super) fn template(&mut self, error: &TemplateError, fallback: &Origin, message: String, help: &str) {
        self.errors.push(Diagnostic {
            message,
            help: Some(help.to_owned()).filter(|help| !help.is_empty()),
            file: error.file.clone().unwrap_or_else(|| fallback.file.to_string()),
            place: match (&error.file, error.line) {
                (Some(_), line) => line.map(|line| (line, error.column.unwrap_or(1))),
                (None, _) => Some((fallback.line, fallback.column)),
            },
        });
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// In file order, each said once.
    pub(super) fn into_report(self) -> Report {
        Report {
            errors: in_order(self.errors),
            warnings: in_order(self.warnings),
        }
    }
}

fn diagnostic(at: &Origin, message: String, help: String) -> Diagnostic {
    Diagnostic {
        message,
        help: Some(help).filter(|help| !help.is_empty()),
        file: at.file.to_string(),
        place: Some((at.line, at.column)),
    }
}

fn in_order(mut diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut said = HashSet::new();
    diagnostics.retain(|one| said.insert(one.clone()));
    diagnostics.sort_by(|a, b| (&a.file, a.place).cmp(&(&b.file, b.place)));
    diagnostics
}

/// The known word that `said` most likely means: at most a third of its letters away.
pub(super) fn closest<'a>(said: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let farthest = (said.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|word| word.len().abs_diff(said.len()) <= farthest)
        .map(|word| (distance(said, word), word))
        .filter(|(steps, _)| *steps <= farthest)
        .min()
        .map(|(_, word)| word)
}

/// "did you mean `y`?", or what else to do.
pub(super) fn did_you_mean<'a>(said: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    match closest(said, known) {
        Some(word) => format!("did you mean `{word}`?"),
        None => otherwise.to_owned(),
    }
}

/// Letters to insert, remove, replace or swap with a neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut steps = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                steps = steps.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = steps;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_guessed_and_a_stranger_is_not() {
        assert_eq!(closest("adress", ["address", "answer"]), Some("address"));
        assert_eq!(closest("wroker", ["worker", "base"]), Some("worker"));
        assert_eq!(closest("gateway", ["router", "dns"]), None);
        assert_eq!(closest("", ["a"]), Some("a"));
    }
}
