//! What a disk image is: told by its first bytes, and where they can't be read by its name.

use super::reading::open_regular;
use crate::model::ImageFormat;
use std::{os::unix::fs::FileExt, path::Path};

/// Bytes of a disk's first sector, with the mark of a partition table at their end.
const SECTOR_BYTES: usize = 512;

/// How a file is packed that can be written to a disk as it comes; `None` where it is none that is known: of another
/// program's format, or a file system without a partition table.
pub fn disk_format(file: &Path) -> Option<ImageFormat> {
    let mut sector = [0; SECTOR_BYTES];
    let read = open_regular(file).and_then(|file| file.read_at(&mut sector, 0));
    match read {
        Ok(bytes) => format_of_bytes(&sector[..bytes]),
        // Where it can't be read now, its name is all there is; it is served by its checksum alone.
        Err(_) => format_of_name(file),
    }
}

fn format_of_bytes(head: &[u8]) -> Option<ImageFormat> {
    // Zstandard has frames to be skipped, too: 0x184D2A50 to 0x184D2A5F (RFC 8878, 3.1.2).
    let is_skippable = matches!(head, [first, 0x2a, 0x4d, 0x18, ..] if first & 0xf0 == 0x50);
    if head.starts_with(b"\x28\xb5\x2f\xfd") || is_skippable {
        return Some(ImageFormat::Zstd);
    }
    if head.starts_with(b"\x1f\x8b") {
        return Some(ImageFormat::Gzip);
    }
    // QEMU's own format may hold a whole sector of a disk behind its head.
    let is_disk = head.get(SECTOR_BYTES - 2..) == Some(&[0x55, 0xaa]) && !head.starts_with(b"QFI\xfb");
    is_disk.then_some(ImageFormat::Raw)
}

fn format_of_name(file: &Path) -> Option<ImageFormat> {
    let extension = file.extension().map(|extension| extension.to_string_lossy());
    match extension.as_deref()? {
        "zst" | "zstd" => Some(ImageFormat::Zstd),
        "gz" => Some(ImageFormat::Gzip),
        "raw" | "img" => Some(ImageFormat::Raw),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_image_is_known_by_its_first_bytes() {
        let mut disk = vec![0; SECTOR_BYTES];
        assert_eq!(format_of_bytes(&disk), None);
        disk[SECTOR_BYTES - 2..].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(format_of_bytes(&disk), Some(ImageFormat::Raw));
        for (head, format) in [
            (&b"\x28\xb5\x2f\xfd\x04"[..], Some(ImageFormat::Zstd)),
            (b"\x5e\x2a\x4d\x18\x04", Some(ImageFormat::Zstd)),
            (b"\x1f\x8b\x08", Some(ImageFormat::Gzip)),
            (b"QFI\xfb\0\0\0\x03", None),
            (b"\xfd7zXZ\0\0", None),
            (b"", None),
        ] {
            assert_eq!(format_of_bytes(head), format, "{head:?}");
        }
    }

    #[test]
    fn a_file_is_known_by_its_bytes_whatever_its_name_and_by_its_name_where_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk.raw");
        assert_eq!(disk_format(&file), Some(ImageFormat::Raw));
        std::fs::write(&file, b"QFI\xfb\0\0\0\x03").unwrap();
        assert_eq!(disk_format(&file), None);
        let gone = |name: &str| disk_format(&folder.path().join(name));
        assert_eq!(gone("disk.img.gz"), Some(ImageFormat::Gzip));
        assert_eq!(gone("disk.iso"), None);
    }
}
