//! From TOML to values with places: each key is taken once, wrong types and leftovers are said,
//! and nothing stops at the first error.

use super::{
    problems::{Problems, did_you_mean},
    source::Source,
};
use crate::boot::snapshot::{Origin, Sourced, Var};
use crate::model::{limits::VAR_DEPTH_MAX, text};
use std::{fmt::Display, str::FromStr, time::Duration};
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

    pub(super) fn error(&mut self, value: &Value<'_>, message: String, help: impl Into<String>) {
        let origin = self.origin(value);
        self.problems.error(&origin, message, help);
    }

    fn wrong_type<T>(&mut self, value: &Value<'_>, wanted: &str) -> Option<T> {
        self.wrong_type_with_help(value, wanted, "")
    }

    pub(super) fn wrong_type_with_help<T>(&mut self, value: &Value<'_>, wanted: &str, help: &str) -> Option<T> {
        let message = format!("this must be {wanted}, and it is {}", kind(value.get_ref()));
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

/// Parses a file into its top table. Syntax errors are said, all of them; the flag tells whether
/// there were any, because what is left of such a file is not worth judging.
pub(super) fn document<'a>(source: &'a Source, problems: &mut Problems) -> (Value<'a>, bool) {
    let (root, mut errors) = DeTable::parse_recoverable(&source.text);
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    let mut last_line = None;
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let origin = source.at(span.clone());
        // What follows on the same line is what the parser makes of the first mistake.
        if last_line.replace(origin.line) == Some(origin.line) {
            continue;
        }
        let (message, help) = match error.message().trim() {
            "duplicate key" => {
                let key = text::escape(source.text.get(span).unwrap_or_default().trim().as_bytes());
                (
                    format!("`{key}` is written twice"),
                    "one table has each key once: put both together",
                )
            }
            said => (said.replace('\n', "; "), syntax_help(source.line(origin.line))),
        };
        problems.error(&origin, format!("not TOML: {message}"), help);
    }
    let span = root.span();
    let value = Spanned::new(span, DeValue::Table(root.into_inner()));
    (value, !errors.is_empty())
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

    /// Every key nobody took is one nobody knows.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        for (key, _) in self.table.iter() {
            let said = key.get_ref();
            if self.known.iter().any(|known| known == said) {
                continue;
            }
            let origin = reader.source.at(key.span());
            let otherwise = format!("{} has {}", self.what, self.known.join(", "));
            let help = did_you_mean(said, self.known.iter().copied(), &otherwise);
            let message = format!("unknown key `{}` in {}", text::escape(said.as_bytes()), self.what);
            reader.problems.error(&origin, message, help);
        }
    }
}

/// The tables of `[[key]]`.
pub(super) fn tables<'a>(reader: &mut Reader<'_>, key: &str, value: Option<&'a Value<'a>>) -> Vec<&'a Value<'a>> {
    match value.map(|value| (value, value.get_ref())) {
        None => Vec::new(),
        Some((_, DeValue::Array(items))) => items.iter().collect(),
        Some((value, _)) => {
            let message = format!("`{key}` must be a list of tables");
            reader.error(value, message, format!("write it as [[{key}]]"));
            Vec::new()
        }
    }
}

/// A text without control characters: whatever people write may end on a kernel command line.
pub(super) fn text(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let help = match value.get_ref() {
        DeValue::String(said) => return clean(reader, value, said),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => "put it in quotes",
        DeValue::Array(_) => "write one text, in quotes and without brackets",
        DeValue::Table(_) => "",
    };
    reader.wrong_type_with_help(value, "a text", help)
}

fn clean(reader: &mut Reader<'_>, value: &Value<'_>, said: &str) -> Option<String> {
    match text::control_character(said) {
        None => Some(said.to_owned()),
        Some(found) => {
            let shown = text::escape(said.as_bytes());
            let message = format!("`{shown}` has the control character U+{:04X}", u32::from(found));
            reader.error(value, message, "take it out: in a script a new line is a new command");
            None
        }
    }
}

/// A text that is not empty.
pub(super) fn some_text(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let said = text(reader, value)?;
    if said.trim().is_empty() {
        reader.error(
            value,
            "this text is empty".to_owned(),
            "say something, or leave the key out",
        );
        return None;
    }
    Some(said)
}

