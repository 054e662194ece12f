//! The kinds of values: a text, an address, a length of time, each with its own words where it is
//! something else.

use super::{Reader, Value};
use crate::boot::snapshot::Var;
use crate::config::problems::did_you_mean;
use crate::images::checksum;
use crate::model::{limits::VAR_DEPTH_MAX, text};
use std::{fmt::Display, str::FromStr, time::Duration};
use toml::de::DeValue;

/// A text without control characters: whatever people write may end on a kernel command line.
pub(in crate::config) fn text(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let help = match value.get_ref() {
        DeValue::String(written) => return clean(reader, value, written),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => "put it in quotes",
        DeValue::Array(_) => "write one text, in quotes and without brackets",
        DeValue::Table(_) => "",
    };
    reader.wrong_type_with_help(value, "a text", help)
}

fn clean(reader: &mut Reader<'_>, value: &Value<'_>, written: &str) -> Option<String> {
    match text::control_character(written) {
        None => Some(written.to_owned()),
        Some(found) => {
            // Without the text: it may be a secret, and this goes to the log.
            let place = written.chars().take_while(|c| *c != found).count() + 1;
            let message = format_args!(
                "this text has the control character U+{:04X} at its place {place}",
                u32::from(found)
            );
            reader.error(value, message, "take it out: in a script a new line is a new command");
            None
        }
    }
}

/// A text that is not empty.
pub(in crate::config) fn some_text(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let written = text(reader, value)?;
    if written.trim().is_empty() {
        reader.error(value, "this text is empty", "say something, or leave the key out");
        return None;
    }
    Some(written)
}

/// A domain name, or a part of one.
pub(in crate::config) fn domain_name(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let written = some_text(reader, value)?;
    if !text::is_domain_name(&written) {
        let message = format_args!("`{}` is not a domain name", text::escape(written.as_bytes()));
        reader.error(
            value,
            message,
            "use letters, digits and hyphens between dots, and no hyphen at either end (RFC 1123)",
        );
        return None;
    }
    Some(written)
}

/// A SHA-256 checksum.
pub(in crate::config) fn sha256(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<[u8; 32]> {
    let written = text(reader, value)?;
    let sum = checksum::from_hex(&written);
    if sum.is_none() {
        let message = format_args!("`{}` is not a sha256", text::escape(written.as_bytes()));
        reader.error(
            value,
            message,
            "write the 64 hexadecimal digits that `sha256sum FILE` prints",
        );
    }
    sum
}

/// A text that is read as a `T`, with `T`'s own words where it can't be.
pub(in crate::config) fn parsed<T>(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<T>
where
    T: FromStr,
    T::Err: Display,
{
    let written = text(reader, value)?;
    match written.parse() {
        Ok(read) => Some(read),
        Err(error) => {
            reader.error(value, error, "");
            None
        }
    }
}

/// An IPv4 address; std's own words do not name the value.
pub(in crate::config) fn address(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<std::net::Ipv4Addr> {
    let written = text(reader, value)?;
    match written.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let message = format_args!("`{}` is not an IPv4 address", text::escape(written.as_bytes()));
            reader.error(value, message, "write it as 192.0.2.11");
            None
        }
    }
}

/// `true` or `false`.
pub(in crate::config) fn boolean(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<bool> {
    match value.get_ref() {
        DeValue::Boolean(written) => Some(*written),
        _ => reader.wrong_type_with_help(value, "true or false", "write true or false without quotes"),
    }
}

/// A port from 1 to 65,535.
pub(in crate::config) fn port(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u16> {
    let port = match value.get_ref() {
        DeValue::Integer(digits) => u16::from_str_radix(digits.as_str(), digits.radix()).ok(),
        _ => return reader.wrong_type_with_help(value, "a port number", "write it without quotes, such as 80"),
    };
    if port.is_none_or(|port| port == 0) {
        reader.error(value, "a port is a number from 1 to 65535", "");
        return None;
    }
    port
}

/// One of a few words.
pub(in crate::config) fn word<T: Copy>(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    words: &[(&'static str, T)],
) -> Option<T> {
    let written = text(reader, value)?;
    let found = words.iter().find(|(word, _)| *word == written);
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let all = known.join(", ");
        let otherwise = format_args!("it is one of {all}");
        let help = did_you_mean(&written, known.iter().copied(), otherwise);
        let message = format_args!("`{}` is not known here", text::escape(written.as_bytes()));
        reader.error(value, message, help);
    }
    found.map(|(_, meant)| *meant)
}

/// How long: `30s`, `10m`, `1h` or `7d`.
pub(in crate::config) fn duration(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Duration> {
    if matches!(value.get_ref(), DeValue::Integer(_)) {
        let help = "say the unit, in quotes: \"30s\", \"10m\", \"1h\" or \"7d\"";
        return reader.wrong_type_with_help(value, "a length of time", help);
    }
    let written = text(reader, value)?;
    let read = length_of_time(written.trim());
    if read.is_none() {
        let message = format_args!("`{}` is not a length of time", text::escape(written.as_bytes()));
        reader.error(value, message, "write it as 30s, 10m, 1h or 7d");
    }
    read
}

/// `30s`, `10m`, `1h` or `7d`. Option 51 has 32 bits of seconds, of which all ones mean for ever (RFC 2131).
pub fn length_of_time(written: &str) -> Option<Duration> {
    let split = written.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = written.split_at(split);
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
pub(in crate::config) fn var(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Var> {
    var_at(reader, value, 0)
}

fn var_at(reader: &mut Reader<'_>, value: &Value<'_>, depth: usize) -> Option<Var> {
    if depth > VAR_DEPTH_MAX {
        let message = format_args!("lists and tables are nested more than {VAR_DEPTH_MAX} deep");
        reader.error(value, message, "");
        return None;
    }
    match value.get_ref() {
        DeValue::String(written) => clean(reader, value, written).map(Var::Text),
        DeValue::Boolean(written) => Some(Var::Bool(*written)),
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
        DeValue::Table(table) if table.contains_key("secret") => {
            let help = "make it a variable of its own: vars.NAME = { secret = true, file = \"…\" }";
            reader.error(value, "a secret stands in no list and in no table", help);
            None
        }
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
        assert_eq!(length_of_time("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(length_of_time("7d"), Some(Duration::from_secs(604_800)));
        for written in ["", "1", "h", "1w", "-1h", "4294967295s", "999999999d", "1 h"] {
            assert_eq!(length_of_time(written), None, "{written}");
        }
    }
}
