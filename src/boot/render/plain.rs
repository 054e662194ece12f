//! Templates that are rendered where machines are served, because it is known how long that takes.
//!
//! The engine's fuel pays for every step and for the bytes that come of it. It does not pay for what hangs
//! together: a list that holds a list twice, which holds another twice, costs a few steps to write down and
//! without end to compare. So a template is plain where nothing in it makes a value of others: it shows values
//! and asks about them, goes through lists, gives a value another name and includes others of its kind. It
//! calls nothing, joins nothing, writes down no list or table, and no value goes through two filters that could
//! make it longer. What is left is as long as its fuel, and at each step no longer than the machine's values
//! are large. Every other template has a thread that can be given up.
//!
//! Whatever is not known to be plain is not: a word too few here costs a machine microseconds.

use super::delimiters::{Delimiters, quoted_length};
use crate::model::limits::TEXT_AT_ONCE_FUEL;
use minijinja::Environment;
use std::collections::{HashMap, HashSet};

/// The filters that a plain template may use. All but the first are paid for by what they read and write, and a
/// value goes through one of them at most.
pub(super) const FILTERS: [&str; 12] = [
    "default", "arg", "args", "quote", "tojson", "upper", "lower", "length", "e", "curl", "wget", "busybox",
];
/// The words that stand between values.
pub(super) const BETWEEN: [&str; 8] = ["and", "or", "not", "in", "is", "if", "else", "elif"];
const COMPARISONS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

/// The plain templates of one set.
#[derive(Debug)]
pub(super) struct Plain {
    /// The set's engine, with less fuel.
    engine: Environment<'static>,
    keys: HashSet<String>,
}

impl Plain {
    /// `includes` has what each template includes that is plain by itself.
    pub(super) fn of(engine: &Environment<'static>, includes: &HashMap<String, Vec<String>>) -> Plain {
        let mut keys: HashSet<&str> = includes.keys().map(String::as_str).collect();
        loop {
            let known = keys.len();
            let is_known = |key: &&str| includes[*key].iter().all(|included| keys.contains(included.as_str()));
            keys = keys.iter().copied().filter(is_known).collect();
            if keys.len() == known {
                break;
            }
        }
        let mut engine = engine.clone();
        engine.set_fuel(Some(TEXT_AT_ONCE_FUEL));
        Plain {
            engine,
            keys: keys.into_iter().map(str::to_owned).collect(),
        }
    }

    /// The engine that renders the template at once, if it is plain.
    pub(super) fn engine_for(&self, key: &str) -> Option<&Environment<'static>> {
        self.keys.contains(key).then_some(&self.engine)
    }
}

/// The templates that a plain one includes; `None` where it is not plain.
pub(super) fn includes(source: &str) -> Option<Vec<String>> {
    let marks = Delimiters::of(source);
    let mut included = Vec::new();
    for range in marks.code {
        let code = &source[range];
        let (opened, closed) = match code.starts_with("{%") {
            true => ("{%", "%}"),
            false => ("{{", "}}"),
        };
        let inside = code.strip_prefix(opened)?.strip_suffix(closed)?;
        let inside = inside.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']);
        let words = words(inside)?;
        let is_plain = match (opened, &words[..]) {
            ("{{", value) => is_plain(value),
            (_, ["if" | "elif", condition @ ..]) => is_plain(condition),
            (_, ["for", name, "in", list @ ..]) => is_name(name) && is_plain(list) && !list.contains(&"recursive"),
            (_, ["set", name, "=", value @ ..]) => is_name(name) && is_plain(value) && !value.contains(&"|"),
            (_, ["else" | "endif" | "endfor" | "raw" | "endraw"]) => true,
            (_, ["include", file]) => {
                included.push(unquoted(file)?.to_owned());
                true
            }
            _ => false,
        };
        if !is_plain {
            return None;
        }
    }
    Some(included)
}

/// The words and signs of a piece of code; `None` where a sign is none that a plain template has.
pub(super) fn words(mut code: &str) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    loop {
        code = code.trim_start();
        let Some(first) = code.chars().next() else {
            return Some(words);
        };
        let length = match first {
            '"' | '\'' => quoted_length(code, first),
            first if is_part(first) => code.find(|c| !is_part(c)).unwrap_or(code.len()),
            _ => match COMPARISONS.into_iter().find(|sign| code.starts_with(sign)) {
                Some(sign) => sign.len(),
                None if matches!(first, '.' | '|' | '(' | ')' | '[' | ']' | '=') => 1,
                None => return None,
            },
        };
        let (word, rest) = code.split_at(length);
        words.push(word);
        code = rest;
    }
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_name(word: &str) -> bool {
    word.chars().all(is_part)
}

