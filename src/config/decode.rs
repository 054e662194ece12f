//! Decodes TOML into values with their positions: each key is taken once, wrong types and unknown keys are reported, and
//! nothing stops at the first error.

mod value;

pub use value::length_of_time;
pub(super) use value::{address, boolean, domain_name, duration, parsed, port, sha256, some_text, text, var, word};

use super::{
    problems::{Problems, closest, did_you_mean},
    source::Source,
};
use crate::boot::snapshot::{Origin, Sourced};
use crate::model::{limits::SYNTAX_ERRORS_WITHIN_BYTES, text};
use std::{
    fmt::{self, Display},
    ops::Range,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A TOML value and its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// Where values are read from, and where complaints go.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source,
    pub(super) problems: &'a mut Problems,
}

impl Reader<'_> {
    pub(super) fn origin(&self, value: &Value<'_>) -> Origin {
        self.source.at(value.span())
    }

    pub(super) fn error(&mut self, value: &Value<'_>, message: impl Display, help: impl Display) {
        let origin = self.origin(value);
        self.problems.error(&origin, message, help);
    }

    fn wrong_type<T>(&mut self, value: &Value<'_>, wanted: &str) -> Option<T> {
        self.wrong_type_with_help(value, wanted, "")
    }

    pub(super) fn wrong_type_with_help<T>(&mut self, value: &Value<'_>, wanted: &str, help: &str) -> Option<T> {
        let message = format_args!("this must be {wanted}, and it is {}", kind(value.get_ref()));
        self.error(value, message, help);
        None
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The keys that are written as `[[key]]`, in whatever file.
const LISTS: &[&str] = &["host", "image", "quirk", "rule", "subnet"];

/// The help that is shown with the first syntax error of a file.
const HIDES_THE_REST: &str = "nothing else is judged until this is mended";

/// Parses a file into its top table. Syntax errors are reported, all of them; the flag tells whether
/// there were any, because what is left of such a file is not worth judging.
pub(super) fn document<'a>(source: &'a Source, problems: &mut Problems) -> (Value<'a>, bool) {
    match DeTable::parse(&source.text) {
        Ok(root) => (as_value(root), false),
        Err(first) => (as_value(broken_document(source, first, problems)), true),
    }
}

/// A top table as any other value.
pub(super) fn as_value(root: Spanned<DeTable<'_>>) -> Value<'_> {
    let span = root.span();
    Spanned::new(span, DeValue::Table(root.into_inner()))
}

/// What the parser makes of a file that it gave up at an error, and all errors that are found near that.
fn broken_document<'a>(source: &'a Source, first: toml::de::Error, problems: &mut Problems) -> Spanned<DeTable<'a>> {
    let text = as_far_as_read(&source.text, &first);
    let (root, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    if text.len() < source.text.len() {
        // What stands open where the text was cut off is no mistake.
        let last_line = source.origin(text.len().saturating_sub(1)).line;
        errors.retain(|error| {
            error
                .span()
                .is_none_or(|span| source.origin(span.start).line < last_line)
        });
        // The first one is a mistake, wherever it is.
        if errors.is_empty() {
            errors.push(first);
        }
    }
    let mut mistakes = Vec::new();
    let mut last_line = None;
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let origin = source.at(span.clone());
        // What follows on the same line is what the parser makes of the first mistake.
        if last_line.replace(origin.line) == Some(origin.line) {
            continue;
        }
        // One `[host]` among many `[[host]]` is one mistake, and it is not the others'.
        if let Some(key) = header(source.line(origin.line)).filter(|key| LISTS.contains(key))
            && let Some(single) = single_header(source, key)
        {
            mistakes.push((single, Mistake::SingleTable(key)));
            continue;
        }
        mistakes.push((origin, Mistake::of(error.message().trim(), source, span)));
    }
    mistakes.dedup();
    for (place, (origin, mistake)) in mistakes.iter().enumerate() {
        let help = MistakeHelp {
            mistake,
            is_first: place == 0,
        };
        problems.error(origin, mistake, help);
    }
    root
}

