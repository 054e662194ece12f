//! What an image is made of when it comes from a folder or an ISO: found, and told apart into what
//! every boot needs and what means the medium. Nothing is copied here.

mod names;
mod notes;

use super::{
    candidates::{Candidate, Search},
    content::ArtifactContent,
    distributions::{DiskSource, MEDIUM_ONLY, MEDIUM_ROOT, filled},
    error::ImageError,
    menu::{self, MenuEntry},
    tree::Tree,
    tree_info::{self, TreeInfo},
};
use crate::model::{Cpu, text};
use names::ArtifactNames;
use notes::under_hypervisor;
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
    path::Path,
};

/// What the operator decides, where it is not to be found.
#[derive(Clone, Debug, Default)]
pub struct ImageChoice {
    /// The kernel's path inside.
    pub kernel: Option<String>,
    /// The initrds' paths inside.
    pub initrds: Vec<String>,
    /// What becomes the image's disk.
    pub disk: DiskChoice,
    /// The instruction set.
    pub cpu: Option<Cpu>,
}

/// Which disk an image from a folder or an ISO has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DiskChoice {
    /// What the distribution's system fetches by URL, if it does.
    #[default]
    Usual,
    /// None.
    None,
    /// The ISO itself.
    Iso,
    /// The file at this path inside.
    Inside(String),
}

/// A file that was found: its path inside, and its bytes.
#[derive(Clone, Debug)]
pub struct Located {
    /// Its path inside the folder or the ISO.
    pub path: String,
    /// Its bytes.
    pub content: ArtifactContent,
}

/// What was found in a folder or an ISO.
#[derive(Clone, Debug)]
pub struct FoundImage {
    /// What it is, in words.
    pub what: String,
    /// The instruction set, where it is known.
    pub cpu: Option<Cpu>,
    /// The kernel, which has the header of one.
    pub kernel: Located,
    /// The initrds in their order.
    pub initrds: Vec<Located>,
    /// The image's disk.
    pub disk: Option<Located>,
    /// The boot entry that the parameters are from.
    pub entry: Option<String>,
    /// Kernel parameters of every boot.
    pub cmdline: Vec<String>,
    /// Parameters of the entry that mean the medium.
    pub dropped: Vec<String>,
    /// The script that boots it.
    pub script: Option<&'static str>,
    /// What the operator should know.
    pub notes: Vec<Cow<'static, str>>,
}

/// Looks through a folder or an ISO for what an image needs.
///
/// # Errors
/// When it can't be read, holds no kernel, or several and none was chosen; each says what was seen
/// and what to do.
pub fn found_in(source: &Path, choice: &ImageChoice) -> Result<FoundImage, ImageError> {
    let tree = Tree::read(source)?;
    let (entries, menus) = menu::entries(&tree);
    let tree_info = TreeInfo::of(&tree);
    let mut search = Search {
        tree: &tree,
        entries: &entries,
        menus,
        tree_info: tree_info.as_ref(),
        remarks: BTreeSet::new(),
    };
    let (mut candidate, others) = match &choice.kernel {
        Some(path) => (search.chosen(&plain(path))?, Vec::new()),
        None => search.one(choice.cpu)?,
    };
    if !choice.initrds.is_empty() {
        candidate.initrds = choice.initrds.iter().map(|path| plain(path)).collect();
    }
    let found = Assembly {
        tree: &tree,
        entries: &entries,
        tree_info: tree_info.as_ref(),
        candidate: &candidate,
    };
    found.all(choice, &others)
}

/// A path as it is written in the tree.
fn plain(path: &str) -> String {
    path.trim_start_matches("./").trim_start_matches('/').to_owned()
}

struct Assembly<'a> {
    tree: &'a Tree,
    entries: &'a [MenuEntry],
    tree_info: Option<&'a TreeInfo>,
    candidate: &'a Candidate,
}

