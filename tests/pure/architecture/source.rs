//! The crate's sources as a parser of Rust reads them: what each file names, its functions, its lints.

use proc_macro2::{TokenStream, TokenTree};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, mem,
    path::{Path, PathBuf},
    sync::LazyLock,
};
use syn::{
    Attribute, Block, ExprStruct, File, ImplItem, Item, ItemFn, ItemMod, ItemUse, Macro, Signature, UseTree,
    visit::{self, Visit},
};

/// A module's path below the crate: `["boot", "engine"]`. Of any other path, its words.
pub type Module = Vec<String>;

/// One source file. What only tests name is left out.
#[derive(Debug)]
pub struct Source {
    pub path: PathBuf,
    pub raw: String,
    /// The module that the file is: `boot/engine/mod.rs` and `boot/engine.rs` are both `boot::engine`.
    pub module: Module,
    /// Every path that its code names, as it is written, with the groups of imports written out.
    pub paths: Vec<NamedPath>,
    /// What its imports call what.
    pub imports: BTreeMap<String, NamedPath>,
    /// The modules that it imports everything of.
    pub globs: Vec<NamedPath>,
    /// The modules that it declares, and that have files of their own.
    pub parts: BTreeSet<String>,
    /// What it defines.
    pub items: BTreeSet<String>,
    /// The types that it defines, for tests too.
    pub types: Vec<String>,
    /// The types of which its tests give every field a value, and where.
    pub test_literals: Vec<(String, usize)>,
    /// Its functions, tests among them, and their lines from `fn` to the closing brace.
    pub functions: Vec<(String, usize)>,
    /// The lines of lints that are just allowed.
    pub allowed: Vec<usize>,
}

/// A path as it is written, and where.
#[derive(Clone, Debug)]
pub struct NamedPath {
    pub words: Vec<String>,
    /// The module that it is written in: the file's, or one within it.
    pub within: Module,
    pub line: usize,
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every file of the crate.
pub fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
        let files = files_below(&root());
        let found: Vec<Source> = files.iter().map(|(below, raw)| Source::read(below, raw)).collect();
        assert!(found.len() > 20, "the sources were not found: {}", found.len());
        found
    });
    &SOURCES
}

/// Every file of tests that is not in `src`.
pub fn test_sources() -> Vec<Source> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    files_below(&tests)
        .iter()
        .map(|(below, raw)| Source::read_for_tests(below, raw))
        .collect()
}

/// The Rust files below a folder, in the order of their paths, which begin there; and their text.
fn files_below(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is the repository's") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                // A package of its own is built there.
                folders.extend((!path.ends_with("target")).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let raw = fs::read_to_string(&path).expect("sources are text");
                let below = path.strip_prefix(root).expect("read from beneath the root");
                found.insert(below.to_owned(), raw);
            }
        }
    }
    found
}

impl Source {
    /// Reads a file at `path` below the crate's root.
    pub fn read(path: &Path, raw: &str) -> Source {
        Source::read_as(path, raw, path.ends_with("tests.rs"))
    }

    /// Reads a file of nothing but tests.
    pub fn read_for_tests(path: &Path, raw: &str) -> Source {
        Source::read_as(path, raw, true)
    }

    fn read_as(path: &Path, raw: &str, is_test: bool) -> Source {
        let file: File = syn::parse_file(raw).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let module = module_of(path);
        let mut reader = Reader {
            within: module.clone(),
            is_test,
            source: Source {
                path: path.to_owned(),
                raw: raw.to_owned(),
                module,
                paths: Vec::new(),
                imports: BTreeMap::new(),
                globs: Vec::new(),
                parts: BTreeSet::new(),
                items: BTreeSet::new(),
                types: Vec::new(),
                test_literals: Vec::new(),
                functions: Vec::new(),
                allowed: Vec::new(),
            },
        };
        reader.visit_file(&file);
        let paths = &mut reader.source.paths;
        paths.sort_by(|one, other| (&one.words, &one.within, one.line).cmp(&(&other.words, &other.within, other.line)));
        paths.dedup_by(|one, other| (&one.words, &one.within) == (&other.words, &other.within));
        reader.source
    }

    /// The top-level module a file belongs to; `lib` and `main` for the roots.
    pub fn top(&self) -> &str {
        let first = self.path.components().next().expect("a file has a path");
        let first = first.as_os_str().to_str().expect("names of modules are text");
        first.trim_end_matches(".rs")
    }

    /// Its lines before its own tests; a file of nothing but tests has none.
    pub fn shipped(&self) -> impl Iterator<Item = &str> {
        let is_all_tests = self.path.ends_with("tests.rs");
        let lines = self.raw.lines();
        lines.take_while(move |line| !is_all_tests && line.trim() != "#[cfg(test)]")
    }
}

