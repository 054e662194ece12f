//! What an installer shows with each word that it sends back: a number that nobody can guess.

use super::hex::{self, HexText};
use std::fmt;

/// Bytes of a token.
const BYTES: usize = 16;

/// The token of one attempt to install one host: 128 bits drawn by lot. No log and no event has it: it is written
/// by [`Token::reveal`] alone, into the URLs that its machine is given.
#[derive(Clone, Copy)]
pub struct Token([u8; BYTES]);

impl Token {
    /// One for a text that no machine gets.
    pub const SAMPLE: Token = Token([0; BYTES]);

    /// The token that these bits are, which must come from a source that nobody can foresee.
    pub fn of_random(bits: [u8; BYTES]) -> Token {
        Token(bits)
    }

    /// The token of a URL: 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Token> {
        hex::bytes(text, b'-', &[]).map(Token)
    }

    /// As it stands in a URL.
    pub fn reveal(&self) -> String {
        HexText::new(&self.0, b'-', &[]).as_str().to_owned()
    }

    /// Its bytes, for the disk.
    pub fn to_bytes(self) -> [u8; BYTES] {
        self.0
    }
}

/// Takes as long for every two: how many bytes of a guess are right can't be measured.
impl PartialEq for Token {
    fn eq(&self, other: &Token) -> bool {
        let differing = self
            .0
            .iter()
            .zip(other.0)
            .fold(0, |bits, (own, others)| bits | (own ^ others));
        std::hint::black_box(differing) == 0
    }
}

impl Eq for Token {}

/// Nothing of it.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_from_its_url_and_from_no_other_text() {
        let token = Token::of_random([0xa5; 16]);
        assert_eq!(token.reveal(), "a5".repeat(16));
        assert_eq!(Token::parse(&token.reveal()), Some(token));
        for other in [
            "",
            "a5",
            &"a5".repeat(15),
            &"a5".repeat(17),
            &"g5".repeat(16),
            &format!("{}-", "a5".repeat(15)),
        ] {
            assert_eq!(Token::parse(other), None, "{other}");
        }
    }

    #[test]
    fn one_bit_makes_another_token() {
        let token = Token::of_random([7; 16]);
        for bit in 0..128 {
            let mut bits = [7; 16];
            bits[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Token::of_random(bits), token, "bit {bit}");
        }
    }

    #[test]
    fn no_text_made_for_people_has_it() {
        let shown = format!("{:?}", Some(Token::of_random([0xa5; 16])));
        assert!(
            !shown.to_lowercase().contains("a5") && !shown.contains("165"),
            "{shown}"
        );
    }
}
