//! A scanner of Rust's sources, as much as the pictures need: code without prose, names, functions.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// One source file, its comments and string contents blanked so that prose names nothing.
pub struct Source {
    pub path: PathBuf,
    pub raw: String,
    pub code: String,
}

impl Source {
    /// The top-level module a file belongs to; `lib` and `main` for the roots.
    pub fn module(&self) -> String {
        let below = self.path.strip_prefix(root()).expect("read from beneath the root");
        let first = below.components().next().expect("a file has a path");
        first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
    }

    /// The code before the file's own tests; of a file of nothing but tests, none.
    pub fn shipped(&self) -> &str {
        if self.path.ends_with("tests.rs") {
            return "";
        }
        self.code.split("#[cfg(test)]").next().unwrap_or_default()
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

pub fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the crate has its sources") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let raw = fs::read_to_string(&path).expect("sources are text");
                let code = blank(&raw);
                found.push(Source { path, raw, code });
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found: {}", found.len());
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// The crate's top-level modules that code names: `crate::boot`, `crate::{boot, net}`,
/// `bootwright::boot`.
pub fn named_modules(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            named.extend(group_heads(group));
        } else {
            named.insert(identifier(rest));
        }
    }
    named
}

/// The first identifier of each member of a `{a::b, c::{d, e}}` group whose brace is open.
fn group_heads(group: &str) -> Vec<String> {
    let (mut heads, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                heads.push(identifier(group[start..at].trim_start()));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(identifier(group[start..at].trim_start()));
                start = at + 1;
            }
            _ => {}
        }
    }
    heads
}

pub fn identifier(text: &str) -> String {
    text.chars().take_while(|character| is_word(*character)).collect()
}

pub fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether a line has `name` as words of its own, not as part of a longer one.
pub fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + name.len()..].chars().next();
        !before.is_some_and(is_word) && (name.ends_with("::") || !after.is_some_and(is_word))
    })
}

/// Every function with a body: its name and its lines from `fn` to the closing brace.
pub fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts_word = !code[..at].chars().next_back().is_some_and(is_word);
        let name = identifier(&code[at + 3..]);
        if !starts_word || name.is_empty() {
            continue;
        }
        let Some(length) = body_length(&code[at..]) else {
            continue;
        };
        found.push((name, code[at..at + length].lines().count()));
    }
    found
}

/// Bytes from a signature's start to the end of its body; `None` where it has none.
fn body_length(code: &str) -> Option<usize> {
    let (mut depth, mut brackets) = (0_u32, 0_u32);
    for (at, character) in code.char_indices() {
        match character {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            ';' if depth == 0 && brackets == 0 => return None,
            '{' => depth += 1,
            '}' if depth <= 1 => return Some(at + 1),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The same text with comments, strings and character literals blanked, line by line.
fn blank(raw: &str) -> String {
    let mut blanked = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(first) = rest.chars().next() {
        let skipped = skip_length(rest);
        if skipped == 0 {
            blanked.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            blanked.extend(
                rest[..skipped]
                    .chars()
                    .map(|character| if character == '\n' { '\n' } else { ' ' }),
            );
            rest = &rest[skipped..];
        }
    }
    blanked
}

/// How many bytes at the start of `code` are a comment or a literal.
fn skip_length(code: &str) -> usize {
    if code.starts_with("//") {
        return code.find('\n').unwrap_or(code.len());
    }
    if code.starts_with("/*") {
        return code.find("*/").map_or(code.len(), |end| end + 2);
    }
    for hashes in ["###", "##", "#", ""] {
        let open = format!("r{hashes}\"");
        if let Some(body) = code.strip_prefix(&open) {
            let close = format!("\"{hashes}");
            return body
                .find(&close)
                .map_or(code.len(), |end| open.len() + end + close.len());
        }
    }
    if code.starts_with('"') {
        return quoted_length(code, '"');
    }
    // A character literal, and not a lifetime: closed after one character or an escape.
    let mut characters = code.chars();
    if characters.next() == Some('\'') {
        match (characters.next(), characters.next()) {
            (Some('\\'), _) => return quoted_length(code, '\''),
            (Some(inner), Some('\'')) => return 2 + inner.len_utf8(),
            _ => {}
        }
    }
    0
}

fn quoted_length(code: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in code.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            other if other == quote => return at + 1,
            _ => {}
        }
    }
    code.len()
}

#[test]
fn the_scanner_sees_what_it_is_there_to_see() {
    let code =
        blank("use crate::{boot::engine, net::{a, b}};\n// crate::cli\nlet x = \"crate::admin\"; crate::store::y();");
    let named: Vec<String> = named_modules(&code).into_iter().collect();
    assert_eq!(named, ["boot", "net", "store"]);
    assert!(names("use std::time::Instant;", "Instant") && !names("Instantaneous", "Instant"));
    let long = format!("fn long() {{\n{}}}\nfn short() {{}}\n", "    work();\n".repeat(80));
    assert_eq!(functions(&long), [("long".to_owned(), 82), ("short".to_owned(), 1)]);
}
