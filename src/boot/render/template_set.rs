//! A set of templates that are rendered under the same rules, and their errors.

use super::{
    TemplateError, TemplateValues, VARIABLES,
    delimiters::Delimiters,
    depth,
    dialect::{self, RefusedValue},
    error_span,
    plain::{self, Plain},
    reads::TemplateReads,
};
use crate::model::{
    limits::{TEMPLATE_FUEL, TEMPLATE_OUTPUT_BYTES_MAX},
    text,
};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, syntax::SyntaxConfig};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    error::Error as _,
    io,
    sync::OnceLock,
};

/// Most scripts are shorter, and never have to be moved while they grow.
const USUAL_OUTPUT_BYTES: usize = 1024;

/// Templates that are rendered under the same rules, and the files they came from.
#[derive(Debug)]
pub(super) struct TemplateSet {
    pub(super) engine: Environment<'static>,
    /// Template name to the operator's file.
    pub(super) files: HashMap<String, String>,
    /// Templates that compile and name nothing unknown.
    pub(super) compiled: HashSet<String>,
    /// The keys of `vars` that they name.
    pub(super) vars: BTreeSet<String>,
    /// Some template takes `vars` whole, and so may use any of them.
    pub(super) uses_all_vars: bool,
    /// The files that each template includes of which the text alone tells that it is plain.
    includes: HashMap<String, Vec<String>>,
    /// Those that are, with all that they include.
    plain: OnceLock<Plain>,
}

impl TemplateSet {
    pub(super) fn new() -> TemplateSet {
        let mut engine = Environment::new();
        // Errors name the template's own words. The engine does so by itself only in debug builds.
        engine.set_debug(true);
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
        engine.add_filter("quote", dialect::quote);
        engine.add_filter("curl", dialect::curl);
        engine.add_filter("wget", dialect::wget);
        engine.add_filter("busybox", dialect::busybox);
        TemplateSet {
            engine,
            files: HashMap::new(),
            compiled: HashSet::new(),
            vars: BTreeSet::new(),
            uses_all_vars: false,
            includes: HashMap::new(),
            plain: OnceLock::new(),
        }
    }

    pub(super) fn add(&mut self, key: String, file: &str, source: &str) -> Result<(), TemplateError> {
        self.files.insert(key.clone(), file.to_owned());
        refuse_lengths(file, source)?;
        depth::refuse_depth(file, source)?;
        self.engine
            .add_template_owned(key.clone(), source.to_owned())
            .map_err(|error| self.explain(&key, &error))?;
        self.check_names(&key, source)?;
        self.note_vars(&key);
        if let Some(included) = plain::includes(source) {
            self.includes.insert(key.clone(), included);
            self.plain.take();
        }
        self.compiled.insert(key);
        Ok(())
    }

    /// The text of a template that compiles.
    pub(super) fn source(&self, key: &str) -> Option<String> {
        let template = self.engine.get_template(key).ok()?;
        Some(template.source().to_owned())
    }

    /// Whether it has the same templates as another.
    pub(super) fn has_sources_of(&self, other: &TemplateSet) -> bool {
        let is_same = |key: &String| self.source(key) == other.source(key);
        self.files == other.files && self.files.keys().all(is_same)
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
        let (line, column) =
            error_span::first(source, name).map_or((None, None), |at| error_span::line_and_column(source, at));
        Err(TemplateError {
            file: self.files.get(key).cloned(),
            line,
            column,
            message: format!(
                "unknown variable `{}`; a template may use {}",
                text::escape(name.as_bytes()),
                VARIABLES.join(", ")
            ),
        })
    }

    /// Remembers which of the inventory's `vars` the template may ask for.
    fn note_vars(&mut self, key: &str) {
        let Ok(template) = self.engine.get_template(key) else {
            return;
        };
        for name in template.undeclared_variables(true) {
            match name.split('.').collect::<Vec<_>>()[..] {
                ["vars"] => self.uses_all_vars = true,
                ["vars", named, ..] => {
                    self.vars.insert(named.to_owned());
                }
                _ => {}
            }
        }
    }

    /// Where a template names one of the inventory's `vars` that is a secret: an error.
    pub(super) fn place_of_var(&self, key: &str, var: &str) -> Option<TemplateError> {
        let template = self.engine.get_template(key).ok()?;
        let named = ["vars.", var].concat();
        if !template.undeclared_variables(true).contains(&named) {
            return None;
        }
        let source = template.source();
        let (line, column) =
            error_span::first(source, &named).map_or((None, None), |at| error_span::line_and_column(source, at));
        Some(TemplateError {
            file: self.files.get(key).cloned(),
            line,
            column,
            message: [
                "`",
                &named,
                "` is a secret, and this is a script, which anybody may fetch",
            ]
            .concat(),
        })
    }

    /// Notes how a template and all that it includes read their values; `None` where one of them is not plain.
    pub(super) fn add_reads(&self, key: &str, reads: &mut TemplateReads) -> Option<()> {
        let plain = self.plain.get_or_init(|| Plain::of(&self.engine, &self.includes));
        plain.engine_for(key)?;
        let (mut waiting, mut seen) = (vec![key], HashSet::new());
        while let Some(key) = waiting.pop() {
            if seen.insert(key) {
                reads.add(&self.source(key)?);
                waiting.extend(self.includes.get(key)?.iter().map(String::as_str));
            }
        }
        Some(())
    }

