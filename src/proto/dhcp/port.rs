//! Switch ports: what option 82 says, in the words a technician would write.
//!
//! A relay or a snooping switch names the port in the circuit-id (82.1) and itself in the remote-id
//! (82.2). Both are opaque (RFC 3046); what the common vendors put there is read here, and
//! everything is readable as hexadecimal.
//!
//! | who | circuit-id | written as |
//! |---|---|---|
//! | Huawei, Linux' relays, Cumulus with `use-pif-circuit-id` | text: `swp7`, `Ethernet 1/7` | the text, and its last word |
//! | Juniper | `ge-0/0/7.0:v10` | the text, what stands before its `:`, and that without the unit: `ge-0/0/7` |
//! | Linux' bridges | `swp7:br10`, `port 3 vlan 7` | the text, and its part without the bridge or the VLAN |
//! | SONiC, ISC's relay with `%h:%p` | `leaf1:Ethernet4:Vlan100`, `leaf1:Ethernet4` | `Ethernet4` of switch `leaf1` |
//! | TR-101 (Edgecore, Eltex, D-Link) | `leaf1 eth 0/1/12:20` | `0/1/12` of switch `leaf1` |
//! | Cisco IOS | `00 04`, VLAN (2), module (1), port (1) | `1/7`: module and port |
//! | Cisco IOS, Arista (format string) | `01`, length, text | as that text |
//! | HPE, Aruba (ProCurve) | port number (2) | `7` |
//! | Cumulus as it comes | `vlan10` at every port | the text, which names no port ([`names_a_vlan`]) |
//! | anybody | any bytes | `0x0004000a0107` |
//!
//! A remote-id is a text, a MAC (bare, or behind Cisco's `00 06`), or hexadecimal.

use super::RelayAgent;
use crate::model::MacAddr;

impl RelayAgent {
    /// The best way of writing who a remote-id says the switch is.
    pub fn switch_name(remote_id: &[u8]) -> Option<String> {
        switch(remote_id).into_iter().next()
    }

    /// Every way of writing the port that the request came from, best first: `SWITCH/PORT` where
    /// the switch is named, then `PORT` alone. Empty where no port is named.
    pub fn ports(&self) -> Vec<String> {
        let Circuit { switch: named, ports } = self.circuit_id.as_deref().map(circuit).unwrap_or_default();
        let remote = self.remote_id.as_deref().map(switch).unwrap_or_default();
        let switches = named.iter().chain(&remote);
        // A part of a text may be the switch itself, whose every port would be it.
        let is_switch = |port: &String| switches.clone().any(|switch| switch.eq_ignore_ascii_case(port));
        let circuits: Vec<&String> = ports.iter().filter(|port| !is_switch(port)).collect();
        let whole = switches
            .clone()
            .flat_map(|switch| circuits.iter().map(move |circuit| format!("{switch}/{circuit}")));
        let mut ports: Vec<String> = whole.collect();
        ports.extend(circuits.into_iter().cloned());
        ports
    }
}

/// Whether a port, with its switch or without, is a VLAN's name: some switches say that of all their ports.
pub fn names_a_vlan(port: &str) -> bool {
    let name = port.rsplit('/').next().unwrap_or(port).to_ascii_lowercase();
    name.strip_prefix("vlan").is_some_and(is_number)
}

fn is_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '_', ' ']);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a circuit-id says.
#[derive(Default)]
struct Circuit {
    /// The switch, where it names itself there.
    switch: Option<String>,
    /// Ways of writing the port, best first.
    ports: Vec<String>,
}

fn circuit(body: &[u8]) -> Circuit {
    let mut circuit = Circuit::default();
    if let Some(text) = printable(body).or_else(|| format_string(body)) {
        let (switch, parts) = taken_apart(&text);
        circuit.switch = switch.map(str::to_owned);
        circuit.ports = parts.iter().map(|part| (*part).to_owned()).collect();
        circuit.ports.extend(parts.iter().filter_map(|part| without_unit(part)));
        circuit.ports.extend(without_unit(&text));
        // With the switch in it the whole is its name for the port, and no word that people use.
        let place = if switch.is_some() { circuit.ports.len() } else { 0 };
        circuit.ports.insert(place, text);
    }
    match *body {
        [0, 4, _, _, module, port] => circuit.ports.push(format!("{module}/{port}")),
        [high, low] => circuit.ports.push(u16::from_be_bytes([high, low]).to_string()),
        _ => {}
    }
    circuit.ports.extend(hexadecimal(body));
    circuit
}

