//! Which kernel of a folder or an ISO is meant: every place that may name one, in its order.
//!
//! First the rows of `distributions`, then `.treeinfo`, then the medium's own boot configuration,
//! then files with the usual names side by side. The first that names a kernel counts; what counts
//! as a kernel is decided by its header. Several kernels of one place are an error that lists them.

use super::{
    content::ArtifactContent,
    distributions::{DISTRIBUTIONS, DiskSource, Distribution, SIDE_BY_SIDE, captured, filled},
    error::ImageError,
    kernel::{Kernel, kernel_of, runs},
    menu::MenuEntry,
    tree::Tree,
    tree_info::TreeInfo,
};
use crate::model::{Cpu, text};
use std::{collections::BTreeSet, fmt};

/// A kernel that may be the one, with the initrds that go with it.
#[derive(Clone)]
pub(super) struct Candidate {
    pub(super) kernel: String,
    pub(super) header: Kernel,
    pub(super) initrds: Vec<String>,
    pub(super) row: &'static Distribution,
    /// What the row's `*` stands for.
    pub(super) captured: String,
    pub(super) by: NamedBy,
}

/// What named a kernel.
#[derive(Clone, Debug)]
pub(super) enum NamedBy {
    /// What is known of a distribution, or of the usual names.
    Row(&'static str),
    /// A file of the medium.
    File(String),
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamedBy::Row(name) => f.write_str(name),
            NamedBy::File(file) => write!(f, "the kernel that {} names", text::escaped(file)),
        }
    }
}

/// Why a path that looked like a kernel's was none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Remark {
    path: String,
    /// The file that names it; `None` where it was found by its own name.
    named_by: Option<String>,
    /// The file that must go with it and is not there; `None` where it is no kernel itself.
    missing: Option<String>,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(by) = &self.named_by {
            write!(f, " by {by}")?;
        }
        match (&self.missing, &self.named_by) {
            (Some(missing), _) => write!(f, ", without {missing}"),
            (None, Some(_)) => f.write_str(", which is not there or not a kernel"),
            (None, None) => f.write_str(", which is not a kernel"),
        }
    }
}

impl Candidate {
    /// The instruction set: by the kernel's header, or else by its path, as `install.arm64` says.
    pub(super) fn cpu(&self) -> Option<Cpu> {
        let by_path = || self.kernel.split(['/', '.', '-']).find_map(Cpu::from_name);
        self.header.cpu.or_else(by_path)
    }

    /// Whether a machine of that instruction set may run it.
    pub(super) fn fits(&self, wanted: Cpu) -> bool {
        self.cpu().is_none_or(|cpu| runs(cpu, wanted))
    }

    fn is_exactly(&self, wanted: Cpu) -> bool {
        self.cpu() == Some(wanted)
    }
}

/// What was looked at, and what was seen on the way.
pub(super) struct Search<'a> {
    pub(super) tree: &'a Tree,
    pub(super) entries: &'a [MenuEntry],
    /// How many boot configurations the entries are from.
    pub(super) menus: usize,
    pub(super) tree_info: Option<&'a TreeInfo>,
    /// Why a place that looked right was not.
    pub(super) remarks: BTreeSet<Remark>,
}

