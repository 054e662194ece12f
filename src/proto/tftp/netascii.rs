//! TFTP's text mode (RFC 1350, after RFC 764): lines end with CR LF, and a CR that ends none is CR NUL.

/// A text as netascii's reader wants it.
pub fn netascii(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + text.len() / 16);
    for byte in text {
        match byte {
            b'\n' => bytes.extend_from_slice(b"\r\n"),
            b'\r' => bytes.extend_from_slice(b"\r\0"),
            other => bytes.push(*other),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_rewritten_and_every_carriage_return_can_be_told_from_one() {
        assert_eq!(netascii(b"a\nb\r\n\rc"), b"a\r\nb\r\0\r\n\r\0c");
        assert_eq!(netascii(b""), b"");
    }
}
