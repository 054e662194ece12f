//! Collects every error and warning, so that one run reports them all.

use super::{
    Diagnostic, LoadReport,
    validation_protocol::{self, FileHashes},
};
use crate::boot::{render::TemplateError, snapshot::Origin};
use crate::model::{
    limits::{DIAGNOSTIC_BYTES_MAX, DIAGNOSTICS_MAX, DIAGNOSTICS_PER_FILE_MAX},
    text,
};
use std::{
    collections::{HashMap, HashSet},
    fmt::{self, Display},
    sync::Arc,
};

/// What this process has secrets for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretsAre {
    /// They are served: each must be readable.
    #[default]
    Served,
    /// They are looked at, as far as whoever runs this may.
    LookedAt,
    /// They are elsewhere, as in a CI.
    Elsewhere,
}

/// What another process tried before this one reads it.
#[derive(Clone)]
pub(super) struct TriedBefore {
    /// The files: no others are read.
    pub(super) files: Arc<FileHashes>,
    /// What loaders and images were with which all that is sent was tried.
    pub(super) rehearsed: Option<[u8; 32]>,
}

/// The diagnostics of one load.
#[derive(Default)]
pub(super) struct Problems {
    errors: DiagnosticList,
    warnings: DiagnosticList,
    /// What is judged are kept files: what lies outside of them may have changed since, and is odd then
    /// and no error.
    of_last_good: bool,
    /// What secrets are read for.
    secrets: SecretsAre,
    /// The files that were tried before, and no others are read; all are where nothing was tried.
    only: Option<Arc<FileHashes>>,
    /// What loaders and images were with which all that is sent was tried before.
    rehearsed: Option<[u8; 32]>,
}

impl Problems {
    /// Those of files that are kept.
    pub(super) fn of_last_good() -> Problems {
        Problems {
            of_last_good: true,
            ..Problems::default()
        }
    }

    /// The same, and of no files but those.
    pub(super) fn with_only(self, only: Option<Arc<FileHashes>>) -> Problems {
        Problems { only, ..self }
    }

    /// The same, of what was tried.
    pub(super) fn with_tried(self, before: Option<TriedBefore>) -> Problems {
        let rehearsed = before.as_ref().and_then(|before| before.rehearsed);
        let files = before.map(|before| before.files);
        Problems { rehearsed, ..self }.with_only(files)
    }

    /// None yet, of files that are looked at in the same way.
    pub(super) fn empty_alike(&self) -> Problems {
        Problems {
            errors: DiagnosticList::default(),
            warnings: DiagnosticList::default(),
            only: self.only.clone(),
            ..*self
        }
    }

    /// Takes in what was said of a part.
    pub(super) fn take_in(&mut self, part: Problems) {
        let Problems { errors, warnings, .. } = part;
        self.errors.take_in(errors);
        self.warnings.take_in(warnings);
    }

    /// Whether all that is sent was tried with such loaders and images.
    pub(super) fn was_rehearsed(&self, outside: [u8; 32]) -> bool {
        self.rehearsed == Some(outside)
    }

    /// The same, where secrets are read for that.
    pub(super) fn with_secrets(self, secrets: SecretsAre) -> Problems {
        Problems { secrets, ..self }
    }

    /// What secrets are read for.
    pub(super) fn secrets_are(&self) -> SecretsAre {
        self.secrets
    }

    /// Whether a file with these bytes may be read.
    pub(super) fn may_be_read(&self, bytes: &[u8]) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| only.contains(&validation_protocol::sum(bytes)))
    }

    /// Whether what is judged are kept files.
    pub(super) fn are_of_last_good(&self) -> bool {
        self.of_last_good
    }

    /// Looks at what lies outside of the files that are kept: loaders, images.
    pub(super) fn outside<T>(&mut self, look: impl FnOnce(&mut Problems) -> T) -> T {
        let before = self.errors.shown.len();
        let found = look(self);
        if self.of_last_good {
            for odd in self.errors.take_from(before) {
                self.warnings.push(odd);
            }
        }
        found
    }

    /// A value that can't be used.
    pub(super) fn error(&mut self, at: &Origin, message: impl Display, help: impl Display) {
        self.errors.push(at_origin(at, message, help));
    }

    /// An error that is worded already.
    pub(super) fn add_error(&mut self, error: Diagnostic) {
        self.errors.push(error);
    }

    /// Something odd that does not keep machines from booting.
    pub(super) fn warn(&mut self, at: &Origin, message: impl Display, help: impl Display) {
        self.warnings.push(at_origin(at, message, help));
    }

    /// A file or folder that can't be used at all.
    pub(super) fn unusable(&mut self, file: impl Display, message: impl Display, help: impl Display) {
        self.errors.push(diagnostic(file.to_string(), None, message, help));
    }

    /// A template that does not compile or does not render.
    pub(super) fn template(&mut self, error: &TemplateError, fallback: &Origin, message: impl Display, help: &str) {
        self.errors.push(match &error.file {
            Some(file) => {
                let place = error.line.map(|line| (line, error.column.unwrap_or(1)));
                diagnostic(file.clone(), place, message, help)
            }
            None => at_origin(fallback, message, help),
        });
    }

    pub(super) fn has_errors(&self) -> bool {
        !self.errors.shown.is_empty()
    }

    /// In file order, each shown once.
    pub(super) fn into_report(self) -> LoadReport {
        LoadReport {
            errors: self.errors.in_order("error"),
            warnings: self.warnings.in_order("warning"),
        }
    }
}

