//! `[network]` of `bootwright.toml`: the interfaces that are served, and what holds on all of them.

use crate::config::decode::{self, Fields, Reader, Value};
use crate::model::{Cidr, Mode, ServedInterface, SharedAddresses, limits::MACHINES_PER_ADDRESS_MAX, text};
use std::net::Ipv4Addr;
use toml::de::DeValue;

/// Linux's interface names have at most 15 bytes (IFNAMSIZ less the NUL).
const INTERFACE_NAME_BYTES_MAX: usize = 15;

/// `mode`'s words.
const MODES: &[(&str, Mode)] = &[("dhcp", Mode::Dhcp), ("proxy", Mode::Proxy)];

/// The key by which addresses are given on an uplink too.
const ALLOW_DEFAULT_ROUTE: &str = "allow_default_route";

fn mode(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<Mode> {
    let written = fields.take(reader, "mode", |reader, value| decode::word(reader, value, MODES));
    written.map(|written| written.value)
}

fn allow_default_route(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<bool> {
    let written = fields.take(reader, ALLOW_DEFAULT_ROUTE, decode::boolean);
    written.map(|written| written.value)
}

/// What is written of one interface.
struct WrittenInterface {
    name: String,
    mode: Option<Mode>,
    allow_default_route: Option<bool>,
}

/// What `[network]` says.
pub(super) struct Network {
    pub(super) interfaces: Vec<ServedInterface>,
    pub(super) shared_addresses: SharedAddresses,
    /// Whether machines are told that there is no IPv6 router, where there is none.
    pub(super) router_advertisements: bool,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            interfaces: Vec::new(),
            shared_addresses: SharedAddresses::NONE,
            router_advertisements: true,
        }
    }
}

/// Reads it; every key is optional but `interfaces`.
pub(super) fn read(reader: &mut Reader<'_>, value: Option<&Value<'_>>) -> Network {
    let Some((value, mut fields)) = value.and_then(|value| Some((value, Fields::of(reader, "[network]", value)?)))
    else {
        return Network::default();
    };
    let interfaces = fields.take_all(reader, "interfaces", interface);
    let is_empty = match fields.value("interfaces").map(|written| written.get_ref()) {
        None => true,
        Some(DeValue::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    if is_empty {
        reader.error(
            value,
            "no interface to serve",
            "name at least one: interfaces = [\"eno2\"]",
        );
    }
    let common = mode(reader, &mut fields).unwrap_or_default();
    let allowed = allow_default_route(reader, &mut fields).unwrap_or_default();
    let shared = fields.value("machines_per_address");
    let shared = shared.map_or(SharedAddresses::NONE, |value| shared_addresses(reader, value));
    let advertises = fields.take(reader, "router_advertisements", decode::boolean);
    fields.finish(reader);
    let mut served: Vec<ServedInterface> = Vec::new();
    for interface in interfaces {
        let WrittenInterface {
            name,
            mode,
            allow_default_route,
        } = interface.value;
        if served.iter().any(|known| known.name == name) {
            let message = format_args!("the interface `{name}` is named twice");
            reader.problems.error(&interface.origin, message, "name it once");
        } else {
            served.push(ServedInterface {
                name,
                mode: mode.unwrap_or(common),
                allow_default_route: allow_default_route.unwrap_or(allowed),
            });
        }
    }
    Network {
        interfaces: served,
        shared_addresses: shared,
        router_advertisements: advertises.is_none_or(|written| written.value),
    }
}

/// `{ "198.51.100.7" = 48, "203.0.113.0/24" = 24 }`.
fn shared_addresses(reader: &mut Reader<'_>, value: &Value<'_>) -> SharedAddresses {
    let help = "write it as { \"198.51.100.7\" = 48 }: so many machines ask from that address";
    let DeValue::Table(table) = value.get_ref() else {
        let _: Option<()> = reader.wrong_type_with_help(value, "a table", help);
        return SharedAddresses::NONE;
    };
    let mut networks = Vec::new();
    for (key, machines) in table.iter() {
        let written = key.get_ref();
        let network = match written.parse::<Ipv4Addr>() {
            Ok(address) => Ok(Cidr::containing(address, 32)),
            Err(_) => written.parse::<Cidr>().map_err(text::escaped),
        };
        let count = match machines.get_ref() {
            DeValue::Integer(digits) => usize::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        let count = count.filter(|count| (1..=MACHINES_PER_ADDRESS_MAX).contains(count));
        if let Err(error) = &network {
            let origin = reader.source.at(key.span());
            reader.problems.error(&origin, error, help);
        }
        if count.is_none() {
            let message = format_args!(
                "machines_per_address is a whole number from 1 to {MACHINES_PER_ADDRESS_MAX} for each address"
            );
            reader.error(machines, message, help);
        }
        networks.extend(network.ok().zip(count));
    }
    SharedAddresses::new(networks)
}

/// `"eno2"`, or `{ name = "eno3", mode = "proxy" }` where an interface has settings of its own.
fn interface(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<WrittenInterface> {
    if !matches!(value.get_ref(), DeValue::Table(_)) {
        return interface_name(reader, value).map(|name| WrittenInterface {
            name,
            mode: None,
            allow_default_route: None,
        });
    }
    let mut fields = Fields::of(reader, "an interface", value)?;
    let name = fields.take(reader, "name", interface_name);
    let mode = mode(reader, &mut fields);
    let allow_default_route = allow_default_route(reader, &mut fields);
    if fields.value("name").is_none() {
        let help = "write it as { name = \"eno3\", mode = \"proxy\" }";
        reader.error(value, "this interface has no `name`", help);
    }
    fields.finish(reader);
    Some(WrittenInterface {
        name: name?.value,
        mode,
        allow_default_route,
    })
}

fn interface_name(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let written = decode::text(reader, value)?;
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
    let fits = (1..=INTERFACE_NAME_BYTES_MAX).contains(&written.len()) && !matches!(written.as_str(), "." | "..");
    if !fits || !written.chars().all(plain) {
        let message = format_args!("`{}` is not an interface name", text::escape(written.as_bytes()));
        reader.error(value, message, "see `ip link` for names such as eno2");
        return None;
    }
    Some(written)
}
