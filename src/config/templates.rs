//! The folders of scripts and answers, read and compiled.

use super::{hosts::Unread, problems::Problems, source, source::Source};
use crate::boot::{
    render::{TemplateError, Templates},
    snapshot::Origin,
};
use crate::model::{Dialect, Name, text};
use std::path::Path;

/// Reads `NAME.ipxe`, `NAME.grub` and `NAME.pxelinux` from one folder, and `NAME.ext` and `NAME/` from
/// the other; a folder that can't be read is said and noted in `unread`.
pub(super) fn read(scripts: &Path, answers: &Path, unread: &mut Unread, problems: &mut Problems) -> Templates {
    let mut templates = Templates::new();
    let paths = list(scripts, "scripts", problems);
    unread.scripts = paths.is_none();
    for path in paths.unwrap_or_default() {
        let is_in = |dialect: &Dialect| path.extension().is_some_and(|said| said == dialect.extension());
        if let Some(dialect) = Dialect::ALL.into_iter().find(is_in)
            && let Some(name) = name_of(&path, path.file_stem(), problems)
            && let Some(source) = Source::read(&path, problems)
        {
            let added = templates.add_script(&name, dialect, &source.file, &source.text);
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

fn list(folder: &Path, key: &str, problems: &mut Problems) -> Option<Vec<std::path::PathBuf>> {
    let listed = source::entries(folder).map_err(|error| {
        let shown = folder.display().to_string();
        let message = format!("the folder of {key} can't be read: {error}");
        problems.whole_file(
            &shown,
            message,
            format!("make the folder, or correct `{key}` under [paths]"),
        );
    });
    listed.ok()
}

fn name_of(path: &Path, said: Option<&std::ffi::OsStr>, problems: &mut Problems) -> Option<Name> {
    let said = said.unwrap_or_default().to_string_lossy();
    match said.parse() {
        Ok(name) => Some(name),
        Err(_) => {
            let message = format!(
                "`{}` can't be a name, so the file is left out",
                text::escape(said.as_bytes())
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
        let message = format!("there are two answers called `{name}`");
        problems.error(
            &beginning(path),
            message,
            "a host names an answer without its extension: rename one",
        );
        return;
    }
    add(templates, &name, path, problems);
}

fn add_folder(templates: &mut Templates, folder: &Path, problems: &mut Problems) {
    let Some(name) = name_of(folder, folder.file_name(), problems) else {
        return;
    };
    if templates.has_answer(name.as_str()) {
        let message = format!("there are two answers called `{name}`");
        problems.error(
            &beginning(folder),
            message,
            "one is a file and one a folder: rename one",
        );
        return;
    }
    for path in list(folder, "answers", problems).unwrap_or_default() {
        add(templates, &name, &path, problems);
    }
}

fn add(templates: &mut Templates, name: &Name, path: &Path, problems: &mut Problems) {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    // The file's name is part of a URL.
    if file.parse::<Name>().is_err() {
        let message = format!(
            "`{}` can't stand in a URL, so the file is left out",
            text::escape(file.as_bytes())
        );
        problems.warn(&beginning(path), message, "rename the file");
        return;
    }
    if let Some(source) = Source::read(path, problems) {
        let added = templates.add_answer(name, &file, &source.file, &source.text);
        say(added, problems);
    }
}

fn say(added: Result<(), TemplateError>, problems: &mut Problems) {
    if let Err(error) = added {
        let nowhere = Origin {
            file: "".into(),
            line: 1,
            column: 1,
        };
        let message = format!("template: {}", error.message);
        problems.template(
            &error,
            &nowhere,
            message,
            "see ipxe-scripts/README.md for what a template may say",
        );
    }
}
