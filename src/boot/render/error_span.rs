//! Locates the part of a template that an error is about.

use super::delimiters::Delimiters;
use std::ops::Range;

/// The line and column of a byte, both from 1; the column counts characters.
pub(super) fn line_and_column(source: &str, at: usize) -> (Option<u32>, Option<u32>) {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    let before = &source[..at];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    let column = before[start..].chars().count() + 1;
    (u32::try_from(line).ok(), u32::try_from(column).ok())
}

/// Where `word` first stands by itself in a value or a tag.
pub(super) fn first(source: &str, word: &str) -> Option<usize> {
    let mut code = Delimiters::of(source).code.into_iter();
    code.find_map(|range| Some(range.start + first_in(&source[range], word)?))
}

fn first_in(source: &str, word: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let found = source.match_indices(word).find(|(at, _)| {
        let before = source[..*at].chars().next_back();
        let behind = source[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !behind.is_some_and(is_part)
    });
    found.map(|(at, _)| at)
}

/// The value that the engine's `range` is about, and where it begins. A filter points at itself: of
/// `vars.disk | arg` it is what stands before the first bar that is meant.
pub(super) fn meant(source: &str, range: Range<usize>) -> (usize, &str) {
    let range = within(source, range);
    let before = source[..range.start].trim_end();
    if let Some(piped) = before.strip_suffix('|') {
        let at = operand(piped);
        let shown = source[at..].split(['|', '}']).next().unwrap_or_default();
        return (at, shown.trim());
    }
    let whole = &source[range.clone()];
    let text = whole.trim_start_matches(['{', '-', '+', ' ', '\t', '\n']);
    let at = range.start + (whole.len() - text.len());
    // A value goes through its filters, and is named by what it was before them.
    let text = text.split(" |").next().unwrap_or_default();
    (at, text.trim_end_matches(['}', '-', '+', ' ', '\t', '\n']))
}

fn within(source: &str, range: Range<usize>) -> Range<usize> {
    let is_inside = source.get(range.clone()).is_some();
    if is_inside { range } else { 0..0 }
}

/// Where the value begins that goes through the bar behind `piped`, and through bars before it.
fn operand(piped: &str) -> usize {
    let mut end = piped.trim_end().len();
    loop {
        let start = word(&piped[..end]);
        match piped[..start].trim_end().strip_suffix('|') {
            Some(further) => end = further.trim_end().len(),
            None => return start,
        }
    }
}

/// Where the last word of a text begins; brackets and quotes hold theirs together.
fn word(text: &str) -> usize {
    let (mut quote, mut depth) = (None, 0_usize);
    for (at, c) in text.char_indices().rev() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, ')' | ']' | '}') => depth += 1,
            (None, '(' | '[' | '{') if depth > 0 => depth -= 1,
            (None, _) if depth > 0 => {}
            (None, '_' | '.') => {}
            (None, _) if c.is_alphanumeric() => {}
            (None, _) => return at + c.len_utf8(),
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_from_one_and_characters_from_one() {
        assert_eq!(line_and_column("", 0), (Some(1), Some(1)));
        assert_eq!(line_and_column("a\näb", "a\nä".len()), (Some(2), Some(2)));
        assert_eq!(line_and_column("a", 9), (Some(1), Some(2)));
    }

    #[test]
    fn a_word_is_found_where_it_stands_by_itself() {
        assert_eq!(first("name {{ names }}{% if name_ or name %}", "name"), Some(31));
        assert_eq!(first("name {{ names }}", "name"), None);
    }

    fn meant_by<'s>(source: &'s str, pointed: &str) -> &'s str {
        let at = source.find(pointed).unwrap();
        let (start, named) = meant(source, at..at + pointed.len());
        assert!(source[start..].starts_with(named), "{source}: {named}");
        named
    }

    #[test]
    fn a_filter_means_the_value_before_all_the_bars() {
        assert_eq!(meant_by("x{{ vars.disk | arg }}", "arg"), "vars.disk");
        assert_eq!(meant_by("{{ vars.a | default(\"b c\") | arg }}", "arg"), "vars.a");
        assert_eq!(meant_by("{% if (f(vars.b)|arg) %}", "arg"), "f(vars.b)");
        assert_eq!(meant_by("{{ vars['a b']|arg }}", "arg"), "vars['a b']");
        assert_eq!(meant_by("{{- vars.disk }}", "{{- vars.disk }}"), "vars.disk");
        assert_eq!(
            meant_by("{{ vars.disk | upper }}", "{{ vars.disk | upper }}"),
            "vars.disk"
        );
        assert_eq!(meant("ä", 1..9), (0, ""));
    }
}
