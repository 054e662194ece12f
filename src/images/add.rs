//! Making an image: its artifacts copied, hashed and described, and put in place in one step.

use super::{
    MANIFEST, checksum,
    content::Content,
    error::{ImageError, failed},
    partial::{self, Partial},
    space,
};
use crate::model::{Cpu, Name, text};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Everybody may fetch an image over HTTP, and the daemon that serves it is not the user who made
/// it: root's umask must not lock it out.
const FOLDER_MODE: u32 = 0o755;
/// The same of the files in it.
const FILE_MODE: u32 = 0o644;

/// What an image is to be made of.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// Its name: the folder's.
    pub name: Name,
    /// The instruction set its kernel is for.
    pub cpu: Option<Cpu>,
    /// The kernel, wherever it is.
    pub kernel: Option<Content>,
    /// Initial RAM disks in the order the kernel must see them.
    pub initrds: Vec<Content>,
    /// A disk image.
    pub disk: Option<Content>,
    /// Kernel parameters that every boot of it needs.
    pub cmdline: Vec<String>,
    /// Replace an image of the same name.
    pub replace: bool,
}

/// An image that was made.
#[derive(Clone, Debug)]
pub struct Added {
    /// Its folder.
    pub folder: PathBuf,
    /// Its artifacts: file name, length in bytes, checksum.
    pub artifacts: Vec<(String, u64, [u8; 32])>,
}

/// One artifact, copied.
struct Copied {
    file: String,
    length: u64,
    sha256: [u8; 32],
}

/// What has just been done of making an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes are to be copied in all.
    Begins(u64),
    /// So many more were.
    Copied(u64),
}

/// Is told of every step; says whether to go on.
pub type Watch<'a> = &'a mut dyn FnMut(Step) -> bool;

/// Where an image's files come from, when somebody else has judged them already.
#[derive(Default)]
pub(super) struct Provenance {
    /// Files that may be linked instead of copied, with their lengths and checksums.
    pub(super) known: HashMap<PathBuf, (u64, [u8; 32])>,
    /// What the description says above the artifacts, a line each.
    pub(super) said: Vec<String>,
}

impl Provenance {
    fn known<'a>(&self, content: &'a Content) -> Option<(&'a Path, (u64, [u8; 32]))> {
        let file = content.file()?;
        self.known.get(file).map(|known| (file, *known))
    }
}

/// Makes an image in the folder of images.
///
/// # Errors
/// When a file can't be read or written, when there is an image of that name and it is not to be
/// replaced, when there is nothing to boot, or no room.
pub fn add(images: &Path, new: &NewImage) -> Result<Added, ImageError> {
    add_watched(images, new, &mut |_| true)
}

/// [`add`], with somebody who looks on and may stop it; then nothing has changed.
///
/// # Errors
/// As of [`add`], and when it was stopped.
pub fn add_watched(images: &Path, new: &NewImage, watch: Watch<'_>) -> Result<Added, ImageError> {
    let provenance = Provenance {
        said: vec![format!("Made by `bootwright image add {}`.", new.name)],
        ..Provenance::default()
    };
    add_from(images, new, &provenance, watch)
}

/// The same of files whose provenance is known.
pub(super) fn add_from(
    images: &Path,
    new: &NewImage,
    provenance: &Provenance,
    watch: Watch<'_>,
) -> Result<Added, ImageError> {
    let folder = images.join(new.name.as_str());
    let exists = may_be_made(images, &new.name, new.replace)?;
    can_boot(new)?;
    fs::create_dir_all(images).map_err(|error| failed("make the folder", images.display(), &error))?;
    partial::sweep(images);
    let bytes = bytes_of(new, provenance)?;
    space::enough(images, bytes, "the image")?;
    watch(Step::Begins(bytes));
    let partial = Partial::new(images, new.name.as_str())
        .map_err(|(folder, error)| failed("make the folder", folder.display(), &error))?;
    let artifacts = fill(partial.folder(), new, provenance, watch)?;
    open_up(partial.folder())?;
    move_into_place(partial.folder(), &folder, exists)
        .map_err(|error| failed("put into place", folder.display(), &error))?;
    sync(images)?;
    Ok(Added { folder, artifacts })
}

