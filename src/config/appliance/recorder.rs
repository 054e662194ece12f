//! `[recorder]`: how many bytes of packets are kept.

use crate::config::decode::{Fields, Reader, Value};
use crate::model::limits::{RECORDER_BYTES_DEFAULT, RECORDER_BYTES_MAX, RECORDER_BYTES_MIN};
use toml::de::DeValue;

/// Bytes that the packets of all machines may take; 0 keeps none.
pub(super) fn read(reader: &mut Reader<'_>, value: Option<&Value<'_>>) -> usize {
    let Some(mut fields) = value.and_then(|value| Fields::of(reader, "[recorder]", value)) else {
        return RECORDER_BYTES_DEFAULT;
    };
    let bytes = fields.take(reader, "bytes", bytes);
    fields.finish(reader);
    bytes.map_or(RECORDER_BYTES_DEFAULT, |bytes| bytes.value)
}

fn bytes(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<usize> {
    let written = match value.get_ref() {
        DeValue::Integer(digits) => usize::from_str_radix(digits.as_str(), digits.radix()).ok(),
        _ => return reader.wrong_type_with_help(value, "a number", "write it without quotes, such as 8_388_608"),
    };
    let is_allowed = |bytes: &usize| *bytes == 0 || (RECORDER_BYTES_MIN..=RECORDER_BYTES_MAX).contains(bytes);
    let bytes = written.filter(is_allowed);
    if bytes.is_none() {
        let message = format_args!("bytes is 0, or a whole number from {RECORDER_BYTES_MIN} to {RECORDER_BYTES_MAX}");
        reader.error(
            value,
            message,
            "0 keeps no packets; a boot has some 10,000 bytes of them",
        );
    }
    bytes
}
