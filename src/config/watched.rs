//! The folders in which a change of the operator's files is seen.

use super::{Appliance, loaders::RECOVERED, source};
use crate::model::limits::{
    ANSWER_DEPTH_MAX, IMAGE_DEPTH_MAX, LOADER_DEPTH_MAX, WATCHED_BEHIND_LINKS_MAX, WATCHED_LINKS_MAX,
};
use std::{
    collections::{HashMap, VecDeque},
    ffi::OsString,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
};

/// Where a change means a new generation.
#[derive(Debug)]
pub struct Watched {
    /// Folders and not files, because editors save by renaming; each image's own folders too, because watching
    /// does not descend.
    pub folders: Vec<PathBuf>,
    /// Answers that have more behind their links than these folders are.
    pub left_out: Vec<PathBuf>,
}

/// The folders in which a change means a new generation.
pub fn watched(appliance: &Appliance, config_file: &Path) -> Watched {
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
    folders.extend([&appliance.scripts, &appliance.answers, &appliance.images].map(Clone::clone));
    let answers = AnswerFolders::of(&appliance.answers);
    folders.extend(answers.folders);
    for image in source::entries(&appliance.images).unwrap_or_default() {
        add_folders_in(&image, IMAGE_DEPTH_MAX, &mut folders);
        folders.push(image);
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
    Watched {
        folders,
        left_out: answers.left_out,
    }
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
    let beside = [inventory, scripts].map(|folder| source::entries(folder).unwrap_or_default());
    let beside = beside.into_iter().flatten().filter(|path| path.is_symlink());
    for link in beside.chain(AnswerFolders::of(answers).links) {
        add_trail(&link, &mut folders);
    }
    folders.sort();
    folders.dedup();
    folders
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

/// Adds the folders in a folder, down to `depth` below it. Those behind a symlink don't count: no loader and no
/// artifact is served from there.
fn add_folders_in(folder: &Path, depth: usize, folders: &mut Vec<PathBuf>) {
    let counts = |child: &PathBuf| child.is_dir() && !child.is_symlink();
    for child in source::entries(folder).unwrap_or_default().into_iter().filter(counts) {
        if depth > 1 {
            add_folders_in(&child, depth - 1, folders);
        }
        folders.push(child);
    }
}

/// The folders that answers are read from, behind symlinks too: each but once, however many links lead there.
#[derive(Default)]
struct AnswerFolders {
    folders: Vec<PathBuf>,
    /// The links in the folder of answers and in these.
    links: Vec<PathBuf>,
    /// Answers that have more behind their links.
    left_out: Vec<PathBuf>,
    /// How far down all of each was looked into, by what it is on its disk; `None` where something was left out.
    seen: HashMap<(u64, u64), Option<usize>>,
}

impl AnswerFolders {
    fn of(answers: &Path) -> AnswerFolders {
        AnswerFolders::with_limit(answers, WATCHED_BEHIND_LINKS_MAX)
    }

    /// The same where each answer has a share of so many folders and links behind its links.
    fn with_limit(answers: &Path, share: usize) -> AnswerFolders {
        let mut found = AnswerFolders::default();
        let mut behind = Vec::new();
        // What lies there itself comes first: it counts in no link's share.
        for answer in source::entries(answers).unwrap_or_default() {
            let mut links = Vec::new();
            found.add_own(&answer, ANSWER_DEPTH_MAX, &mut links);
            behind.push((answer, links));
        }
        for (answer, links) in behind {
            let mut left = share;
            let is_whole = links
                .iter()
                .all(|(link, depth)| found.add_behind(link, *depth, &mut left));
            if !is_whole {
                found.left_out.push(answer);
            }
        }
        found
    }

    /// Adds what lies there itself; `behind` takes the links to folders, and how far down each of those counts.
    fn add_own(&mut self, path: &Path, depth: usize, behind: &mut Vec<(PathBuf, usize)>) {
        let is_folder = path.is_dir();
        if path.is_symlink() {
            self.links.push(path.to_owned());
            behind.extend(is_folder.then(|| (path.to_owned(), depth)));
        } else if is_folder {
            self.seen.extend(identity(path).map(|which| (which, Some(depth))));
            self.folders.push(path.to_owned());
            for child in source::entries(path).unwrap_or_default() {
                if depth > 0 || child.is_symlink() && !child.is_dir() {
                    self.add_own(&child, depth.saturating_sub(1), behind);
                }
            }
        }
    }

    /// Adds what lies behind a link, as long as something is `left` of its answer's share; whether that was enough.
    fn add_behind(&mut self, folder: &Path, depth: usize, left: &mut usize) -> bool {
        let Some(which) = identity(folder) else {
            return true;
        };
        match self.seen.get(&which) {
            Some(before) if *before >= Some(depth) => return true,
            Some(_) => {}
            None if !take(left) => return false,
            None => self.folders.push(folder.to_owned()),
        }
        self.seen.insert(which, Some(depth));
        let is_whole = source::entries(folder).unwrap_or_default().iter().all(|child| {
            let is_link = child.is_symlink();
            if is_link && !take(left) {
                return false;
            }
            self.links.extend(is_link.then(|| child.clone()));
            depth == 0 || !child.is_dir() || self.add_behind(child, depth - 1, left)
        });
        if !is_whole {
            self.seen.insert(which, None);
        }
        is_whole
    }
}

/// Takes one of what is left, if there is any.
fn take(left: &mut usize) -> bool {
    let is_any = *left > 0;
    *left = left.saturating_sub(1);
    is_any
}

/// What a folder is on its disk, whichever path leads to it.
fn identity(folder: &Path) -> Option<(u64, u64)> {
    let there = folder.metadata().ok()?;
    Some((there.dev(), there.ino()))
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
        fs::create_dir_all(at("answers/debian")).unwrap();
        symlink("../../git/parts", at("answers/debian/parts")).unwrap();
        symlink("..", at("answers/debian/round")).unwrap();
        let answers = AnswerFolders::of(&at("answers"));
        let expected = ["debian", "debian/parts", "debian/parts/deep", "debian/round"];
        assert_eq!(answers.folders, expected.map(|name| at("answers").join(name)));
        assert_eq!(answers.left_out, Vec::<PathBuf>::new());
        let mut folders = Vec::new();
        add_folders_in(&at("answers/debian"), IMAGE_DEPTH_MAX, &mut folders);
        assert_eq!(folders, Vec::<PathBuf>::new());
    }

    #[test]
    fn however_much_lies_behind_one_answers_links_the_others_are_watched_and_it_is_logged() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        let share = 16;
        for number in 0..share {
            fs::create_dir_all(at(&format!("answers/a/{number}"))).unwrap();
            fs::create_dir_all(at(&format!("big/{number}"))).unwrap();
        }
        fs::create_dir_all(at("small/deep")).unwrap();
        fs::create_dir_all(at("answers/c/own")).unwrap();
        symlink("../big", at("answers/b")).unwrap();
        symlink("../../small", at("answers/c/small")).unwrap();
        symlink("../big", at("answers/d")).unwrap();
        let answers = AnswerFolders::with_limit(&at("answers"), share);
        for folder in ["a/0", "a/15", "c/own", "c/small/deep"] {
            let folder = at("answers").join(folder);
            assert!(answers.folders.contains(&folder), "{}", folder.display());
        }
        assert_eq!(answers.left_out, [at("answers/b")], "the other link has the rest");
        // Those of `a`, of the two links, and what is in `c`.
        let expected = share * 2 + 2 + 4;
        assert_eq!(answers.folders.len(), expected, "each once");
    }

    #[test]
    fn a_folder_that_one_link_leads_too_deep_into_counts_whole_for_another() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        fs::create_dir_all(at("answers/a/1/2/3")).unwrap();
        fs::create_dir_all(at("git/4/5")).unwrap();
        symlink(at("git"), at("answers/a/1/2/3/git")).unwrap();
        symlink(at("git"), at("answers/b")).unwrap();
        let found = AnswerFolders::of(&at("answers")).folders;
        let expected = ["a", "a/1", "a/1/2", "a/1/2/3", "a/1/2/3/git", "b/4", "b/4/5"];
        assert_eq!(found, expected.map(|name| at("answers").join(name)));
    }

    #[test]
    fn links_behind_links_are_watched_where_they_lead() {
        let room = tempfile::tempdir().unwrap();
        let at = |name: &str| room.path().join(name);
        for folder in ["answers", "git/debian/1", "srv"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("srv/preseed.cfg"), "").unwrap();
        symlink("../git/debian", at("answers/debian")).unwrap();
        symlink(at("srv/preseed.cfg"), at("git/debian/1/preseed.cfg")).unwrap();
        let links = AnswerFolders::of(&at("answers")).links;
        assert_eq!(
            links,
            ["debian", "debian/1/preseed.cfg"].map(|name| at("answers").join(name))
        );
        assert!(trail(&links[1]).contains(&at("srv").canonicalize().unwrap()));
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