/// Whether there is an image of that name, which the new one replaces.
///
/// # Errors
/// When there is one, and it is not to be replaced.
pub(super) fn may_be_made(images: &Path, name: &Name, replace: bool) -> Result<bool, ImageError> {
    let exists = images.join(name.as_str()).symlink_metadata().is_ok();
    match exists && !replace {
        true => Err(ImageError::new(format!(
            "there is an image `{name}` in {} already; use --force to replace it",
            images.display()
        ))),
        false => Ok(exists),
    }
}

fn can_boot(new: &NewImage) -> Result<(), ImageError> {
    if new.kernel.is_none() && new.disk.is_none() {
        let what =
            "an image needs a kernel or a disk: name a folder or an ISO that has one, or --kernel FILE or --disk FILE";
        return Err(ImageError::new(what.to_owned()));
    }
    match new.cmdline.iter().find(|said| text::control_character(said).is_some()) {
        Some(bad) => Err(ImageError::new(format!(
            "`{}` has a control character and can't be a kernel parameter",
            text::escape(bad.as_bytes())
        ))),
        None => Ok(()),
    }
}

/// What is to be copied, in order: kernel, initrds, disk.
fn contents(new: &NewImage) -> impl Iterator<Item = &Content> {
    new.kernel.iter().chain(&new.initrds).chain(&new.disk)
}

/// What can be linked takes no room.
fn bytes_of(new: &NewImage, provenance: &Provenance) -> Result<u64, ImageError> {
    contents(new)
        .filter(|content| provenance.known(content).is_none())
        .map(|content| content.bytes().map_err(|error| failed("copy", content, &error)))
        .sum()
}

fn fill(
    folder: &Path,
    new: &NewImage,
    provenance: &Provenance,
    watch: Watch<'_>,
) -> Result<Vec<(String, u64, [u8; 32])>, ImageError> {
    let mut copied = Vec::new();
    for content in contents(new) {
        copied.push(copy(content, folder, provenance, watch)?);
    }
    let manifest = folder.join(MANIFEST);
    write_synced(&manifest, describe(new, &copied, &provenance.said).as_bytes())
        .map_err(|error| failed("write", manifest.display(), &error))?;
    sync(folder)?;
    Ok(copied
        .into_iter()
        .map(|copied| (copied.file, copied.length, copied.sha256))
        .collect())
}

fn copy(content: &Content, folder: &Path, provenance: &Provenance, watch: Watch<'_>) -> Result<Copied, ImageError> {
    let file = content.name();
    // A `+` may stand there besides, as in memtest86+: `config::images` reads it.
    let is_named = |part: &str| part.replace('+', "-").parse::<Name>().is_ok();
    if file == MANIFEST || !file.split('/').all(is_named) {
        let shown = text::escape(file.as_bytes());
        return Err(ImageError::new(format!(
            "`{shown}` can't be an artifact's name in a URL; rename the file"
        )));
    }
    let to = folder.join(&file);
    if to.exists() {
        return Err(ImageError::new(format!(
            "two artifacts are called `{file}`; rename one of the files"
        )));
    }
    make_folders(folder, &file)?;
    let linked = provenance
        .known(content)
        .filter(|(source, _)| link(source, &to).is_ok());
    let copied = linked.map_or_else(|| copy_hashed(content, &to, watch), |(_, known)| Ok(known));
    let (length, sha256) = copied.map_err(|error| failed("copy", content, &error))?;
    sync(to.parent().unwrap_or(folder))?;
    Ok(Copied { file, length, sha256 })
}

