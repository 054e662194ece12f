//! Finds the template language's delimiters in a text: `{{`, `{%` and `{#`. The template engine reports where it
//! stopped; this finds where the construct began. It also finds delimiters that were not meant as such:
//! `${#array[@]}` is a shell's word for a length, and here it opens a comment.

use std::ops::Range;

/// A comment, from its `{#` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comment {
    /// Its bytes, marks included; to the end of the text where nothing closes it.
    pub(super) range: Range<usize>,
    /// Whether a `#}` closes it.
    pub(super) is_closed: bool,
    /// Whether it stands right behind a `$`, where shells have a length.
    pub(super) is_length: bool,
    /// How many lines it touches.
    pub(super) lines: usize,
}

/// A `{% if … %}` or another block that wants an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenBlock<'s> {
    /// Where its `{%` stands, in bytes.
    pub(super) at: usize,
    /// `if`, `for`, …
    pub(super) word: &'s str,
    /// All between the marks: `if vars.disk`.
    pub(super) tag: &'s str,
}

/// A tag, without its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag<'s> {
    /// All between the marks: `if vars.disk`.
    pub(super) text: &'s str,
    /// Its first word: `if`, `endif`, `set`, …
    pub(super) word: &'s str,
    /// Whether it wants an end.
    pub(super) opens: bool,
}

/// What of a text the template engine takes for its own.
#[derive(Debug, Default)]
pub(super) struct Delimiters<'s> {
    /// Its values and tags, marks included, in order.
    pub(super) code: Vec<Range<usize>>,
    /// The comments, in order.
    pub(super) comments: Vec<Comment>,
    /// The blocks that are still open at its end, the outermost first.
    pub(super) open: Vec<OpenBlock<'s>>,
}

/// The blocks that want an `endWORD`. A `set` wants one only where it has no value.
const BLOCKS: &[&str] = &[
    "if",
    "for",
    "block",
    "with",
    "autoescape",
    "filter",
    "macro",
    "call",
    "set",
    "raw",
];

