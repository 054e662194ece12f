//! DHCP options that operators name, at a subnet, a profile, a rule or a host: the nearest wins.
//!
//! Common ones have keys of their own; any other is written by number and type. Options that the
//! daemon answers for itself are refused, with the key that sets them where there is one.

use super::decode::{self, Fields, Reader, Value};
use crate::boot::snapshot::Sourced;
use crate::model::{Cidr, limits::DHCP_OPTION_BYTES_MAX};
use crate::proto::dhcp::{
    RawOption,
    option_body::{self, CLASSLESS_ROUTES, DEFAULT_ROUTE_BYTES, PIECE_BYTES_MAX},
};
use std::{collections::BTreeMap, net::Ipv4Addr};
use toml::de::DeValue;

/// Named options by number.
pub(super) type NamedOptions = BTreeMap<u8, Sourced<RawOption>>;

/// The smallest MTU of option 26 (RFC 2132 section 5.1), in bytes.
const MTU_BYTES_MIN: u16 = 68;

const MTU: u8 = 26;
const DNS_SERVERS: u8 = 6;
const DOMAIN_NAME: u8 = 15;
const NTP_SERVERS: u8 = 42;
const DOMAIN_SEARCH: u8 = 119;

/// Options with a key of their own.
const KEYED: &[(u8, &str)] = &[
    (1, "the subnet's `cidr`"),
    (3, "the subnet's `router`"),
    (DNS_SERVERS, "`dns`"),
    (12, "the host's `hostname`"),
    (DOMAIN_NAME, "`domain`"),
    (MTU, "`mtu`"),
    (NTP_SERVERS, "`ntp`"),
    (51, "the subnet's `lease`"),
    (DOMAIN_SEARCH, "`search`"),
    (CLASSLESS_ROUTES, "`routes`"),
];

/// Options that belong to the conversation itself or to booting.
const OWN: &[u8] = &[
    0, 43, 50, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 66, 67, 77, 81, 82, 93, 94, 97, 118, 175, 255,
];

/// Reads what a profile, a rule or a host says of options: `dns` and `domain` as well, which a subnet has
/// apart from the rest.
pub(super) fn read_own(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> NamedOptions {
    let dns = list(reader, fields, "dns", decode::address, option_body::addresses);
    let domain = fields.take(reader, "domain", decode::domain_name);
    let domain = domain.map(|domain| Sourced {
        value: domain.value.into_bytes(),
        origin: domain.origin,
    });
    let mut options = read(reader, fields);
    for (code, body) in [(DNS_SERVERS, dns), (DOMAIN_NAME, domain)] {
        if let Some(Sourced { value: body, origin }) = body {
            // As at the subnet: every client is told its name servers.
            let always = code == DNS_SERVERS;
            let option = Sourced {
                value: RawOption { code, body, always },
                origin,
            };
            validate_size(reader, &option);
            options.insert(code, option);
        }
    }
    options
}

/// Reads the keys that name options.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> NamedOptions {
    let mtu = fields.take(reader, "mtu", mtu);
    let keyed = [
        (
            NTP_SERVERS,
            list(reader, fields, "ntp", decode::address, option_body::addresses),
        ),
        (
            DOMAIN_SEARCH,
            list(
                reader,
                fields,
                "search",
                decode::domain_name,
                option_body::domain_search,
            ),
        ),
        (
            MTU,
            mtu.map(|mtu| Sourced {
                value: mtu.value.to_be_bytes().to_vec(),
                origin: mtu.origin,
            }),
        ),
        (
            CLASSLESS_ROUTES,
            list(reader, fields, "routes", route, option_body::classless_routes),
        ),
    ];
    let mut options = NamedOptions::new();
    for (code, body) in keyed {
        options.extend(body.map(|Sourced { value: body, origin }| {
            let value = RawOption {
                code,
                body,
                always: false,
            };
            (code, Sourced { value, origin })
        }));
    }
    for option in fields.take_all(reader, "options", any_option) {
        let code = option.value.code;
        if let Some(first) = options.get(&code) {
            let message = format_args!("option {code} is set twice");
            let help = super::first_defined(&first.origin);
            reader.problems.error(&option.origin, message, help);
        } else {
            options.insert(code, option);
        }
    }
    options.values().for_each(|option| validate_size(reader, option));
    options
}

/// A key that is one value or a list of them, as one option's body; its place is the first value's.
fn list<T>(
    reader: &mut Reader<'_>,
    fields: &mut Fields<'_>,
    key: &'static str,
    decode: impl FnMut(&mut Reader<'_>, &Value<'_>) -> Option<T>,
    encode: fn(&[T]) -> Vec<u8>,
) -> Option<Sourced<Vec<u8>>> {
    let written = fields.take_all(reader, key, decode);
    let origin = written.first()?.origin.clone();
    let values: Vec<T> = written.into_iter().map(|written| written.value).collect();
    let value = encode(&values);
    Some(Sourced { value, origin })
}

fn validate_size(reader: &mut Reader<'_>, option: &Sourced<RawOption>) {
    let RawOption { code, body, .. } = &option.value;
    let room = match *code {
        // The subnet's router may join them.
        CLASSLESS_ROUTES => DHCP_OPTION_BYTES_MAX - DEFAULT_ROUTE_BYTES,
        _ => DHCP_OPTION_BYTES_MAX,
    };
    if body.len() > room {
        let message = format_args!("option {code} would have {} bytes, and has at most {room}", body.len());
        let help = "write fewer or shorter values";
        reader.problems.error(&option.origin, message, help);
    } else if body.len() > PIECE_BYTES_MAX {
        let message = format_args!(
            "option {code} has {} bytes: who takes no more than 576 a message, as all do that do not say (option 57), \
             may have to do without it",
            body.len()
        );
        let help = "write fewer or shorter values, if such clients need it; others get it in pieces (RFC 3396)";
        reader.problems.warn(&option.origin, message, help);
    }
}