/// The folders on the way to an artifact that must lie at a path of its own.
fn make_folders(folder: &Path, file: &str) -> Result<(), ImageError> {
    let mut above = folder.to_owned();
    let (folders, _) = file.rsplit_once('/').unwrap_or_default();
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        let below = above.join(part);
        if !below.is_dir() {
            fs::create_dir(&below).map_err(|error| failed("make the folder", below.display(), &error))?;
            open_up(&below)?;
            sync(&above)?;
        }
        above = below;
    }
    Ok(())
}

/// A second name for the file, which stays where it is until the image is made. Not every file
/// system can.
fn link(source: &Path, to: &Path) -> io::Result<()> {
    fs::set_permissions(source, Permissions::from_mode(FILE_MODE))?;
    fs::hard_link(source, to)
}

fn copy_hashed(content: &Content, to: &Path, watch: Watch<'_>) -> io::Result<(u64, [u8; 32])> {
    const CHUNK_BYTES: usize = 1024 * 1024;
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
        if !watch(Step::Copied(count as u64)) {
            return Err(io::Error::new(
                io::ErrorKind::Interrupted,
                "it was stopped; nothing has changed",
            ));
        }
    }
    to.set_permissions(Permissions::from_mode(FILE_MODE))?;
    to.sync_all()?;
    Ok((length, hasher.finalize().into()))
}

fn open_up(folder: &Path) -> Result<(), ImageError> {
    fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
        .map_err(|error| failed("open up", folder.display(), &error))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    file.sync_all()
}

/// A folder's entries are durable only once the folder is synced.
pub(super) fn sync(folder: &Path) -> Result<(), ImageError> {
    File::open(folder)
        .and_then(|opened| opened.sync_all())
        .map_err(|error| failed("sync", folder.display(), &error))
}

/// One rename either way, so that nobody ever sees half an image. Replacing swaps the two; the old
/// image then lies in the hidden folder and goes with it.
fn move_into_place(partial: &Path, folder: &Path, exists: bool) -> io::Result<()> {
    let flags = match exists {
        true => RenameFlags::RENAME_EXCHANGE,
        false => RenameFlags::RENAME_NOREPLACE,
    };
    Ok(renameat2(AT_FDCWD, partial, AT_FDCWD, folder, flags)?)
}

/// The artifacts come in the order of the image's: kernel, initrds, disk.
fn describe(new: &NewImage, copied: &[Copied], said: &[String]) -> String {
    let artifact = |copied: &Copied| {
        let sum = checksum::hex(&copied.sha256);
        format!("{{ file = {}, sha256 = \"{sum}\" }}", quoted(&copied.file))
    };
    let (kernel, rest) = copied.split_at(usize::from(new.kernel.is_some()).min(copied.len()));
    let (initrds, disk) = rest.split_at(new.initrds.len().min(rest.len()));
    let mut lines: Vec<String> = said.iter().map(|said| format!("# {said}")).collect();
    lines.extend(new.cpu.map(|cpu| format!("arch    = \"{cpu}\"")));
    lines.extend(kernel.iter().map(|kernel| format!("kernel  = {}", artifact(kernel))));
    if !initrds.is_empty() {
        lines.push("initrds = [".to_owned());
        lines.extend(initrds.iter().map(|initrd| format!("    {},", artifact(initrd))));
        lines.push("]".to_owned());
    }
    lines.extend(disk.iter().map(|disk| format!("disk    = {}", artifact(disk))));
    if !new.cmdline.is_empty() {
        let parameters: Vec<String> = new.cmdline.iter().map(|said| quoted(said)).collect();
        lines.push(format!("cmdline = [{}]", parameters.join(", ")));
    }
    lines.join("\n") + "\n"
}

/// A TOML basic string; control characters were refused before.
fn quoted(said: &str) -> String {
    format!("\"{}\"", said.replace('\\', "\\\\").replace('"', "\\\""))
}
