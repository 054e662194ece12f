//! Notes of an import: other systems of the medium, and why a boot from the network
//! would not find its root.

use super::{Assembly, plain};
use crate::images::{
    candidates::Candidate,
    distributions::{MEDIUM_ROOT, ROOT_FILES},
    menu::MenuEntry,
};
use crate::model::{Cpu, text};
use std::{borrow::Cow, fmt};

impl Assembly<'_> {
    pub(super) fn notes(&self, others: &[Candidate]) -> Vec<Cow<'static, str>> {
        let candidate = self.candidate;
        let is_there = |other: &Candidate| {
            let kernel = text::escaped(&other.kernel);
            format!("{} is there too: take it with --kernel {kernel}", other.by).into()
        };
        let mut notes: Vec<Cow<'static, str>> = others.iter().map(is_there).collect();
        if !candidate.row.note.is_empty() {
            notes.push(candidate.row.note.into());
        }
        if candidate.header.is_gzip {
            notes.push("the kernel is packed with gzip, which iPXE before 2021 does not unpack: unpack it with gunzip if it does not start".into());
        }
        if candidate.initrds.is_empty() {
            notes.push("no initrd was found for this kernel: name one with --initrd PATH if it needs one".into());
        }
        notes
    }

    /// Where a system of archiso looks for its root beneath the URL that it is given, on a medium that no row
    /// knows: Arch Linux has many children, each with a folder of its own.
    pub(super) fn archiso_root(&self, cmdline: &[String]) -> Option<String> {
        if !self.is_stranger() {
            return None;
        }
        let folder = cmdline
            .iter()
            .find_map(|parameter| parameter.strip_prefix("archisobasedir="))?;
        let machine = match self.candidate.cpu()? {
            Cpu::X86_64 => "x86_64",
            Cpu::X86 => "i686",
            Cpu::Arm64 => "aarch64",
            other => other.name(),
        };
        Some(plain(&format!("{folder}/{machine}/airootfs.sfs")))
    }

    /// Whether no row says how such a system gets its root from the network.
    fn is_stranger(&self) -> bool {
        let row = self.candidate.row;
        row.script.is_none() && row.note.is_empty()
    }

    /// What to say where the medium told the kernel where its root is, and neither that nor a file with the
    /// root came along.
    pub(super) fn without_root(&self, dropped: &[String], archiso: Option<&str>) -> Option<Cow<'static, str>> {
        let finds_root = |parameter: &&String| MEDIUM_ROOT.iter().any(|pattern| text::glob(pattern, parameter));
        let root: Vec<&str> = dropped.iter().filter(finds_root).map(String::as_str).collect();
        if !self.is_stranger() || root.is_empty() {
            return None;
        }
        const FILES_SHOWN: usize = 3;
        let is_root = |path: &&str| ROOT_FILES.iter().any(|pattern| text::glob(pattern, path));
        let files: Vec<&str> = self.tree.paths().filter(is_root).take(FILES_SHOWN).collect();
        let next = match archiso {
            Some(path) => RootNext::Named(path),
            None => RootNext::Among(&files),
        };
        Some(escaped(format_args!(
            "as it is, this can't boot: its root is found on the medium by {}, which was dropped, and no file with \
             the root was taken; {next}",
            root.join(" ")
        )))
    }
}

/// Where the root of a system may be, which the medium alone says.
enum RootNext<'a> {
    /// At this path, where nothing is.
    Named(&'a str),
    /// In one of these files, by their names.
    Among(&'a [&'a str]),
}

impl fmt::Display for RootNext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RootNext::Named(path) => write!(f, "it will want {path}, which is not here"),
            RootNext::Among([]) => f.write_str("no file here looks like one: name it with --disk PATH"),
            RootNext::Among(files) => write!(
                f,
                "{} looks like one: take it with --disk PATH, and tell the kernel of it in a script of your own",
                files.join(", ")
            ),
        }
    }
}

/// What to say of a kernel that the medium does not start by itself.
pub(super) fn under_hypervisor(entry: &MenuEntry) -> Option<Cow<'static, str>> {
    let hypervisor = entry.hypervisor.as_ref()?;
    Some(escaped(format_args!(
        "as it is, this can't boot: the medium starts {hypervisor}, a hypervisor, with this kernel and its initrds as \
         modules; no script here does that, and GRUB can: `multiboot2` and `module2` in a script of your own"
    )))
}

/// Paths and parameters of a medium are data.
fn escaped(words: fmt::Arguments<'_>) -> Cow<'static, str> {
    text::escaped(words).to_string().into()
}
