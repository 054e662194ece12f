//! What a generation is read from, and whether that changed.

use crate::boot::snapshot::FileStamp;
use crate::config::{self, Appliance, Watched};
use crate::images::checksum;
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The folders that a generation is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WatchSet {
    /// Each is watched by itself; watching does not descend.
    pub(super) folders: Vec<PathBuf>,
    /// Folders in and beneath which every file counts. Elsewhere only TOML files do: a log beside
    /// `bootwright.toml` that each reload writes to must not cause the next.
    whole: Vec<PathBuf>,
    /// Answers that more than these folders is read for: changes there are not seen.
    pub(super) left_out: Vec<PathBuf>,
}

impl WatchSet {
    /// Those of an appliance.
    pub(super) fn of(appliance: &Appliance, config_file: &Path) -> WatchSet {
        let Appliance {
            scripts,
            answers,
            images,
            loaders,
            ..
        } = appliance;
        let whole = [scripts, answers, images].into_iter().chain(loaders);
        let Watched { mut folders, left_out } = config::watched(appliance, config_file);
        folders.extend(config::watched_beyond(appliance, config_file));
        folders.sort();
        folders.dedup();
        WatchSet {
            folders,
            whole: whole.cloned().collect(),
            left_out,
        }
    }

    /// What tells one state of the folders from another: names, lengths, times and inodes of what
    /// is in them. Editors' own files do not count.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for folder in &self.folders {
            folder.hash(&mut hasher);
            let whole = self.whole.iter().any(|whole| folder.starts_with(whole));
            for path in entries(folder) {
                if whole || path.extension().is_some_and(|extension| extension == "toml") {
                    stamp(&path).hash(&mut hasher);
                    behind(&path).hash(&mut hasher);
                    path.hash(&mut hasher);
                }
            }
        }
        hasher.finish()
    }
}

/// What is directly in a folder, in order, without editors' own files.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    entries.retain(|path| !is_editors(path));
    entries.sort();
    entries
}

/// What a file is; a folder's times come and go with what is in it, and it counts only by name.
fn stamp(path: &Path) -> Option<FileStamp> {
    let there = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some(checksum::stamp(&there))
}

/// Which folder a link leads to: it may be one that is looked at under another path.
fn behind(path: &Path) -> Option<(u64, u64)> {
    let there = path
        .metadata()
        .ok()
        .filter(|there| there.is_dir() && path.is_symlink())?;
    Some((there.dev(), there.ino()))
}

fn is_editors(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // vim probes a folder with a file named 4913.
    name.starts_with(['.', '#']) || name.ends_with('~') || name.ends_with(".swp") || name == "4913"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(folder: &Path, scripts: &Path) -> WatchSet {
        WatchSet {
            folders: vec![folder.to_owned(), scripts.to_owned()],
            whole: vec![scripts.to_owned()],
            left_out: Vec::new(),
        }
    }

    #[test]
    fn an_edit_changes_the_fingerprint_and_an_editors_swap_file_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let watched = watched(folder.path(), &at("scripts"));
        std::fs::write(at("inventory.toml"), "a").unwrap();
        let first = watched.fingerprint();
        std::fs::write(at(".inventory.toml.swp"), "x").unwrap();
        std::fs::write(at("inventory.toml~"), "x").unwrap();
        assert_eq!(watched.fingerprint(), first);
        std::fs::write(at("new"), "b").unwrap();
        std::fs::rename(at("new"), at("inventory.toml")).unwrap();
        assert_ne!(watched.fingerprint(), first);
    }

    #[test]
    fn a_log_beside_the_configuration_does_not_count_and_a_script_does() {
        let folder = tempfile::tempdir().unwrap();
        let scripts = folder.path().join("scripts");
        std::fs::create_dir(&scripts).unwrap();
        let watched = watched(folder.path(), &scripts);
        let first = watched.fingerprint();
        std::fs::write(folder.path().join("serve.log"), "reloaded").unwrap();
        assert_eq!(watched.fingerprint(), first);
        std::fs::write(scripts.join("live.ipxe"), "#!ipxe").unwrap();
        assert_ne!(watched.fingerprint(), first);
    }

    #[test]
    fn a_link_that_leads_to_another_folder_of_those_that_are_looked_at_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("old")).unwrap();
        std::fs::create_dir_all(at("new")).unwrap();
        let watched = watched(&at("old"), folder.path());
        std::os::unix::fs::symlink("old", at("now")).unwrap();
        let first = watched.fingerprint();
        std::fs::remove_file(at("now")).unwrap();
        std::os::unix::fs::symlink("new", at("now")).unwrap();
        assert_ne!(watched.fingerprint(), first);
    }
}