/// The switch in a text, where it is there, and the port in it, where that is not the whole.
fn taken_apart(text: &str) -> (Option<&str>, Vec<&str>) {
    let words: Vec<&str> = text.split_whitespace().collect();
    match *without_vlan(&words) {
        [] => return (None, Vec::new()),
        [node, "eth" | "atm", port] => return (Some(node), vec![before_colon(port)]),
        [.., last] if words.len() > 1 => return (None, vec![before_colon(last)]),
        _ => {}
    }
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        // Of the switch's interface in the VLAN, which all its ports have in common.
        [first, vlan] if names_a_vlan(vlan) && !is_surely_a_port(first) => (Some(first), Vec::new()),
        [first, port, _] | [first, port] if looks_like_a_port(port) && !is_surely_a_port(first) => {
            (Some(first), vec![port])
        }
        [first, _] if !first.is_empty() => (None, vec![first]),
        [_, _, ..] => (None, text.rsplit_once(':').map(|(port, _)| port).into_iter().collect()),
        _ => (None, Vec::new()),
    }
}

/// The words in front of a VLAN that the text ends with: in `port 3 vlan 7` and `swp7 vlan10` they name the
/// port, in `VLAN 7` there are none.
fn without_vlan<'w, 't>(words: &'w [&'t str]) -> &'w [&'t str] {
    let means_vlan = |word: &str| {
        let word = word.trim_end_matches([':', '=']).to_ascii_lowercase();
        matches!(word.as_str(), "vlan" | "vlan-id" | "vlanid" | "vid")
    };
    match words {
        [front @ .., vlan, "id" | "ID" | "Id", _] if means_vlan(vlan) => front,
        [front @ .., vlan, _] if means_vlan(vlan) => front,
        [front @ .., last] if names_a_vlan(last) => front,
        _ => words,
    }
}

fn before_colon(text: &str) -> &str {
    text.split(':').next().unwrap_or(text)
}

/// `Ethernet4`, `swp7`: letters, then digits, and no VLAN or bridge, whose name others have in this place.
fn looks_like_a_port(text: &str) -> bool {
    let digits = text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    let is_vlan = names_a_vlan(text) || BRIDGES.iter().any(|bridge| is_numbered(text, bridge));
    let is_digits = |c: char| c.is_ascii_digit() || matches!(c, '/' | '.' | '-' | '_');
    digits.len() < text.len()
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(is_digits)
        && !is_vlan
}

/// What bridges and VLANs are called, with a number behind it.
const BRIDGES: [&str; 6] = ["v", "br", "bridge", "vmbr", "irb", "bvi"];

/// What ports are called, with a number behind it, where no `/` tells them from a switch.
const INTERFACES: [&str; 21] = [
    "ether",
    "ge",
    "gi",
    "te",
    "fa",
    "xe",
    "et",
    "sfp",
    "ethernet",
    "eth",
    "swp",
    "eno",
    "ens",
    "enp",
    "em",
    "lan",
    "port",
    "portchannel",
    "port-channel",
    "bond",
    "ae",
];

/// `ge-0/0/7.0`, `ae0.0`, `Ethernet7`: no host's name has a slash or ends with a number behind a dot, and
/// none is called as the interfaces of every switch are.
fn is_surely_a_port(text: &str) -> bool {
    text.contains('/') || without_unit(text).is_some() || INTERFACES.iter().any(|name| is_numbered(text, name))
}

/// Whether a text is `name` with a number behind it, and perhaps more: `swp1s0`, `eth0.100`.
fn is_numbered(text: &str, name: &str) -> bool {
    let start = text.get(..name.len()).filter(|start| start.eq_ignore_ascii_case(name));
    start.is_some() && text.as_bytes().get(name.len()).is_some_and(u8::is_ascii_digit)
}

