//! What an image's artifacts are called.

use super::{Located, file_name};
use crate::images::{MANIFEST, error::ImageError, tree::Tree};
use crate::model::{Name, text};
use std::collections::HashSet;

/// File names of an image's artifacts: each fit for a URL, and no two the same.
#[derive(Default)]
pub(super) struct ArtifactNames(HashSet<String>);

impl ArtifactNames {
    pub(super) fn located(&mut self, tree: &Tree, path: &str) -> Result<Located, ImageError> {
        let Some(content) = tree.file(path) else {
            let shown = text::escape(path.as_bytes());
            return Err(ImageError::new(format_args!(
                "{}: it has no file {shown}; at its top: {}",
                tree.source.display(),
                tree.top()
            )));
        };
        Ok(Located {
            path: path.to_owned(),
            content: content.clone().called(self.take(path)),
        })
    }

    pub(super) fn take(&mut self, path: &str) -> String {
        let name = artifact_name(file_name(path));
        let numbered = (2..).map(|number| format!("{number}-{name}"));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| !self.0.contains(name));
        let free = free.unwrap_or(name);
        self.0.insert(free.clone());
        free
    }
}

/// A name that may stand in a path and a URL, as like to the file's as can be.
pub(super) fn artifact_name(file: &str) -> String {
    const LENGTH: usize = 56;
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
            c
        } else {
            '_'
        }
    };
    let shaped: String = file.chars().map(plain).collect();
    let shaped = shaped.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let name = &shaped[..shaped.len().min(LENGTH)];
    match name.parse::<Name>() {
        Ok(_) if name != MANIFEST => name.to_owned(),
        _ => format!("file-{name}"),
    }
}
