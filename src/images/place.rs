//! The last steps of making an image, wherever its files come from: it is described, everything of it
//! is on disk, and one rename puts it into its place.
//!
//! Nothing touches the files afterwards, not even a second name of theirs that goes: the daemon takes
//! the new time of such a change for a change of the bytes, and reads them again.

use super::{
    MANIFEST, checksum,
    content::ArtifactContent,
    disk_sums::DiskSums,
    error::{ImageError, failed},
};
use crate::model::{Cpu, ImageSum, Name, UnpackedImage, text};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, RenameFlags, renameat2},
};
use std::{
    fmt::{self, Display, Write as _},
    fs::{self, File, Permissions},
    io::{self, Write},
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
    pub kernel: Option<ArtifactContent>,
    /// Initial RAM disks in the order the kernel must see them.
    pub initrds: Vec<ArtifactContent>,
    /// A disk image.
    pub disk: Option<ArtifactContent>,
    /// Kernel parameters that every boot of it needs.
    pub cmdline: Vec<String>,
    /// Replace an image of the same name.
    pub replace: bool,
    /// Read a disk image through once it is here, and describe its pieces and what it unpacks to.
    pub disk_sums: bool,
}

/// An image that was made.
#[derive(Clone, Debug)]
pub struct Added {
    /// Its folder.
    pub folder: PathBuf,
    /// Its artifacts, in their order.
    pub artifacts: Vec<ArtifactSummary>,
}

/// One file of an image: its name, its length in bytes, its checksum.
pub(super) type ArtifactSummary = (String, u64, [u8; 32]);

/// Whether there is an image of that name, which the new one replaces.
///
/// # Errors
/// When there is one, and it is not to be replaced.
pub(super) fn may_be_made(images: &Path, name: &Name, replace: bool) -> Result<bool, ImageError> {
    let exists = images.join(name.as_str()).symlink_metadata().is_ok();
    match exists && !replace {
        true => Err(is_taken(images, name)),
        false => Ok(exists),
    }
}

fn is_taken(images: &Path, name: &Name) -> ImageError {
    ImageError::new(format_args!(
        "there is an image `{name}` in {} already; use --force to replace it",
        images.display()
    ))
}

/// # Errors
/// When no artifact may have that path in its image: it could not stand in a URL, or would hide the
/// description.
pub(super) fn may_be_called(file: &str) -> Result<(), ImageError> {
    // A `+` may stand there besides, as in memtest86+: `config::images` reads it.
    let is_named = |part: &str| part.replace('+', "-").parse::<Name>().is_ok();
    match file != MANIFEST && file.split('/').all(is_named) {
        true => Ok(()),
        false => Err(ImageError::new(format_args!(
            "`{}` can't be an artifact's name in a URL; rename the file",
            text::escape(file.as_bytes())
        ))),
    }
}

/// # Errors
/// When one of them can't be a kernel's parameter.
pub(super) fn may_be_parameters(cmdline: &[String]) -> Result<(), ImageError> {
    match cmdline
        .iter()
        .find(|parameter| text::control_character(parameter).is_some())
    {
        Some(bad) => Err(ImageError::new(format_args!(
            "`{}` has a control character and can't be a kernel parameter",
            text::escape(bad.as_bytes())
        ))),
        None => Ok(()),
    }
}

/// Describes the image whose files lie in the hidden folder `made`, and puts it into its place. Where
/// it replaces another, that one lies in `made` then.
///
/// # Errors
/// When it can't be written, or there is an image of that name which is not to be replaced.
pub(super) fn finish(
    images: &Path,
    made: &Path,
    new: &NewImage,
    (artifacts, disk): (Vec<ArtifactSummary>, Option<DiskSums>),
    comments: &[&dyn Display],
) -> Result<Added, ImageError> {
    let manifest = made.join(MANIFEST);
    write_synced(
        &manifest,
        &Description {
            new,
            artifacts: &artifacts,
            disk: disk.as_ref(),
            comments,
        },
    )
    .map_err(|error| failed("write", manifest.display(), error))?;
    open_up(made)?;
    sync(made)?;
    let folder = images.join(new.name.as_str());
    rename(made, &folder, new.replace).map_err(|errno| match errno {
        Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR => is_taken(images, &new.name),
        Errno::EINVAL => ImageError::new(format_args!(
            "the file system of {} can't replace a folder in one step: take `{}` away first (bootwright image remove), or name another folder of images with --images DIR",
            images.display(), new.name
        )),
        errno => failed("put into place", folder.display(), errno.into()),
    })?;
    sync(images)?;
    Ok(Added { folder, artifacts })
}

