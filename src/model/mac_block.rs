//! Blocks of MAC addresses, as the IEEE gives them to makers of network cards.

use super::MacAddr;
use std::{fmt, str::FromStr};

/// The first 24, 28 or 36 bits of a MAC address: a large, a medium or a small block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacBlock {
    digits: [u8; 12],
    length: usize,
}

/// Why a text is no block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacBlockError(String);

impl fmt::Display for MacBlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MacBlockError {}

/// Hexadecimal digits of the three sizes.
const LENGTHS: [usize; 3] = [6, 7, 9];

impl MacBlock {
    /// Whether an address is of this block.
    pub fn holds(self, mac: MacAddr) -> bool {
        let nibbles = mac.0.into_iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        nibbles
            .zip(self.digits)
            .take(self.length)
            .all(|(nibble, wanted)| nibble == wanted)
    }
}

impl FromStr for MacBlock {
    type Err = MacBlockError;

    /// Reads `b8:27:eb`, `f0:40:af:9` and `8c:1f:64:34:a`, with `-` in place of `:`, or bare.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digits = [0; 12];
        let mut length = 0;
        let is_block = text.chars().filter(|c| !matches!(c, ':' | '-')).all(|c| {
            let digit = c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            match (digit, digits.get_mut(length)) {
                (Some(digit), Some(place)) => *place = digit,
                (_, _) => return false,
            }
            length += 1;
            true
        });
        match is_block && LENGTHS.contains(&length) {
            true => Ok(MacBlock { digits, length }),
            false => Err(MacBlockError(format!(
                "`{}` is not a block of MAC addresses",
                super::text::escape(text.as_bytes())
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_the_addresses_that_begin_with_its_bits() {
        for (block, inside, outside) in [
            ("b8:27:eb", "b8:27:eb:00:00:01", "b8:27:ec:00:00:01"),
            ("F0-40-AF-9", "f0:40:af:9f:ff:ff", "f0:40:af:a0:00:00"),
            ("8c1f6434a", "8c:1f:64:34:a0:05", "8c:1f:64:34:b0:05"),
        ] {
            let block: MacBlock = block.parse().unwrap();
            assert!(block.holds(inside.parse().unwrap()), "{inside}");
            assert!(!block.holds(outside.parse().unwrap()), "{outside}");
        }
    }

    #[test]
    fn a_text_of_another_length_is_no_block() {
        for text in [
            "",
            "b8:27",
            "b8:27:eb:00:00:01",
            "b8:27:eb:00:00:01:02",
            "b8:27:xb",
            "8c:1f:64:34",
        ] {
            assert!(text.parse::<MacBlock>().is_err(), "{text}");
        }
    }
}
