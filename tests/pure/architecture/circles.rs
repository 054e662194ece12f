//! No file takes names from one that, by whatever way round, takes names from it.
//!
//! A file and the folder of its own parts are one thing told in several files: what a part takes from
//! the files above it is no arrow. What it takes through them is: a name is followed through every import that passes
//! it on, to the file that defines it.

use super::source::{Module, NamedPath, Source, sources};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// How many imports a name may be passed on by.
const IMPORTS_MAX: usize = 16;

/// Files that name each other.
pub struct Files<'s>(BTreeMap<&'s [String], &'s Source>);

impl<'s> Files<'s> {
    pub fn of(sources: &'s [Source]) -> Files<'s> {
        // `main` is a crate of its own, which names the other as a stranger would.
        let files = sources.iter().filter(|source| source.top() != "main");
        Files(files.map(|source| (source.module.as_slice(), source)).collect())
    }

    /// The files that `source` takes names from, and the line of one of them.
    pub fn named_by(&self, source: &'s Source) -> BTreeMap<&'s [String], usize> {
        let mut found = BTreeMap::new();
        for path in &source.paths {
            for module in self.behind(source, path) {
                if module != source.module {
                    found.entry(module).or_insert(path.line);
                }
            }
        }
        found
    }

    /// Every file behind a path: the one that it names, and those that its name comes from.
    fn behind(&self, source: &'s Source, path: &NamedPath) -> Vec<&'s [String]> {
        let mut found = Vec::new();
        match self.absolute(source, path, IMPORTS_MAX) {
            // A word by itself that is a module's name as well is a variable's.
            Some(whole) if path.words.len() > 1 || !self.0.contains_key(whole.as_slice()) => {
                self.follow(&whole, IMPORTS_MAX, &mut found);
            }
            Some(_) => {}
            None => self.follow_globs(source, &path.words, IMPORTS_MAX, &mut found),
        }
        found
    }

    /// A path from the crate's root; `None` where it leads into another crate, or is the file's own.
    fn absolute(&self, source: &Source, path: &NamedPath, left: usize) -> Option<Module> {
        let (first, rest) = path.words.split_first()?;
        let within = &path.within;
        let ups = path.words.iter().take_while(|word| *word == "super").count();
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" if rest.first().is_some_and(|word| word == "super") => {
                let ups = ups.max(1);
                Some([&within[..within.len().checked_sub(ups)?], &rest[ups..]].concat())
            }
            "self" => Some([within, rest].concat()),
            "super" => Some([&within[..within.len().checked_sub(ups)?], &path.words[ups..]].concat()),
            part if source.parts.contains(part) => Some([&source.module[..], &path.words].concat()),
            name => {
                let import = source.imports.get(name).filter(|import| import.words != path.words)?;
                let before = self.absolute(source, import, left.checked_sub(1)?)?;
                Some([&before, rest].concat())
            }
        }
    }

    /// Notes the file that a path from the root leads into, and where its name comes from there.
    fn follow(&self, whole: &[String], left: usize, found: &mut Vec<&'s [String]>) {
        let mut lengths = (0..=whole.len()).rev();
        let longest = lengths.find_map(|length| self.0.get_key_value(&whole[..length]));
        let Some((module, source)) = longest else { return };
        found.push(module);
        let Some(left) = left.checked_sub(1) else { return };
        let rest = &whole[module.len()..];
        let Some(name) = rest.first().filter(|name| !source.items.contains(*name)) else {
            return;
        };
        match source.imports.get(name) {
            Some(import) => {
                if let Some(before) = self.absolute(source, import, left) {
                    self.follow(&[&before, &rest[1..]].concat(), left, found);
                }
            }
            None => self.follow_globs(source, rest, left, found),
        }
    }

    /// Notes where a name comes from that a file has because it imports everything of another.
    fn follow_globs(&self, source: &Source, words: &[String], left: usize, found: &mut Vec<&'s [String]>) {
        let Some(left) = left.checked_sub(1) else { return };
        for glob in &source.globs {
            let Some(there) = self.absolute(source, glob, left) else {
                continue;
            };
            let has = |file: &&Source| {
                let name = &words[0];
                file.items.contains(name) || file.imports.contains_key(name) || file.parts.contains(name)
            };
            // A word by itself that is a module's name as well is a variable's.
            let whole = [&there[..], words].concat();
            let is_variable = words.len() == 1 && self.0.contains_key(whole.as_slice());
            if self.0.get(there.as_slice()).is_some_and(has) && !is_variable {
                self.follow(&whole, left, found);
            }
        }
    }

    /// Every circle, each named by one way round it.
    pub fn circles(&self) -> BTreeSet<String> {
        let arrows: Arrows<'_> = self
            .0
            .iter()
            .map(|(module, source)| {
                let named = self.named_by(source).into_keys();
                (*module, named.filter(|named| !module.starts_with(named)).collect())
            })
            .collect();
        arrows.keys().filter_map(|module| circle(module, &arrows)).collect()
    }
}

/// The files that each file takes names from.
type Arrows<'s> = BTreeMap<&'s [String], BTreeSet<&'s [String]>>;

#[test]
fn no_imports_run_in_a_circle() {
    let circles = Files::of(sources()).circles();
    assert!(circles.is_empty(), "{circles:#?}");
}

/// A way from `start` back to itself, if there is one.
fn circle(start: &[String], arrows: &Arrows<'_>) -> Option<String> {
    let mut came_from: BTreeMap<&[String], &[String]> = BTreeMap::new();
    let mut waiting: Vec<&[String]> = vec![start];
    while let Some(module) = waiting.pop() {
        for next in &arrows[module] {
            if *next == start {
                return Some(way(start, module, &came_from));
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, module);
                waiting.push(next);
            }
        }
    }
    None
}

