//! Switch ports: what option 82 says, in the words a technician would write.
//!
//! A relay or a snooping switch names the port in the circuit-id (82.1) and itself in the remote-id
//! (82.2). Both are opaque (RFC 3046); what the common vendors put there is read here, and
//! everything is readable as hexadecimal.
//!
//! | who | circuit-id | written as |
//! |---|---|---|
//! | Arista, Huawei, Juniper, ISC's and Linux's relays | text: `Ethernet7`, `ge-0/0/7.0:v10`, `eth0` | the text, or what stands before its `:` |
//! | Cisco IOS | `00 04`, VLAN (2), module (1), port (1) | `1/7`: module and port |
//! | Cisco IOS, Arista (format string) | `01`, length, text | the text |
//! | HPE, Aruba (ProCurve) | port number (2) | `7` |
//! | anybody | any bytes | `0x0004000a0107` |
//!
//! A remote-id is a text, a MAC (bare, or behind Cisco's `00 06`), or hexadecimal.

use super::RelayAgent;
use crate::model::MacAddr;

impl RelayAgent {
    /// Every way of writing the port that the request came from, best first: `SWITCH/PORT` where
    /// the switch is named, then `PORT` alone. Empty where no port is named.
    pub fn ports(&self) -> Vec<String> {
        let circuits = self.circuit_id.as_deref().map(circuit).unwrap_or_default();
        let switches = self.remote_id.as_deref().map(switch).unwrap_or_default();
        let whole = switches
            .iter()
            .flat_map(|switch| circuits.iter().map(move |circuit| format!("{switch}/{circuit}")));
        let mut ports: Vec<String> = whole.collect();
        ports.extend(circuits);
        ports
    }
}

/// Ways of writing a circuit-id, best first.
fn circuit(body: &[u8]) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(text) = printable(body).or_else(|| format_string(body)) {
        let before_vlan = text.split(':').next().filter(|port| !port.is_empty() && *port != text);
        said.extend(before_vlan.map(str::to_owned));
        said.insert(0, text);
    }
    match *body {
        [0, 4, _, _, module, port] => said.push(format!("{module}/{port}")),
        [high, low] => said.push(u16::from_be_bytes([high, low]).to_string()),
        _ => {}
    }
    said.extend(hexadecimal(body));
    said
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
                "sw7/0x67652d302f302f372e303a763130",
                "0x737737/ge-0/0/7.0:v10",
                "0x737737/ge-0/0/7.0",
                "0x737737/0x67652d302f302f372e303a763130",
                "ge-0/0/7.0:v10",
                "ge-0/0/7.0",
                "0x67652d302f302f372e303a763130",
            ]
        );
    }

    #[test]
    fn ciscos_module_and_port_and_the_switchs_mac_are_read() {
        let said = ports(&[0, 4, 0, 10, 1, 7], &[0, 6, 0xaa, 0xbb, 0xcc, 0, 1, 2]);
        assert_eq!(said[0], "aa:bb:cc:00:01:02/1/7");
        assert!(said.contains(&"1/7".to_owned()));
        assert!(said.contains(&"0x0004000a0107".to_owned()));
        assert_eq!(ports(b"\x01\x05Gi1/7", b"\x01\x03sw7")[0], "sw7/Gi1/7");
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
