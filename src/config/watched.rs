//! The folders in which a change of the operator's files is seen.

use super::{Appliance, loaders::RECOVERED, source};
use crate::model::limits::{ANSWER_DEPTH_MAX, IMAGE_DEPTH_MAX, LOADER_DEPTH_MAX};
use std::path::{Path, PathBuf};

/// The folders in which a change means a new generation. Folders and not files, because editors
/// save by renaming; each image's own folders too, because watching does not descend.
pub fn watched(appliance: &Appliance, config_file: &Path) -> Vec<PathBuf> {
    let folder_of = |file: &Path| match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let mut folders = vec![folder_of(config_file)];
    match appliance.inventory.is_dir() {
        true => folders.push(appliance.inventory.clone()),
        false => folders.push(folder_of(&appliance.inventory)),
    }
    folders.extend(appliance.quirks.as_deref().map(folder_of));
    folders.push(appliance.scripts.clone());
    for parent in [&appliance.answers, &appliance.images] {
        let children = source::entries(parent).unwrap_or_default();
        folders.push(parent.clone());
        folders.extend(children.into_iter().filter(|child| child.is_dir()));
    }
    for answer in source::entries(&appliance.answers).unwrap_or_default() {
        add_folders_in(&answer, ANSWER_DEPTH_MAX, &mut folders);
    }
    for image in source::entries(&appliance.images).unwrap_or_default() {
        add_folders_in(&image, IMAGE_DEPTH_MAX, &mut folders);
    }
    for loaders in &appliance.loaders {
        let mut beneath = Vec::new();
        add_folders_in(loaders, LOADER_DEPTH_MAX - 1, &mut beneath);
        // Nothing is served from one that is closed to us.
        beneath.retain(|folder| !folder.ends_with(RECOVERED) && folder.read_dir().is_ok());
        folders.extend(beneath);
        folders.push(loaders.clone());
    }
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    folders.dedup();
    folders
}

/// Adds the folders in a folder, down to `depth` below it. No loader and no artifact is served from a folder
/// behind a symlink, and what an answer has behind one is seen at the next change.
fn add_folders_in(folder: &Path, depth: usize, folders: &mut Vec<PathBuf>) {
    let is_own = |child: &PathBuf| child.is_dir() && !child.is_symlink();
    for child in source::entries(folder).unwrap_or_default().into_iter().filter(is_own) {
        if depth > 1 {
            add_folders_in(&child, depth - 1, folders);
        }
        folders.push(child);
    }
}
