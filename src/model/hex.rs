//! Hexadecimal digits, as people and firmware write addresses with them.

/// `N` bytes of two digits each, in either case. A `separator` stands where so many digits came
/// before it as `breaks` says, and nowhere else.
pub(super) fn bytes<const N: usize>(text: &str, separator: u8, breaks: &[usize]) -> Option<[u8; N]> {
    if text.len() != 2 * N + breaks.len() {
        return None;
    }
    let mut bytes = [0; N];
    let mut breaks = breaks.iter().peekable();
    let mut digits = 0;
    for byte in text.bytes() {
        if breaks.next_if(|place| **place == digits).is_some() {
            if byte != separator {
                return None;
            }
            continue;
        }
        let digit = char::from(byte).to_digit(16)?;
        let place = bytes.get_mut(digits / 2)?;
        *place = *place << 4 | u8::try_from(digit).ok()?;
        digits += 1;
    }
    Some(bytes)
}

/// A separator between every two bytes of at most 16.
pub(super) const EVERY_BYTE: &[usize] = &[2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30];

/// Bytes of the longest text: 16 bytes with a separator between every two.
const TEXT_BYTES: usize = 2 * 16 + 15;

/// Bytes as digits. It is written at once and without a place on the heap: one stands in nearly
/// every line of the log.
pub(super) struct HexText {
    written: [u8; TEXT_BYTES],
    length: usize,
}

impl HexText {
    /// The first 16 of `bytes` in lower case, with a `separator` between the digits where `breaks` says,
    /// as [`bytes()`] reads them.
    pub(super) fn new(bytes: &[u8], separator: u8, breaks: &[usize]) -> HexText {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = HexText {
            written: [0; TEXT_BYTES],
            length: 0,
        };
        let mut breaks = breaks.iter().peekable();
        for (place, byte) in bytes.iter().take(16).enumerate() {
            if breaks.next_if(|digits| **digits == 2 * place).is_some() {
                text.push(separator);
            }
            text.push(DIGITS[usize::from(byte >> 4)]);
            text.push(DIGITS[usize::from(byte & 0x0f)]);
        }
        text
    }

    fn push(&mut self, character: u8) {
        self.written[self.length] = character;
        self.length += 1;
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.written[..self.length]).expect("digits and separators are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let every: [u8; 16] = [
            0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xff, 0x10, 0x32, 0x54, 0x76, 0x98, 0xba,
        ];
        for breaks in [&[][..], &[8, 12, 16, 20], EVERY_BYTE] {
            let text = HexText::new(&every, b'-', breaks);
            assert_eq!(bytes(text.as_str(), b'-', breaks), Some(every), "{}", text.as_str());
        }
        assert_eq!(HexText::new(&[0xab, 0x0c, 0x12], b':', EVERY_BYTE).as_str(), "ab:0c:12");
        assert_eq!(HexText::new(&[], b':', EVERY_BYTE).as_str(), "");
    }

    #[test]
    fn a_separator_stands_where_it_belongs_and_nowhere_else() {
        assert_eq!(bytes("00fF:0102", b':', &[4]), Some([0, 0xff, 1, 2]));
        assert_eq!(bytes("00fF0102", b':', &[]), Some([0, 0xff, 1, 2]));
        for wrong in [
            "00fF-0102",
            "00f:F0102",
            "00fF:010",
            "00fF:01022",
            "00fF:010g",
            ":00fF0102",
            "00fF0102:",
            "00fF::102",
        ] {
            assert_eq!(bytes::<4>(wrong, b':', &[4]), None, "{wrong}");
        }
        assert_eq!(bytes::<2>("ä00", b':', &[]), None);
    }
}