/// The words are put together here, and nowhere before.
fn diagnostic(file: String, place: Option<(u32, u32)>, message: impl Display, help: impl Display) -> Diagnostic {
    Diagnostic {
        message: message.to_string(),
        help: Some(help.to_string()).filter(|help| !help.is_empty()),
        file,
        place,
    }
}

fn at_origin(at: &Origin, message: impl Display, help: impl Display) -> Diagnostic {
    diagnostic(at.file.to_string(), Some((at.line, at.column)), message, help)
}

/// Diagnostics, so many of a file and so many in all: of a file that is something else altogether every line
/// is wrong, and no one reads the second hundred. The others are counted.
#[derive(Default)]
struct DiagnosticList {
    shown: Vec<Diagnostic>,
    of_file: HashMap<String, Count>,
}

/// How many diagnostics a file has.
#[derive(Clone, Copy, Default)]
struct Count {
    shown: usize,
    beyond: usize,
}

impl DiagnosticList {
    fn push(&mut self, mut diagnostic: Diagnostic) {
        let count = self.of_file.entry(diagnostic.file.clone()).or_default();
        if count.shown >= DIAGNOSTICS_PER_FILE_MAX || self.shown.len() >= DIAGNOSTICS_MAX {
            count.beyond += 1;
            return;
        }
        count.shown += 1;
        // What people wrote is quoted, with whatever is in it.
        diagnostic.message = text::shown(diagnostic.message);
        diagnostic.help = diagnostic.help.map(text::shown);
        shorten(&mut diagnostic.message);
        self.shown.push(diagnostic);
    }

    fn take_in(&mut self, others: DiagnosticList) {
        let DiagnosticList { shown, of_file } = others;
        for one in shown {
            self.push(one);
        }
        for (file, Count { beyond, .. }) in of_file.into_iter().filter(|(_, count)| count.beyond > 0) {
            self.of_file.entry(file).or_default().beyond += beyond;
        }
    }

    /// Takes out those from that place on.
    fn take_from(&mut self, place: usize) -> Vec<Diagnostic> {
        let taken = self.shown.split_off(place);
        for one in &taken {
            if let Some(count) = self.of_file.get_mut(&one.file) {
                count.shown -= 1;
            }
        }
        taken
    }

    /// In file order, each shown once, and behind those of a file how many more it has.
    fn in_order(self, noun: &str) -> Vec<Diagnostic> {
        let DiagnosticList { mut shown, of_file } = self;
        let mut once = HashSet::new();
        shown.retain(|one| once.insert(one.clone()));
        shown.extend(
            of_file
                .into_iter()
                .filter(|(_, count)| count.beyond > 0)
                .map(|(file, count)| {
                    let plural = if count.beyond == 1 { "" } else { "s" };
                    let message = format_args!("{} more {noun}{plural} here", count.beyond);
                    diagnostic(file, MORE, message, MEND_OTHERS)
                }),
        );
        shown.sort_by(|a, b| (&a.file, a.place).cmp(&(&b.file, b.place)));
        for one in shown.iter_mut().filter(|one| one.place == MORE) {
            one.place = None;
        }
        shown
    }
}

/// What two looks at the same files found: the second leaves out what only the first tried.
pub(super) fn merged(mut first: Vec<Diagnostic>, second: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let known: HashSet<&Diagnostic> = first.iter().collect();
    // Of one that counts those beyond, the first counted more.
    let is_count = |one: &Diagnostic| one.place.is_none() && one.help.as_deref() == Some(MEND_OTHERS);
    let more = second.into_iter().filter(|one| !known.contains(one) && !is_count(one));
    let more: Vec<Diagnostic> = more.collect();
    if !more.is_empty() {
        first.extend(more);
        first.sort_by(|a, b| (&a.file, a.place).cmp(&(&b.file, b.place)));
    }
    first
}

