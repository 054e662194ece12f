//! Numbers, option codes and option bodies, as a quirk writes them.

use crate::config::decode::{self, Fields, Reader, Value};
use crate::model::{limits::DHCP_OPTION_BYTES_MAX, text};
use std::ops::RangeInclusive;
use toml::de::DeValue;

/// PXE's end marker inside option 43, which a reader without a length of its own looks for.
const END: u8 = 255;

/// How a value is written.
#[derive(Clone, Copy)]
enum QuirkValueType {
    Text,
    Address,
    Bytes,
    Options,
}

const KINDS: &[(&str, QuirkValueType)] = &[
    ("text", QuirkValueType::Text),
    ("address", QuirkValueType::Address),
    ("bytes", QuirkValueType::Bytes),
    ("options", QuirkValueType::Options),
];

/// A whole number in `range`.
pub(super) fn number(reader: &mut Reader<'_>, value: &Value<'_>, range: RangeInclusive<u16>) -> Option<u16> {
    let read = match value.get_ref() {
        DeValue::Integer(digits) => u16::from_str_radix(digits.as_str(), digits.radix()).ok(),
        _ => None,
    };
    let read = read.filter(|number| range.contains(number));
    if read.is_none() {
        let message = format_args!("this must be a number from {} to {}", range.start(), range.end());
        reader.error(value, message, "write it without quotes");
    }
    read
}

/// An option's code that is none of `reserved`.
pub(super) fn code(reader: &mut Reader<'_>, value: &Value<'_>, reserved: &[u8]) -> Option<u8> {
    let code = u8::try_from(number(reader, value, 1..=254)?).ok()?;
    if reserved.contains(&code) {
        let message = format_args!("option {code} is the protocol's own, and no quirk's to change");
        reader.error(value, message, "take it out");
        return None;
    }
    Some(code)
}

/// `{ code, type, value }` as a code and a body.
pub(super) fn option(reader: &mut Reader<'_>, value: &Value<'_>, reserved: &[u8]) -> Option<(u8, Vec<u8>)> {
    let mut fields = Fields::of(reader, "an option", value)?;
    let code = fields.take(reader, "code", |reader, value| code(reader, value, reserved));
    let kind = fields.take(reader, "type", |reader, value| decode::word(reader, value, KINDS));
    let written = fields.value("value");
    for key in ["code", "type", "value"] {
        if !fields.has(key) {
            let help = "write it as { code = 150, type = \"address\", value = \"192.0.2.1\" }";
            reader.error(value, format_args!("this option has no `{key}`"), help);
        }
    }
    fields.finish(reader);
    let body = body(reader, written?, kind?.value)?;
    if body.len() > DHCP_OPTION_BYTES_MAX {
        reader.error(
            value,
            format_args!(
                "an option has at most {DHCP_OPTION_BYTES_MAX} bytes, and this one has {}",
                body.len()
            ),
            "",
        );
        return None;
    }
    Some((code?.value, body))
}

fn body(reader: &mut Reader<'_>, value: &Value<'_>, kind: QuirkValueType) -> Option<Vec<u8>> {
    match kind {
        QuirkValueType::Text => decode::some_text(reader, value).map(String::into_bytes),
        QuirkValueType::Address => decode::address(reader, value).map(|address| address.octets().to_vec()),
        QuirkValueType::Bytes => {
            let written = decode::some_text(reader, value)?;
            let read = bytes(&written);
            if read.is_none() {
                let message = format_args!("`{}` is no bytes", text::escape(written.as_bytes()));
                reader.error(
                    value,
                    message,
                    "write two hexadecimal digits a byte and letters in '…': 00 11 'PXE'",
                );
            }
            read
        }
        QuirkValueType::Options => {
            let DeValue::Array(items) = value.get_ref() else {
                let help = "write it as [{ code = 6, type = \"bytes\", value = \"08\" }]";
                reader.error(value, "`options` inside an option are a list", help);
                return None;
            };
            let read: Vec<Option<(u8, Vec<u8>)>> = items.iter().map(|item| option(reader, item, &[])).collect();
            let mut body = Vec::new();
            for (code, inner) in read.into_iter().collect::<Option<Vec<_>>>()? {
                body.extend_from_slice(&[code, u8::try_from(inner.len()).ok()?]);
                body.extend_from_slice(&inner);
            }
            body.push(END);
            Some(body)
        }
    }
}

/// `00 00 11 'Raspberry Pi Boot'`.
fn bytes(written: &str) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    // Every second part stands between quotes; an odd number of quotes leaves an even number of parts.
    let parts: Vec<&str> = written.split('\'').collect();
    if parts.len().is_multiple_of(2) {
        return None;
    }
    for (index, part) in parts.into_iter().enumerate() {
        if index % 2 == 1 {
            read.extend_from_slice(part.as_bytes());
            continue;
        }
        for pair in part.split_ascii_whitespace() {
            let is_byte = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            read.push(u8::from_str_radix(pair, 16).ok().filter(|_| is_byte)?);
        }
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_hexadecimal_pairs_and_quoted_letters() {
        assert_eq!(bytes("00 11 'PXE'").unwrap(), b"\0\x11PXE");
        assert_eq!(bytes("'it' 20 'is'").unwrap(), b"it is");
        for written in ["0", "001", "+1", "zz", "'open", "00 x"] {
            assert_eq!(bytes(written), None, "{written}");
        }
    }
}