/// Juniper's `.0` behind a port is the logical unit on it, which people do not say; behind `ge-0/0/7` any
/// number is. Linux' `eth0.100` is another interface than `eth0`.
fn without_unit(text: &str) -> Option<String> {
    let (port, unit) = text.rsplit_once('.')?;
    let has_place = port.rsplit_once('/').is_some_and(|(_, last)| is_number(last));
    let is_unit = unit == "0" || (has_place && is_number(unit));
    let has_letters = port.bytes().any(|byte| byte.is_ascii_alphabetic());
    (is_unit && has_letters && !port.contains(':')).then(|| port.to_owned())
}

/// Ways of writing a remote-id, best first.
fn switch(body: &[u8]) -> Vec<String> {
    let mac = match *body {
        [0, 6, a, b, c, d, e, f] | [a, b, c, d, e, f] => Some(MacAddr([a, b, c, d, e, f]).to_string()),
        _ => None,
    };
    let text = printable(body).or_else(|| format_string(body));
    text.into_iter().chain(mac).chain(hexadecimal(body)).collect()
}

fn printable(body: &[u8]) -> Option<String> {
    let is_text = !body.is_empty() && body.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    is_text.then(|| String::from_utf8_lossy(body).trim().to_owned())
}

/// Type 1: a text behind its length.
fn format_string(body: &[u8]) -> Option<String> {
    match body {
        [1, length, text @ ..] if usize::from(*length) == text.len() => printable(text),
        _ => None,
    }
}