impl<'s> Delimiters<'s> {
    /// Looks through a text.
    pub(super) fn of(source: &'s str) -> Delimiters<'s> {
        let mut marks = Delimiters::default();
        let mut at = 0;
        while let Some(found) = source[at..].find('{').map(|found| at + found) {
            at = match source.as_bytes().get(found + 1) {
                Some(b'#') => marks.comment(source, found),
                Some(b'{') => marks.value(source, found),
                Some(b'%') => marks.tag(source, found),
                _ => found + 1,
            };
        }
        marks
    }

    fn comment(&mut self, source: &str, at: usize) -> usize {
        let closed = source[at + 2..].find("#}").map(|end| at + 2 + end + 2);
        let range = at..closed.unwrap_or(source.len());
        let comment = Comment {
            is_closed: closed.is_some(),
            is_length: source[..at].ends_with('$'),
            lines: source[range.clone()].lines().count(),
            range,
        };
        let end = comment.range.end;
        self.comments.push(comment);
        end
    }

    fn value(&mut self, source: &str, at: usize) -> usize {
        let end = end_of(source, at + 2, "}}");
        self.code.push(at..end);
        end
    }

    /// What a `{% … %}` says, from mark to mark.
    pub(super) fn tag_in(code: &'s str) -> Tag<'s> {
        let inside = code.get(2..).unwrap_or_default();
        let inside = inside.strip_suffix("%}").unwrap_or(inside);
        let text = inside
            .trim_start_matches(['-', '+'])
            .trim_end_matches(['-', '+'])
            .trim();
        let word = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default();
        let opens = BLOCKS.contains(&word) && !(word == "set" && assigns(text));
        Tag { text, word, opens }
    }

    fn tag(&mut self, source: &'s str, at: usize) -> usize {
        let end = end_of(source, at + 2, "%}");
        self.code.push(at..end);
        let Tag { text: tag, word, opens } = Delimiters::tag_in(&source[at..end]);
        if let Some(ended) = word.strip_prefix("end") {
            if let Some(place) = self.open.iter().rposition(|opened| opened.word == ended) {
                self.open.truncate(place);
            }
            return end;
        }
        if opens {
            self.open.push(OpenBlock { at, word, tag });
        }
        match word {
            // Nothing is a mark in there.
            "raw" => end_of_raw(source, end),
            _ => end,
        }
    }
}

/// Behind the mark that closes what began before `from`: one in a text or within braces does not.
fn end_of(source: &str, from: usize, mark: &str) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while let Some(c) = source[at..].chars().next() {
        match c {
            _ if depth == 0 && source[at..].starts_with(mark) => return at + mark.len(),
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += match c {
            '"' | '\'' => quoted_length(&source[at..], c),
            _ => c.len_utf8(),
        };
    }
    source.len()
}

/// Bytes of the text in quotes that `rest` begins with, quotes included; all of it where nothing closes it. A
/// `\` takes its next character along.
pub(super) fn quoted_length(rest: &str, quote: char) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => drop(characters.next()),
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

/// Whether a `set` gives a value, outside of the brackets of a filter.
fn assigns(text: &str) -> bool {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(c) = text[at..].chars().next() {
        match c {
            '=' if depth == 0 => return true,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += match c {
            '"' | '\'' => quoted_length(&text[at..], c),
            _ => c.len_utf8(),
        };
    }
    false
}

/// Where the tag begins that ends a raw text.
fn end_of_raw(source: &str, from: usize) -> usize {
    let mut tags = source[from..].match_indices("{%").map(|(at, _)| from + at);
    let is_end = |at: &usize| {
        let inside = source[at + 2..].trim_start_matches(['-', '+']).trim_start();
        inside.starts_with("endraw")
    };
    tags.find(is_end).unwrap_or(source.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comments(source: &str) -> Vec<(&str, bool, usize)> {
        let found = Delimiters::of(source).comments;
        let told = |one: Comment| (&source[one.range], one.is_length, one.lines);
        found.into_iter().map(told).collect()
    }

    fn open(source: &str) -> Vec<(usize, &str)> {
        let found = Delimiters::of(source).open;
        found.into_iter().map(|one| (one.at, one.tag)).collect()
    }

    #[test]
    fn a_comment_is_told_from_a_shells_length_and_its_lines_are_counted() {
        assert_eq!(comments("a {# b #} c"), [("{# b #}", false, 1)]);
        assert_eq!(comments("${#a[@]}\n${!#}"), [("{#a[@]}\n${!#}", true, 2)]);
        assert_eq!(
            comments("{# a\n\n b #}\n{#c"),
            [("{# a\n\n b #}", false, 3), ("{#c", false, 1)]
        );
        assert!(!Delimiters::of("{#c").comments[0].is_closed);
    }

    #[test]
    fn what_stands_in_a_value_or_in_raw_text_is_no_mark() {
        assert_eq!(
            comments("{{ '{#' }}{% raw %}${#a} {# b #}{% endraw %}{{ {'a': {'b': '#}'}} }}"),
            []
        );
        assert_eq!(comments("a { # b } {"), []);
    }

    #[test]
    fn blocks_without_their_end_are_known_from_the_outermost_in() {
        assert_eq!(open("{% if a %}{% for b in c %}{% endfor %}"), [(0, "if a")]);
        assert_eq!(
            open("\n{%- if a %}{% for b in c -%}"),
            [(1, "if a"), (12, "for b in c")]
        );
        assert_eq!(
            open("{% set a = 1 %}{% include 'b' %}{% if '%}' == c %}{% endif %}"),
            []
        );
        assert_eq!(open("{% set a %}{% endset %}{% raw %}{% if %}"), [(23, "raw")]);
        assert_eq!(
            open("{% set a | default(b='=') %}{{ '\\'}}{% if %}' }}"),
            [(0, "set a | default(b='=')")]
        );
    }

    #[test]
    fn any_text_is_looked_through() {
        for source in [
            "",
            "{",
            "{{",
            "{%",
            "{#",
            "{% raw",
            "{{ 'ä",
            "ä{%ü%}",
            "{% end %}",
            "{%-+%}",
        ] {
            Delimiters::of(source);
        }
    }
}
