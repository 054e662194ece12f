//! Whether there is room for an image, before anything is copied or fetched.

use super::error::{ImageError, failed};
use nix::sys::statvfs::statvfs;
use std::{fmt, path::Path};

/// # Errors
/// When the folder's file system has fewer bytes free than are needed, or does not say.
pub(super) fn enough(folder: &Path, needed: u64, what: impl fmt::Display) -> Result<(), ImageError> {
    let system = statvfs(folder).map_err(|errno| failed("look at", folder.display(), errno.into()))?;
    let free = system.blocks_available().saturating_mul(system.fragment_size());
    if free >= needed {
        return Ok(());
    }
    Err(ImageError::new(format_args!(
        "{} has {} free, and {what} needs {}: make room there, or name another folder of images with --images DIR",
        folder.display(),
        Size(free),
        Size(needed)
    )))
}

/// A number of bytes in a unit that a person reads at a glance.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ 0..10_000_000 => write!(f, "{} KB", bytes / 1000),
            bytes => write!(f, "{} MB", bytes / 1_000_000),
        }
    }
}
