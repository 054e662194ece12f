//! The folders of scripts and answers, read and compiled.
//!
//! Who reads them looks at the first bytes and at whole lines, so an editor's byte order mark and a
//! Windows editor's line ends are left out.

use super::{
    hosts::UnreadFolders,
    problems::Problems,
    source,
    source::Source,
    validation_protocol::{self, ValidationStep},
};
use crate::boot::{
    render::{TemplateError, Templates, long_comments},
    snapshot::Origin,
};
use crate::model::{Dialect, Name, limits::ANSWER_DEPTH_MAX, text};
use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

/// What an editor may put before a file's first byte.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// Files that Windows reads line by line: they keep their line ends.
const WINDOWS_OWN: &[&str] = &["bat", "cmd", "inf", "ini", "ps1", "reg"];

/// Reads `NAME.ipxe`, `NAME.grub` and `NAME.pxelinux` from one folder, and `NAME.ext` and `NAME/` from
/// the other; a folder that can't be read is reported and noted in `unread`.
pub(super) fn read(scripts: &Path, answers: &Path, unread: &mut UnreadFolders, problems: &mut Problems) -> Templates {
    let mut templates = Templates::new();
    let paths = list(scripts, "scripts", problems);
    unread.scripts = paths.is_none();
    for path in paths.unwrap_or_default() {
        let is_in = |dialect: &Dialect| {
            path.extension()
                .is_some_and(|extension| extension == dialect.extension())
        };
        if let Some(dialect) = Dialect::ALL.into_iter().find(is_in)
            && let Some(name) = name_of(&path, path.file_stem(), problems)
            && let Some(source) = Source::read(&path, problems)
        {
            validation_protocol::next(|| ValidationStep::Compile(source.file.to_string()));
            let added = templates.add_script(&name, dialect, &source.file, &plain(&path, &source.text));
            say(added, problems);
        }
    }
    let paths = list(answers, "answers", problems);
    unread.answers = paths.is_none();
    for path in paths.unwrap_or_default() {
        match path.is_dir() {
            true => add_folder(&mut templates, &path, problems),
            false => add_file(&mut templates, &path, problems),
        }
    }
    templates
}

fn list(folder: &Path, key: &str, problems: &mut Problems) -> Option<Vec<PathBuf>> {
    let listed = source::entries(folder).map_err(|error| {
        let shown = folder.display();
        let message = format_args!("the folder of {key} can't be read: {error}");
        problems.unusable(
            shown,
            message,
            format_args!("make the folder, or correct `{key}` under [paths]"),
        );
    });
    listed.ok()
}

fn name_of(path: &Path, stem: Option<&std::ffi::OsStr>, problems: &mut Problems) -> Option<Name> {
    let stem = stem.unwrap_or_default().to_string_lossy();
    match stem.parse() {
        Ok(name) => Some(name),
        Err(_) => {
            let message = format_args!(
                "`{}` can't be a name, so the file is left out",
                text::escape(stem.as_bytes())
            );
            problems.warn(&beginning(path), message, "rename the file");
            None
        }
    }
}

fn beginning(path: &Path) -> Origin {
    Origin {
        file: path.display().to_string().into(),
        line: 1,
        column: 1,
    }
}

fn add_file(templates: &mut Templates, path: &Path, problems: &mut Problems) {
    let Some(name) = name_of(path, path.file_stem(), problems) else {
        return;
    };
    if templates.has_answer(name.as_str()) {
        let message = format_args!("there are two answers called `{name}`");
        problems.error(
            &beginning(path),
            message,
            "a host names an answer without its extension: rename one",
        );
        return;
    }
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    add(templates, &name, &file, path, problems);
}

fn add_folder(templates: &mut Templates, folder: &Path, problems: &mut Problems) {
    let Some(name) = name_of(folder, folder.file_name(), problems) else {
        return;
    };
    if templates.has_answer(name.as_str()) {
        let message = format_args!("there are two answers called `{name}`");
        problems.error(
            &beginning(folder),
            message,
            "one is a file and one a folder: rename one",
        );
        return;
    }
    add_files_in(templates, &name, folder, "", problems);
}

/// Adds the files of an answer's folder, and of the folders in it: `beneath` is the path so far, with a
/// slash at its end.
fn add_files_in(templates: &mut Templates, name: &Name, folder: &Path, beneath: &str, problems: &mut Problems) {
    if beneath.matches('/').count() > ANSWER_DEPTH_MAX {
        let message = format_args!("folders in an answer are read {ANSWER_DEPTH_MAX} deep, and this one is deeper");
        problems.warn(&beginning(folder), message, "move its files further up");
        return;
    }
    for path in list(folder, "answers", problems).unwrap_or_default() {
        let named = path.file_name().unwrap_or_default().to_string_lossy();
        let file = format!("{beneath}{named}");
        match path.is_dir() {
            true => add_files_in(templates, name, &path, &format!("{file}/"), problems),
            false => add(templates, name, &file, &path, problems),
        }
    }
}

fn add(templates: &mut Templates, name: &Name, file: &str, path: &Path, problems: &mut Problems) {
    // The file's name is part of a URL.
    if let Some(odd) = file.split('/').find(|part| part.parse::<Name>().is_err()) {
        let message = format_args!(
            "`{}` can't stand in a URL, so the file is left out",
            text::escape(odd.as_bytes())
        );
        problems.warn(&beginning(path), message, "rename it");
        return;
    }
    let Some(source) = Source::read(path, problems) else {
        return;
    };
    let text = plain(path, &source.text);
    for (line, column, lines) in long_comments(&text) {
        let at = Origin {
            file: source.file.clone(),
            line,
            column,
        };
        let message = format_args!("`{{#` opens a comment of the template here, and its {lines} lines are cut out");
        problems.warn(&at, message, RAW);
    }
    validation_protocol::next(|| ValidationStep::Compile(source.file.to_string()));
    let added = templates.add_answer(name, file, &source.file, &text);
    say(added, problems);
}

/// The way out for text that has the template language's own marks in it.
const RAW: &str = "write {% raw %} before text that has such marks of its own and {% endraw %} behind it, or close the comment on its line";

/// The text as its readers want it.
fn plain<'t>(path: &Path, text: &'t str) -> Cow<'t, str> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let is_windows_own = path
        .extension()
        .is_some_and(|extension| WINDOWS_OWN.iter().any(|own| extension.eq_ignore_ascii_case(own)));
    match text.contains("\r\n") && !is_windows_own {
        true => text.replace("\r\n", "\n").into(),
        false => text.into(),
    }
}

fn say(added: Result<(), TemplateError>, problems: &mut Problems) {
    if let Err(error) = added {
        let nowhere = Origin {
            file: "".into(),
            line: 1,
            column: 1,
        };
        let message = format_args!("template: {}", error.message);
        let help = "text that has `{{`, `{%` or `{#` of its own stands between {% raw %} and {% endraw %}; \
                    ipxe-scripts/README.md says what a template may name";
        problems.template(&error, &nowhere, message, help);
    }
}
