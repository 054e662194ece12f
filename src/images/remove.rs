//! Taking an image away: out of sight in one step, and then off the disk.

use super::add::{ImageError, Partial, failed, sync};
use crate::model::Name;
use std::{fs, path::Path};

/// Removes an image. A transfer of it that is under way goes on to its end: its file is open.
///
/// # Errors
/// When there is no such image, or the folder can't be changed; then nothing has changed.
pub fn remove(images: &Path, name: &Name) -> Result<(), ImageError> {
    let folder = images.join(name.as_str());
    if folder.symlink_metadata().is_err() {
        return Err(ImageError::new(format!(
            "there is no image `{name}` in {}; see `bootwright image list`",
            images.display()
        )));
    }
    let hidden = images.join(format!(".{name}.removed-{}", std::process::id()));
    fs::rename(&folder, &hidden).map_err(|error| failed("move", &folder, &error))?;
    let hidden = Partial::of(hidden);
    sync(images)?;
    drop(hidden);
    Ok(())
}
