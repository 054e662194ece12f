//! SHA-256 of artifacts, hashed once as long as the file stays what it was.

use crate::boot::snapshot::FileStamp;
use crate::model::limits::CHECKSUMS_KEPT_MAX;
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

/// What tells this file from any other.
pub fn stamp(metadata: &Metadata) -> FileStamp {
    FileStamp {
        length: metadata.len(),
        modified_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        inode: metadata.ino(),
    }
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

type Kept = Mutex<HashMap<(PathBuf, FileStamp), [u8; 32]>>;

/// Process-wide, because a reload builds everything else anew.
static KEPT: OnceLock<Kept> = OnceLock::new();

/// The file's checksum, hashed now or remembered from when the file had the same stamp.
///
/// # Errors
/// When the file can't be read, or changes while it is.
pub fn sha256(path: &Path, expected: FileStamp) -> io::Result<[u8; 32]> {
    let key = (path.to_owned(), expected);
    let kept = KEPT.get_or_init(Kept::default);
    if let Some(known) = kept.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return Ok(*known);
    }
    let sum = hash(path, expected)?;
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= CHECKSUMS_KEPT_MAX {
        kept.clear();
    }
    kept.insert(key, sum);
    Ok(sum)
}

/// Reads it all, whatever was remembered: for `image verify`, which looks for rotten disks.
///
/// # Errors
/// When the file can't be read, or changes while it is.
pub fn hash(path: &Path, expected: FileStamp) -> io::Result<[u8; 32]> {
    const CHUNK_BYTES: usize = 1024 * 1024;
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            count => hasher.update(&chunk[..count]),
        }
    }
    if stamp(&file.metadata()?) != expected {
        return Err(io::Error::other("it changed while it was read; try again"));
    }
    Ok(hasher.finalize().into())
}

/// 64 hexadecimal digits.
pub fn hex(sum: &[u8; 32]) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
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
    fn a_checksum_is_the_one_everybody_computes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("abc"), "abc").unwrap();
        let stamp = regular_beneath(folder.path(), "abc").unwrap();
        let sum = sha256(&folder.path().join("abc"), stamp).unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sum), known);
        assert_eq!(from_hex(known), Some(sum));
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
