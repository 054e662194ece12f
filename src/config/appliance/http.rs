//! `[http]`: the port, how many image files go out at once, and how much memory copies of them may take.

use crate::config::decode::{self, Fields, Reader, Value};
use crate::model::limits::{HOT_IMAGES_BYTES_MAX, HTTP_BULK_STREAMS_DEFAULT, HTTP_CONNECTIONS_MAX};
use toml::de::DeValue;

const UNITS: [(&str, u64); 6] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// What the table says.
pub(super) struct HttpSettings {
    pub(super) port: u16,
    pub(super) bulk_streams: usize,
    /// `None` where it is not said, and so depends on the machine.
    pub(super) hot_images: Option<u64>,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            port: 80,
            bulk_streams: HTTP_BULK_STREAMS_DEFAULT,
            hot_images: None,
        }
    }
}

pub(super) fn read(reader: &mut Reader<'_>, value: Option<&Value<'_>>) -> HttpSettings {
    let default = HttpSettings::default();
    let Some(mut fields) = value.and_then(|value| Fields::of(reader, "[http]", value)) else {
        return default;
    };
    let port = fields.take(reader, "port", decode::port);
    let streams = fields.take(reader, "bulk_streams", bulk_streams);
    let hot_images = fields.take(reader, "hot_images", hot_images);
    fields.finish(reader);
    HttpSettings {
        port: port.map_or(default.port, |port| port.value),
        bulk_streams: streams.map_or(default.bulk_streams, |streams| streams.value),
        hot_images: hot_images.map(|bytes| bytes.value),
    }
}

fn bulk_streams(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<usize> {
    let written = match value.get_ref() {
        DeValue::Integer(digits) => usize::from_str_radix(digits.as_str(), digits.radix()).ok(),
        _ => return reader.wrong_type_with_help(value, "a number", "write it without quotes, such as 1024"),
    };
    let streams = written.filter(|written| (1..=HTTP_CONNECTIONS_MAX).contains(written));
    if streams.is_none() {
        let help = "fewer let each machine finish sooner, more let more of them begin";
        reader.error(
            value,
            format_args!("bulk_streams is a whole number from 1 to {HTTP_CONNECTIONS_MAX}"),
            help,
        );
    }
    streams
}

/// Bytes of all copies; 0 is none.
fn hot_images(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u64> {
    const HELP: &str = "write how much memory copies of image files may take, such as \"512 MiB\", or 0 for none";
    let written = match value.get_ref() {
        DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
        DeValue::String(text) => size(text),
        _ => return reader.wrong_type_with_help(value, "a size", HELP),
    };
    let bytes = written.filter(|bytes| *bytes <= HOT_IMAGES_BYTES_MAX);
    if bytes.is_none() {
        let message = "hot_images is a whole number of kB, MB, GB, KiB, MiB or GiB, 16384 GiB at most, or 0";
        reader.error(value, message, HELP);
    }
    bytes
}

/// `512 MiB` in bytes.
fn size(text: &str) -> Option<u64> {
    let with_unit = UNITS
        .iter()
        .find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?.trim_end(), *bytes)));
    let (number, unit) = with_unit.unwrap_or((text, 1));
    let is_digits = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    is_digits
        .then(|| number.parse::<u64>().ok()?.checked_mul(unit))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_with_or_without_a_unit() {
        assert_eq!(size("512 MiB"), Some(512 << 20));
        assert_eq!(size("2GB"), Some(2_000_000_000));
        assert_eq!(size("0"), Some(0));
        for wrong in ["", "MiB", "1.5 GiB", "-1 MB", "1 TiB", "99999999999999999 GiB", "off"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
