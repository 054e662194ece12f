//! Making an image of files that are here: its artifacts are copied and hashed. `place` has the rest.

use super::{
    content::ArtifactContent,
    copy_step::{CopyCallback, CopyStep},
    disk_sums::disk_sums,
    error::{ImageError, failed},
    partial::{self, Partial},
    place::{self, Added, ArtifactSummary, NewImage},
    space,
};
use sha2::{Digest, Sha256};
use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
};

/// Makes an image in the folder of images.
///
/// # Errors
/// When a file can't be read or written, when there is an image of that name and it is not to be
/// replaced, when there is nothing to boot, or no room.
pub fn add(images: &Path, new: &NewImage) -> Result<Added, ImageError> {
    add_watched(images, new, &mut |_| true)
}

/// [`add`], with a callback that is told of each step and may stop it; then nothing has changed.
///
/// # Errors
/// As of [`add`], and when it was stopped.
pub fn add_watched(images: &Path, new: &NewImage, watch: CopyCallback<'_>) -> Result<Added, ImageError> {
    let made_by = format_args!("Made by `bootwright image add {}`.", new.name);
    add_from(images, new, &[&made_by], watch)
}

/// The same with other words above the artifacts in the description, a line each.
pub(super) fn add_from(
    images: &Path,
    new: &NewImage,
    comments: &[&dyn Display],
    watch: CopyCallback<'_>,
) -> Result<Added, ImageError> {
    place::may_be_made(images, &new.name, new.replace)?;
    can_boot(new)?;
    fs::create_dir_all(images).map_err(|error| failed("make the folder", images.display(), error))?;
    partial::sweep(images);
    let bytes = bytes_of(new)?;
    space::enough(images, bytes, "the image")?;
    let disk_bytes = new
        .disk
        .iter()
        .filter(|_| new.disk_sums)
        .map(bytes_to_copy)
        .sum::<Result<u64, ImageError>>()?;
    if !watch(CopyStep::Begins(bytes + disk_bytes)) {
        return Err(ImageError::Stopped);
    }
    let partial = Partial::new(images, new.name.as_str())
        .map_err(|(folder, error)| failed("make the folder", folder.display(), error))?;
    let copied = contents(new).map(|content| copy(content, partial.folder(), watch));
    let artifacts = copied.collect::<Result<Vec<ArtifactSummary>, ImageError>>()?;
    let disk = match artifacts.last().filter(|_| new.disk.is_some() && new.disk_sums) {
        Some((file, ..)) => disk_sums(&partial.folder().join(file), watch)?,
        None => None,
    };
    place::finish(images, partial.folder(), new, (artifacts, disk), comments)
}

/// # Errors
/// When there is nothing to boot, or a parameter can't be one.
fn can_boot(new: &NewImage) -> Result<(), ImageError> {
    if new.kernel.is_none() && new.disk.is_none() {
        let what =
            "an image needs a kernel or a disk: name a folder or an ISO that has one, or --kernel FILE or --disk FILE";
        return Err(ImageError::new(what));
    }
    place::may_be_parameters(&new.cmdline)
}

/// What is to be copied, in order: kernel, initrds, disk.
pub(super) fn contents(new: &NewImage) -> impl Iterator<Item = &ArtifactContent> {
    new.kernel.iter().chain(&new.initrds).chain(&new.disk)
}

fn bytes_of(new: &NewImage) -> Result<u64, ImageError> {
    contents(new).map(bytes_to_copy).sum()
}

fn bytes_to_copy(content: &ArtifactContent) -> Result<u64, ImageError> {
    content.bytes().map_err(|error| failed("copy", content, error))
}

fn copy(content: &ArtifactContent, folder: &Path, watch: CopyCallback<'_>) -> Result<ArtifactSummary, ImageError> {
    let file = content.name();
    place::may_be_called(&file)?;
    let to = folder.join(&file);
    if to.exists() {
        return Err(ImageError::new(format_args!(
            "two artifacts are called `{file}`; rename one of the files"
        )));
    }
    make_folders(folder, &file)?;
    let (length, sha256) = copy_hashed(content, &to, watch).map_err(|error| failed("copy", content, error))?;
    place::sync(to.parent().unwrap_or(folder))?;
    Ok((file, length, sha256))
}

/// The folders on the way to an artifact that must lie at a path of its own.
fn make_folders(folder: &Path, file: &str) -> Result<(), ImageError> {
    let mut above = folder.to_owned();
    let (folders, _) = file.rsplit_once('/').unwrap_or_default();
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        let below = above.join(part);
        if !below.is_dir() {
            fs::create_dir(&below).map_err(|error| failed("make the folder", below.display(), error))?;
            place::open_up(&below)?;
            place::sync(&above)?;
        }
        above = below;
    }
    Ok(())
}

fn copy_hashed(content: &ArtifactContent, to: &Path, watch: CopyCallback<'_>) -> io::Result<(u64, [u8; 32])> {
    const CHUNK_BYTES: usize = 1024 * 1024;
    let before = content.written()?;
    let mut from = content.open()?;
    let mut to = File::create_new(to)?;
    let (mut hasher, mut length) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        hasher.update(&chunk[..count]);
        to.write_all(&chunk[..count])?;
        length += count as u64;
        if !watch(CopyStep::Copied(count as u64)) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, ImageError::Stopped));
        }
    }
    if content.written()? != before {
        let why = "it was written to while it was copied; wait until it is complete, and say it again";
        return Err(io::Error::other(why));
    }
    place::settle(&to)?;
    Ok((length, hasher.finalize().into()))
}
