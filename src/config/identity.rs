//! How a host is recognised, as the inventory writes it: its interfaces, and what names it where it lists
//! none. What can name no machine, or any of a thousand, is refused here.

use super::{
    causes::{CausesByMachine, Whose},
    decode::{self, Fields, Reader, Value},
    problems::Problems,
};
use crate::boot::snapshot::{Host, Sourced, Var};
use crate::model::{
    BootTarget, HardwareAddr, MacAddr, MacError, Uuid, is_placeholder_serial, limits::CLIENT_ID_BYTES_MAX, text,
};
use crate::proto::dhcp::names_a_vlan;
use std::fmt;
use toml::de::DeValue;

/// What a host is known by.
pub(super) struct HostIdentity {
    pub(super) macs: Vec<Sourced<MacAddr>>,
    /// Interfaces without a MAC.
    pub(super) links: Vec<Sourced<HardwareAddr>>,
    pub(super) uuid: Option<Sourced<Uuid>>,
    pub(super) serial: Option<Sourced<String>>,
    pub(super) port: Option<Sourced<String>>,
    /// Something was written, sound or not.
    pub(super) is_given: bool,
}

/// The keys that name a machine.
const KEYS: [&str; 5] = ["mac", "client_id", "uuid", "serial", "port"];

/// Reads them.
pub(super) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> HostIdentity {
    let mut identity = HostIdentity {
        macs: Vec::new(),
        links: Vec::new(),
        uuid: None,
        serial: None,
        port: None,
        is_given: false,
    };
    for Sourced { value, origin } in fields.take_all(reader, "mac", interface) {
        match value {
            MacEntry::Mac(value) => identity.macs.push(Sourced { value, origin }),
            MacEntry::Port(value) => identity.links.push(Sourced { value, origin }),
        }
    }
    identity.links.extend(fields.take_all(reader, "client_id", client_id));
    identity.uuid = fields.take(reader, "uuid", uuid);
    identity.serial = fields.take(reader, "serial", serial);
    identity.port = fields.take(reader, "port", port);
    let is_given = |value: &Value<'_>| !matches!(value.get_ref(), DeValue::Array(items) if items.is_empty());
    identity.is_given = KEYS.iter().any(|key| fields.value(key).is_some_and(is_given));
    identity
}

/// An entry of `mac`.
enum MacEntry {
    Mac(MacAddr),
    /// Of InfiniBand.
    Port(HardwareAddr),
}

fn interface(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<MacEntry> {
    let written = decode::text(reader, value)?;
    let parsed: Result<MacAddr, MacError> = written.parse();
    let mac = match (parsed, written.parse::<HardwareAddr>()) {
        (Ok(mac), _) => mac,
        (Err(_), Ok(port)) if port.as_bytes().iter().all(|byte| *byte == 0) => {
            reader.error(value, "this GUID is all zeros, and no port's", "");
            return None;
        }
        (Err(_), Ok(port)) => return Some(MacEntry::Port(port)),
        (Err(error), Err(_)) => {
            reader.error(value, error, "");
            return None;
        }
    };
    if mac.is_multicast() || mac.0 == [0; 6] {
        let message = format_args!("{mac} can't be a machine's MAC address");
        reader.error(
            value,
            message,
            "multicast, broadcast and all-zero addresses belong to no interface",
        );
        return None;
    }
    Some(MacEntry::Mac(mac))
}

/// Option 61 of a client without a hardware address, in hexadecimal digits with or without colons.
fn client_id(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<HardwareAddr> {
    let written = decode::text(reader, value)?;
    let digits = written.replace([':', '-'], "");
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let is_hexadecimal = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let identifier: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(pair).collect();
    match identifier.filter(|bytes| is_hexadecimal && (2..=CLIENT_ID_BYTES_MAX).contains(&bytes.len())) {
        Some(identifier) => Some(HardwareAddr::of_client_identifier(&identifier)),
        None => {
            let message = format_args!("`{}` is not a client identifier", text::escape(written.as_bytes()));
            let help = "write option 61's bytes as ff:00:00:00:01:00:03:00:20:...";
            reader.error(value, message, help);
            None
        }
    }
}

fn uuid(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Uuid> {
    let uuid: Uuid = decode::parsed(reader, value)?;
    if uuid.is_placeholder() {
        placeholder(reader, value, format_args!("the UUID {uuid}"));
        return None;
    }
    Some(uuid)
}

fn serial(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let serial = decode::some_text(reader, value)?;
    if is_placeholder_serial(&serial) {
        placeholder(
            reader,
            value,
            format_args!("the serial number `{}`", text::escaped(&serial)),
        );
        return None;
    }
    Some(serial)
}

fn placeholder(reader: &mut Reader<'_>, value: &Value<'_>, what: fmt::Arguments<'_>) {
    let message = format_args!("{what} is what makers leave on thousands of boards, and identifies no machine");
    reader.error(value, message, "take it out, and name the host by its `mac`");
}

fn port(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let port = decode::some_text(reader, value)?;
    if names_a_vlan(&port) {
        let message = format_args!(
            "`{}` names a VLAN, and all of its ports: every machine there has it",
            text::escape(port.as_bytes())
        );
        let help = "let the switch say the port in option 82 (Cumulus: dhcrelay with use-pif-circuit-id)";
        reader.problems.warn(&reader.origin(value), message, help);
    }
    Some(port)
}

/// Says which hosts install, or are given secrets, by no more than what their machines say of themselves.
pub(super) fn warn_of_claims(hosts: &[Host], problems: &mut Problems) {
    let (mut installed, mut told) = (CausesByMachine::default(), CausesByMachine::default());
    for host in hosts
        .iter()
        .filter(|host| !host.lists_hardware() && host.port.is_none())
    {
        let settings = &host.settings;
        let installs = settings.boot.as_ref().filter(|boot| boot.value == BootTarget::Install);
        let is_secret = |var: &&Sourced<Var>| matches!(var.value, Var::Secret(_));
        let secret = settings.vars.values().find(is_secret);
        match (installs, secret) {
            (Some(boot), _) => installed.add(boot.origin.clone(), Whose::Host(&host.name)),
            (None, Some(secret)) => told.add(secret.origin.clone(), Whose::Host(&host.name)),
            (None, None) => {}
        }
    }
    let summaries = [(installed, "installs"), (told, "has secrets")];
    let all = summaries
        .into_iter()
        .flat_map(|(causes, what)| causes.into_summaries().map(move |cause| (cause, what)));
    for ((origin, whose), what) in all {
        let message = format_args!(
            "{whose} {what} and is known by its UUID or serial number alone: a machine that says the same gets all that is \
             its own, secrets and installs too"
        );
        let help =
            "list its `mac` as well, or the switch `port` that it is at: anybody may say a UUID or a serial number";
        problems.warn(&origin, message, help);
    }
}
