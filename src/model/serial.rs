//! Serial numbers that are none: what boards say whose maker set none.

/// What makers leave in SMBIOS in place of a serial number, in small letters.
const PLACEHOLDERS: [&str; 20] = [
    "default string",
    "to be filled by o.e.m.",
    "to be filled by o.e.m",
    "system serial number",
    "chassis serial number",
    "serial number",
    "0123456789",
    "1234567890",
    "123456789",
    "not specified",
    "not applicable",
    "not available",
    "none",
    "n/a",
    "na",
    "unknown",
    "oem",
    "invalid",
    "empty",
    "tbd",
];

/// Whether a serial number is one that boards are sold with by the thousand: it names no machine.
pub fn is_placeholder_serial(serial: &str) -> bool {
    let serial = serial.trim().to_ascii_lowercase();
    let mut letters = serial.chars();
    let first = letters.next();
    let is_one_letter = letters.all(|letter| Some(letter) == first) && (serial.len() > 6 || is_filler(first));
    is_one_letter || PLACEHOLDERS.contains(&serial.as_str())
}

fn is_filler(letter: Option<char>) -> bool {
    letter.is_none_or(|letter| matches!(letter, '0' | '.' | '-' | 'x' | '*' | ' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_board_of_a_kind_says_is_no_serial_number() {
        for serial in [
            "Default string",
            "To be filled by O.E.M.",
            "To Be Filled By O.E.M.",
            " System Serial Number ",
            "0123456789",
            "Not Specified",
            "None",
            "",
            "0",
            "........",
            "00000000",
            "XXXXXXXX",
            "11111111",
        ] {
            assert!(is_placeholder_serial(serial), "{serial}");
        }
        for serial in ["S1", "S", "CZ1234", "5", "111", "A0000000", "none-1", "0123456788"] {
            assert!(!is_placeholder_serial(serial), "{serial}");
        }
    }
}
