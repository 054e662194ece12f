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

#[cfg(test)]
mod tests {
    use super::*;

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