fn module_of(below: &Path) -> Module {
    let mut module: Module = below
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// Goes through one file.
struct Reader {
    source: Source,
    /// The module that is being read: the file's, or one within it.
    within: Module,
    /// What is being read is there for tests only.
    is_test: bool,
}

impl Reader {
    fn name(&mut self, words: Vec<String>, line: usize) {
        if !self.is_test {
            let within = self.within.clone();
            self.source.paths.push(NamedPath { words, within, line });
        }
    }

    fn import(&mut self, tree: &UseTree, before: &[String], line: usize) {
        let path = |words: &[String]| NamedPath {
            words: words.to_vec(),
            within: self.within.clone(),
            line,
        };
        let joined = |word: &dyn ToString| [before, &[word.to_string()]].concat();
        match tree {
            UseTree::Path(step) => self.import(&step.tree, &joined(&step.ident), line),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before, line)),
            UseTree::Glob(_) => {
                let whole = path(before);
                self.source.globs.push(whole.clone());
                self.source.paths.push(whole);
            }
            UseTree::Name(name) if name.ident == "self" => self.imported(before.last().cloned(), path(before)),
            UseTree::Name(name) => self.imported(Some(name.ident.to_string()), path(&joined(&name.ident))),
            UseTree::Rename(rename) if rename.ident == "self" => {
                self.imported(Some(rename.rename.to_string()), path(before));
            }
            UseTree::Rename(rename) => {
                self.imported(Some(rename.rename.to_string()), path(&joined(&rename.ident)));
            }
        }
    }

    fn imported(&mut self, name: Option<String>, path: NamedPath) {
        self.source.paths.push(path.clone());
        if let Some(name) = name {
            self.source.imports.insert(name, path);
        }
    }

    /// The paths among a macro's tokens, which the parser leaves as they are.
    fn scan(&mut self, tokens: TokenStream) {
        let (mut path, mut colons, mut line) = (Vec::new(), 0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(word) => {
                    if colons != 2 {
                        self.scanned(&mut path, line);
                        line = word.span().start().line;
                    }
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.scanned(&mut path, line);
                    colons = 0;
                    self.scan(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.scanned(&mut path, line);
                    colons = 0;
                }
            }
        }
        self.scanned(&mut path, line);
    }

    fn scanned(&mut self, path: &mut Vec<String>, line: usize) {
        if !path.is_empty() {
            self.name(mem::take(path), line);
        }
    }

    fn function(&mut self, signature: &Signature, block: &Block) {
        let first = signature.fn_token.span.start().line;
        let last = block.brace_token.span.close().end().line;
        self.source
            .functions
            .push((signature.ident.to_string(), last + 1 - first));
    }
}

impl Visit<'_> for Reader {
    fn visit_item(&mut self, item: &Item) {
        let was = self.is_test;
        self.is_test |= is_for_tests(item);
        self.source.types.extend(defined_type(item));
        if let Some(name) = defined(item).filter(|_| !self.is_test) {
            self.source.items.insert(name);
        }
        visit::visit_item(self, item);
        self.is_test = was;
    }

    fn visit_item_mod(&mut self, item: &ItemMod) {
        let name = item.ident.to_string();
        if item.content.is_none() {
            if !self.is_test {
                self.source.parts.insert(name);
            }
            return;
        }
        self.within.push(name);
        visit::visit_item_mod(self, item);
        self.within.pop();
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        if !self.is_test && item.leading_colon.is_none() {
            self.import(&item.tree, &[], item.use_token.span.start().line);
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let words = path.segments.iter().map(|segment| segment.ident.to_string());
        if path.leading_colon.is_none() {
            self.name(words.collect(), path.segments[0].ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &Macro) {
        self.scan(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_expr_struct(&mut self, literal: &ExprStruct) {
        let mut names = literal.path.segments.iter().rev().map(|segment| &segment.ident);
        let name = names.next().expect("a path has a word");
        // `Of::One {}` is a variant's.
        let is_variant = names
            .next()
            .is_some_and(|of| of.to_string().starts_with(char::is_uppercase));
        if self.is_test && literal.rest.is_none() && !is_variant {
            let line = name.span().start().line;
            self.source.test_literals.push((name.to_string(), line));
        }
        visit::visit_expr_struct(self, literal);
    }

    fn visit_item_fn(&mut self, item: &ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item(&mut self, item: &ImplItem) {
        if let ImplItem::Fn(function) = item {
            self.function(&function.sig, &function.block);
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        if attribute.path().is_ident("allow") {
            self.source.allowed.push(attribute.pound_token.span.start().line);
        }
        visit::visit_attribute(self, attribute);
    }
}

fn is_for_tests(item: &Item) -> bool {
    let is_cfg_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .meta
                .require_list()
                .is_ok_and(|list| list.tokens.to_string() == "test")
    };
    attributes(item).iter().any(is_cfg_test)
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The type that an item is.
fn defined_type(item: &Item) -> Option<String> {
    match item {
        Item::Struct(_) | Item::Enum(_) | Item::Trait(_) | Item::Type(_) | Item::Union(_) => defined(item),
        _ => None,
    }
}

/// What an item is called, where others may name it.
fn defined(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Macro(item) => item.ident.as_ref()?.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}