fn way(start: &[String], last: &[String], came_from: &BTreeMap<&[String], &[String]>) -> String {
    let mut steps = vec![start.join("::"), last.join("::")];
    let mut at = last;
    while at != start {
        at = came_from[at];
        steps.push(at.join("::"));
    }
    steps.reverse();
    steps.join(" -> ")
}

fn planted(files: &[(&str, &str)]) -> Vec<Source> {
    let read = |(path, text): &(&str, &str)| Source::read(Path::new(path), text);
    files.iter().map(read).collect()
}

/// Whether the files have circles.
fn has_circle(files: &[(&str, &str)]) -> bool {
    !Files::of(&planted(files)).circles().is_empty()
}

#[test]
fn a_circle_through_a_part_that_is_passed_on_is_found() {
    let templates = (
        "boot/render.rs",
        "mod scene;\npub use scene::Scene;\npub struct Templates;",
    );
    let snapshot = (
        "boot/snapshot.rs",
        "use crate::boot::render::Templates;\npub struct Snapshot(Templates);",
    );
    let scene = "use crate::boot::snapshot::Snapshot;\npub struct Scene(Snapshot);";
    let files = planted(&[templates, snapshot, ("boot/render/scene.rs", scene)]);
    let circles = Files::of(&files).circles();
    assert!(
        circles.contains("boot::render -> boot::render::scene -> boot::snapshot -> boot::render"),
        "{circles:?}"
    );
    // The scene above the snapshot, and rendering below it.
    let below = ("boot/render.rs", "pub struct Templates;");
    assert!(!has_circle(&[below, snapshot, ("boot/scene.rs", scene)]));
}

#[test]
fn a_circle_is_found_however_its_names_are_passed_on() {
    let part = "pub struct Part;\npub fn part() -> Whole { Whole }";
    let whole = ("whole.rs", "use crate::room::part::Part;\npub struct Whole(Part);");
    let room = |text| ("room.rs", text);
    for imports in [
        // From another file, through the one above.
        ("pub mod part;\nuse crate::whole::Whole;", "use super::Whole;"),
        ("pub mod part;\npub use crate::whole::*;", "use super::Whole;"),
        ("pub mod part;\nuse crate::whole;", "use super::whole::Whole;"),
        (
            "pub mod part;\nuse crate::whole::Whole as Other;",
            "use super::*;\ntype Whole = Other;",
        ),
        ("pub mod part;", "use crate::{whole::{self as all, Whole}};"),
        (
            "pub mod part;",
            "mod within { pub use super::super::super::whole::Whole; }\nuse within::Whole;",
        ),
        (
            "pub mod part;",
            "fn named() -> Vec<u8> { vec![crate::whole::Whole.into()] }",
        ),
        ("pub mod part;", "#[cfg(test)]\nmod tests {}\nuse crate::whole::Whole;"),
    ] {
        let (above, imports) = imports;
        let part = format!("{imports}\n{part}");
        assert!(
            has_circle(&[whole, room(above), ("room/part.rs", &part)]),
            "{above} {part}"
        );
    }
}

#[test]
fn what_is_no_circle_is_not_taken_for_one() {
    let whole = ("whole.rs", "use crate::room::part::Part;\npub struct Whole(Part);");
    for part in [
        "pub struct Part;\n#[cfg(test)]\nmod tests { use crate::whole::Whole; }",
        "//! Of [`crate::whole::Whole`].\npub struct Part; // crate::whole::Whole\npub const NAME: &str = \"crate::whole\";",
        "pub struct Part;\npub fn part() { let whole = 1; drop(whole); println!(\"{}\", whole) }",
        "use whole::Whole; // another crate's\npub struct Part(Whole);",
    ] {
        let files = [whole, ("room.rs", "pub mod part;"), ("room/part.rs", part)];
        assert!(!has_circle(&files), "{part}");
    }
    // A part that takes names from the file above it is told together with it.
    let above = ("room.rs", "mod part;\npub use part::Part;\npub struct Room;");
    assert!(!has_circle(&[
        above,
        ("room/part.rs", "use super::Room;\npub struct Part(Room);")
    ]));
}