/// One rename either way, so that half an image is never seen. Replacing swaps the two.
fn rename(made: &Path, folder: &Path, replace: bool) -> nix::Result<()> {
    let by = |flags| renameat2(AT_FDCWD, made, AT_FDCWD, folder, flags);
    let new = || match by(RenameFlags::RENAME_NOREPLACE) {
        // NFS knows neither flag. A plain rename replaces no folder that has anything in it.
        Err(Errno::EINVAL) if folder.symlink_metadata().is_err() => by(RenameFlags::empty()),
        Err(Errno::EINVAL) => Err(Errno::EEXIST),
        done => done,
    };
    match new() {
        Err(Errno::EEXIST) if replace => match by(RenameFlags::RENAME_EXCHANGE) {
            // It was removed in this moment.
            Err(Errno::ENOENT) => new(),
            swapped => swapped,
        },
        done => done,
    }
}

/// Lets everybody read a folder.
pub(super) fn open_up(folder: &Path) -> Result<(), ImageError> {
    fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
        .map_err(|error| failed("open up", folder.display(), error))
}

/// Lets everybody read a file, and has it on disk.
pub(super) fn settle(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    file.sync_all()
}

/// A folder's entries are durable only once the folder is synced.
pub(super) fn sync(folder: &Path) -> Result<(), ImageError> {
    File::open(folder)
        .and_then(|opened| opened.sync_all())
        .map_err(|error| failed("sync", folder.display(), error))
}

fn write_synced(path: &Path, text: &impl Display) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.to_string().as_bytes())?;
    settle(&file)
}

/// What `image.toml` says. The artifacts come in the order of the image's: kernel, initrds, disk.
struct Description<'a> {
    new: &'a NewImage,
    artifacts: &'a [ArtifactSummary],
    /// What is known of the disk.
    disk: Option<&'a DiskSums>,
    /// A line each above everything else.
    comments: &'a [&'a dyn Display],
}

impl Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let new = self.new;
        let (kernel, rest) = self
            .artifacts
            .split_at(usize::from(new.kernel.is_some()).min(self.artifacts.len()));
        let (initrds, disk) = rest.split_at(new.initrds.len().min(rest.len()));
        self.comments
            .iter()
            .try_for_each(|comment| writeln!(f, "# {comment}"))?;
        new.cpu.iter().try_for_each(|cpu| writeln!(f, "arch    = \"{cpu}\""))?;
        kernel
            .iter()
            .try_for_each(|kernel| writeln!(f, "kernel  = {}", ArtifactTable(kernel, None)))?;
        if !initrds.is_empty() {
            writeln!(f, "initrds = [")?;
            initrds
                .iter()
                .try_for_each(|initrd| writeln!(f, "    {},", ArtifactTable(initrd, None)))?;
            writeln!(f, "]")?;
        }
        disk.iter()
            .try_for_each(|disk| writeln!(f, "disk    = {}", ArtifactTable(disk, self.disk)))?;
        if let Some((first, others)) = new.cmdline.split_first() {
            write!(f, "cmdline = [{}", Quoted(first))?;
            others.iter().try_for_each(|other| write!(f, ", {}", Quoted(other)))?;
            writeln!(f, "]")?;
        }
        Ok(())
    }
}

/// An artifact's table, and what else is known of a disk.
struct ArtifactTable<'a>(&'a ArtifactSummary, Option<&'a DiskSums>);

impl Display for ArtifactTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, _, sha256) = self.0;
        let sum = checksum::hex(sha256);
        write!(f, "{{ file = {}, sha256 = \"{sum}\"", Quoted(file))?;
        let unpacked = self.1.and_then(|disk| disk.unpacked);
        if let Some(UnpackedImage {
            bytes,
            sha256: Some(ImageSum(sum)),
        }) = unpacked
        {
            let sum = checksum::hex(&sum);
            write!(f, ", unpacked = {{ bytes = {bytes}, sha256 = \"{sum}\" }}")?;
        }
        if let Some(pieces) = self.1.and_then(|disk| disk.pieces.as_ref()) {
            // An array alone may go over lines there.
            writeln!(f, ", pieces = {{ bytes = {}, sha256 = [", pieces.bytes)?;
            let mut sums = pieces.sha256.iter();
            sums.try_for_each(|ImageSum(sum)| writeln!(f, "    \"{}\",", checksum::hex(sum)))?;
            f.write_str("] }")?;
        }
        f.write_str(" }")
    }
}

/// A TOML basic string; control characters were refused before.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '\\' | '"') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}
