//! What tells one file from another: its stamp, where it may lie, and how a SHA-256 is written.

use crate::boot::snapshot::FileStamp;
use serde::{Serialize, Serializer};
use std::{
    fmt,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Component, Path},
};

/// What tells this file from any other.
pub fn stamp(metadata: &Metadata) -> FileStamp {
    FileStamp {
        length: metadata.len(),
        modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        inode: metadata.ino(),
    }
}

/// What a file is now.
///
/// # Errors
/// When it is missing, no regular file, or can't be looked at; why, in words.
pub fn stamp_of(path: &Path) -> Result<FileStamp, Box<str>> {
    let words = |error: io::Error| error.to_string().into_boxed_str();
    let metadata = fs::symlink_metadata(path).map_err(words)?;
    match metadata.is_file() {
        true => Ok(stamp(&metadata)),
        false => Err("it is no regular file".into()),
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(rest)
}

/// The regular file at `file` beneath `root`, with no symlink on the way: what the servers will
/// open is what was checked.
///
/// # Errors
/// When it is missing, not a regular file, or behind a symlink.
pub fn regular_beneath(root: &Path, file: &str) -> io::Result<FileStamp> {
    let plain = |component: Component<'_>| matches!(component, Component::Normal(_));
    if file.is_empty() || !Path::new(file).components().all(plain) {
        return Err(io::Error::other(
            "it must lie beneath its folder, without `..` and without `/` in front",
        ));
    }
    let mut path = root.to_owned();
    let mut metadata = fs::metadata(root)?;
    for component in Path::new(file).components() {
        path.push(component);
        metadata = fs::symlink_metadata(&path)?;
        if metadata.is_symlink() {
            return Err(io::Error::other(
                "a symlink is on the way, and the servers follow none; copy the file",
            ));
        }
    }
    match metadata.is_file() {
        true => Ok(stamp(&metadata)),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

/// A checksum as 64 hexadecimal digits.
pub fn hex(sum: &[u8; 32]) -> Hex<'_> {
    Hex(sum)
}

/// See [`hex`].
pub struct Hex<'a>(&'a [u8; 32]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads 64 hexadecimal digits.
pub fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let bytes = digits.as_bytes();
    if bytes.len() != 64 || !bytes.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut sum = [0; 32];
    for (index, byte) in sum.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_read_as_it_is_written() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let sum = from_hex(known).unwrap();
        assert_eq!((sum[0], hex(&sum).to_string().as_str()), (0xba, known));
        for wrong in ["", "ba78", &known[1..], &known.replace('b', "g")] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nothing_outside_the_folder_is_beneath_it() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("etc")).unwrap();
        for file in ["", "..", "../x", "/etc/passwd", "link", "etc/passwd", "missing", "."] {
            assert!(regular_beneath(folder.path(), file).is_err(), "{file}");
        }
    }
}