impl Assembly<'_> {
    fn all(&self, choice: &ImageChoice, others: &[Candidate]) -> Result<FoundImage, ImageError> {
        let candidate = self.candidate;
        let mut names = ArtifactNames::default();
        let kernel = names.located(self.tree, &candidate.kernel)?;
        let initrds = candidate.initrds.iter().map(|path| names.located(self.tree, path));
        let initrds = initrds.collect::<Result<Vec<Located>, ImageError>>()?;
        let entry = self.entry();
        let (cmdline, dropped) = self.parameters(entry);
        let archiso = self.archiso_root(&cmdline);
        let disk = match (&choice.disk, &archiso) {
            (DiskChoice::Usual, Some(path)) if self.tree.file(path).is_some() => Some(self.at(path, &mut names)?),
            _ => self.disk(&choice.disk, &mut names)?,
        };
        let script = match archiso {
            Some(_) if disk.is_some() => Some("arch"),
            _ => candidate.row.script,
        };
        let mut notes = self.notes(others);
        notes.extend(entry.and_then(under_hypervisor));
        if disk.is_none() && choice.disk == DiskChoice::Usual {
            notes.extend(self.without_root(&dropped, archiso.as_deref()));
        }
        if disk.is_none() && choice.disk == DiskChoice::Usual && matches!(candidate.row.disk, DiskSource::Iso) {
            notes.push(
                "its system fetches the ISO by URL: make the image from the ISO itself, not from a folder".into(),
            );
        }
        Ok(FoundImage {
            what: self.what(),
            cpu: self.cpu(choice.cpu)?,
            kernel,
            initrds,
            disk,
            entry: entry.map(entry_in_words),
            cmdline,
            dropped,
            script,
            notes,
        })
    }

    /// What the medium calls itself, and what it was taken for.
    fn what(&self) -> String {
        let name = self
            .tree_info
            .map(|info| info.name.clone())
            .filter(|name| !name.is_empty());
        match name.or_else(|| tree_info::disk_info(self.tree)) {
            Some(name) => format!("{}: {}", text::escaped(name), self.candidate.by),
            None => self.candidate.by.to_string(),
        }
    }

    fn cpu(&self, wanted: Option<Cpu>) -> Result<Option<Cpu>, ImageError> {
        let found = self
            .candidate
            .cpu()
            .or_else(|| self.tree_info.and_then(|info| info.cpu));
        if let (Some(wanted), Some(found)) = (wanted, found)
            && !self.candidate.fits(wanted)
        {
            let kernel = text::escape(self.candidate.kernel.as_bytes());
            return Err(ImageError::new(format_args!(
                "{}: the kernel {kernel} is for {found}, not for {wanted}",
                self.tree.source.display()
            )));
        }
        Ok(wanted.or(found))
    }

    fn disk(&self, choice: &DiskChoice, names: &mut ArtifactNames) -> Result<Option<Located>, ImageError> {
        match (choice, &self.candidate.row.disk) {
            (DiskChoice::Inside(path), _) => names.located(self.tree, &plain(path)).map(Some),
            (DiskChoice::Iso, _) if !self.tree.is_iso => Err(ImageError::new(format_args!(
                "{} is a folder; the ISO itself can be kept only where the image is made from it",
                self.tree.source.display()
            ))),
            (DiskChoice::Iso, _) => Ok(Some(self.iso(names))),
            (DiskChoice::Usual, DiskSource::Iso) => Ok(self.tree.is_iso.then(|| self.iso(names))),
            (DiskChoice::Usual, DiskSource::File(pattern)) => {
                let path = filled(pattern, &self.candidate.captured);
                names.located(self.tree, &path).map(Some)
            }
            (DiskChoice::Usual, DiskSource::At(pattern)) => {
                let path = filled(pattern, &self.candidate.captured);
                self.at(&path, names).map(Some)
            }
            (DiskChoice::None, _) | (DiskChoice::Usual, DiskSource::None) => Ok(None),
        }
    }

    /// A file that keeps its path beneath the image's URL.
    fn at(&self, path: &str, names: &mut ArtifactNames) -> Result<Located, ImageError> {
        let located = names.located(self.tree, path)?;
        Ok(Located {
            content: located.content.called(path.to_owned()),
            path: path.to_owned(),
        })
    }

    fn iso(&self, names: &mut ArtifactNames) -> Located {
        let file = self
            .tree
            .source
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Located {
            content: ArtifactContent::from(self.tree.source.as_path()).called(names.take(&file)),
            path: file,
        }
    }

    /// The plainest entry of the boot menu that boots this kernel: those for experts, rescue and
    /// odd screens have more parameters.
    fn entry(&self) -> Option<&MenuEntry> {
        let same = |path: &str| match (self.tree.file(path), self.tree.file(&self.candidate.kernel)) {
            (Some(one), Some(other)) => one.is_same(other),
            _ => false,
        };
        // Some media have the kernel twice, once beside each loader.
        let alike = |path: &str| {
            let bytes = |path: &str| self.tree.file(path).and_then(|content| content.bytes().ok());
            file_name(path) == file_name(&self.candidate.kernel)
                && bytes(path).is_some()
                && bytes(path) == bytes(&self.candidate.kernel)
        };
        let length = |entry: &&MenuEntry| {
            let other_initrds = usize::from(entry.initrds != self.candidate.initrds);
            let kept = entry
                .parameters
                .iter()
                .filter(|parameter| !is_of_medium(parameter))
                .count();
            (other_initrds, kept, entry.parameters.len())
        };
        let of = |fits: &dyn Fn(&str) -> bool| {
            self.entries
                .iter()
                .filter(|entry| fits(&entry.kernel))
                .min_by_key(length)
        };
        of(&same).or_else(|| of(&alike))
    }

    /// What every boot needs, and what was left out.
    fn parameters(&self, entry: Option<&MenuEntry>) -> (Vec<String>, Vec<String>) {
        let parameters = entry.map_or(&[][..], |entry| &entry.parameters);
        let (dropped, mut kept): (Vec<String>, Vec<String>) = parameters
            .iter()
            .cloned()
            .partition(|parameter| is_of_medium(parameter));
        for need in self.candidate.row.needs.iter().rev() {
            let key = need.split_inclusive('=').next().unwrap_or(need);
            if !kept.iter().any(|parameter| parameter.starts_with(key)) {
                kept.insert(0, (*need).to_owned());
            }
        }
        let mut seen = HashSet::new();
        kept.retain(|parameter| seen.insert(parameter.clone()));
        (kept, dropped)
    }
}

/// Whether a parameter makes sense on the medium alone, or can't be one of a network boot.
fn is_of_medium(parameter: &str) -> bool {
    let splits = parameter.is_empty() || parameter.contains(char::is_whitespace);
    splits
        || text::control_character(parameter).is_some()
        || MEDIUM_ONLY
            .iter()
            .chain(MEDIUM_ROOT)
            .any(|pattern| text::glob(pattern, parameter))
}

fn entry_in_words(entry: &MenuEntry) -> String {
    let file = text::escape(entry.file.as_bytes());
    match entry.title.as_str() {
        "" => file,
        title => format!("\"{}\" of {file}", text::escape(title.as_bytes())),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests;
