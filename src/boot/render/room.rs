//! A template engine and what it says: templates that are rendered under the same rules.

use super::{Scene, TemplateError, VARIABLES, dialect};
use crate::model::{
    limits::{TEMPLATE_FUEL, TEMPLATE_OUTPUT_BYTES_MAX},
    text,
};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, syntax::SyntaxConfig};
use std::{
    collections::{HashMap, HashSet},
    error::Error as _,
    io,
    ops::Range,
};

/// Most scripts are shorter, and never have to be moved while they grow.
const USUAL_OUTPUT_BYTES: usize = 1024;

/// Templates that are rendered under the same rules, and the files they came from.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) engine: Environment<'static>,
    /// Template name to the operator's file.
    pub(super) files: HashMap<String, String>,
    /// Templates that compile and name nothing unknown.
    pub(super) sound: HashSet<String>,
}

impl Room {
    pub(super) fn new() -> Room {
        let mut engine = Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        engine.set_auto_escape_callback(|_| AutoEscape::None);
        engine.set_fuel(Some(TEMPLATE_FUEL));
        // A line of nothing but `{% … %}` leaves no line behind.
        let syntax = SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .expect("the default delimiters are valid");
        engine.set_syntax(syntax);
        engine.add_filter("arg", dialect::arg);
        Room {
            engine,
            files: HashMap::new(),
            sound: HashSet::new(),
        }
    }

    pub(super) fn add(&mut self, key: String, file: &str, source: &str) -> Result<(), TemplateError> {
        self.files.insert(key.clone(), file.to_owned());
        self.engine
            .add_template_owned(key.clone(), source.to_owned())
            .map_err(|error| self.explain(&key, &error))?;
        self.check_names(&key, source)?;
        self.sound.insert(key);
        Ok(())
    }

    /// Looks at every name the template may ever ask for, taken branches or not: a typo behind an
    /// `if` is found when it is saved, not by the one machine that goes there.
    fn check_names(&self, key: &str, source: &str) -> Result<(), TemplateError> {
        let Ok(template) = self.engine.get_template(key) else {
            return Ok(());
        };
        let mut unknown: Vec<String> = template
            .undeclared_variables(false)
            .into_iter()
            .filter(|name| !VARIABLES.contains(&name.as_str()))
            .filter(|name| !self.engine.globals().any(|(global, _)| global == name))
            .collect();
        unknown.sort();
        let Some(name) = unknown.first() else {
            return Ok(());
        };
        Err(TemplateError {
            file: self.files.get(key).cloned(),
            line: line_of_word(source, name),
            message: format!(
                "unknown variable `{}`; a template may use {}",
                text::escape(name.as_bytes()),
                VARIABLES.join(", ")
            ),
        })
    }

    pub(super) fn render(&self, key: &str, scene: &Scene) -> Result<String, TemplateError> {
        let template = self
            .engine
            .get_template(key)
            .map_err(|error| self.explain(key, &error))?;
        let mut bounded = Bounded(Vec::with_capacity(USUAL_OUTPUT_BYTES));
        template
            .render_captured_to(scene.value(), &mut bounded)
            .map_err(|error| self.explain(key, &error))?;
        String::from_utf8(bounded.0).map_err(|_| TemplateError {
            file: self.files.get(key).cloned(),
            line: None,
            message: "the rendered text is not UTF-8".to_owned(),
        })
    }

    /// The innermost error of an include is the one that names the line to mend.
    fn explain(&self, key: &str, error: &Error) -> TemplateError {
        let mut innermost = error;
        while let Some(source) = innermost.source().and_then(|source| source.downcast_ref::<Error>()) {
            innermost = source;
        }
        let named = innermost.name().unwrap_or(key);
        TemplateError {
            file: Some(self.files.get(named).cloned().unwrap_or_else(|| named.to_owned())),
            line: innermost.line().and_then(|line| u32::try_from(line).ok()),
            message: describe(innermost),
        }
    }
}

/// The engine's words, with the words of the template where they say more.
fn describe(error: &Error) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return "the template does too much work; look for a loop that is too long".to_owned();
    }
    if let Some(source) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        return source.to_string();
    }
    let named = match (error.kind(), error.template_source(), error.range()) {
        (ErrorKind::UndefinedError, Some(source), Some(range)) => undefined(source, range),
        _ => None,
    };
    match (named, error.detail()) {
        (Some(expression), _) if !expression.is_empty() => format!("`{}` has no value here", expression.trim()),
        (_, Some(detail)) => format!("{}: {detail}", error.kind()),
        (_, None) => error.kind().to_string(),
    }
}

/// The words of the template that have no value. A filter that misses its value points at itself:
/// of `vars.disk | arg` it is what stands before the bar.
fn undefined(source: &str, range: Range<usize>) -> Option<&str> {
    let piped = source
        .get(..range.start)
        .and_then(|before| before.trim_end().strip_suffix('|'));
    match piped {
        None => source.get(range),
        Some(before) => before.trim_end().rsplit([' ', '\t', '\n', '{', '(', ',']).next(),
    }
}

/// The first line on which `word` stands by itself, from 1.
fn line_of_word(source: &str, word: &str) -> Option<u32> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let line = source
        .lines()
        .position(|line| line.split(|c: char| !is_part(c)).any(|part| part == word))?;
    u32::try_from(line + 1).ok()
}

/// A text that stops growing at its limit.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > TEMPLATE_OUTPUT_BYTES_MAX {
            return Err(io::Error::other(format!(
                "the rendered text is longer than {TEMPLATE_OUTPUT_BYTES_MAX} bytes"
            )));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
