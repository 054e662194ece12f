//! How deep a template is nested, before the engine looks at it.
//!
//! The engine's own limit counts brackets and blocks. It follows chains by recursion as well, of operators,
//! signs, filters, attributes and `elif`, and a long one is the end of its thread's stack, which no thread can
//! catch. So every word of an expression counts here as a step, down to the next comma, and each bracket,
//! block and `elif` around it: nothing that the engine builds is deeper than that.

use super::{TemplateError, delimiters::Delimiters, error_span};
use crate::model::limits::TEMPLATE_DEPTH_MAX;

/// Refuses a template that is nested too deep, where it first is.
pub(super) fn refuse_depth(file: &str, source: &str) -> Result<(), TemplateError> {
    let Some(at) = too_deep(source) else {
        return Ok(());
    };
    let (line, column) = error_span::line_and_column(source, at);
    Err(TemplateError {
        file: Some(file.to_owned()),
        line,
        column,
        message: format!(
            "this is more than {TEMPLATE_DEPTH_MAX} steps deep, too deep to be rendered; give parts of it a name \
             with `{{% set %}}`, or look things up in a list"
        ),
    })
}

/// The byte at which it becomes too deep.
fn too_deep(source: &str) -> Option<usize> {
    // Of each block that is open, itself and its `elif`s.
    let mut blocks: Vec<usize> = Vec::new();
    let marks = Delimiters::of(source);
    for range in marks.code {
        let around: usize = blocks.iter().sum();
        let code = &source[range.clone()];
        if let Some(deep) = deepest_word(code, TEMPLATE_DEPTH_MAX.saturating_sub(around)) {
            return Some(range.start + deep);
        }
        if !code.starts_with("{%") {
            continue;
        }
        let tag = Delimiters::tag_in(code);
        match tag.word {
            "elif" => *blocks.last_mut()? += 1,
            word if word.starts_with("end") => drop(blocks.pop()),
            _ if tag.opens => blocks.push(1),
            _ => {}
        }
    }
    None
}

/// Where a value or a tag has a word that more than `max` others lead to.
fn deepest_word(code: &str, max: usize) -> Option<usize> {
    // Words since the last comma, within each of the brackets that are open.
    let mut levels = vec![0_usize];
    let mut depth = 0;
    let mut at = 0;
    while let Some(c) = code[at..].chars().next() {
        let length = word_length(&code[at..], c);
        match c {
            c if c.is_whitespace() => {}
            ',' => {
                let level = levels.last_mut()?;
                depth -= *level;
                *level = 0;
            }
            _ => {
                depth += 1;
                *levels.last_mut()? += 1;
            }
        }
        match c {
            '(' | '[' | '{' => levels.push(0),
            ')' | ']' | '}' if levels.len() > 1 => depth -= levels.pop()?,
            _ => {}
        }
        if depth > max {
            return Some(at);
        }
        at += length;
    }
    None
}

/// Bytes of the word that begins with `first`: a name, a number, a text in quotes, or one sign.
fn word_length(rest: &str, first: char) -> usize {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    match first {
        '"' | '\'' => super::delimiters::quoted_length(rest, first),
        c if is_part(c) => rest.find(|c: char| !is_part(c)).unwrap_or(rest.len()),
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shapes of which each nests `n` deep, and how they look.
    fn shapes(n: usize) -> Vec<(&'static str, String)> {
        let around = |open: &str, inner: &str, close: &str| {
            let (open, close) = (open.repeat(n), close.repeat(n));
            format!("{{{{ {open}{inner}{close} }}}}")
        };
        vec![
            ("not", around("not ", "1", "")),
            ("signs", around("-", "1", "")),
            ("sums", around("", "1", "+1")),
            ("joined", around("", "name", "~name")),
            ("filters", around("", "name", "|upper")),
            ("attributes", around("", "vars", ".a")),
            ("subscripts", around("", "vars", "['\\'']")),
            ("calls", around("", "vars", "()")),
            ("if else", around("1 if name else ", "1", "")),
            ("brackets", around("(", "1", ")")),
            ("lists", around("[2, ", "1", "]")),
            ("tables", around("{'a': ", "1", "}")),
            ("tests", around("", "name", " is defined")),
            (
                "targets",
                format!("{{% set {}a{} = 1 %}}", "(".repeat(n), ")".repeat(n)),
            ),
            (
                "elif",
                format!("{{% if name %}}{}{{% endif %}}", "{% elif name %}".repeat(n)),
            ),
            (
                "elif in a branch",
                format!(
                    "{{% if a %}}{}{{% if b %}}{}{{% endif %}}{{% endif %}}",
                    "{% elif a %}".repeat(n / 2),
                    "{% elif b %}".repeat(n - n / 2)
                ),
            ),
            ("blocks", ["{% if name %}".repeat(n), "{% endif %}".repeat(n)].concat()),
            (
                "set blocks",
                ["{% set a %}".repeat(n), "{% endset %}".repeat(n)].concat(),
            ),
        ]
    }

    #[test]
    fn whatever_is_nested_too_deep_is_refused_and_half_of_it_is_not() {
        for (name, source) in shapes(TEMPLATE_DEPTH_MAX + 1) {
            assert!(too_deep(&source).is_some(), "{name}");
        }
        for (name, source) in shapes(TEMPLATE_DEPTH_MAX / 6) {
            assert_eq!(too_deep(&source), None, "{name}");
        }
    }

    #[test]
    fn what_stands_side_by_side_is_not_deep() {
        let n = TEMPLATE_DEPTH_MAX * 2;
        for source in [
            format!("{{{{ [{}] }}}}", "'a|b' | upper, ".repeat(n)),
            format!("{{{{ {{{}}} }}}}", "'a': [1, 2], ".repeat(n)),
            "{{ name }}{% set a = (1, 2) %}{% if a %}{% endif %}".repeat(n),
            "{% for a in [1] %}{% else %}{% endfor %}\n".repeat(n),
            format!("{{% raw %}}{}{{% endraw %}}", "{% if %}".repeat(n)),
            format!("{{# {} #}}", "((".repeat(n)),
            format!("{{{{ '{}' }}}}", "\\'((".repeat(n)),
        ] {
            assert_eq!(too_deep(&source), None, "{source:.60}");
        }
    }

    #[test]
    fn the_error_is_where_it_becomes_too_deep() {
        let source = format!("\n{{{{ {}1 }}}}", "- ".repeat(TEMPLATE_DEPTH_MAX + 5));
        let error = refuse_depth("a.ipxe", &source).unwrap_err();
        assert_eq!((error.file.as_deref(), error.line), (Some("a.ipxe"), Some(2)));
        assert!(error.column.is_some_and(|column| column > 900), "{error}");
    }
}