/// A text that is read as a `T`, with `T`'s own words where it can't be.
pub(super) fn parsed<T>(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<T>
where
    T: FromStr,
    T::Err: Display,
{
    let said = text(reader, value)?;
    match said.parse() {
        Ok(read) => Some(read),
        Err(error) => {
            reader.error(value, error.to_string(), "");
            None
        }
    }
}

/// An IPv4 address; std's own words do not name the value.
pub(super) fn address(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<std::net::Ipv4Addr> {
    let said = text(reader, value)?;
    match said.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let message = format!("`{}` is not an IPv4 address", text::escape(said.as_bytes()));
            reader.error(value, message, "write it as 192.0.2.11");
            None
        }
    }
}

/// `true` or `false`.
pub(super) fn boolean(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<bool> {
    match value.get_ref() {
        DeValue::Boolean(said) => Some(*said),
        _ => reader.wrong_type_with_help(value, "true or false", "write true or false without quotes"),
    }
}

/// A port from 1 to 65,535.
pub(super) fn port(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u16> {
    let port = match value.get_ref() {
        DeValue::Integer(digits) => u16::from_str_radix(digits.as_str(), digits.radix()).ok(),
        _ => return reader.wrong_type_with_help(value, "a port number", "write it without quotes, such as 80"),
    };
    if port.is_none_or(|port| port == 0) {
        reader.error(value, "a port is a number from 1 to 65535".to_owned(), "");
        return None;
    }
    port
}

/// One of a few words.
pub(super) fn word<T: Copy>(reader: &mut Reader<'_>, value: &Value<'_>, words: &[(&'static str, T)]) -> Option<T> {
    let said = text(reader, value)?;
    let found = words.iter().find(|(word, _)| *word == said);
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let otherwise = format!("it is one of {}", known.join(", "));
        let help = did_you_mean(&said, known.iter().copied(), &otherwise);
        let message = format!("`{}` is not known here", text::escape(said.as_bytes()));
        reader.error(value, message, help);
    }
    found.map(|(_, meant)| *meant)
}

/// How long: `30s`, `10m`, `1h` or `7d`.
pub(super) fn duration(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Duration> {
    if matches!(value.get_ref(), DeValue::Integer(_)) {
        let help = "say the unit, in quotes: \"30s\", \"10m\", \"1h\" or \"7d\"";
        return reader.wrong_type_with_help(value, "a length of time", help);
    }
    let said = text(reader, value)?;
    let read = parse_duration(said.trim());
    if read.is_none() {
        let message = format!("`{}` is not a length of time", text::escape(said.as_bytes()));
        reader.error(value, message, "write it as 30s, 10m, 1h or 7d");
    }
    read
}

/// Option 51 has 32 bits of seconds, of which all ones mean for ever (RFC 2131).
fn parse_duration(said: &str) -> Option<Duration> {
    let split = said.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = said.split_at(split);
    let unit_s: u32 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = digits.parse::<u32>().ok()?.checked_mul(unit_s)?;
    (seconds != u32::MAX).then(|| Duration::from_secs(seconds.into()))
}

/// A template variable's value.
pub(super) fn var(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Var> {
    var_at(reader, value, 0)
}

fn var_at(reader: &mut Reader<'_>, value: &Value<'_>, depth: usize) -> Option<Var> {
    if depth > VAR_DEPTH_MAX {
        let message = format!("lists and tables are nested more than {VAR_DEPTH_MAX} deep");
        reader.error(value, message, "");
        return None;
    }
    match value.get_ref() {
        DeValue::String(said) => clean(reader, value, said).map(Var::Text),
        DeValue::Boolean(said) => Some(Var::Bool(*said)),
        DeValue::Integer(digits) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
            Ok(number) => Some(Var::Integer(number)),
            Err(_) => reader.wrong_type(value, "a number of 64 bits"),
        },
        DeValue::Float(digits) => digits.as_str().parse().ok().map(Var::Float),
        DeValue::Datetime(_) => reader.wrong_type(value, "anything but a date (put the date in quotes)"),
        DeValue::Array(items) => items
            .iter()
            .map(|item| var_at(reader, item, depth + 1))
            .collect::<Option<Vec<Var>>>()
            .map(Var::List),
        DeValue::Table(table) => table
            .iter()
            .map(|(key, item)| {
                let key = clean(reader, item, key.get_ref())?;
                Some((key, var_at(reader, item, depth + 1)?))
            })
            .collect::<Option<_>>()
            .map(Var::Table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_a_unit_and_fits_option_51() {
        assert_eq!(parse_duration("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(604_800)));
        for said in ["", "1", "h", "1w", "-1h", "4294967295s", "999999999d", "1 h"] {
            assert_eq!(parse_duration(said), None, "{said}");
        }
    }
}
