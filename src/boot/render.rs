//! Scripts and answers: compiled once a generation, rendered for one machine.
//!
//! Strict: an unknown variable is an error of `check`. Bounded: depth (`depth`), fuel and output; what these
//! don't see, `config::validation` finds out in another process. A value with a
//! control character never reaches a template: in a script a newline is a command. Scripts go one
//! step further: `dialect` refuses what their loader would read as more than a value. A script may be
//! written for several loaders, a template each; `template_set` is the engine of one language and its errors.
//! Reads no file: sources are arguments. Knows no machine either: what a text is rendered with is the caller's
//! (`boot::scene`), and [`VARIABLES`] are its names.

mod delimiters;
mod depth;
mod dialect;
mod error_span;
mod plain;
mod reads;
mod template_set;

use crate::model::{Dialect, Name};
use minijinja::Value;
pub use reads::{TemplateReads, ValueUse};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use template_set::TemplateSet;

/// Every variable of a template, in the order the documentation has them.
pub const VARIABLES: &[&str] = &[
    "name",
    "hostname",
    "mac",
    "mac_hyphens",
    "uuid",
    "serial",
    "vendor",
    "arch",
    "platform",
    "address",
    "netmask",
    "router",
    "dns",
    "domain",
    "server",
    "http",
    "tftp",
    "syslog",
    "loader",
    "image",
    "cmdline",
    "answer",
    "callback",
    "disk",
    "live",
    "order",
    "target",
    "reason",
    "vars",
];

/// What a template is rendered with.
pub trait TemplateValues {
    /// A value that has each of [`VARIABLES`].
    fn value(&self) -> Value;

    /// Whether no value is so large that whatever is done with it takes a while.
    fn is_small(&self) -> bool;
}

/// The compiled templates of one generation.
#[derive(Debug)]
pub struct Templates {
    /// Files of each answer: one for `NAME.ext`, several for a folder `NAME/`.
    pub answers: BTreeMap<Name, Vec<String>>,
    ipxe: TemplateSet,
    grub: TemplateSet,
    pxelinux: TemplateSet,
    answer_files: TemplateSet,
}

/// One template, by what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// The script of that name, for one loader.
    Script(Name, Dialect),
    /// A file of the answer of that name.
    Answer(Name, String),
}