    pub(super) fn render(&self, key: &str, values: &impl TemplateValues) -> Result<String, TemplateError> {
        let bytes = written(&self.engine, key, values).map_err(|error| self.explain(key, &error))?;
        String::from_utf8(bytes).map_err(|_| TemplateError {
            file: self.files.get(key).cloned(),
            line: None,
            column: None,
            message: "the rendered text is not UTF-8".to_owned(),
        })
    }

    /// The text of a plain template, where the machine's values are small too; `None` of any other, and where
    /// it fails.
    pub(super) fn render_at_once(&self, key: &str, values: &impl TemplateValues) -> Option<String> {
        let plain = self.plain.get_or_init(|| Plain::of(&self.engine, &self.includes));
        let engine = plain.engine_for(key).filter(|_| values.is_small())?;
        String::from_utf8(written(engine, key, values).ok()?).ok()
    }

    /// The innermost error of an include is the one that names the line to mend.
    fn explain(&self, key: &str, error: &Error) -> TemplateError {
        let mut innermost = error;
        while let Some(source) = innermost.source().and_then(|source| source.downcast_ref::<Error>()) {
            innermost = source;
        }
        let named = innermost.name().unwrap_or(key);
        let (place, message) = describe(innermost);
        TemplateError {
            file: Some(self.files.get(named).cloned().unwrap_or_else(|| named.to_owned())),
            line: place.0,
            column: place.1,
            // It quotes the template, and stands in the log where a machine asks for it.
            message: text::shown(message),
        }
    }
}

/// A line and a column, from 1, as far as they are known.
type LineColumn = (Option<u32>, Option<u32>);

/// Where it is, and the engine's words, with the words of the template where they say more.
fn describe(error: &Error) -> (LineColumn, String) {
    let line = (error.line().and_then(|line| u32::try_from(line).ok()), None);
    if error.kind() == ErrorKind::OutOfFuel {
        let message = "the template does too much work; look for a loop that is too long";
        return (line, message.to_owned());
    }
    if let Some(source) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        return (line, source.to_string());
    }
    let (Some(source), Some(range)) = (error.template_source(), error.range()) else {
        return (line, engines_words(error));
    };
    let refused = error.source().and_then(|source| source.downcast_ref::<RefusedValue>());
    match (error.kind(), refused) {
        (ErrorKind::SyntaxError, _) => syntax_error(error, source, range.start),
        (_, Some(RefusedValue(why))) => {
            let (at, named) = error_span::meant(source, range);
            (error_span::line_and_column(source, at), format!("`{named}` {why}"))
        }
        (ErrorKind::UndefinedError, None) => {
            let (at, named) = error_span::meant(source, range);
            (
                error_span::line_and_column(source, at),
                format!("`{named}` has no value here"),
            )
        }
        (_, None) => (error_span::line_and_column(source, range.start), engines_words(error)),
    }
}

fn engines_words(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// A syntax error, at what it is about: a comment or a block without its end is reported where it begins,
/// and not where the file ends.
fn syntax_error(error: &Error, source: &str, at: usize) -> (LineColumn, String) {
    let marks = Delimiters::of(source);
    let unclosed = marks.comments.iter().find(|comment| !comment.is_closed);
    if let Some(comment) = unclosed.filter(|comment| comment.range.start <= at) {
        let message = "syntax error: a comment opens here (`{#`), and no `#}` closes it";
        return (
            error_span::line_and_column(source, comment.range.start),
            message.to_owned(),
        );
    }
    // The engine points at the last thing that it read.
    let found_the_end = |text: &str| text.contains("end of input") || text.contains("end of raw block");
    let is_at_end = error.detail().is_some_and(found_the_end);
    if let Some(opened) = marks.open.last().filter(|_| is_at_end) {
        let message = format!(
            "syntax error: `{{% {} %}}` has no `{{% end{} %}}`",
            text::escape(opened.tag.as_bytes()),
            opened.word
        );
        return (error_span::line_and_column(source, opened.at), message);
    }
    (error_span::line_and_column(source, at), engines_words(error))
}

/// `${#…}` is a shell's length in every text that has one, and would be cut out as the beginning of a
/// comment.
fn refuse_lengths(file: &str, source: &str) -> Result<(), TemplateError> {
    let comments = Delimiters::of(source).comments;
    let Some(length) = comments.iter().find(|comment| comment.is_length) else {
        return Ok(());
    };
    let (line, column) = error_span::line_and_column(source, length.range.start);
    let cut = match length.lines {
        _ if !length.is_closed => "all that follows".to_owned(),
        1 => "the rest of it up to `#}`".to_owned(),
        lines => format!("{lines} lines, up to `#}}`,"),
    };
    Err(TemplateError {
        file: Some(file.to_owned()),
        line,
        column,
        message: format!("`${{#` opens a comment of the template, and {cut} would be cut out"),
    })
}

/// Renders within the engine's fuel and the limit of a text.
fn written(engine: &Environment<'_>, key: &str, values: &impl TemplateValues) -> Result<Vec<u8>, Error> {
    let mut bounded = BoundedBytes(Vec::with_capacity(USUAL_OUTPUT_BYTES));
    engine
        .get_template(key)?
        .render_captured_to(values.value(), &mut bounded)?;
    Ok(bounded.0)
}

/// A text that stops growing at its limit.
struct BoundedBytes(Vec<u8>);

impl io::Write for BoundedBytes {
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
