//! Whether there is room for an image, before anything is copied or fetched.

use super::error::{ImageError, failed};
use nix::sys::statvfs::statvfs;
use std::{fmt::Display, path::Path};

/// # Errors
/// When the folder's file system has fewer bytes free than are needed, or does not say.
pub(super) fn enough(folder: &Path, needed: u64, what: impl Display) -> Result<(), ImageError> {
    let system = statvfs(folder).map_err(|errno| failed("look at", folder.display(), errno.into()))?;
    let free = system.blocks_available().saturating_mul(system.fragment_size());
    if free >= needed {
        return Ok(());
    }
    Err(ImageError::new(format!(
        "{} has {} free, and {what} needs {}: make room there, or name another folder of images with --images DIR",
        folder.display(),
        in_words(free),
        in_words(needed)
    )))
}

fn in_words(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{} KB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}
