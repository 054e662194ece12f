//! Tokens, drawn by the kernel's lot: nobody can foresee one.

use crate::model::Token;
use rustix::rand::{GetRandomFlags, getrandom};

/// Another token.
pub(super) fn draw() -> Token {
    let mut bits = [0; 16];
    let drawn = loop {
        match getrandom(&mut bits, GetRandomFlags::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            drawn => break drawn,
        }
    };
    // A weaker one would be an open door.
    assert_eq!(
        drawn,
        Ok(bits.len()),
        "Linux gives so few random bytes at once since 3.17"
    );
    Token::of_random(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_are_alike() {
        let drawn: Vec<String> = (0..100).map(|_| draw().reveal()).collect();
        let different: std::collections::BTreeSet<&String> = drawn.iter().collect();
        assert_eq!(different.len(), drawn.len());
        assert!(!drawn.contains(&Token::SAMPLE.reveal()));
    }
}
