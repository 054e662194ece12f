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
        self.hyphenated_characters().collect()
    }

    /// Whether `text` is the form used in paths and as a name.
    pub fn is_hyphenated(self, text: &str) -> bool {
        text.chars().eq(self.hyphenated_characters())
    }

    fn hyphenated_characters(self) -> impl Iterator<Item = char> {
        let digit = |half: u8| char::from_digit(half.into(), 16);
        self.0.into_iter().enumerate().flat_map(move |(place, byte)| {
            let hyphen = (place > 0).then_some('-');
            [hyphen, digit(byte >> 4), digit(byte & 0x0f)].into_iter().flatten()
        })
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
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
            _ => &[2, 4, 6, 8, 10],
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
        for (index, byte) in self.as_bytes().iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02x}")?;
        }
        Ok(())
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
    fn a_length_of_255_is_cut_and_no_mac() {
        let address = HardwareAddr::from_wire(1, 255, [7; 16]);
        assert_eq!(address.as_bytes().len(), 16);
        assert_eq!(address.mac(), None);
    }
}
