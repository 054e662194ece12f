//! The folders in which a change of the operator's files is seen.

use super::{Appliance, loaders::RECOVERED, source};
use crate::model::limits::{ANSWER_DEPTH_MAX, EDITED_FILES_MAX, IMAGE_DEPTH_MAX, LOADER_DEPTH_MAX, WATCHED_LINKS_MAX};
use std::{
    collections::VecDeque,
    ffi::OsString,
    path::{Component, Path, PathBuf},
};

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
        add_folders_in(&answer, ANSWER_DEPTH_MAX, FollowLinks::Links, &mut folders);
    }
    for image in source::entries(&appliance.images).unwrap_or_default() {
        add_folders_in(&image, IMAGE_DEPTH_MAX, FollowLinks::None, &mut folders);
    }
    for loaders in &appliance.loaders {
        let mut beneath = Vec::new();
        add_folders_in(loaders, LOADER_DEPTH_MAX - 1, FollowLinks::None, &mut beneath);
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

/// The folders outside of these in which a change means one all the same: where a link on the way to a file
/// lies, where it leads, and where a folder that is gone would come back.
pub fn watched_beyond(appliance: &Appliance, config_file: &Path) -> Vec<PathBuf> {
    let Appliance {
        inventory,
        scripts,
        answers,
        images,
        loaders,
        quirks,
        ..
    } = appliance;
    let named = [config_file, inventory, scripts, answers, images].into_iter();
    let named = named
        .chain(loaders.iter().map(PathBuf::as_path))
        .chain(quirks.as_deref());
    let mut folders = Vec::new();
    for path in named {
        add_trail(path, &mut folders);
    }
    for folder in [inventory, scripts, answers] {
        add_links_in(folder, ANSWER_DEPTH_MAX, &mut folders);
    }
    folders.sort();
    folders.dedup();
    folders
}

/// Adds where the links in a folder lead, and those in the folders in it.
fn add_links_in(folder: &Path, depth: usize, folders: &mut Vec<PathBuf>) {
    for path in source::entries(folder).unwrap_or_default() {
        if path.is_symlink() {
            add_trail(&path, folders);
        } else if depth > 1 && path.is_dir() {
            add_links_in(&path, depth - 1, folders);
        }
    }
}

/// Adds the folder of every link on the way to what `path` stands for, and the one that it lies in behind them;
/// of what is not there, the last folder on its way.
fn add_trail(path: &Path, folders: &mut Vec<PathBuf>) {
    let Ok(path) = std::path::absolute(path) else {
        return;
    };
    let mut links = 0;
    let mut at = PathBuf::from("/");
    let mut ahead = parts(&path);
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(part);
        let is_link = match next.symlink_metadata() {
            Ok(there) => there.is_symlink(),
            Err(_) => {
                folders.push(at);
                return;
            }
        };
        let Some(target) = next.read_link().ok().filter(|_| is_link) else {
            at = next;
            continue;
        };
        folders.push(at.clone());
        links += 1;
        if links > WATCHED_LINKS_MAX {
            return;
        }
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            ahead.push_front(part);
        }
    }
    if links > 0 {
        let is_folder = at.is_dir();
        folders.extend(at.parent().map(Path::to_owned));
        folders.extend(is_folder.then_some(at));
    }
}

/// The parts of a path, without what leads nowhere.
fn parts(path: &Path) -> VecDeque<OsString> {
    let parts = path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    parts.collect()
}

/// Which folders count besides those that lie there themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FollowLinks {
    /// No others: no loader and no artifact is served from a folder behind a symlink.
    None,
    /// Those that a symlink leads to: answers are read there.
    Links,
}

/// Adds the folders in a folder, down to `depth` below it.
fn add_folders_in(folder: &Path, depth: usize, behind: FollowLinks, folders: &mut Vec<PathBuf>) {
    let counts = |child: &PathBuf| child.is_dir() && (behind == FollowLinks::Links || !child.is_symlink());
    for child in source::entries(folder).unwrap_or_default().into_iter().filter(counts) {
        // A link may lead anywhere, to a folder above it too.
        if behind == FollowLinks::Links && folders.len() >= EDITED_FILES_MAX {
            return;
        }
        if depth > 1 {
            add_folders_in(&child, depth - 1, behind, folders);
        }
        folders.push(child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink, slice::from_ref};

    fn trail(path: &Path) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        add_trail(path, &mut folders);
        folders.sort();
        folders.dedup();
        folders
    }

    #[test]
    fn every_link_on_the_way_is_watched_where_it_lies_and_where_it_leads() {
        let room = tempfile::tempdir().unwrap();
        let root = room.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        for folder in ["etc", "git/rooms", "old"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("git/rooms/a.toml"), "").unwrap();
        assert_eq!(
            trail(&at("git/rooms/a.toml")),
            Vec::<PathBuf>::new(),
            "no link, nothing beyond"
        );
        symlink("../now/a.toml", at("etc/inventory.toml")).unwrap();
        symlink(at("git/rooms"), at("now")).unwrap();
        let found = trail(&at("etc/inventory.toml"));
        assert_eq!(found, [root.clone(), at("etc"), at("git/rooms")]);
        assert_eq!(
            trail(&at("now")),
            [root.clone(), at("git"), at("git/rooms")],
            "a folder's link"
        );
    }

    #[test]
    fn folders_behind_links_in_an_answer_count_and_those_of_an_image_do_not() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        fs::create_dir_all(at("git/parts/deep")).unwrap();
        fs::create_dir(at("debian")).unwrap();
        symlink("../git/parts", at("debian/parts")).unwrap();
        symlink("..", at("debian/round")).unwrap();
        let found = |behind| {
            let mut folders = Vec::new();
            add_folders_in(&at("debian"), ANSWER_DEPTH_MAX, behind, &mut folders);
            folders
        };
        let answers = found(FollowLinks::Links);
        for folder in ["debian/parts", "debian/parts/deep"] {
            assert!(answers.contains(&at(folder)), "{answers:?}");
        }
        assert_eq!(found(FollowLinks::None), Vec::<PathBuf>::new());
    }

    #[test]
    fn what_is_gone_is_waited_for_in_the_last_folder_on_its_way() {
        let room = tempfile::tempdir().unwrap();
        let root = room.path().canonicalize().unwrap();
        assert_eq!(trail(&root.join("etc/bootwright/inventory.toml")), from_ref(&root));
        symlink("nowhere/a.toml", root.join("a.toml")).unwrap();
        assert_eq!(trail(&root.join("a.toml")), from_ref(&root));
        symlink("round.toml", root.join("round.toml")).unwrap();
        assert_eq!(
            trail(&root.join("round.toml")),
            [root],
            "and no link is followed for ever"
        );
    }
}
