//! `ports_from` of a subnet: which relays and switches are trusted to report switch ports (option 82) there.

use super::decode::{self, Fields, Reader, Value};
use crate::boot::snapshot::{PortsFrom, Sourced};
use crate::model::{Cidr, text};
use std::net::Ipv4Addr;
use toml::de::DeValue;

/// What the subnet says; `None` where it says nothing.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> Option<PortsFrom> {
    let written = fields.value("ports_from")?;
    let is_empty = matches!(written.get_ref(), DeValue::Array(sources) if sources.is_empty());
    let sources = fields.take_all(reader, "ports_from", port_source);
    let read = all_of(sources);
    Some(match read.is_nobody() && !is_empty {
        // Nothing in it can be read: that no relay is believed now would be a second error of the same cause.
        true => PortsFrom { switches: true, ..read },
        false => read,
    })
}

/// One of `ports_from`: a relay's address, a network of them, or the word for switches, which is `None`.
fn port_source(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Option<Cidr>> {
    let written = decode::text(reader, value)?;
    let relay = match written.parse::<Ipv4Addr>() {
        Ok(address) => Some(Cidr::containing(address, 32)),
        Err(_) => written.parse::<Cidr>().ok(),
    };
    if relay.is_none() && written != SWITCH {
        let message = format_args!(
            "`{}` is no relay's address and not \"switch\"",
            text::escape(written.as_bytes())
        );
        let help = "write ports_from = [\"192.0.2.254\"] for a relay that tells switch ports (option 82), a network of \
                    them as \"10.0.0.0/24\", or \"switch\" for switches on this wire that add it themselves";
        reader.error(value, message, help);
        return None;
    }
    Some(relay)
}

/// `ports_from`'s word for switches that add option 82 without a relay.
const SWITCH: &str = "switch";

fn all_of(sources: Vec<Sourced<Option<Cidr>>>) -> PortsFrom {
    PortsFrom {
        switches: sources.iter().any(|source| source.value.is_none()),
        relays: sources.into_iter().filter_map(|source| source.value).collect(),
    }
}
