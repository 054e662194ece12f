//! Link-layer addresses: the MAC a host is listed by, and the wider field DHCP carries.

use super::hex;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// An Ethernet address of 6 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

/// Why a text is not a MAC address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacError(String);

impl fmt::Display for MacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MacError {}

impl MacAddr {
    /// A multicast or broadcast address: no machine can own one.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// `52-54-00-00-00-07`: the form used in paths and as a name.
    pub fn hyphenated(self) -> String {
        self.text(b'-').as_str().to_owned()
    }

    fn text(self, separator: u8) -> hex::HexText {
        hex::HexText::new(&self.0, separator, hex::EVERY_BYTE)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(b':').as_str())
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for MacAddr {
    type Err = MacError;

    /// Reads `52:54:00:00:00:07`, `52-54-00-00-00-07`, Cisco's `5254.0000.0007` and bare
    /// `525400000007`, in either case; never a mixture.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || {
            MacError(format!(
                "`{}` is not a MAC address; write it as 52:54:00:00:00:07",
                crate::model::text::escape(text.as_bytes())
            ))
        };
        let separator = text
            .bytes()
            .find(|byte| matches!(byte, b':' | b'-' | b'.'))
            .unwrap_or(b':');
        let breaks: &[usize] = match text.len() {
            12 => &[],
            14 => &[4, 8],
            _ => &hex::EVERY_BYTE[..5],
        };
        hex::bytes(text, separator, breaks).map(MacAddr).ok_or_else(malformed)
    }
}

impl Serialize for MacAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A client hardware address as DHCP carries it, also known as `htype`, `hlen` and `chaddr`
/// (RFC 2131): at most 16 bytes, whatever length the packet claims.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HardwareAddr {
    htype: u8,
    len: u8,
    bytes: [u8; 16],
}

/// Ethernet's hardware type (RFC 1700).
const ETHERNET: u8 = 1;
/// InfiniBand's (RFC 4391), whose addresses are too long for DHCP's field.
const INFINIBAND: u8 = 32;
/// That of a client which is known by its client identifier alone: a reserved number.
const BY_IDENTIFIER: u8 = 0;
/// A GUID's length.
const GUID_BYTES: usize = 8;
/// After how many digits a byte of an InfiniBand address ends.
const EVERY_BYTE_OF_20: [usize; 19] = [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38];

impl HardwareAddr {
    /// The address in a packet's fixed fields. `hlen` over 16 is cut to 16: firmware with broken
    /// headers still has a MAC in front, and nothing may panic on it.
    pub fn from_wire(htype: u8, hlen: u8, chaddr: [u8; 16]) -> HardwareAddr {
        let len = hlen.min(16);
        let mut bytes = [0; 16];
        bytes[..usize::from(len)].copy_from_slice(&chaddr[..usize::from(len)]);
        HardwareAddr { htype, len, bytes }
    }

    /// The hardware type (1 is Ethernet).
    pub fn htype(&self) -> u8 {
        self.htype
    }

    /// The bytes that count.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The MAC, when this is an address of 6 bytes that a machine can own. Whatever hardware type is claimed
    /// of: iPXE on InfiniBand says InfiniBand, and has the MAC that the card would have on Ethernet.
    pub fn mac(&self) -> Option<MacAddr> {
        let bytes: [u8; 6] = self.as_bytes().try_into().ok()?;
        let mac = MacAddr(bytes);
        (!mac.is_multicast() && bytes != [0; 6]).then_some(mac)
    }

    /// Whether an Ethernet frame can be addressed to it.
    pub fn takes_frames(&self) -> bool {
        self.htype == ETHERNET && self.mac().is_some()
    }

    /// The port of an InfiniBand card with that GUID.
    pub fn of_guid(guid: [u8; GUID_BYTES]) -> HardwareAddr {
        let mut bytes = [0; 16];
        bytes[..GUID_BYTES].copy_from_slice(&guid);
        HardwareAddr {
            htype: INFINIBAND,
            len: 8,
            bytes,
        }
    }

    /// What stands for a client that sends no hardware address and is known by its client identifier
    /// (option 61; RFC 4390): the GUID of its InfiniBand port where that is in there, else a digest of all
    /// of it, which is no address of any kind.
    pub fn of_client_identifier(identifier: &[u8]) -> HardwareAddr {
        match guid_in(identifier) {
            Some(guid) => HardwareAddr::of_guid(guid),
            None => HardwareAddr {
                htype: BY_IDENTIFIER,
                len: 16,
                bytes: digest(identifier).to_be_bytes(),
            },
        }
    }

