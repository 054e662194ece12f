//! Scripts and answers: compiled once a generation, rendered for one machine.
//!
//! Strict: an unknown variable is an error of `check`. Bounded: fuel and output. A value with a
//! control character never reaches a template: in a script a newline is a command. Scripts go one
//! step further, because iPXE expands `${…}` and obeys `||`, `&&`, `;` and `#` wherever a value
//! puts them: such values are refused as well. Owns the template engine and its errors; what a
//! template may name is in `scene`. Reads no file: sources are arguments.

mod scene;

pub use scene::{Scene, VARIABLES};

use super::paths::SCRIPT_QUERY;
use crate::model::{
    Name,
    limits::{TEMPLATE_FUEL, TEMPLATE_OUTPUT_BYTES_MAX},
    text,
};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, syntax::SyntaxConfig,
};
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    error::Error as _,
    fmt, io,
    ops::Range,
};

/// Most scripts are shorter, and never have to be moved while they grow.
const USUAL_OUTPUT_BYTES: usize = 1024;

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

/// Templates that are rendered under the same rules, and the files they came from.
#[derive(Debug)]
struct Room {
    engine: Environment<'static>,
    /// Template name to the operator's file.
    files: HashMap<String, String>,
    /// Templates that compile and name nothing unknown.
    sound: HashSet<String>,
}

impl Room {
    fn new() -> Room {
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
        engine.add_filter("arg", arg);
        Room {
            engine,
            files: HashMap::new(),
            sound: HashSet::new(),
        }
    }

    fn add(&mut self, key: String, file: &str, source: &str) -> Result<(), TemplateError> {
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

    fn render(&self, key: &str, scene: &Scene) -> Result<String, TemplateError> {
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

/// The filter `arg`: a value that must stay one argument, because neither iPXE nor the kernel's
/// command line can be told so by quoting alone.
fn arg(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Err(ErrorKind::UndefinedError.into());
    }
    let shown = value.to_string();
    let splits = shown.is_empty() || shown.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\'));
    if splits {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!(
                "`{}` can't be one argument of a command line; use a value without spaces and quotes",
                text::escape(shown.as_bytes())
            ),
        ));
    }
    Ok(shown)
}

/// Writes one value into a script, unless iPXE would read it as more than a value. Our own query is
/// meant to be read as more, and marked so.
fn write_into_script(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    // Most values are texts already, and go out as they are.
    let text = value
        .as_str()
        .map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed);
    if let Some(reason) = command_in(&text)
        && !value.is_safe()
    {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("`{}` can't stand in a script: {reason}", text::escape(text.as_bytes())),
        ));
    }
    match state.auto_escape() {
        AutoEscape::None => Ok(out.write_str(&text)?),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// Why iPXE would read more than a value in `shown`. It knows no quotes: words are split at white
/// space, `${` begins a setting, and these words end a command.
fn command_in(shown: &str) -> Option<&'static str> {
    let begins_nothing = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'$' | b'#' | b'|' | b'&' | b';');
    if shown.bytes().all(begins_nothing) {
        return None;
    }
    if text::control_character(shown).is_some() {
        return Some("it has a control character, and a new line is a new command");
    }
    if shown.contains("${") {
        return Some("iPXE would expand the `${`");
    }
    let ends_command = |word: &str| word.starts_with('#') || matches!(word, "||" | "&&" | ";");
    shown
        .split_whitespace()
        .any(ends_command)
        .then_some("iPXE would end the command at `||`, `&&`, `;` or `#`")
}