impl Search<'_> {
    /// The kernel at `path`, which the operator chose.
    ///
    /// # Errors
    /// When there is no such file, or it is no kernel.
    pub(super) fn chosen(&mut self, path: &str) -> Result<Candidate, ImageError> {
        let shown = text::escape(path.as_bytes());
        let header = match self.tree.file(path) {
            Some(content) => header(content),
            None => return Err(self.refuse(format_args!("it has no file {shown}; at its top: {}", self.tree.top()))),
        };
        let Some(header) = header else {
            return Err(self.refuse(format_args!("{shown} is not a kernel: it has the header of none")));
        };
        let is_it = |candidate: &Candidate| candidate.kernel == path;
        let known = DISTRIBUTIONS
            .iter()
            .flat_map(|row| self.of_row(row).concat())
            .find(is_it);
        let found = known
            .or_else(|| self.of_tree_info().into_iter().find(is_it))
            .or_else(|| self.of_menus().into_iter().find(is_it))
            .or_else(|| self.of_row(&SIDE_BY_SIDE).concat().into_iter().find(is_it));
        Ok(found.unwrap_or_else(|| Candidate {
            kernel: path.to_owned(),
            header,
            initrds: Vec::new(),
            row: &SIDE_BY_SIDE,
            captured: String::new(),
            by: NamedBy::Row(SIDE_BY_SIDE.name),
        }))
    }

    /// The one kernel that is meant, and those of other distributions that are there too.
    ///
    /// # Errors
    /// When none is found, or several.
    pub(super) fn one(&mut self, wanted: Option<Cpu>) -> Result<(Candidate, Vec<Candidate>), ImageError> {
        let mut groups: Vec<Vec<Candidate>> = DISTRIBUTIONS
            .iter()
            .filter_map(|row| self.of_row(row).into_iter().next())
            .collect();
        if groups.is_empty() {
            groups.extend([self.of_tree_info(), self.of_menus()]);
            groups.extend(self.of_row(&SIDE_BY_SIDE).into_iter().next());
            groups.retain(|group| !group.is_empty());
            groups.truncate(1);
        }
        let mut groups = groups.into_iter();
        let mut group = groups.next().ok_or_else(|| self.nothing())?;
        if let Some(wanted) = wanted {
            narrow(&mut group, wanted);
        }
        if group.len() > 1 {
            return Err(self.ambiguous(&group));
        }
        let found = group.pop().ok_or_else(|| self.nothing())?;
        let others = groups.flatten().filter(|other| other.kernel != found.kernel).collect();
        Ok((found, others))
    }

    /// The kernels of a row, by each of its lines that has any.
    fn of_row(&mut self, row: &'static Distribution) -> Vec<Vec<Candidate>> {
        let mut groups = Vec::new();
        for boot in row.boots {
            let mut group = Vec::new();
            for path in self.tree.paths() {
                let Some(captured) = boot.kernels.iter().find_map(|pattern| captured(pattern, path)) else {
                    continue;
                };
                match self.complete(row, boot.initrds, path, captured) {
                    Ok(candidate) => group.push(candidate),
                    Err(remark) => drop(self.remarks.insert(remark)),
                }
            }
            self.keep_different(&mut group);
            if !group.is_empty() {
                groups.push(group);
            }
        }
        groups
    }

    /// A kernel with everything that the row wants beside it; or what is missing.
    fn complete(
        &self,
        row: &'static Distribution,
        initrds: &[&[&str]],
        path: &str,
        captured: &str,
    ) -> Result<Candidate, Remark> {
        let remark = |missing| Remark {
            path: path.to_owned(),
            named_by: None,
            missing,
        };
        let there = |pattern: &str| Some(filled(pattern, captured)).filter(|path| self.tree.file(path).is_some());
        let mut found = Vec::new();
        for alternatives in initrds {
            match alternatives.iter().find_map(|pattern| there(pattern)) {
                Some(initrd) => found.push(initrd),
                None if alternatives.contains(&"") => {}
                None => return Err(remark(Some(filled(alternatives[0], captured)))),
            }
        }
        if let DiskSource::File(pattern) | DiskSource::At(pattern) = row.disk
            && there(pattern).is_none()
        {
            return Err(remark(Some(filled(pattern, captured))));
        }
        let header = self.tree.file(path).and_then(header);
        Ok(Candidate {
            kernel: path.to_owned(),
            header: header.ok_or_else(|| remark(None))?,
            initrds: found,
            row,
            captured: captured.to_owned(),
            by: NamedBy::Row(row.name),
        })
    }

    fn of_tree_info(&mut self) -> Vec<Candidate> {
        let Some(info) = self.tree_info else {
            return Vec::new();
        };
        let images = info.images.iter();
        let named =
            images.map(|(kernel, initrd)| (kernel.clone(), initrd.iter().cloned().collect(), ".treeinfo".into()));
        self.named(named.collect())
    }

    fn of_menus(&mut self) -> Vec<Candidate> {
        let entries = self.entries.iter();
        let named = entries.map(|entry| (entry.kernel.clone(), entry.initrds.clone(), entry.file.clone()));
        let mut found = self.named(named.collect());
        // Beside a system, a medium has memory tests and the like: kernels without an initrd.
        if found.iter().any(|candidate| !candidate.initrds.is_empty()) {
            found.retain(|candidate| !candidate.initrds.is_empty());
        }
        found
    }

    /// The kernels that a file names, as far as they are there.
    fn named(&mut self, named: Vec<(String, Vec<String>, String)>) -> Vec<Candidate> {
        let mut found = Vec::new();
        for (kernel, initrds, by) in named {
            let missing = initrds.iter().find(|path| self.tree.file(path).is_none()).cloned();
            let header = self.tree.file(&kernel).and_then(header);
            let (None, Some(header)) = (&missing, header) else {
                self.remarks.insert(Remark {
                    path: kernel,
                    named_by: Some(by),
                    missing,
                });
                continue;
            };
            found.push(Candidate {
                kernel,
                header,
                initrds,
                row: &SIDE_BY_SIDE,
                captured: String::new(),
                by: NamedBy::File(by),
            });
        }
        self.keep_different(&mut found);
        found
    }

    /// One of those whose bytes are the same: `vmlinuz` is often a link to `vmlinuz-6.1`.
    fn keep_different(&self, group: &mut Vec<Candidate>) {
        let mut kept: Vec<Candidate> = Vec::new();
        for candidate in group.drain(..) {
            let same = |other: &Candidate| match (self.tree.file(&other.kernel), self.tree.file(&candidate.kernel)) {
                (Some(one), Some(other)) => one.is_same(other),
                _ => false,
            };
            if !kept.iter().any(same) {
                kept.push(candidate);
            }
        }
        *group = kept;
    }

    fn refuse(&self, why: impl fmt::Display) -> ImageError {
        ImageError::new(format_args!("{}: {why}", self.tree.source.display()))
    }

    fn ambiguous(&self, group: &[Candidate]) -> ImageError {
        let cpus: BTreeSet<Option<Cpu>> = group.iter().map(Candidate::cpu).collect();
        let or_arch = if cpus.len() > 1 { ", or give --arch" } else { "" };
        let choices = Choices(group);
        self.refuse(format_args!("there are several kernels; choose one{or_arch}:{choices}"))
    }

    fn nothing(&self) -> ImageError {
        self.refuse(NothingFound(self))
    }
}

