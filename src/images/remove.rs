//! Taking an image away: out of sight in one step, and then off the disk.

use super::{
    error::{ImageError, failed},
    partial::{self, Partial},
    place::sync,
};
use crate::model::Name;
use std::path::Path;

/// Removes an image. A transfer of it that is under way goes on to its end: its file is open.
///
/// # Errors
/// When there is no such image, or the folder can't be changed; then nothing has changed.
pub fn remove(images: &Path, name: &Name) -> Result<(), ImageError> {
    let folder = images.join(name.as_str());
    if folder.symlink_metadata().is_err() {
        return Err(ImageError::new(format_args!(
            "there is no image `{name}` in {}; see `bootwright image list`",
            images.display()
        )));
    }
    partial::sweep(images);
    let hidden = Partial::removed(images, &folder, name.as_str());
    let hidden = hidden.map_err(|error| failed("move", folder.display(), error))?;
    sync(images)?;
    drop(hidden);
    Ok(())
}