fn hexadecimal(body: &[u8]) -> Option<String> {
    let digits: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    (!digits.is_empty()).then(|| format!("0x{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(circuit: &[u8], remote: &[u8]) -> Vec<String> {
        let some = |body: &[u8]| (!body.is_empty()).then(|| body.to_vec());
        let agent = RelayAgent {
            circuit_id: some(circuit),
            remote_id: some(remote),
            ..RelayAgent::default()
        };
        agent.ports()
    }

    #[test]
    fn texts_are_taken_as_they_are_and_without_the_vlan_behind_them() {
        assert_eq!(
            ports(b"ge-0/0/7.0:v10", b"sw7"),
            [
                "sw7/ge-0/0/7.0:v10",
                "sw7/ge-0/0/7.0",
                "sw7/ge-0/0/7",
                "sw7/0x67652d302f302f372e303a763130",
                "0x737737/ge-0/0/7.0:v10",
                "0x737737/ge-0/0/7.0",
                "0x737737/ge-0/0/7",
                "0x737737/0x67652d302f302f372e303a763130",
                "ge-0/0/7.0:v10",
                "ge-0/0/7.0",
                "ge-0/0/7",
                "0x67652d302f302f372e303a763130",
            ]
        );
    }

    #[test]
    fn ciscos_module_and_port_and_the_switchs_mac_are_read() {
        let spellings = ports(&[0, 4, 0, 10, 1, 7], &[0, 6, 0xaa, 0xbb, 0xcc, 0, 1, 2]);
        assert_eq!(spellings[0], "aa:bb:cc:00:01:02/1/7");
        assert!(spellings.contains(&"1/7".to_owned()));
        assert!(spellings.contains(&"0x0004000a0107".to_owned()));
        assert_eq!(ports(b"\x01\x05Gi1/7", b"\x01\x03sw7")[0], "sw7/Gi1/7");
    }

    #[test]
    fn what_switches_write_today_is_the_port_that_people_say() {
        let spellings = |circuit: &str, remote: &[u8]| ports(circuit.as_bytes(), remote);
        for (circuit, wanted) in [
            ("leaf1:Ethernet4:Vlan100", &["leaf1/Ethernet4", "Ethernet4"][..]),
            ("leaf1:Ethernet4", &["leaf1/Ethernet4", "Ethernet4"]),
            ("ge-1/0/1.0:43", &["ge-1/0/1", "ge-1/0/1.0", "ge-1/0/1.0:43"]),
            ("ge-0/0/7.0:prod1", &["ge-0/0/7"]),
            ("ae0.0:v10", &["ae0"]),
            ("ge-4/1/1:100-200", &["ge-4/1/1"]),
            ("leaf1 eth 0/1/12:20", &["leaf1/0/1/12", "0/1/12"]),
            ("GigabitEthernet 1/0/7", &["1/0/7", "GigabitEthernet 1/0/7"]),
            ("swp7", &["swp7"]),
            ("eth0:servers", &["eth0"]),
            ("Ethernet7:prod1", &["Ethernet7"]),
            ("swp7:br10", &["swp7"]),
            ("swp1s0:br10", &["swp1s0"]),
            ("eth0:bond0", &["eth0"]),
            ("eth0.100:prod1", &["eth0.100"]),
            ("sw-7:eth0", &["sw-7/eth0", "eth0"]),
            ("leaf1:PortChannel3:Vlan100", &["leaf1/PortChannel3", "PortChannel3"]),
            ("port 3 vlan 7", &["3", "port 3 vlan 7"]),
            ("GigabitEthernet 1/0/7 VLAN: 20", &["1/0/7"]),
            ("leaf1 eth 0/1/12 vlan id 20", &["leaf1/0/1/12", "0/1/12"]),
            ("swp7 vlan10", &["swp7"]),
            ("ether7:vlan10", &["ether7"]),
            ("swp7:vlan10", &["swp7"]),
            ("ge-0/0/7.100", &["ge-0/0/7", "ge-0/0/7.100"]),
        ] {
            let spellings = spellings(circuit, &[]);
            for port in wanted {
                assert!(
                    spellings.iter().any(|way| way == port),
                    "{circuit}: {port}: {spellings:?}"
                );
            }
        }
        // Its own name is no port of it, wherever it says it.
        for (circuit, remote) in [
            ("leaf1:Ethernet4:Vlan100", &b"leaf1"[..]),
            ("leaf1:Ethernet4:Vlan100", b"\xaa\xbb\xcc\x00\x01\x02"),
            ("leaf1:Ethernet4", b""),
            ("leaf1 eth 0/1/12:20", b""),
            ("leaf1:uplink", b"leaf1"),
        ] {
            let spellings = spellings(circuit, remote);
            assert!(
                !spellings.iter().any(|way| way == "leaf1" || way.ends_with("/leaf1")),
                "{circuit}: {spellings:?}"
            );
        }
    }

    #[test]
    fn what_many_ports_have_in_common_is_none_of_them() {
        for (circuit, common) in [
            ("VLAN 7", "7"),
            ("vlan 7", "7"),
            ("port 3 vlan 7", "7"),
            ("GigabitEthernet 1/0/7 VLAN: 20", "20"),
            ("leaf1 eth 0/1/12 vlan id 20", "20"),
            ("swp7 vlan10", "vlan10"),
            ("Ethernet7:prod1", "prod1"),
            ("swp7:br10", "br10"),
            ("sw7:br10", "br10"),
            ("eth0:bond0", "bond0"),
            ("leaf1:Ethernet4:Vlan100", "Vlan100"),
            ("leaf1:Vlan100", "Vlan100"),
            ("leaf1:Vlan100", "leaf1"),
            ("sw-7:vlan10", "sw-7"),
            // An interface of a VLAN on it is not that port.
            ("eth0.100", "eth0"),
            ("leaf1/eth0.100", "leaf1/eth0"),
        ] {
            let spellings = ports(circuit.as_bytes(), &[]);
            let is_common = |way: &String| way == common || way.ends_with(&format!("/{common}"));
            assert!(!spellings.iter().any(is_common), "{circuit}: {spellings:?}");
        }
        // The whole stays, for the log and for who lists it.
        assert_eq!(ports(b"VLAN 7", &[]), ["VLAN 7", "0x564c414e2037"]);
    }

    #[test]
    fn a_vlan_is_told_from_a_port() {
        for port in ["vlan10", "leaf1/Vlan100", "VLAN 7"] {
            assert!(names_a_vlan(port), "{port}");
        }
        for port in ["swp7", "Ethernet4", "vlan", "vlanx1", "10"] {
            assert!(!names_a_vlan(port), "{port}");
        }
    }

    #[test]
    fn a_port_number_of_two_bytes_is_a_number() {
        assert_eq!(ports(&[0, 24], &[])[0], "24");
        assert_eq!(ports(&[0, 24], &[0xaa, 0xbb, 0xcc, 0, 1, 2])[0], "aa:bb:cc:00:01:02/24");
    }

    #[test]
    fn where_no_port_is_named_there_is_none() {
        assert!(ports(&[], b"sw7").is_empty());
    }
}