impl Default for Templates {
    fn default() -> Self {
        let mut scripts = Room::new();
        scripts.engine.set_formatter(write_into_script);
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
mod tests {
    use super::*;
    use crate::boot::{
        loader::Loaders,
        machine::{Identity, identify},
        snapshot::{Host, Hosts, Origin, Ports, Snapshot, Sourced, UnknownPolicy, Var},
    };
    use std::net::Ipv4Addr;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn sourced<T>(value: T) -> Sourced<T> {
        let origin = Origin {
            file: "inventory.toml".into(),
            line: 1,
            column: 1,
        };
        Sourced { value, origin }
    }

    fn snapshot(disk: &str) -> Snapshot {
        let mut settings = crate::boot::snapshot::BootSettings::default();
        settings
            .vars
            .insert("disk".to_owned(), sourced(Var::Text(disk.to_owned())));
        let host = Host {
            name: "r1u07".parse().unwrap(),
            macs: vec!["52:54:00:00:00:07".parse().unwrap()],
            uuid: None,
            serial: None,
            port: None,
            address: Some(Ipv4Addr::new(192, 0, 2, 11)),
            hostname: None,
            locked: false,
            settings,
            origin: sourced(()).origin,
        };
        Snapshot {
            generation: 1,
            ports: Ports { http: 80, tftp: 69 },
            subnets: Vec::new(),
            hosts: Hosts::new(vec![host]),
            rules: Vec::new(),
            unknown: UnknownPolicy::Discover,
            images: BTreeMap::new(),
            loaders: Loaders::default(),
            quirks: Default::default(),
            templates: Templates::default(),
        }
    }

    fn rendered(source: &str, disk: &str) -> Result<String, TemplateError> {
        let snapshot = snapshot(disk);
        let identity = Identity {
            mac: "52:54:00:00:00:07".parse().ok(),
            ..Identity::default()
        };
        let scene = Scene::new(&snapshot, identify(&snapshot, &identity), &identity, None, SERVER)?;
        let name: Name = "test".parse().unwrap();
        let mut templates = Templates::new();
        templates.add_script(&name, "test.ipxe", source)?;
        templates.script(&name, &scene)
    }

    #[test]
    fn a_script_knows_its_machine() {
        let text = rendered(
            "{{ name }} {{ mac }} {{ address }} {{ http }} {{ vars.disk }}\n",
            "/dev/vda",
        );
        assert_eq!(
            text.unwrap(),
            "r1u07 52:54:00:00:00:07 192.0.2.11 http://192.0.2.1 /dev/vda\n"
        );
    }

    #[test]
    fn an_unknown_variable_is_named_with_its_line_even_behind_an_if() {
        let error = rendered("#!ipxe\n{% if false %}\n{{ adress }}\n{% endif %}", "x").unwrap_err();
        assert_eq!((error.file.as_deref(), error.line), (Some("test.ipxe"), Some(3)));
        assert!(error.message.contains("unknown variable `adress`"), "{error}");
    }

    #[test]
    fn a_variable_that_this_machine_lacks_is_named_with_its_line() {
        let error = rendered("#!ipxe\nkernel {{ vars.kernel }}", "x").unwrap_err();
        assert_eq!(error.to_string(), "test.ipxe:2: `vars.kernel` has no value here");
        let error = rendered("#!ipxe\n\nkernel {{ image.kernel }}", "x").unwrap_err();
        assert_eq!(error.line, Some(3), "{error}");
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let error = rendered("#!ipxe\n{% if %}", "x").unwrap_err();
        assert_eq!(error.line, Some(2), "{error}");
    }

    #[test]
    fn no_value_becomes_a_command_of_a_script() {
        for hostile in [
            "a\nshell",
            "a\u{2028}b",
            "${net0/mac}",
            "a || shell",
            "a && shell",
            "x #",
            "a ; b",
        ] {
            let error = rendered("echo {{ vars.disk }}", hostile).unwrap_err();
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert!(rendered("echo {{ vars.disk }}", "ds=nocloud-net;s=http://192.0.2.1/a#b").is_ok());
    }

    #[test]
    fn an_argument_stays_one_argument() {
        assert!(rendered("disk={{ vars.disk | arg }}", "/dev/vda init=/bin/sh").is_err());
        assert!(rendered("disk={{ vars.disk | arg }}", "/dev/vda").is_ok());
        let error = rendered("disk={{ vars.dsk | arg }}", "/dev/vda").unwrap_err();
        assert_eq!(error.message, "`vars.dsk` has no value here");
    }

    #[test]
    fn an_endless_template_is_stopped() {
        let source = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        let error = rendered(source, "x").unwrap_err();
        assert!(error.message.contains("too much work"), "{error}");
    }

    #[test]
    fn an_endless_text_is_stopped() {
        let source = format!("{{% for a in range(9999) %}}{}{{% endfor %}}", "x".repeat(500));
        let error = rendered(&source, "x").unwrap_err();
        assert!(error.message.contains("longer than"), "{error}");
    }

    #[test]
    fn a_template_includes_no_file_of_the_machine() {
        assert!(rendered("{% include '/etc/passwd' %}", "x").is_err());
    }
}
