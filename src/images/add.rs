//! Making an image from files: copied, hashed and described, and put in place in one step.

use super::{MANIFEST, checksum};
use crate::model::{Cpu, Name, text};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    fmt,
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
    /// The kernel's file, wherever it is.
    pub kernel: Option<PathBuf>,
    /// Initial RAM disks in the order the kernel must see them.
    pub initrds: Vec<PathBuf>,
    /// A disk image.
    pub disk: Option<PathBuf>,
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

/// Why an image can't be made: what, where, and what to do.
#[derive(Debug)]
pub struct ImageError(String);

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ImageError {}

impl ImageError {
    pub(super) fn new(why: String) -> ImageError {
        ImageError(why)
    }
}

pub(super) fn failed(doing: &str, path: &Path, error: &io::Error) -> ImageError {
    ImageError(format!("can't {doing} {}: {error}", path.display()))
}

/// One artifact, copied.
struct Copied {
    file: String,
    length: u64,
    sha256: [u8; 32],
}

/// A hidden folder that disappears unless it was moved into its place.
pub(super) struct Partial(PathBuf);

impl Partial {
    pub(super) fn of(folder: PathBuf) -> Partial {
        Partial(folder)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Gone already where the move was made; what can't be removed is hidden and harmless.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Where an image's files come from, when somebody else has judged them already.
pub(super) struct Provenance {
    /// Files that may be linked instead of copied, with their lengths and checksums.
    pub(super) known: HashMap<PathBuf, (u64, [u8; 32])>,
    /// What the description says above the artifacts, a line each.
    pub(super) said: Vec<String>,
}

/// Makes an image in the folder of images.
///
/// # Errors
/// When a file can't be read or written, when there is an image of that name and it is not to be
/// replaced, or when there is nothing to boot.
pub fn add(images: &Path, new: &NewImage) -> Result<Added, ImageError> {
    let provenance = Provenance {
        known: HashMap::new(),
        said: vec![format!("Made by `bootwright image add {}`.", new.name)],
    };
    add_from(images, new, &provenance)
}

/// The same of files whose checksums are known.
pub(super) fn add_from(images: &Path, new: &NewImage, provenance: &Provenance) -> Result<Added, ImageError> {
    let folder = images.join(new.name.as_str());
    let exists = folder.symlink_metadata().is_ok();
    if exists && !new.replace {
        return Err(ImageError(format!(
            "there is an image `{}` in {} already; use --force to replace it",
            new.name,
            images.display()
        )));
    }
    if new.kernel.is_none() && new.disk.is_none() {
        let what = "an image needs a kernel or a disk; name one with --kernel FILE or --disk FILE";
        return Err(ImageError(what.to_owned()));
    }
    if let Some(bad) = new.cmdline.iter().find(|said| text::control_character(said).is_some()) {
        let shown = text::escape(bad.as_bytes());
        return Err(ImageError(format!(
            "`{shown}` has a control character and can't be a kernel parameter"
        )));
    }
    fs::create_dir_all(images).map_err(|error| failed("make the folder", images, &error))?;
    let partial = Partial(images.join(format!(".{}.partial-{}", new.name, std::process::id())));
    fs::create_dir(&partial.0).map_err(|error| failed("make the folder", &partial.0, &error))?;
    let artifacts = fill(&partial.0, new, provenance)?;
    let mode = Permissions::from_mode(FOLDER_MODE);
    fs::set_permissions(&partial.0, mode).map_err(|error| failed("open up", &partial.0, &error))?;
    move_into_place(&partial.0, &folder, exists).map_err(|error| failed("put into place", &folder, &error))?;
    sync(images)?;
    Ok(Added { folder, artifacts })
}

fn fill(folder: &Path, new: &NewImage, provenance: &Provenance) -> Result<Vec<(String, u64, [u8; 32])>, ImageError> {
    let copy = |source: &Path| copy(source, folder, provenance);
    let one = |source: &Option<PathBuf>| source.as_deref().map(copy).transpose();
    let kernel = one(&new.kernel)?;
    let initrds = new
        .initrds
        .iter()
        .map(|source| copy(source))
        .collect::<Result<Vec<Copied>, ImageError>>()?;
    let disk = one(&new.disk)?;
    let manifest = folder.join(MANIFEST);
    write_synced(
        &manifest,
        describe(new, kernel.as_ref(), &initrds, disk.as_ref(), &provenance.said).as_bytes(),
    )
    .map_err(|error| failed("write", &manifest, &error))?;
    sync(folder)?;
    let all = kernel.into_iter().chain(initrds).chain(disk);
    Ok(all.map(|copied| (copied.file, copied.length, copied.sha256)).collect())
}

fn copy(source: &Path, folder: &Path, provenance: &Provenance) -> Result<Copied, ImageError> {
    let file = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // A `+` may stand there besides, as in memtest86+: `config::images` reads it.
    if file.replace('+', "-").parse::<Name>().is_err() || file == MANIFEST {
        let shown = text::escape(file.as_bytes());
        return Err(ImageError(format!(
            "`{shown}` can't be an artifact's name in a URL; rename the file"
        )));
    }
    let to = folder.join(&file);
    if to.exists() {
        return Err(ImageError(format!(
            "two artifacts are called `{file}`; rename one of the files"
        )));
    }
    let linked = provenance.known.get(source).filter(|_| link(source, &to).is_ok());
    let copied = linked.map_or_else(|| copy_hashed(source, &to), |known| Ok(*known));
    let (length, sha256) = copied.map_err(|error| failed("copy", source, &error))?;
    Ok(Copied { file, length, sha256 })
}

/// A second name for the file, which stays where it is until the image is made. Not every file
/// system can.
fn link(source: &Path, to: &Path) -> io::Result<()> {
    fs::set_permissions(source, Permissions::from_mode(FILE_MODE))?;
    fs::hard_link(source, to)
}

fn copy_hashed(source: &Path, to: &Path) -> io::Result<(u64, [u8; 32])> {
    const CHUNK_BYTES: usize = 1024 * 1024;
    let mut from = File::open(source)?;
    if !from.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
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
    }
    to.set_permissions(Permissions::from_mode(FILE_MODE))?;
    to.sync_all()?;
    Ok((length, hasher.finalize().into()))
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
        .map_err(|error| failed("sync", folder, &error))
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

fn describe(
    new: &NewImage,
    kernel: Option<&Copied>,
    initrds: &[Copied],
    disk: Option<&Copied>,
    said: &[String],
) -> String {
    let artifact = |copied: &Copied| {
        let sum = checksum::hex(&copied.sha256);
        format!("{{ file = {}, sha256 = \"{sum}\" }}", quoted(&copied.file))
    };
    let mut lines: Vec<String> = said.iter().map(|said| format!("# {said}")).collect();
    lines.extend(new.cpu.map(|cpu| format!("arch    = \"{cpu}\"")));
    lines.extend(kernel.map(|kernel| format!("kernel  = {}", artifact(kernel))));
    if !initrds.is_empty() {
        lines.push("initrds = [".to_owned());
        lines.extend(initrds.iter().map(|initrd| format!("    {},", artifact(initrd))));
        lines.push("]".to_owned());
    }
    lines.extend(disk.map(|disk| format!("disk    = {}", artifact(disk))));
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