fn mtu(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u16> {
    let bytes: u16 = number(reader, value)?;
    if bytes < MTU_BYTES_MIN {
        let message = format_args!("an MTU of {bytes} bytes is too small");
        reader.error(
            value,
            message,
            format_args!("it is at least {MTU_BYTES_MIN} (RFC 2132)"),
        );
        return None;
    }
    Some(bytes)
}

/// `{ to = "198.51.100.0/24", via = "192.0.2.254" }`
fn route(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<(Cidr, Ipv4Addr)> {
    let mut fields = Fields::of(reader, "a route", value)?;
    let to = fields.take(reader, "to", decode::parsed::<Cidr>);
    let via = fields.take(reader, "via", decode::address);
    if fields.value("to").is_none() || fields.value("via").is_none() {
        let help = "write it as { to = \"198.51.100.0/24\", via = \"192.0.2.254\" }";
        reader.error(value, "a route has a `to` and a `via`", help);
    }
    fields.finish(reader);
    Some((to?.value, via?.value))
}

/// `{ code = 150, type = "address", value = "192.0.2.5", always = true }`
fn any_option(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<RawOption> {
    let mut fields = Fields::of(reader, "an option", value)?;
    let code = fields.take(reader, "code", code);
    let kind = fields.take(reader, "type", |reader, value| decode::word(reader, value, KINDS));
    let always = fields.take(reader, "always", decode::boolean);
    let written = fields.value("value");
    if ["code", "type", "value"].iter().any(|key| !fields.has(key)) {
        let help = "write it as { code = 150, type = \"address\", value = \"192.0.2.5\" }";
        reader.error(value, "an option has a `code`, a `type` and a `value`", help);
    }
    fields.finish(reader);
    let body = body(reader, kind?.value, written?)?;
    Some(RawOption {
        code: code?.value,
        body,
        always: always.is_some_and(|always| always.value),
    })
}

fn code(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u8> {
    let code: u8 = number(reader, value)?;
    let keyed = KEYED.iter().find(|(keyed, _)| *keyed == code);
    if let Some((_, key)) = keyed {
        reader.error(
            value,
            format_args!("option {code} has a key of its own"),
            format_args!("set {key}"),
        );
        return None;
    }
    if OWN.contains(&code) {
        let help = "it belongs to the exchange itself or to booting; leave it out";
        reader.error(value, format_args!("option {code} is the daemon's own to set"), help);
        return None;
    }
    Some(code)
}

/// What a value is.
#[derive(Clone, Copy)]
enum OptionType {
    Address,
    Text,
    U8,
    U16,
    U32,
    Bool,
    Hex,
}

const KINDS: &[(&str, OptionType)] = &[
    ("address", OptionType::Address),
    ("text", OptionType::Text),
    ("u8", OptionType::U8),
    ("u16", OptionType::U16),
    ("u32", OptionType::U32),
    ("bool", OptionType::Bool),
    ("hex", OptionType::Hex),
];

/// A value's bytes; a list's one after the other.
fn body(reader: &mut Reader<'_>, kind: OptionType, value: &Value<'_>) -> Option<Vec<u8>> {
    if let DeValue::Array(items) = value.get_ref() {
        let bodies: Vec<Vec<u8>> = items
            .iter()
            .map(|item| single(reader, kind, item))
            .collect::<Option<_>>()?;
        return Some(bodies.concat());
    }
    single(reader, kind, value)
}

fn single(reader: &mut Reader<'_>, kind: OptionType, value: &Value<'_>) -> Option<Vec<u8>> {
    match kind {
        OptionType::Address => decode::address(reader, value).map(|address| address.octets().to_vec()),
        OptionType::Text => decode::some_text(reader, value).map(String::into_bytes),
        OptionType::U8 => number::<u8>(reader, value).map(|number| vec![number]),
        OptionType::U16 => number::<u16>(reader, value).map(|number| number.to_be_bytes().to_vec()),
        OptionType::U32 => number::<u32>(reader, value).map(|number| number.to_be_bytes().to_vec()),
        OptionType::Bool => decode::boolean(reader, value).map(|written| vec![u8::from(written)]),
        OptionType::Hex => hexadecimal(reader, value),
    }
}

fn hexadecimal(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<u8>> {
    let written = decode::some_text(reader, value)?;
    let digits: Vec<u8> = written
        .bytes()
        .filter(|byte| !matches!(byte, b':' | b' ' | b'-'))
        .collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
    let bytes = bytes.filter(|_| digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit));
    if bytes.is_none() {
        let message = "this is not a run of hexadecimal bytes";
        reader.error(value, message, "write two digits a byte: \"01:0a:ff\"");
    }
    bytes
}

/// A whole number that fits.
fn number<T: TryFrom<u64>>(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<T> {
    let written = match value.get_ref() {
        DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
        _ => {
            reader.error(value, "this must be a whole number", "write it without quotes");
            return None;
        }
    };
    let fits = written.and_then(|written| T::try_from(written).ok());
    if fits.is_none() {
        let message = "this number does not fit its place";
        let bytes = size_of::<T>();
        reader.error(value, message, format_args!("it has {bytes} byte(s) and no sign"));
    }
    fits
}
