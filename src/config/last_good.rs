//! Which files of an accepted version are saved as the last good one, and how they are loaded again.
//!
//! Saved are the files that people write: the settings, the inventory, scripts, answers, rows about firmware and the
//! descriptions of images. Loaders and artifacts are used as they are now: an artifact has its checksum, and
//! one that is gone by then is reported and not served. An image whose description is valid now is used by that,
//! because its files were fetched anew with it.
//!
//! This file knows which files those are and where each lies among the kept ones; where that folder is,
//! and that it is written atomically, is `store`'s.

use super::{
    Appliance, LoadReport, Loaded, appliance,
    images::ImageFolder,
    loading::validate,
    problems::{Problems, TriedBefore},
    source::{self, read_bounded},
};
use crate::images::{MANIFEST, sums::Sums};
use crate::model::{
    Dialect,
    limits::{LAST_GOOD_BYTES_MAX, LAST_GOOD_DEPTH_MAX, LAST_GOOD_FILES_MAX},
};
use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

const SETTINGS: &str = "bootwright.toml";
const INVENTORY: &str = "inventory.toml";
const INVENTORIES: &str = "inventory";
const SCRIPTS: &str = "scripts";
const ANSWERS: &str = "answers";
const QUIRKS: &str = "quirks.toml";
const IMAGES: &str = "images";
/// Folders that are there among the kept ones, whether or not anything lies in them.
pub const KEPT_FOLDERS: [&str; 2] = [SCRIPTS, ANSWERS];

/// One file that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedFile {
    /// Where it lies among the kept ones.
    pub path: PathBuf,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// The files of an accepted version as they are on disk now. One that can't be read is left out: where
/// it is needed, [`load_last_good`] says so.
///
/// # Errors
/// They are too many or too large to be kept.
pub fn files_to_save(appliance: &Appliance, config_file: &Path) -> io::Result<Vec<SavedFile>> {
    let mut files = FileCollector::default();
    files.add(config_file, PathBuf::from(SETTINGS))?;
    match appliance.inventory.is_dir() {
        true => files.add_all(&appliance.inventory, INVENTORIES, |extension| extension == "toml")?,
        false => files.add(&appliance.inventory, PathBuf::from(INVENTORY))?,
    }
    files.add_all(&appliance.scripts, SCRIPTS, |extension| {
        Dialect::ALL.iter().any(|dialect| extension == dialect.extension())
    })?;
    files.add_tree(&appliance.answers, Path::new(ANSWERS), LAST_GOOD_DEPTH_MAX)?;
    if let Some(quirks) = &appliance.quirks {
        files.add(quirks, PathBuf::from(QUIRKS))?;
    }
    for image in source::entries(&appliance.images).unwrap_or_default() {
        let kept = Path::new(IMAGES).join(image.file_name().unwrap_or_default());
        files.add(&image.join(MANIFEST), kept.join(MANIFEST))?;
    }
    Ok(files.files)
}

/// Files that were read so far.
#[derive(Default)]
struct FileCollector {
    files: Vec<SavedFile>,
    bytes: u64,
}

impl FileCollector {
    fn add(&mut self, from: &Path, path: PathBuf) -> io::Result<()> {
        let Ok(bytes) = read_bounded(from) else {
            return Ok(());
        };
        self.bytes += bytes.len() as u64;
        self.files.push(SavedFile { path, bytes });
        if self.bytes > LAST_GOOD_BYTES_MAX || self.files.len() > LAST_GOOD_FILES_MAX {
            return Err(io::Error::other(format!(
                "they are more than {LAST_GOOD_FILES_MAX} files or {LAST_GOOD_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }

    /// The files of a folder whose extensions are wanted.
    fn add_all(&mut self, folder: &Path, kept: &str, is_wanted: impl Fn(&OsStr) -> bool) -> io::Result<()> {
        for path in source::entries(folder).unwrap_or_default() {
            if path.extension().is_some_and(&is_wanted) {
                let kept = Path::new(kept).join(path.file_name().unwrap_or_default());
                self.add(&path, kept)?;
            }
        }
        Ok(())
    }

    /// A folder with what is in it, down to `depth`.
    fn add_tree(&mut self, folder: &Path, kept: &Path, depth: usize) -> io::Result<()> {
        for path in source::entries(folder).unwrap_or_default() {
            let kept = kept.join(path.file_name().unwrap_or_default());
            match path.is_dir() {
                true if depth > 1 => self.add_tree(&path, &kept, depth - 1)?,
                true => {}
                false => self.add(&path, kept)?,
            }
        }
        Ok(())
    }
}

/// Loads the files that are kept in `folder`; `config_file` is where their settings stood, and paths in
/// them are as they were. What is odd by now about loaders and images is a warning.
///
/// # Errors
/// They are not sound: another version of bootwright kept them, or they were changed.
pub fn load_last_good(
    folder: &Path,
    config_file: &Path,
    generation: u64,
    sums: &mut dyn Sums,
) -> Result<Loaded, LoadReport> {
    load_last_good_only(folder, config_file, generation, sums, None)
}

/// The same of files with these bytes only.
pub(super) fn load_last_good_only(
    folder: &Path,
    config_file: &Path,
    generation: u64,
    sums: &mut dyn Sums,
    before: Option<TriedBefore>,
) -> Result<Loaded, LoadReport> {
    let mut problems = Problems::of_last_good().with_tried(before);
    let Some(mut read) = appliance::read_as(&folder.join(SETTINGS), config_file, &mut problems) else {
        return Err(problems.into_report());
    };
    let appliance = read.appliance.clone();
    read.appliance = Appliance {
        inventory: match folder.join(INVENTORIES) {
            inventories if inventories.is_dir() => inventories,
            _ => folder.join(INVENTORY),
        },
        scripts: folder.join(SCRIPTS),
        answers: folder.join(ANSWERS),
        quirks: Some(folder.join(QUIRKS)).filter(|quirks| quirks.exists()),
        ..read.appliance
    };
    let catalogue = ImageFolder::with_kept(&appliance.images, &folder.join(IMAGES), sums, &mut problems);
    validate(&read, catalogue, generation, problems).map(|(snapshot, warnings)| Loaded {
        appliance,
        snapshot,
        warnings,
    })
}

/// Where the state of an appliance may be, whose settings may not be readable: the likeliest first.
pub fn state_folders(config_file: &Path) -> Vec<PathBuf> {
    // systemd's StateDirectory=; several are separated by colons.
    let of_unit = std::env::var_os("STATE_DIRECTORY").and_then(|folders| std::env::split_paths(&folders).next());
    let mut folders: Vec<PathBuf> = appliance::state_named(config_file)
        .into_iter()
        .chain(of_unit)
        .chain([PathBuf::from(appliance::STATE)])
        .collect();
    folders.dedup();
    folders
}

/// The first path of `last_good` settings at which root would write or change owners, and which is named neither
/// by the settings on disk, as far as those can be read, nor by default: with the setting that says it.
/// Whoever the daemon runs as can change kept settings, and must not choose that.
pub fn rewritten_paths<'k>(kept: &'k Appliance, config_file: &Path) -> Option<(&'static str, &'k Path)> {
    if !state_folders(config_file).contains(&kept.state) {
        return Some(("path under [state]", &kept.state));
    }
    let socket = appliance::socket_named(config_file).unwrap_or_else(|| PathBuf::from(appliance::SOCKET));
    (kept.admin_socket != socket).then_some(("socket under [admin]", &*kept.admin_socket))
}
