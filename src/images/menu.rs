//! What a medium's own boot configuration says: kernel, initrds and parameters of each entry.
//!
//! Three dialects: SYSLINUX (isolinux, extlinux, pxelinux), GRUB, and the Boot Loader Specification.
//! None of them is run: variables, conditions and includes are not followed. A file that is included
//! is read for itself. Which entry is wanted is not decided here.

use super::tree::Tree;
use crate::model::limits::{BOOT_ENTRIES_MAX, BOOT_MENU_BYTES_MAX, BOOT_MENUS_MAX};
use std::collections::BTreeMap;

/// One entry of a boot menu. Paths have no slash in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MenuEntry {
    /// The configuration it stands in.
    pub(super) file: String,
    /// What the menu calls it.
    pub(super) title: String,
    pub(super) kernel: String,
    pub(super) initrds: Vec<String>,
    pub(super) parameters: Vec<String>,
    /// The hypervisor that the entry starts, with the kernel and the initrds as its modules.
    pub(super) hypervisor: Option<String>,
}

impl MenuEntry {
    /// A module of a hypervisor: the first is the kernel with its parameters, the others are its initrds.
    fn take_module(&mut self, words: &[String], folder: &str) {
        let Some((file, parameters)) = words.split_first() else {
            return;
        };
        let file = within(folder, grub_path(file));
        if self.kernel.is_empty() {
            self.kernel = file;
            self.parameters = parameters.to_vec();
        } else {
            self.initrds.push(file);
        }
    }

    /// SYSLINUX' `mboot.c32`: the hypervisor and its modules in one line, `---` between them.
    fn take_modules(&mut self, line: &str, folder: &str) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let mut parts = words.split(|word| word == "---");
        self.kernel.clear();
        let hypervisor = parts.next().and_then(<[String]>::first);
        self.hypervisor = hypervisor.map(|file| within(folder, file));
        parts.for_each(|module| self.take_module(module, folder));
    }
}

/// SYSLINUX' module that starts hypervisors.
fn is_multiboot(kernel: &str) -> bool {
    kernel == "mboot.c32" || kernel.ends_with("/mboot.c32")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MenuSyntax {
    Syslinux,
    Grub,
    Loader,
}

/// Which file is what, by a component of its path and the end of its name; the first row that fits
/// counts, and files of earlier rows come first.
const KINDS: [(&str, &str, MenuSyntax); 13] = [
    ("isolinux", ".cfg", MenuSyntax::Syslinux),
    ("syslinux", ".cfg", MenuSyntax::Syslinux),
    ("boot-screens", ".cfg", MenuSyntax::Syslinux),
    ("pxelinux.cfg", "default", MenuSyntax::Syslinux),
    ("extlinux", ".conf", MenuSyntax::Syslinux),
    ("", "isolinux.cfg", MenuSyntax::Syslinux),
    ("", "syslinux.cfg", MenuSyntax::Syslinux),
    ("loader", "isolinux.cfg", MenuSyntax::Syslinux),
    ("grub", ".cfg", MenuSyntax::Grub),
    ("grub2", ".cfg", MenuSyntax::Grub),
    ("", "grub.cfg", MenuSyntax::Grub),
    ("", "loopback.cfg", MenuSyntax::Grub),
    ("entries", ".conf", MenuSyntax::Loader),
];

fn kind(path: &str) -> Option<(usize, MenuSyntax)> {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let within = |folder: &str| folder.is_empty() || path.split('/').any(|part| part.eq_ignore_ascii_case(folder));
    let row = KINDS
        .iter()
        .position(|(folder, end, _)| name.ends_with(end) && within(folder))?;
    Some((row, KINDS[row].2))
}

/// Every entry of every boot configuration, and how many configurations there are.
pub(super) fn entries(tree: &Tree) -> (Vec<MenuEntry>, usize) {
    let mut menus: BTreeMap<(usize, &str), MenuSyntax> = BTreeMap::new();
    for path in tree.paths() {
        if let Some((row, dialect)) = kind(path) {
            menus.insert((row, path), dialect);
        }
    }
    let mut entries = Vec::new();
    for ((_, path), dialect) in menus.iter().take(BOOT_MENUS_MAX) {
        let head = tree
            .file(path)
            .and_then(|content| content.head(BOOT_MENU_BYTES_MAX).ok());
        let head = head.unwrap_or_default();
        entries.extend(read(&String::from_utf8_lossy(&head), path, *dialect));
    }
    entries.truncate(BOOT_ENTRIES_MAX);
    (entries, menus.len().min(BOOT_MENUS_MAX))
}

fn read(text: &str, path: &str, dialect: MenuSyntax) -> Vec<MenuEntry> {
    let mut reader = MenuReader {
        path,
        entries: Vec::new(),
    };
    for line in text.lines().map(str::trim) {
        match dialect {
            MenuSyntax::Syslinux => reader.syslinux(line),
            MenuSyntax::Grub => reader.grub(line),
            MenuSyntax::Loader => reader.loader(line),
        }
    }
    reader.entries.retain(|entry| !entry.kernel.is_empty());
    reader.entries
}

/// A keyword and what follows it.
fn split(line: &str) -> (String, &str) {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    (word.to_ascii_lowercase(), rest.trim())
}

struct MenuReader<'a> {
    path: &'a str,
    entries: Vec<MenuEntry>,
}