/// A text in quotes without them, where nothing in it is more than it looks like.
fn unquoted(word: &str) -> Option<&str> {
    let inside = ['"', '\'']
        .into_iter()
        .find_map(|quote| word.strip_prefix(quote)?.strip_suffix(quote))?;
    (!inside.contains('\\')).then_some(inside)
}

/// Whether an expression makes nothing of values.
fn is_plain(words: &[&str]) -> bool {
    let mut filters = 0;
    // Of a filter's brackets, or of a place in a list.
    let mut open = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).map(|at| words[at]);
        let behind = words.get(at + 1).copied();
        let is_plain = match *word {
            "|" => {
                filters += usize::from(behind != Some("default"));
                behind.is_some_and(|filter| FILTERS.contains(&filter))
            }
            "(" => {
                open.push(")");
                before(2) == Some("|")
            }
            "[" => {
                open.push("]");
                // A place in a value, or a list without anything in it.
                behind == Some("]") || before(1).is_some_and(is_value)
            }
            closing @ (")" | "]") => open.pop() == Some(closing),
            "=" => false,
            _ => true,
        };
        if !is_plain {
            return false;
        }
    }
    filters <= 1 && open.is_empty()
}

/// Whether the word ends something that has parts.
fn is_value(word: &str) -> bool {
    match word {
        ")" | "]" => true,
        word => is_name(word) && !BETWEEN.contains(&word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_values_and_asks_about_them_is_plain() {
        for source in [
            "",
            "#!ipxe\nboot\n",
            "{{ name }}{{- vars.disk -}}{{ image.initrds[0].url }}{{ vars['a b'] }}",
            "{{ vars.locale | default(\"en_US.UTF-8\") | arg }}{{ vars.keys | default([]) | tojson }}",
            "{% if not dns and mac != '' %}{{ domain or \"x\" }}{% elif uuid is defined %}{% else %}{% endif +%}",
            "{% for initrd in image.initrds %}{{ loop.index0 }}{{ \"\" if loop.first else \",\" }}{% endfor %}",
            "{% set from = http if \"lpxelinux\" in loader else tftp %}{{ from }}",
            "{# {{ a ~ b }} #}{% raw %}{{ a ~ b }}{% endraw %}",
        ] {
            assert_eq!(includes(source), Some(Vec::new()), "{source}");
        }
        assert_eq!(
            includes("{% include \"retry\" %}{%- include 'a' -%}"),
            Some(vec!["retry".to_owned(), "a".to_owned()])
        );
    }

    #[test]
    fn what_makes_values_of_others_is_not() {
        for source in [
            "{{ a ~ b }}",
            "{{ a + b }}",
            "{{ 'x' * 9999999 }}",
            "{{ 2 ** 9 }}",
            "{{ [a, a] }}",
            "{{ [a] }}",
            "{{ (a, a) }}",
            "{{ {'a': a} }}",
            "{{ a[1:] }}",
            "{{ range(9) }}",
            "{{ a.upper() }}",
            "{{ a | replace('a', 'aaaa') }}",
            "{{ a | tojson | tojson }}",
            "{{ a | default(a | tojson) | tojson }}",
            "{{ a | default(a, true) }}",
            "{{ a | default(b()) }}",
            "{% if a in [a] %}{% endif %}",
            "{% if (a) %}{% endif %}",
            "{% for a, b in c %}{% endfor %}",
            "{% for a in b recursive %}{% endfor %}",
            "{% set a %}{% endset %}",
            "{% set a = b | tojson %}",
            "{% set a = [b, b] %}",
            "{% set a.b = c %}",
            "{% set (a) = c %}",
            "{% macro a() %}{% endmacro %}",
            "{% include a %}",
            "{% include ['a'] %}",
            "{% include 'a' ignore missing %}",
            "{% include 'a\\x62' %}",
            "{% extends 'a' %}",
            "{% block a %}{% endblock %}",
            "{% with %}{% endwith %}",
            "{% filter upper %}{% endfilter %}",
            "{% call a() %}{% endcall %}",
            "{% autoescape 'json' %}{% endautoescape %}",
            "{{ a",
            "{% if a",
            "{{ é }}",
        ] {
            assert_eq!(includes(source), None, "{source}");
        }
    }

    #[test]
    fn what_includes_others_is_plain_where_they_are() {
        let known =
            |key: &str, included: &[&str]| (key.to_owned(), included.iter().map(|one| one.to_string()).collect());
        let includes = HashMap::from([
            known("retry", &[]),
            known("live", &["retry"]),
            known("far", &["live", "gone"]),
            known("farther", &["far"]),
            known("round", &["round"]),
        ]);
        let plain = Plain::of(&Environment::new(), &includes);
        let mut keys: Vec<&str> = plain.keys.iter().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["live", "retry", "round"]);
    }
}
