//! A folder or an ISO as one thing: the paths of its regular files, and their bytes.
//!
//! Symbolic links in a folder are followed to files that lie in it too, and never out of it: what
//! is imported is given to everybody who asks.

use super::{
    content::ArtifactContent,
    error::ImageError,
    iso::{self, IsoError},
};
use crate::model::{
    limits::{IMAGE_SOURCE_DEPTH_MAX, IMAGE_SOURCE_ENTRIES_MAX},
    text,
};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs::{self, DirEntry, File},
    io,
    path::{Path, PathBuf},
};

/// What an image may be made from.
pub(super) struct Tree {
    /// As the operator named it.
    pub(super) source: PathBuf,
    /// Whether it is an ISO, and not a folder.
    pub(super) is_iso: bool,
    files: BTreeMap<String, ArtifactContent>,
}

impl Tree {
    /// Looks at all of a folder or an ISO.
    ///
    /// # Errors
    /// When it can't be read, or is neither.
    pub(super) fn read(source: &Path) -> Result<Tree, ImageError> {
        let shown = source.display();
        let metadata = fs::metadata(source).map_err(|error| ImageError::about(&shown, error))?;
        let files = match metadata.is_dir() {
            true => of_folder(source).map_err(|error| ImageError::about(&shown, error))?,
            false if metadata.is_file() => of_iso(source).map_err(|error| ImageError::about(&shown, error))?,
            false => {
                return Err(ImageError::new(format_args!(
                    "{shown}: it is neither a folder nor a regular file"
                )));
            }
        };
        Ok(Tree {
            source: source.to_owned(),
            is_iso: metadata.is_file(),
            files,
        })
    }

    /// The file at a path, `/` between components.
    pub(super) fn file(&self, path: &str) -> Option<&ArtifactContent> {
        self.files.get(path)
    }

    /// The paths of all files, in order.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// What lies at the top, for a message: the first few names, escaped.
    pub(super) fn top(&self) -> Cow<'static, str> {
        const SHOWN: usize = 12;
        let mut names: Vec<&str> = self.paths().filter_map(|path| path.split('/').next()).collect();
        names.dedup();
        let more = if names.len() > SHOWN { ", ..." } else { "" };
        names.truncate(SHOWN);
        match names.is_empty() {
            true => "no files".into(),
            false => (text::escape(names.join(", ").as_bytes()) + more).into(),
        }
    }
}

fn of_iso(source: &Path) -> Result<BTreeMap<String, ArtifactContent>, IsoError> {
    let files = iso::files(&File::open(source)?)?;
    let inside = |path: &str, extents| ArtifactContent::inside(source, path, extents);
    Ok(files
        .into_iter()
        .map(|(path, extents)| (path.clone(), inside(&path, extents)))
        .collect())
}

fn of_folder(root: &Path) -> io::Result<BTreeMap<String, ArtifactContent>> {
    let real = root.canonicalize()?;
    let mut files = BTreeMap::new();
    let mut ahead = vec![(root.to_owned(), String::new(), 0)];
    let mut entries = 0;
    while let Some((folder, above, depth)) = ahead.pop() {
        let within = |error: io::Error| io::Error::other(format!("{}: {error}", folder.display()));
        for entry in fs::read_dir(&folder).map_err(within)? {
            let entry = entry.map_err(within)?;
            entries += 1;
            if entries > IMAGE_SOURCE_ENTRIES_MAX {
                let why =
                    format!("it has more than {IMAGE_SOURCE_ENTRIES_MAX} files and folders; name a smaller folder");
                return Err(io::Error::other(why));
            }
            let path = format!("{above}{}", entry.file_name().to_string_lossy());
            match entry.file_type()?.is_dir() {
                true if depth < IMAGE_SOURCE_DEPTH_MAX => ahead.push((entry.path(), path + "/", depth + 1)),
                true => {}
                false => files.extend(regular(&entry, &real).map(|file| (path, file))),
            }
        }
    }
    Ok(files)
}

/// The file that an entry is or leads to, if that lies beneath `root`.
fn regular(entry: &DirEntry, root: &Path) -> Option<ArtifactContent> {
    let target = entry.path().canonicalize().ok()?;
    let beneath = target.starts_with(root) && target.metadata().is_ok_and(|metadata| metadata.is_file());
    let name = entry.file_name().to_string_lossy().into_owned();
    beneath.then(|| ArtifactContent::from(target).called(name))
}
