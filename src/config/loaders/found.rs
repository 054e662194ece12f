//! What lies in the folders of loaders: files, links that are followed, and an iPXE that Secure Boot takes.

use super::{BEGINNING_BYTES, read_at_most};
use crate::boot::snapshot::Origin;
use crate::boot::{
    loader::{FileLocation, Loaders},
    program::{behind_ipxe_shim, cpu_of_efi, dialect_of_shim, is_signed},
};
use crate::config::{problems::Problems, source};
use crate::model::{
    Arch, Dialect, Firmware,
    limits::{LOADER_DEPTH_MAX, LOADER_FILES_MAX, LOADER_INSPECTED_BYTES_MAX, LOADER_LINKS_MAX},
};
use std::{
    collections::VecDeque,
    fmt,
    fs::{self, Metadata},
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The user whose links are followed.
const ROOT: u32 = 0;

/// What every file system of Linux has at its top, closed to all but root.
pub(in crate::config) const RECOVERED: &str = "lost+found";

/// A folder beneath one of the roots.
struct Folder {
    path: PathBuf,
    /// Its path beneath the root, with a slash at the end where there is one.
    beneath: String,
}

/// Every loader beneath `roots`, as deep as loaders are kept (`arm64-efi/snponly.efi`). `at` is where the roots
/// are named, to say what is left out.
pub(in crate::config) fn find(roots: &[PathBuf], at: &Origin, problems: &mut Problems) -> Loaders {
    let mut loaders = Loaders::default();
    for root in roots {
        find_in(root, &mut loaders, at, problems);
    }
    look_behind_shims(&mut loaders);
    loaders
}

fn find_in(root: &Path, loaders: &mut Loaders, at: &Origin, problems: &mut Problems) {
    let mut left_out = |what: &str, folder: &Path, why: fmt::Arguments<'_>| {
        let message = format_args!("{what} {} is not served: {why}", folder.display());
        problems.warn(
            at,
            message,
            "name the folder that is meant itself in `loaders`, or take away what is not",
        );
    };
    let mut found = 0;
    let top = Folder {
        path: root.to_owned(),
        beneath: String::new(),
    };
    // Shallow folders first: what is asked for by a short name is never behind a deep tree.
    let mut folders = VecDeque::from([top]);
    while let Some(folder) = folders.pop_front() {
        let entries = match source::entries(&folder.path) {
            Ok(entries) => entries,
            // A root that is not there is reported where a loader is missed in it.
            Err(_) if folder.beneath.is_empty() => continue,
            // Whoever closed a folder beneath a root did not mean it to be served.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => continue,
            Err(error) => {
                left_out("what is in", &folder.path, format_args!("{error}"));
                continue;
            }
        };
        found += entries.len();
        if found > LOADER_FILES_MAX {
            left_out(
                "the rest of",
                root,
                format_args!("it has more than {LOADER_FILES_MAX} files"),
            );
            return;
        }
        let is_deepest = folder.beneath.matches('/').count() + 1 >= LOADER_DEPTH_MAX;
        for inner in entries
            .into_iter()
            .filter_map(|entry| take(root, &folder, entry, loaders))
        {
            match is_deepest {
                true => left_out(
                    "what is in",
                    &inner.path,
                    format_args!("it lies deeper than {LOADER_DEPTH_MAX} folders"),
                ),
                false => folders.push_back(inner),
            }
        }
    }
}

/// Takes a file or a link; a folder is given back.
fn take(root: &Path, folder: &Folder, entry: PathBuf, loaders: &mut Loaders) -> Option<Folder> {
    let file = format!("{}{}", folder.beneath, entry.file_name()?.to_str()?);
    let metadata = entry.symlink_metadata().ok()?;
    if metadata.is_file() {
        loaders.add(root.to_owned(), file);
    } else if metadata.is_symlink() {
        match followed(&entry, metadata) {
            Ok(Some(target)) => loaders.add_link(file, target),
            Ok(None) => {}
            Err(why) => loaders.add_unfollowed_link(file, why),
        }
    } else if metadata.is_dir() && entry.file_name()? != RECOVERED {
        let beneath = format!("{file}/");
        return Some(Folder { path: entry, beneath });
    }
    None
}

/// The file that a link names in the end, or why it is not followed; `None` where that is no file. Every
/// link on the way and the file are root's: who may not write to a folder of loaders could else make us
/// serve what only we may read.
fn followed(link: &Path, metadata: Metadata) -> Result<Option<FileLocation>, String> {
    let (mut path, mut metadata) = (link.to_owned(), metadata);
    for _ in 0..=LOADER_LINKS_MAX {
        if metadata.uid() != ROOT {
            return Err(format!(
                "{} belongs to user {} and not to root",
                path.display(),
                metadata.uid()
            ));
        }
        if metadata.is_file() {
            return Ok(place(&path));
        }
        if !metadata.is_symlink() {
            return Ok(None);
        }
        let target = path
            .read_link()
            .map_err(|error| format!("{}: {error}", path.display()))?;
        path = path.parent().unwrap_or(Path::new("/")).join(target);
        metadata = path
            .symlink_metadata()
            .map_err(|error| format!("it leads to {}: {error}", path.display()))?;
    }
    Err(format!("it leads over more than {LOADER_LINKS_MAX} others"))
}

/// A regular file as the servers open it.
fn place(path: &Path) -> Option<FileLocation> {
    let root = fs::canonicalize(path.parent()?).ok()?;
    let file = path.file_name()?.to_str()?.to_owned();
    Some(FileLocation { root, file })
}

/// What is behind each shim, and whether that is an iPXE which Secure Boot takes.
fn look_behind_shims(loaders: &mut Loaders) {
    let is_shim = |file: &&str| {
        let name = file.rsplit('/').next().unwrap_or(file).to_ascii_lowercase();
        name.contains("shim") && name.ends_with(".efi")
    };
    let shims: Vec<String> = loaders.names().filter(is_shim).map(str::to_owned).collect();
    let mut signed = Vec::new();
    for shim in shims {
        let Some(program) = read(loaders, &shim, LOADER_INSPECTED_BYTES_MAX) else {
            continue;
        };
        let Some(dialect) = dialect_of_shim(&program) else {
            continue;
        };
        loaders.set_dialect(shim.clone(), dialect);
        if let Some(arch) = signed_ipxe(loaders, &shim, &program, dialect) {
            signed.push((arch, shim));
        }
    }
    // `snponly` before `ipxe`, as among unsigned ones.
    signed.sort_by_key(|(_, shim)| !shim.contains("snponly"));
    for (arch, shim) in signed {
        loaders.set_signed(arch, shim);
    }
}

/// For which machine a shim brings up an iPXE with Secure Boot on: both are signed, and for the same one.
fn signed_ipxe(loaders: &Loaders, shim: &str, program: &[u8], dialect: Dialect) -> Option<Arch> {
    let behind = behind_ipxe_shim(shim).filter(|_| dialect == Dialect::Ipxe && is_signed(program))?;
    let behind = read(loaders, &behind, BEGINNING_BYTES)?;
    let cpu = cpu_of_efi(program)?;
    (is_signed(&behind) && cpu_of_efi(&behind) == Some(cpu)).then_some(Arch {
        firmware: Firmware::Uefi,
        cpu,
    })
}

fn read(loaders: &Loaders, file: &str, bytes_max: u64) -> Option<Vec<u8>> {
    let place = loaders.location_of(file)?;
    read_at_most(&place.root.join(&place.file), bytes_max).ok()
}