/// A line for each kernel that may be meant.
struct Choices<'a>(&'a [Candidate]);

impl fmt::Display for Choices<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for candidate in self.0 {
            let cpu = candidate.cpu().map_or("", Cpu::name);
            let kernel = text::escaped(&candidate.kernel);
            let initrds = candidate.initrds.join(" ");
            write!(f, "\n  --kernel {kernel}  {cpu}  {}", text::escaped(initrds))?;
        }
        Ok(())
    }
}

/// Where a kernel was looked for in vain.
struct NothingFound<'a>(&'a Search<'a>);

impl fmt::Display for NothingFound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REMARKS_SHOWN: usize = 10;
        let search = self.0;
        f.write_str("no kernel was found. Looked for:")?;
        for row in DISTRIBUTIONS {
            let kernels = row.boots.iter().flat_map(|boot| boot.kernels);
            write!(f, "\n  {}:", row.name)?;
            kernels.into_iter().try_for_each(|kernel| write!(f, " {kernel}"))?;
        }
        let tree_info = if search.tree_info.is_some() {
            "read"
        } else {
            "not there"
        };
        write!(f, "\n  .treeinfo: {tree_info}")?;
        let menus = search.menus;
        write!(
            f,
            "\n  a boot configuration (isolinux, syslinux, GRUB, loader entries): {menus} read"
        )?;
        f.write_str("\n  linux*, vmlinuz*, bzImage*, Image* or kernel* at its top or in boot")?;
        let mut remarks = search.remarks.iter().take(REMARKS_SHOWN);
        remarks.try_for_each(|remark| write!(f, "\nSeen: {}", text::escaped(remark)))?;
        write!(f, "\nAt its top: {}", search.tree.top())?;
        f.write_str("\nName the kernel with --kernel PATH and what goes with it with --initrd PATH.")
    }
}

fn header(content: &ArtifactContent) -> Option<Kernel> {
    kernel_of(content).ok().flatten()
}

/// Leaves those for an instruction set, where there are any.
fn narrow(group: &mut Vec<Candidate>, wanted: Cpu) {
    if group.iter().any(|candidate| candidate.is_exactly(wanted)) {
        group.retain(|candidate| candidate.is_exactly(wanted));
    } else if group.iter().any(|candidate| candidate.fits(wanted)) {
        group.retain(|candidate| candidate.fits(wanted));
    }
}
