//! Option 82, the relay agent's information (RFC 3046): kept byte for byte, read where it decides.

use super::wire;
use std::net::Ipv4Addr;

/// Sub-option codes.
const CIRCUIT_ID: u8 = 1;
const REMOTE_ID: u8 = 2;
const LINK_SELECTION: u8 = 5;
const SERVER_ID_OVERRIDE: u8 = 11;
const SOURCE_PORT: u8 = 19;

/// What a relay added to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayAgent {
    /// The whole body, to be echoed as it came.
    pub raw: Vec<u8>,
    /// Sub-option 1: the switch port, in the switch's own encoding.
    pub circuit_id: Option<Vec<u8>>,
    /// Sub-option 2: the switch, in its own encoding.
    pub remote_id: Option<Vec<u8>>,
    /// Sub-option 5 (RFC 3527): an address of the subnet the client is on.
    pub link_selection: Option<Ipv4Addr>,
    /// Sub-option 11 (RFC 5107): what option 54 must say, so that renewals go through the relay.
    pub server_id_override: Option<Ipv4Addr>,
    /// Sub-option 19 (RFC 8357) is there: answer the port the relay sent from.
    pub answers_to_source_port: bool,
}

impl RelayAgent {
    /// Reads option 82's body. A sub-option of the wrong length says nothing.
    pub(super) fn read(body: &[u8]) -> RelayAgent {
        let mut agent = RelayAgent {
            raw: body.to_vec(),
            ..RelayAgent::default()
        };
        for (code, value) in wire::sub_options(body) {
            match code {
                CIRCUIT_ID => agent.circuit_id = Some(value.to_vec()),
                REMOTE_ID => agent.remote_id = Some(value.to_vec()),
                LINK_SELECTION => agent.link_selection = address(value),
                SERVER_ID_OVERRIDE => agent.server_id_override = address(value),
                SOURCE_PORT => agent.answers_to_source_port = true,
                _ => {}
            }
        }
        agent
    }
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = value.try_into().ok()?;
    Some(Ipv4Addr::from(octets)).filter(|address| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sub_option_that_decides_is_read_and_the_body_kept() {
        let body = [
            1, 2, b'e', b'1', 2, 1, b's', 5, 4, 192, 0, 2, 0, 11, 4, 192, 0, 2, 254, 19, 0, 200, 1, 9,
        ];
        let agent = RelayAgent::read(&body);
        assert_eq!(agent.raw, body);
        assert_eq!(agent.circuit_id.as_deref(), Some(&b"e1"[..]));
        assert_eq!(agent.remote_id.as_deref(), Some(&b"s"[..]));
        assert_eq!(agent.link_selection, Some(Ipv4Addr::new(192, 0, 2, 0)));
        assert_eq!(agent.server_id_override, Some(Ipv4Addr::new(192, 0, 2, 254)));
        assert!(agent.answers_to_source_port);
    }

    #[test]
    fn a_sub_option_of_the_wrong_length_says_nothing() {
        let agent = RelayAgent::read(&[5, 3, 192, 0, 2, 11, 9]);
        assert_eq!(agent.link_selection, None);
        assert_eq!(agent.server_id_override, None);
    }
}
