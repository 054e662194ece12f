//! Scripts and answers: compiled once a generation, rendered for one machine.
//!
//! Strict: an unknown variable is an error of `check`. Bounded: fuel and output. A value with a
//! control character never reaches a template: in a script a newline is a command. Scripts go one
//! step further, because iPXE expands `${…}` and obeys `||`, `&&`, `;` and `#` wherever a value
//! puts them: such values are refused as well. Owns the template engine and its errors; what a
//! template may name is in `scene`. Reads no file: sources are arguments.

mod dialect;
mod room;
mod scene;

pub use scene::{Scene, VARIABLES};

use super::paths::SCRIPT_QUERY;
use crate::model::Name;
use minijinja::Value;
use room::Room;
use std::{collections::BTreeMap, fmt};

/// The compiled templates of one generation.
#[derive(Debug)]
pub struct Templates {
    /// Files of each answer: one for `NAME.ext`, several for a folder `NAME/`.
    pub answers: BTreeMap<Name, Vec<String>>,
    scripts: Room,
    answer_files: Room,
}

/// What is wrong with a template, or with a value on its way into one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateError {
    /// The template's file as the operator named it; `None` where a machine's values are wrong
    /// before any template is looked at.
    pub file: Option<String>,
    /// Line in that file, from 1.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: {}", self.message),
            (Some(file), None) => write!(f, "{file}: {}", self.message),
            (None, _) => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for TemplateError {}

impl Default for Templates {
    fn default() -> Self {
        let mut scripts = Room::new();
        scripts.engine.set_formatter(dialect::write_into_script);
        scripts
            .engine
            .add_global("query", Value::from_safe_string(SCRIPT_QUERY.to_owned()));
        Templates {
            answers: BTreeMap::new(),
            scripts,
            answer_files: Room::new(),
        }
    }
}

impl Templates {
    /// None yet.
    pub fn new() -> Templates {
        Templates::default()
    }

    /// Compiles a script's template. `file` is what errors call it. A template that does not
    /// compile is known by name all the same, so that nobody is told it is missing as well.
    pub fn add_script(&mut self, name: &Name, file: &str, source: &str) -> Result<(), TemplateError> {
        self.scripts.add(name.to_string(), file, source)
    }

    /// Compiles one file of an answer: `preseed.cfg` of the answer `preseed`, or `user-data` of
    /// the folder `autoinstall`. `origin` is what errors call the file.
    pub fn add_answer(&mut self, answer: &Name, file: &str, origin: &str, source: &str) -> Result<(), TemplateError> {
        self.answers.entry(answer.clone()).or_default().push(file.to_owned());
        self.answer_files.add(format!("{answer}/{file}"), origin, source)
    }

    /// Whether there is a script of that name.
    pub fn has_script(&self, name: &str) -> bool {
        self.scripts.files.contains_key(name)
    }

    /// Whether there is an answer of that name.
    pub fn has_answer(&self, name: &str) -> bool {
        self.answers.contains_key(name)
    }

    /// Whether the script can be rendered at all: what is wrong with it was said when it was added.
    pub fn is_sound_script(&self, name: &str) -> bool {
        self.scripts.sound.contains(name)
    }

    /// Whether every file of the answer can be rendered at all.
    pub fn is_sound_answer(&self, name: &str) -> bool {
        let is_sound = |file: &String| self.answer_files.sound.contains(&format!("{name}/{file}"));
        self.answers.get(name).is_some_and(|files| files.iter().all(is_sound))
    }

    /// The scripts' names, sorted.
    pub fn script_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.scripts.files.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The file of an answer that is a single `NAME.ext`; `None` for a folder.
    pub fn single_file(&self, answer: &str) -> Option<&str> {
        match self.answers.get(answer)?.as_slice() {
            [file] => {
                let rest = file.strip_prefix(answer)?;
                (rest.is_empty() || rest.starts_with('.')).then_some(file.as_str())
            }
            _ => None,
        }
    }

    /// Renders a script for one machine.
    pub fn script(&self, name: &Name, scene: &Scene) -> Result<String, TemplateError> {
        self.scripts.render(name.as_str(), scene)
    }

    /// Renders one file of an answer for one machine.
    pub fn answer(&self, answer: &Name, file: &str, scene: &Scene) -> Result<String, TemplateError> {
        self.answer_files.render(&format!("{answer}/{file}"), scene)
    }
}

#[cfg(test)]
mod tests;
