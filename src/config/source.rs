//! Files people edit, as text with places: bounded, UTF-8, with a line and column for every byte.

use super::{
    problems::Problems,
    validation_protocol::{self, ValidationStep},
};
use crate::boot::snapshot::Origin;
use crate::images::reading::open_regular;
use crate::model::limits::{EDITED_FILE_BYTES_MAX, EDITED_FILES_MAX};
use std::{
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// One file's text and where its lines begin.
pub(super) struct Source {
    /// The file as the operator named it.
    pub(super) file: Arc<str>,
    /// All of it.
    pub(super) text: String,
    line_starts: Vec<usize>,
    /// Lines of its file before it, where it is a piece of one.
    lines_before: usize,
}

impl Source {
    /// Reads a file, or says why it can't be used.
    pub(super) fn read(path: &Path, problems: &mut Problems) -> Option<Source> {
        let file = path.display().to_string();
        validation_protocol::next(|| ValidationStep::Read(file.clone()));
        let bytes = match read_bounded(path) {
            Ok(bytes) if !problems.may_be_read(&bytes) => {
                let help = "it is read again once it is quiet, or by `bootwright reload`";
                problems.unusable(&file, "it changed while it was read", help);
                return None;
            }
            Ok(bytes) => bytes,
            Err(error) => {
                problems.unusable(&file, format_args!("can't be read: {error}"), unread_help(&error));
                return None;
            }
        };
        validation_protocol::was_read(&bytes);
        match String::from_utf8(bytes) {
            Ok(text) => Some(Source::new(&file, text)),
            Err(error) => {
                let (text, at) = (lossy(error.as_bytes()), error.utf8_error().valid_up_to());
                let origin = Source::new(&file, text).origin(at);
                let help = "save the file in UTF-8; every editor can";
                problems.error(&origin, "this byte is not UTF-8", help);
                None
            }
        }
    }

    pub(super) fn new(file: &str, text: String) -> Source {
        let newlines = text.match_indices('\n');
        let line_starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Source {
            file: file.into(),
            text,
            line_starts,
            lines_before: 0,
        }
    }

    /// The same with other text, each byte of which stands where it stood.
    pub(super) fn with_text(&self, text: String) -> Source {
        Source {
            file: Arc::clone(&self.file),
            text,
            line_starts: self.line_starts.clone(),
            lines_before: self.lines_before,
        }
    }

    /// A part of it, which begins a line after so many. It has its file's name for itself: whoever reads it beside
    /// others does not wait for them to count who has the name.
    pub(super) fn piece(&self, range: Range<usize>, lines_before: usize) -> Source {
        Source {
            lines_before,
            ..Source::new(&self.file, self.text[range].to_owned())
        }
    }

    /// The place of the byte at `offset`.
    pub(super) fn origin(&self, offset: usize) -> Origin {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        let column = self.text[start..offset].chars().count() + 1;
        Origin {
            file: Arc::clone(&self.file),
            line: u32::try_from(self.lines_before + line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    /// The text of a line, counted from 1, without its end.
    pub(super) fn line(&self, number: u32) -> &str {
        let index = usize::try_from(number)
            .unwrap_or(usize::MAX)
            .saturating_sub(1 + self.lines_before);
        let start = self.line_starts.get(index).copied().unwrap_or(self.text.len());
        let end = self.line_starts.get(index + 1).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end()
    }

    /// Where a span begins.
    pub(super) fn at(&self, span: Range<usize>) -> Origin {
        self.origin(span.start)
    }
}

/// What to do about a file that can't be read.
fn unread_help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "let the user who runs this read it: see `ls -l`, chmod and chown",
        io::ErrorKind::NotFound => "put the file there, or correct the path that names it",
        // Anything else the system says speaks for itself.
        _ => "",
    }
}

/// The text up to a bad byte is enough to count lines.
fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// All of a regular file that people edit.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_regular(path)?;
    file.take(EDITED_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > EDITED_FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it is larger than {EDITED_FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(bytes)
}

/// The entries of a folder that people mean, sorted by name: no hidden file, no editor's backup.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    validation_protocol::next(|| ValidationStep::Look(folder.display().to_string()));
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if is_meant(&entry.file_name().to_string_lossy()) {
            paths.push(entry.path());
        }
        if paths.len() > EDITED_FILES_MAX {
            return Err(io::Error::other(format!("it has more than {EDITED_FILES_MAX} entries")));
        }
    }
    paths.sort();
    Ok(paths)
}

fn is_meant(name: &str) -> bool {
    let hidden = name.starts_with('.') || name.starts_with('#');
    let left_behind = ["~", ".swp", ".bak", ".orig", ".dpkg-new", ".dpkg-old", ".rpmnew"];
    let documentation = name.eq_ignore_ascii_case("readme.md") || name.eq_ignore_ascii_case("readme");
    !hidden && !documentation && !left_behind.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_counts_characters_and_a_line_counts_from_one() {
        let source = Source::new("a.toml", "x = 1\nÄÄ = 2\n".to_owned());
        let origin = source.origin("x = 1\nÄÄ".len());
        assert_eq!((origin.line, origin.column), (2, 3));
        assert_eq!(source.origin(usize::MAX).line, 3);
        assert_eq!([1, 2, 3, 4].map(|line| source.line(line)), ["x = 1", "ÄÄ = 2", "", ""]);
    }

    #[test]
    fn what_an_editor_leaves_behind_is_not_meant() {
        for name in [".inventory.toml.swp", "a.toml~", "#a.toml#", "4913~", "README.md"] {
            assert!(!is_meant(name), "{name}");
        }
        assert!(is_meant("rack-1.toml"));
    }
}