impl MenuReader<'_> {
    fn begin(&mut self, title: &str) {
        self.entries.push(MenuEntry {
            file: self.path.to_owned(),
            title: title.to_owned(),
            ..MenuEntry::default()
        });
    }

    fn syslinux(&mut self, line: &str) {
        let (word, rest) = split(line);
        if word == "label" {
            self.begin(rest);
            return;
        }
        let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let Some(entry) = self.entries.last_mut() else {
            return;
        };
        let path = |written: &str| within(folder, written);
        match word.as_str() {
            "kernel" | "linux" => {
                let (kernel, more) = split_path(rest);
                entry.kernel = path(kernel);
                entry.parameters.extend(more.split_whitespace().map(str::to_owned));
            }
            "initrd" => entry.initrds = rest.split(',').map(path).collect(),
            "append" if is_multiboot(&entry.kernel) => entry.take_modules(rest, folder),
            "append" => {
                let words = rest.split_whitespace();
                let (initrds, others): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with("initrd="));
                let named = initrds.iter().flat_map(|word| word["initrd=".len()..].split(','));
                entry.initrds.extend(named.map(path));
                entry.parameters.extend(others.into_iter().map(str::to_owned));
            }
            "menu" if split(rest).0 == "label" => entry.title = split(rest).1.replace('^', ""),
            _ => {}
        }
    }

    fn grub(&mut self, line: &str) {
        let words = grub_words(line);
        let Some((word, rest)) = words.split_first() else {
            return;
        };
        match word.as_str() {
            "menuentry" => self.begin(rest.first().map_or("", String::as_str)),
            "linux" | "linuxefi" | "linux16" if !rest.is_empty() => {
                // A snippet without a menu entry is one by itself.
                if self.entries.last().is_none_or(|entry| !entry.kernel.is_empty()) {
                    self.begin("");
                }
                if let Some(entry) = self.entries.last_mut() {
                    entry.kernel = within("", grub_path(&rest[0]));
                    entry.parameters = rest[1..].to_vec();
                }
            }
            "multiboot" | "multiboot2" if !rest.is_empty() => {
                if self.entries.last().is_none_or(|entry| !entry.kernel.is_empty()) {
                    self.begin("");
                }
                if let Some(entry) = self.entries.last_mut() {
                    entry.hypervisor = Some(within("", grub_path(&rest[0])));
                }
            }
            "module" | "module2" => {
                if let Some(entry) = self.entries.last_mut()
                    && entry.hypervisor.is_some()
                {
                    let named = rest.iter().position(|word| !word.starts_with("--"));
                    entry.take_module(named.map_or(&rest[..0], |at| &rest[at..]), "");
                }
            }
            "initrd" | "initrdefi" | "initrd16" => {
                if let Some(entry) = self.entries.last_mut() {
                    entry.initrds = rest.iter().map(|written| within("", grub_path(written))).collect();
                }
            }
            _ => {}
        }
    }

    fn loader(&mut self, line: &str) {
        if self.entries.is_empty() {
            self.begin("");
        }
        let (word, rest) = split(line);
        let Some(entry) = self.entries.last_mut() else {
            return;
        };
        match word.as_str() {
            "title" => entry.title = rest.to_owned(),
            "linux" => entry.kernel = within("", rest),
            "initrd" => entry.initrds.push(within("", rest)),
            "options" => entry.parameters.extend(rest.split_whitespace().map(str::to_owned)),
            _ => {}
        }
    }
}

fn split_path(rest: &str) -> (&str, &str) {
    rest.split_once(char::is_whitespace).unwrap_or((rest, ""))
}

/// `written` as a path from the top: one without a slash in front begins in `folder`. A path that
/// leads above the top ends there, as it does for the loader.
fn within(folder: &str, written: &str) -> String {
    let written = written.trim().trim_matches('"');
    let above = if written.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in above.split('/').chain(written.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// GRUB's `(cd0)/path` and `($root)/path` mean this medium.
fn grub_path(written: &str) -> &str {
    match written.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((_, path)) => path,
        None => written,
    }
}

/// The words of a line of GRUB's shell: quotes join, a backslash takes the next character as it is.
fn grub_words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('#', None) if word.is_none() => break,
            (open @ ('"' | '\''), None) => {
                quote = Some(open);
                word.get_or_insert_default();
            }
            (close, Some(open)) if close == open => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(characters.next()),
            (space, None) if space.is_whitespace() => words.extend(word.take()),
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests;