    /// The MAC that an InfiniBand port shows where an Ethernet address is wanted, as iPXE does: a Mellanox
    /// GUID without the two bytes in its middle.
    pub fn mac_of_guid(&self) -> Option<MacAddr> {
        match (self.htype, self.as_bytes()) {
            (INFINIBAND, &[a, b, c, 0x03, 0x00, d, e, f] | &[a, b, c, 0xff, 0xfe, d, e, f]) => {
                Some(MacAddr([a, b, c, d, e, f]))
            }
            (_, _) => None,
        }
    }

    /// `ec-0d-9a-03-00-9c-81-e2`: the form used as a name.
    pub fn hyphenated(&self) -> String {
        hex::HexText::new(self.as_bytes(), b'-', hex::EVERY_BYTE)
            .as_str()
            .to_owned()
    }
}

/// The GUID in a client identifier of InfiniBand. RFC 4361's (type 255, four bytes of the interface and a
/// DUID) has it at its end where the DUID is a link-layer address of InfiniBand, or where it is Mellanox'
/// own; an older one is the hardware type and the address.
fn guid_in(identifier: &[u8]) -> Option<[u8; GUID_BYTES]> {
    let address = match identifier {
        [255, _, _, _, _, 0, 3, 0, INFINIBAND, address @ ..]
        | [255, _, _, _, _, 0, 1, 0, INFINIBAND, _, _, _, _, address @ ..]
        | [255, _, _, _, _, 0, 2, 0, 0, 0x02, 0xc9, address @ ..]
        | [INFINIBAND, address @ ..] => address,
        _ => return None,
    };
    address.last_chunk().copied()
}

/// FNV-1a in 128 bits: the same at every start, which the lease on disk needs.
fn digest(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes
        .iter()
        .fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

/// The address of an InfiniBand port as `ip link` shows it, 20 bytes of which the last 8 are its GUID, or the
/// GUID alone.
impl FromStr for HardwareAddr {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let separator = text.bytes().find(|byte| matches!(byte, b':' | b'-')).unwrap_or(b':');
        let whole: &[usize] = &EVERY_BYTE_OF_20;
        let breaks = |bytes: usize| match text.len() == 2 * bytes {
            true => &[][..],
            false => &whole[..bytes - 1],
        };
        let guid = hex::bytes::<GUID_BYTES>(text, separator, breaks(GUID_BYTES));
        let address = || hex::bytes::<20>(text, separator, breaks(20))?.last_chunk().copied();
        guid.or_else(address).map(HardwareAddr::of_guid).ok_or_else(|| {
            MacError(format!(
                "`{}` is not an address of InfiniBand; write its GUID as ec:0d:9a:03:00:9c:81:e2",
                crate::model::text::escape(text.as_bytes())
            ))
        })
    }
}

impl From<MacAddr> for HardwareAddr {
    fn from(mac: MacAddr) -> Self {
        let mut chaddr = [0; 16];
        chaddr[..6].copy_from_slice(&mac.0);
        HardwareAddr::from_wire(ETHERNET, 6, chaddr)
    }
}

impl Serialize for HardwareAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for HardwareAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.htype, self.len) {
            (ETHERNET, _) => {}
            (INFINIBAND, 8) => f.write_str("guid/")?,
            (BY_IDENTIFIER, 16) => f.write_str("client-id/")?,
            (htype, _) => write!(f, "htype{htype}/")?,
        }
        f.write_str(hex::HexText::new(self.as_bytes(), b':', hex::EVERY_BYTE).as_str())
    }
}

