//! The SMBIOS machine UUID (DHCP option 97, iPXE's `${uuid}`).

use super::hex;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A machine's UUID in the order people read it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid([u8; 16]);

/// What makers of boards leave in place of a UUID: AMI's first, then two of those who fill in digits.
const PLACEHOLDERS: [u128; 3] = [
    0x0300_0200_0400_0500_0006_0007_0008_0009,
    0x1234_5678_1234_5678_90ab_cdde_efaa_bbcc,
    0x0011_2233_4455_6677_8899_aabb_ccdd_eeff,
];

/// After how many digits a field of the text ends.
const FIELDS: &[usize] = &[8, 12, 16, 20];

/// Why a text is not a UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UuidError(String);

impl fmt::Display for UuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UuidError {}

impl Uuid {
    /// All zeros, which firmware sends that has none: it names no machine.
    pub const NIL: Uuid = Uuid([0; 16]);

    /// The UUID in option 97's body (RFC 4578): a type byte of 0 and 16 bytes with the first three
    /// fields little-endian, as SMBIOS stores them and iPXE prints them swapped back.
    pub fn from_option_97(body: &[u8]) -> Option<Uuid> {
        let (kind, raw) = body.split_first()?;
        let raw: [u8; 16] = raw.try_into().ok()?;
        let uuid = Uuid(swap_fields(raw));
        (*kind == 0 && !uuid.is_placeholder()).then_some(uuid)
    }

    /// Whether it is one that boards are sold with by the thousand: it names no machine.
    pub fn is_placeholder(self) -> bool {
        let is_one = |uuid: Uuid| PLACEHOLDERS.contains(&u128::from_be_bytes(uuid.0));
        self.0.iter().all(|byte| *byte == self.0[0]) || is_one(self) || is_one(self.swapped())
    }

    /// The 16 bytes as option 97 has them. Some firmware writes letters there that say what it is.
    pub fn option_97(self) -> [u8; 16] {
        swap_fields(self.0)
    }

    /// The same with its first three fields the other way round: PXELINUX names itself by the bytes of
    /// option 97 as they stand there.
    pub fn swapped(self) -> Uuid {
        Uuid(swap_fields(self.0))
    }
}

fn swap_fields(mut raw: [u8; 16]) -> [u8; 16] {
    raw[0..4].reverse();
    raw[4..6].reverse();
    raw[6..8].reverse();
    raw
}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || {
            UuidError(format!(
                "`{}` is not a UUID; write it as 4c4c4544-0042-3510-8051-b4c04f475931",
                crate::model::text::escape(text.as_bytes())
            ))
        };
        let bytes = match text.len() {
            32 => hex::bytes(text, b'-', &[]),
            _ => hex::bytes(text, b'-', FIELDS),
        };
        bytes.map(Uuid).ok_or_else(malformed)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hex::HexText::new(&self.0, b'-', FIELDS).as_str())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Uuid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_order_and_the_printed_order_name_the_same_machine() {
        let wire = [
            0, 0x44, 0x45, 0x4c, 0x4c, 0x42, 0, 0x10, 0x35, 0x80, 0x51, 0xb4, 0xc0, 0x4f, 0x47, 0x59, 0x31,
        ];
        let printed = "4C4C4544-0042-3510-8051-B4C04F475931";
        assert_eq!(Uuid::from_option_97(&wire), printed.parse().ok());
        let uuid = Uuid::from_option_97(&wire).unwrap();
        assert_eq!(uuid.to_string(), printed.to_lowercase());
    }

    #[test]
    fn a_placeholder_names_nobody() {
        assert_eq!(Uuid::from_option_97(&[0; 17]), None);
        assert_eq!(Uuid::from_option_97(&[]), None);
        assert_eq!(Uuid::from_option_97(&[0, 1, 2]), None);
        for text in [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "03000200-0400-0500-0006-000700080009",
            "00020003-0004-0005-0006-000700080009",
        ] {
            let uuid: Uuid = text.parse().unwrap();
            assert!(uuid.is_placeholder(), "{text}");
            for wire in [uuid.0, uuid.swapped().0] {
                assert_eq!(Uuid::from_option_97(&[&[0], &wire[..]].concat()), None, "{text}");
            }
        }
        let real: Uuid = "4c4c4544-0042-3510-8051-b4c04f475931".parse().unwrap();
        assert!(!real.is_placeholder());
    }
}