/// What is wrong with a template, or with a value on its way into one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TemplateError {
    /// The template's file as the operator named it; `None` where a machine's values are wrong
    /// before any template is looked at.
    pub file: Option<String>,
    /// Line in that file, from 1.
    pub line: Option<u32>,
    /// Column in that line, in characters from 1.
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            f.write_str(file)?;
            let place = [self.line, self.line.and(self.column)];
            for number in place.into_iter().flatten() {
                write!(f, ":{number}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for TemplateError {}

/// What one file of an answer is called among the templates of all answers.
fn answer_key(answer: &str, file: &str) -> String {
    format!("{answer}/{file}")
}

/// An empty template set for the scripts of a loader.
fn empty_template_set(dialect: Dialect) -> TemplateSet {
    let mut set = TemplateSet::new();
    dialect::configure(dialect, &mut set.engine);
    set
}

impl Default for Templates {
    fn default() -> Self {
        Templates {
            answers: BTreeMap::new(),
            ipxe: empty_template_set(Dialect::Ipxe),
            grub: empty_template_set(Dialect::Grub),
            pxelinux: empty_template_set(Dialect::Pxelinux),
            answer_files: TemplateSet::new(),
        }
    }
}

/// The lines of an answer's text that a comment of the template takes up, where it is longer than one: that
/// may be meant, and may as well be a shell's or a program's own text. Each with its line and column.
pub fn long_comments(source: &str) -> Vec<(u32, u32, usize)> {
    let comments = delimiters::Delimiters::of(source).comments.into_iter();
    comments
        .filter(|comment| comment.lines > 1)
        .filter_map(
            |comment| match error_span::line_and_column(source, comment.range.start) {
                (Some(line), Some(column)) => Some((line, column, comment.lines)),
                (_, _) => None,
            },
        )
        .collect()
}

impl Templates {
    /// None yet.
    pub fn new() -> Templates {
        Templates::default()
    }

    fn scripts(&self, dialect: Dialect) -> &TemplateSet {
        match dialect {
            Dialect::Ipxe => &self.ipxe,
            Dialect::Grub => &self.grub,
            Dialect::Pxelinux => &self.pxelinux,
        }
    }

    /// Compiles a script's template for one loader. `file` is what errors call it. A template that does
    /// not compile is known by name all the same, so that it is not reported as missing as well.
    pub fn add_script(&mut self, name: &Name, dialect: Dialect, file: &str, source: &str) -> Result<(), TemplateError> {
        let scripts = match dialect {
            Dialect::Ipxe => &mut self.ipxe,
            Dialect::Grub => &mut self.grub,
            Dialect::Pxelinux => &mut self.pxelinux,
        };
        scripts.add(name.to_string(), file, source)
    }

    /// Compiles one file of an answer: `preseed.cfg` of the answer `preseed`, or `user-data` of
    /// the folder `autoinstall`. `origin` is what errors call the file.
    pub fn add_answer(&mut self, answer: &Name, file: &str, origin: &str, source: &str) -> Result<(), TemplateError> {
        self.answers.entry(answer.clone()).or_default().push(file.to_owned());
        self.answer_files.add(answer_key(answer.as_str(), file), origin, source)
    }

    /// Whether there is a script of that name, for whatever loader.
    pub fn has_script(&self, name: &str) -> bool {
        Dialect::ALL
            .into_iter()
            .any(|dialect| self.has_script_for(name, dialect))
    }

    /// Whether the script is written for that loader too.
    pub fn has_script_for(&self, name: &str, dialect: Dialect) -> bool {
        self.scripts(dialect).files.contains_key(name)
    }

    /// The operator's file behind a script; its name where there is none.
    pub fn file_of_script<'t>(&'t self, name: &'t str, dialect: Dialect) -> &'t str {
        self.scripts(dialect).files.get(name).map_or(name, String::as_str)
    }

    /// The operator's file behind one file of an answer; its name where there is none.
    pub fn file_of_answer<'t>(&'t self, answer: &Name, file: &'t str) -> &'t str {
        let known = self.answer_files.files.get(&answer_key(answer.as_str(), file));
        known.map_or(file, String::as_str)
    }

    /// What people wrote in one file of an answer.
    pub fn source_of_answer(&self, answer: &Name, file: &str) -> Option<String> {
        self.answer_files.source(&answer_key(answer.as_str(), file))
    }

    /// Whether there is an answer of that name.
    pub fn has_answer(&self, name: &str) -> bool {
        self.answers.contains_key(name)
    }

    /// Whether the script can be rendered for that loader at all: what is wrong with it was reported when it
    /// was added.
    pub fn script_compiles(&self, name: &str, dialect: Dialect) -> bool {
        self.scripts(dialect).compiled.contains(name)
    }

    /// Whether every file of the answer can be rendered at all.
    pub fn answer_compiles(&self, name: &str) -> bool {
        let is_sound = |file: &String| self.answer_files.compiled.contains(&answer_key(name, file));
        self.answers.get(name).is_some_and(|files| files.iter().all(is_sound))
    }

    /// How a script, in every language that it is written in, and an answer read their values; `None` where that is not
    /// known, because some template of them is not plain.
    pub fn reads(&self, script: Option<&Name>, answer: Option<&Name>) -> Option<TemplateReads> {
        let mut reads = TemplateReads::default();
        if let Some(script) = script {
            let dialects = Dialect::ALL.into_iter();
            for dialect in dialects.filter(|dialect| self.has_script_for(script.as_str(), *dialect)) {
                self.scripts(dialect).add_reads(script.as_str(), &mut reads)?;
            }
        }
        if let Some(answer) = answer {
            for file in self.answers.get(answer).into_iter().flatten() {
                self.answer_files
                    .add_reads(&answer_key(answer.as_str(), file), &mut reads)?;
            }
        }
        Some(reads)
    }

    /// Whether some template may ask for that one of the inventory's `vars`.
    pub fn uses_var(&self, key: &str) -> bool {
        self.template_sets()
            .any(|set| set.uses_all_vars || set.vars.contains(key))
    }

    /// The error of a script that names one of the inventory's `vars`, which is a secret; with its place.
    pub fn place_of_var(&self, script: &str, dialect: Dialect, key: &str) -> Option<TemplateError> {
        self.scripts(dialect).place_of_var(script, key)
    }

    /// Those of the inventory's `vars` that templates name, sorted.
    pub fn used_vars(&self) -> BTreeSet<&str> {
        self.template_sets()
            .flat_map(|set| &set.vars)
            .map(String::as_str)
            .collect()
    }

    /// Whether these are the same texts under the same names.
    pub fn are_those_of(&self, others: &Templates) -> bool {
        self.answers == others.answers
            && self
                .template_sets()
                .zip(others.template_sets())
                .all(|(one, other)| one.has_sources_of(other))
    }

    /// Whether every template can be rendered at all.
    pub fn all_compile(&self) -> bool {
        self.template_sets().all(|set| set.compiled.len() == set.files.len())
    }

    fn template_sets(&self) -> impl Iterator<Item = &TemplateSet> {
        let scripts = Dialect::ALL.into_iter().map(|dialect| self.scripts(dialect));
        scripts.chain([&self.answer_files])
    }

    /// The scripts' names, sorted.
    pub fn script_names(&self) -> Vec<&str> {
        let all: BTreeSet<&str> = Dialect::ALL
            .into_iter()
            .flat_map(|dialect| self.names(dialect))
            .collect();
        all.into_iter().collect()
    }

    /// The names of the scripts that are written for that loader, sorted.
    pub fn names_for(&self, dialect: Dialect) -> Vec<&str> {
        let names: BTreeSet<&str> = self.names(dialect).collect();
        names.into_iter().collect()
    }

    fn names(&self, dialect: Dialect) -> impl Iterator<Item = &str> {
        self.scripts(dialect).files.keys().map(String::as_str)
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

    /// Renders a template for one machine.
    ///
    /// # Errors
    /// Something in it fails for this machine.
    pub fn render(&self, template: &Template, values: &impl TemplateValues) -> Result<String, TemplateError> {
        match template {
            Template::Script(name, dialect) => self.script(name, *dialect, values),
            Template::Answer(answer, file) => self.answer(answer, file, values),
        }
    }

    /// Renders a template where it and the machine's values are such that it takes next to no time (`plain`);
    /// `None` where they are not, and where it fails: [`Templates::render`] says why.
    pub fn render_at_once(&self, template: &Template, values: &impl TemplateValues) -> Option<String> {
        match template {
            Template::Script(name, dialect) => self.scripts(*dialect).render_at_once(name.as_str(), values),
            Template::Answer(answer, file) => self
                .answer_files
                .render_at_once(&answer_key(answer.as_str(), file), values),
        }
    }

    /// Renders a script for one machine and its loader.
    pub fn script(&self, name: &Name, dialect: Dialect, values: &impl TemplateValues) -> Result<String, TemplateError> {
        self.scripts(dialect).render(name.as_str(), values)
    }

    /// Renders one file of an answer for one machine.
    pub fn answer(&self, answer: &Name, file: &str, values: &impl TemplateValues) -> Result<String, TemplateError> {
        self.answer_files.render(&answer_key(answer.as_str(), file), values)
    }
}

#[cfg(test)]
mod tests;