/// The text up to where errors are looked for, behind the one that the parser gives it up at: whole lines.
fn as_far_as_read<'t>(text: &'t str, first: &toml::de::Error) -> &'t str {
    let end = first.span().map_or(0, |span| span.end) + SYNTAX_ERRORS_WITHIN_BYTES;
    let rest = text.as_bytes().get(end..).unwrap_or_default();
    match rest.iter().position(|byte| *byte == b'\n') {
        Some(line_end) => &text[..end + line_end + 1],
        None => text,
    }
}

/// What is wrong with a file's TOML.
#[derive(PartialEq, Eq)]
enum Mistake<'a> {
    /// A table of this key stands alone, and there are to be many.
    SingleTable(&'a str),
    /// This key stands twice in one table.
    Twice(&'a str),
    /// The parser's words, and the line that they are about.
    Syntax { words: &'a str, line: &'a str },
}

impl<'a> Mistake<'a> {
    fn of(words: &'a str, source: &'a Source, span: Range<usize>) -> Mistake<'a> {
        match words {
            "duplicate key" => Mistake::Twice(source.text.get(span).unwrap_or_default().trim()),
            words => Mistake::Syntax {
                words,
                line: source.line(source.at(span).line),
            },
        }
    }
}

impl Display for Mistake<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mistake::SingleTable(key) => write!(f, "`{key}` is a list of tables, and this is a single one"),
            Mistake::Twice(key) => write!(f, "not TOML: `{}` is written twice", text::escaped(key)),
            Mistake::Syntax { words, .. } => write!(f, "not TOML: {}", words.replace('\n', "; ")),
        }
    }
}

/// What to do about a mistake, with the first of a file what it hides.
struct MistakeHelp<'a> {
    mistake: &'a Mistake<'a>,
    is_first: bool,
}

impl Display for MistakeHelp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_said = match self.mistake {
            Mistake::SingleTable(key) => {
                write!(f, "write it as [[{key}]], as every {key} is")?;
                true
            }
            Mistake::Twice(_) => {
                f.write_str("one table has each key once: put both together")?;
                true
            }
            Mistake::Syntax { line, .. } => {
                let help = syntax_help(line);
                f.write_str(help)?;
                !help.is_empty()
            }
        };
        match (self.is_first, is_said) {
            (true, true) => write!(f, "; {HIDES_THE_REST}"),
            (true, false) => f.write_str(HIDES_THE_REST),
            (false, _) => Ok(()),
        }
    }
}

/// The key of a line that begins a table, or one of a list of tables.
fn header(line: &str) -> Option<&str> {
    let inside = line.trim().strip_prefix('[')?;
    let inside = inside.strip_prefix('[').unwrap_or(inside);
    let (key, _) = inside.split_once(']')?;
    Some(key.trim())
}

/// Where `[key]` stands by itself on a line.
fn single_header(source: &Source, key: &str) -> Option<Origin> {
    let is_single = |line: &&str| header(line) == Some(key) && !line.trim().starts_with("[[");
    let line = source.text.lines().find(is_single)?;
    // Both are of the same text, so that one's place in the other is known.
    let at = line.as_ptr().addr() - source.text.as_ptr().addr();
    Some(source.origin(at + line.find('[').unwrap_or_default()))
}

/// What people most often mean by a line that is not TOML; the parser's words are a programmer's.
fn syntax_help(line: &str) -> &'static str {
    let line = line.trim();
    let value = line.split_once('=').map(|(_, value)| value.trim());
    let begins_like_toml = |value: &str| {
        let a_word = |word: &str| value.starts_with(word);
        a_word("true") || a_word("false") || value.starts_with(['"', '\'', '[', '{', '#'])
    };
    match value {
        _ if line.contains(['“', '”', '„', '‘', '’']) => "use the straight quotes \" and '",
        _ if line.contains('\u{a0}') => "the line has a no-break space, which looks like a blank: type it again",
        None if line.contains(':') && !line.starts_with('[') => "write key = value, with `=`",
        None => "",
        Some("") => "say a value behind the `=`",
        Some(value) if !begins_like_toml(value) => "texts and addresses stand in quotes: key = \"value\"",
        Some(value) if value.ends_with(',') => "take the comma at the end away",
        Some(value) if value.starts_with('"') && value.matches('"').count() == 1 => "close the quote",
        Some(_) => "",
    }
}

