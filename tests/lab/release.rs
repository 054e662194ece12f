//! Loaders, firmware and installers of other Debian releases, read from roots that `tests/newer-root.sh`
//! makes and keeps. Nothing of theirs is installed on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// How many links a file may be behind: as many as Linux follows.
const LINKS: usize = 40;

/// A release's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    root: PathBuf,
}

impl Release {
    /// This machine's own.
    pub fn own() -> Release {
        Release { root: "/".into() }
    }

    /// Another one with at least those packages; the first call downloads them.
    pub fn of(suite: &str, packages: &[&str]) -> Release {
        Release {
            root: super::newer::root_of(suite, packages),
        }
    }

    /// Whether it is this machine's own.
    pub fn is_own(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The first of some paths that is there, for files whose place changed between releases.
    pub fn first(&self, paths: &[&str]) -> PathBuf {
        let there = paths
            .iter()
            .find(|path| self.root.join(path).symlink_metadata().is_ok());
        self.file(there.unwrap_or(&paths[0]))
    }

    /// A file by its path there. Links are followed as they would be there, where `/` is the root.
    pub fn file(&self, path: &str) -> PathBuf {
        let mut file = self.root.join(path.trim_start_matches('/'));
        for _ in 0..LINKS {
            let Ok(target) = fs::read_link(&file) else { break };
            file = match target.strip_prefix("/") {
                Ok(inside) => self.root.join(inside),
                Err(_) => file.parent().expect("a file has a folder").join(target),
            };
        }
        assert!(
            file.exists(),
            "{} is missing; see tests/install-packages.sh",
            file.display()
        );
        file
    }

    /// The folder of Debian's netboot kernel and initrd, of the newest installer that the release has.
    pub fn installer(&self, arch: &str) -> PathBuf {
        let images = self.root.join("usr/lib/debian-installer/images");
        let newest = fs::read_dir(&images)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .filter(|version| images.join(version.to_string()).join(arch).exists())
            .max();
        let version = newest.unwrap_or_else(|| {
            panic!(
                "no installer for {arch} in {}: package debian-installer-*-netboot-{arch}, see tests/install-packages.sh",
                images.display()
            )
        });
        images.join(format!("{version}/{arch}/text/debian-installer/{arch}"))
    }
}
