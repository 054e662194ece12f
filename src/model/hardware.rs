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

    /// Whether `text` is the form used in paths and as a name.
    pub fn is_hyphenated(self, text: &str) -> bool {
        self.text(b'-').as_str() == text
    }

    fn text(self, separator: u8) -> hex::Text {
        hex::Text::new(&self.0, separator, hex::EVERY_BYTE)
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

    /// The MAC, when this is an Ethernet address that a machine can own.
    pub fn mac(&self) -> Option<MacAddr> {
        let bytes: [u8; 6] = self.as_bytes().try_into().ok()?;
        let mac = MacAddr(bytes);
        (self.htype == ETHERNET && !mac.is_multicast() && bytes != [0; 6]).then_some(mac)
    }
}

impl From<MacAddr> for HardwareAddr {
    fn from(mac: MacAddr) -> Self {
        let mut chaddr = [0; 16];
        chaddr[..6].copy_from_slice(&mac.0);
        HardwareAddr::from_wire(ETHERNET, 6, chaddr)
    }
}

impl fmt::Display for HardwareAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.htype != ETHERNET {
            write!(f, "htype{}/", self.htype)?;
        }
        f.write_str(hex::Text::new(self.as_bytes(), b':', hex::EVERY_BYTE).as_str())
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
        assert!(mac.is_hyphenated("52-54-00-ab-00-07"));
        assert!(!mac.is_hyphenated("52-54-00-AB-00-07") && !mac.is_hyphenated("52-54-00-ab-00-070"));
        let foreign = HardwareAddr::from_wire(32, 16, [0xfe; 16]);
        assert_eq!(foreign.to_string(), format!("htype32/{}fe", "fe:".repeat(15)));
        assert_eq!(HardwareAddr::from_wire(6, 0, [7; 16]).to_string(), "htype6/");
    }

    #[test]
    fn a_length_of_255_is_cut_and_no_mac() {
        let address = HardwareAddr::from_wire(1, 255, [7; 16]);
        assert_eq!(address.as_bytes().len(), 16);
        assert_eq!(address.mac(), None);
    }
}