/// One table's keys, taken one by one.
pub(super) struct Fields<'a> {
    what: &'static str,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of `value`, which must be a table; `what` names it in errors, article included.
    pub(super) fn of(reader: &mut Reader<'_>, what: &'static str, value: &'a Value<'a>) -> Option<Fields<'a>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Fields {
                what,
                table,
                known: Vec::new(),
            }),
            _ => reader.wrong_type(value, "a table"),
        }
    }

    /// Whether `key` is written, without taking it.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The raw value of `key`.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Value<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.table.get(key)
    }

    /// The decoded value of `key` with its place.
    pub(super) fn take<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        decode: impl FnOnce(&mut Reader<'_>, &Value<'_>) -> Option<T>,
    ) -> Option<Sourced<T>> {
        let value = self.value(key)?;
        let origin = reader.origin(value);
        decode(reader, value).map(|value| Sourced { value, origin })
    }

    /// The decoded elements of `key`, which is one value or a list of them.
    pub(super) fn take_all<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        mut decode: impl FnMut(&mut Reader<'_>, &Value<'_>) -> Option<T>,
    ) -> Vec<Sourced<T>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut taken = Vec::with_capacity(items.len());
        for item in items {
            let origin = reader.origin(item);
            taken.extend(decode(reader, item).map(|value| Sourced { value, origin }));
        }
        taken
    }

    /// Reports every key that was not taken as unknown, and says which known ones were most likely meant.
    pub(super) fn finish(self, reader: &mut Reader<'_>) -> Vec<&'static str> {
        let mut meant = Vec::new();
        for (key, _) in self.table.iter() {
            let written = key.get_ref();
            if self.known.iter().any(|known| known == written) {
                continue;
            }
            let origin = reader.source.at(key.span());
            let known = self.known.join(", ");
            let otherwise = format_args!("{} has {known}", self.what);
            let help = did_you_mean(written, self.known.iter().copied(), otherwise);
            meant.extend(closest(written, self.known.iter().copied()));
            let message = format_args!("unknown key `{}` in {}", text::escape(written.as_bytes()), self.what);
            reader.problems.error(&origin, message, help);
        }
        meant
    }
}

/// The tables of `[[key]]`.
pub(super) fn tables<'a>(reader: &mut Reader<'_>, key: &str, value: Option<&'a Value<'a>>) -> Vec<&'a Value<'a>> {
    match value.map(|value| (value, value.get_ref())) {
        None => Vec::new(),
        Some((_, DeValue::Array(items))) => items.iter().collect(),
        Some((value, _)) => {
            let message = format_args!("`{key}` must be a list of tables");
            reader.error(value, message, format_args!("write it as [[{key}]]"));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_reported_however_long_its_line_is() {
        let long = "x".repeat(SYNTAX_ERRORS_WITHIN_BYTES + 5000);
        for text in [
            format!("a = = 1 #{long}\nb = 1\n"),
            format!("b = 1\na = \"{long}\nc = 1\n"),
        ] {
            let mut problems = Problems::default();
            let source = Source::new("a.toml", text);
            let (_, is_broken) = document(&source, &mut problems);
            let errors = problems.into_report().errors;
            assert!(is_broken, "what is cut off is not judged: {errors:?}");
            assert_eq!(errors.len(), 1, "{errors:?}");
        }
        let mut problems = Problems::default();
        let compiled = Source::new("a.toml", format!("a = 1 #{long}\nb = 1\n"));
        assert!(!document(&compiled, &mut problems).1 && !problems.has_errors());
    }
}
