//! What the kernel and a disk itself tell of it: texts of sysfs, and pages of SCSI's vital product data.

use std::{fs, path::Path};

/// What is in a file of sysfs, without the blanks around it, if there is anything.
pub(super) fn text(path: &Path) -> Option<String> {
    let text = fs::read(path).ok()?;
    printable(&text)
}

/// A number in a file of sysfs.
pub(super) fn number(path: &Path) -> Option<u64> {
    text(path)?.parse().ok()
}

/// Whether a file of sysfs has another number than 0.
pub(super) fn flag(path: &Path) -> bool {
    number(path).is_some_and(|number| number != 0)
}

/// The serial number of page 0x80.
pub(super) fn unit_serial(page: &[u8]) -> Option<String> {
    let (head, serial) = page.split_at_checked(4)?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    printable(serial.get(..length)?)
}

/// The model and the serial number of ATA's own words, which page 0x89 has from its byte 60 on: SCSI's own field has
/// room for 16 characters of a model of 40.
pub(super) fn ata_names(page: &[u8]) -> Option<(String, String)> {
    let words = page.get(60..)?;
    // Two characters are a word, and the first one is its upper half.
    let field = |from: usize, words_long: usize| {
        let bytes = words.get(2 * from..2 * (from + words_long))?;
        let swapped: Vec<u8> = bytes.chunks_exact(2).flat_map(|word| [word[1], word[0]]).collect();
        printable(&swapped)
    };
    Some((field(27, 20)?, field(10, 10)?))
}

/// Bytes that a vendor padded with blanks or zeros, and that may be anything.
fn printable(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty() && !text.contains(char::is_control)).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_read_from_its_page() {
        let mut page = vec![0, 0x80, 0, 20];
        page.extend(b"      S3Z8NB0K123456");
        assert_eq!(unit_serial(&page).as_deref(), Some("S3Z8NB0K123456"));
        page[3] = 40;
        assert_eq!(unit_serial(&page), None);
        assert_eq!(unit_serial(b"\0\x80\0\0"), None);
        assert_eq!(unit_serial(b""), None);
    }

    #[test]
    fn the_names_of_an_ata_disk_are_those_on_its_label() {
        let mut page = vec![0; 60 + 512];
        let mut put = |word: usize, text: &[u8], words: usize| {
            let padded: Vec<u8> = text
                .iter()
                .copied()
                .chain(std::iter::repeat(b' '))
                .take(2 * words)
                .collect();
            for (place, pair) in padded.chunks(2).enumerate() {
                page[60 + 2 * (word + place)] = pair[1];
                page[60 + 2 * (word + place) + 1] = pair[0];
            }
        };
        put(10, b"S3Z8NB0K123456", 10);
        put(27, b"Samsung SSD 860 EVO 500GB", 20);
        assert_eq!(
            ata_names(&page),
            Some(("Samsung SSD 860 EVO 500GB".to_owned(), "S3Z8NB0K123456".to_owned()))
        );
        assert_eq!(ata_names(&page[..70]), None);
    }
}