const MEND_OTHERS: &str = "mend the others first, and they may be gone";

/// Behind every line.
const MORE: Option<(u32, u32)> = Some((u32::MAX, u32::MAX));

/// Cuts a message that is too long to be read to its end: it quotes what was written.
fn shorten(message: &mut String) {
    if message.len() > DIAGNOSTIC_BYTES_MAX {
        let is_boundary = |at: &usize| message.is_char_boundary(*at);
        let end = (0..=DIAGNOSTIC_BYTES_MAX).rev().find(is_boundary).unwrap_or_default();
        message.truncate(end);
        message.push('…');
    }
}

/// The known word that `written` most likely means: at most a third of its letters away, each inserted, removed,
/// replaced or swapped with its neighbour.
pub fn closest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let farthest = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .filter(|word| word.len().abs_diff(written.len()) <= farthest)
        .map(|word| (strsim::osa_distance(written, word), word))
        .filter(|(steps, _)| *steps <= farthest)
        .min()
        .map(|(_, word)| word)
}

/// "did you mean `y`?", or what else to do.
pub(super) fn did_you_mean<'a, D: Display>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: D,
) -> Suggestion<'a, D> {
    closest(written, known).map_or(Suggestion::Otherwise(otherwise), Suggestion::DidYouMean)
}

/// See [`did_you_mean`].
pub(super) enum Suggestion<'a, D> {
    DidYouMean(&'a str),
    Otherwise(D),
}

impl<D: Display> Display for Suggestion<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Suggestion::DidYouMean(word) => write!(f, "did you mean `{word}`?"),
            Suggestion::Otherwise(otherwise) => otherwise.fmt(f),
        }
    }
}

/// Where the first of two is that exclude each other.
pub(super) struct FirstDefined<'a>(&'a Origin);

impl fmt::Display for FirstDefined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { file, line, column } = self.0;
        write!(f, "first defined at {file}:{line}:{column}")
    }
}

pub(super) fn first_defined(origin: &Origin) -> FirstDefined<'_> {
    FirstDefined(origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn of_a_file_that_is_wrong_throughout_the_first_errors_are_shown_and_the_rest_counted() {
        let mut problems = Problems::default();
        let at = |line| Origin {
            file: "b.toml".into(),
            line,
            ..fixtures::origin()
        };
        let last = u32::try_from(DIAGNOSTICS_PER_FILE_MAX).unwrap() + 5;
        for line in 1..=last {
            problems.error(&at(line), format!("line {line} is wrong"), "");
            problems.warn(&at(line), "x".repeat(DIAGNOSTIC_BYTES_MAX * 2), "");
        }
        problems.unusable("c.toml", "can't be read".to_owned(), "");
        let LoadReport { errors, warnings } = problems.into_report();
        assert_eq!(errors.len(), DIAGNOSTICS_PER_FILE_MAX + 2);
        assert_eq!(errors[0].place, Some((1, 1)));
        let more = &errors[DIAGNOSTICS_PER_FILE_MAX];
        assert_eq!(
            (more.message.as_str(), more.file.as_str()),
            ("5 more errors here", "b.toml")
        );
        assert_eq!(errors[DIAGNOSTICS_PER_FILE_MAX + 1].file, "c.toml");
        assert!(
            warnings
                .iter()
                .all(|one| one.message.len() <= DIAGNOSTIC_BYTES_MAX + '…'.len_utf8())
        );
    }

    #[test]
    fn many_files_have_so_many_in_all() {
        let mut problems = Problems::default();
        for file in 0..DIAGNOSTICS_MAX + 10 {
            problems.unusable(format!("{file:06}.toml"), "is wrong".to_owned(), "");
        }
        let errors = problems.into_report().errors;
        let of_more = errors.iter().filter(|one| one.message == "1 more error here");
        assert_eq!(of_more.count(), 10);
    }

    #[test]
    fn a_slip_of_the_finger_is_guessed_and_a_stranger_is_not() {
        assert_eq!(closest("adress", ["address", "answer"]), Some("address"));
        assert_eq!(closest("wroker", ["worker", "base"]), Some("worker"));
        assert_eq!(closest("gateway", ["router", "dns"]), None);
        assert_eq!(closest("", ["a"]), Some("a"));
    }
}