impl fmt::Debug for HardwareAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_common_notation_names_the_same_machine() {
        let expected = MacAddr([0x52, 0x54, 0, 0xab, 0, 7]);
        for text in [
            "52:54:00:ab:00:07",
            "52-54-00-AB-00-07",
            "5254.00ab.0007",
            "525400AB0007",
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_malformed_address_is_refused_and_shown_escaped() {
        for text in [
            "",
            "52:54:00:ab:00",
            "52:54-00:ab:00:07",
            "52:54:00:ab:00:0g",
            "5:254:00:ab:00:07",
            "é2:54:00:ab:00:07",
            "+254.00ab.0007",
        ] {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
        let error = "\x1b[31m".parse::<MacAddr>().unwrap_err();
        assert!(!error.to_string().contains('\x1b'));
    }

    #[test]
    fn an_address_is_shown_whole_and_a_foreign_one_with_its_type() {
        let mac = MacAddr([0x52, 0x54, 0, 0xab, 0, 7]);
        assert_eq!(mac.to_string(), "52:54:00:ab:00:07");
        assert_eq!(HardwareAddr::from(mac).to_string(), "52:54:00:ab:00:07");
        assert_eq!(mac.hyphenated(), "52-54-00-ab-00-07");
        let foreign = HardwareAddr::from_wire(32, 16, [0xfe; 16]);
        assert_eq!(foreign.to_string(), format!("htype32/{}fe", "fe:".repeat(15)));
        assert_eq!(HardwareAddr::from_wire(6, 0, [7; 16]).to_string(), "htype6/");
    }

    const GUID: [u8; 8] = [0xec, 0x0d, 0x9a, 0x03, 0x00, 0x9c, 0x81, 0xe2];

    #[test]
    fn an_infiniband_port_is_known_by_its_guid_however_it_is_written() {
        let port = HardwareAddr::of_guid(GUID);
        for text in [
            "ec:0d:9a:03:00:9c:81:e2",
            "EC-0D-9A-03-00-9C-81-E2",
            "ec0d9a03009c81e2",
            "80:00:02:08:fe:80:00:00:00:00:00:00:ec:0d:9a:03:00:9c:81:e2",
            "80000208fe80000000000000ec0d9a03009c81e2",
        ] {
            assert_eq!(text.parse(), Ok(port), "{text}");
        }
        for text in [
            "",
            "ec:0d:9a:03:00:9c:81",
            "ec:0d:9a:03:00:9c:81:e2:00",
            "ec:0d:9a:9c:81:e2",
        ] {
            assert!(text.parse::<HardwareAddr>().is_err(), "{text}");
        }
        assert_eq!(port.mac_of_guid(), "ec:0d:9a:9c:81:e2".parse().ok());
        assert_eq!((port.mac(), port.takes_frames()), (None, false));
        assert_eq!(port.to_string(), "guid/ec:0d:9a:03:00:9c:81:e2");
    }

    #[test]
    fn a_client_identifier_of_infiniband_tells_its_port_and_any_other_only_itself() {
        let with_guid = |head: &[u8]| HardwareAddr::of_client_identifier(&[head, &GUID].concat());
        let heads: [&[u8]; 5] = [
            // DUID-LL and DUID-LLT of the whole address, Mellanox' DUID, and the type before an address.
            &[255, 0, 0, 0, 1, 0, 3, 0, 32, 0xfe, 0x80, 0, 0, 0, 0, 0, 0],
            &[255, 0, 0, 0, 1, 0, 1, 0, 32, 1, 2, 3, 4, 0xfe, 0x80, 0, 0, 0, 0, 0, 0],
            &[255, 0, 0, 0, 0, 0, 2, 0, 0, 2, 0xc9, 0],
            &[32],
            &[32, 0x80, 0, 2, 8, 0xfe, 0x80, 0, 0, 0, 0, 0, 0],
        ];
        for head in heads {
            assert_eq!(with_guid(head), HardwareAddr::of_guid(GUID), "{head:?}");
        }
        // systemd's DUID is the machine's, whichever of its ports asks: the interface in front tells them apart.
        let systemd = |interface: u8| {
            let id = [255, 0, 0, 0, interface, 0, 2, 0, 0, 0xab, 0x11, 1, 2, 3, 4, 5, 6, 7, 8];
            HardwareAddr::of_client_identifier(&id)
        };
        assert_eq!(systemd(1), systemd(1));
        assert_ne!(systemd(1), systemd(2));
        assert_eq!((systemd(1).mac(), systemd(1).as_bytes().len()), (None, 16));
        assert!(systemd(1).to_string().starts_with("client-id/"));
        assert_eq!(HardwareAddr::of_client_identifier(&[32, 1]).as_bytes().len(), 16);
    }

    #[test]
    fn a_mac_is_one_whatever_hardware_type_is_claimed() {
        let mut chaddr = [0; 16];
        chaddr[..6].copy_from_slice(&[0xec, 0x0d, 0x9a, 0x9c, 0x81, 0xe2]);
        let address = HardwareAddr::from_wire(INFINIBAND, 6, chaddr);
        assert_eq!(address.mac(), "ec:0d:9a:9c:81:e2".parse().ok());
        assert!(!address.takes_frames() && HardwareAddr::from_wire(1, 6, chaddr).takes_frames());
    }

    #[test]
    fn a_length_of_255_is_cut_and_no_mac() {
        let address = HardwareAddr::from_wire(1, 255, [7; 16]);
        assert_eq!(address.as_bytes().len(), 16);
        assert_eq!(address.mac(), None);
    }
}
