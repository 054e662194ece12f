//! How templates read each value: whether they only show it, or do something with it that may come out otherwise for
//! another value. `config` needs to know which hosts' texts differ in nothing but the words that are shown.
//!
//! Known of plain templates alone (`plain`): in these no value is made of others, so that whatever a value steers is
//! written next to its name. What is not known to be shown only is taken to decide.

use super::{
    delimiters::Delimiters,
    plain::{self, BETWEEN, FILTERS},
};
use std::collections::{HashMap, HashSet};

/// What templates do with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueUse {
    /// It is written out, through a filter that looks at its characters, or it is asked whether it is there.
    Shown,
    /// Anything else: what comes of it may hang on every letter.
    Decides,
}

/// How some templates read their values.
#[derive(Clone, Debug, Default)]
pub struct TemplateReads {
    /// By their names; `image.kernel` is `image`.
    values: HashMap<String, ValueUse>,
    /// The inventory's `vars`, by their names.
    vars: HashMap<String, ValueUse>,
    takes_all_vars: bool,
    /// The words of the templates' own texts: a value that is one of them may come to stand twice.
    words: HashSet<String>,
}

impl TemplateReads {
    /// What is done with a value.
    pub fn of_value(&self, name: &str) -> Option<ValueUse> {
        self.values.get(name).copied()
    }

    /// What is done with one of the inventory's `vars`.
    pub fn of_var(&self, name: &str) -> Option<ValueUse> {
        match self.takes_all_vars {
            true => Some(ValueUse::Decides),
            false => self.vars.get(name).copied(),
        }
    }

    /// Whether the templates themselves have that word.
    pub fn has_word(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// Takes in one more template, which is plain.
    pub(super) fn add(&mut self, source: &str) {
        let marks = Delimiters::of(source);
        for range in marks.code {
            let code = &source[range];
            let inside = code.get(2..code.len().saturating_sub(2)).unwrap_or_default();
            let inside = inside.trim_matches(['-', '+']);
            let words = plain::words(inside).unwrap_or_default();
            match (code.starts_with("{{"), &words[..]) {
                (true, value) => self.add_value(value),
                (false, ["if" | "elif", condition @ ..]) => {
                    for clause in condition.split(|word| matches!(*word, "and" | "or")) {
                        self.add_clause(clause);
                    }
                }
                (false, other) => self.add_deciding(other),
            }
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || "._:/-".contains(c);
        for word in source.split(|c: char| !is_part(c)) {
            self.words.extend([word, word.trim_end_matches(':')].map(str::to_owned));
        }
    }

    /// `{{ … }}`: a value by itself, maybe through filters, or anything else.
    fn add_value(&mut self, words: &[&str]) {
        let mut parts = words.split(|word| *word == "|");
        let value = parts.next().unwrap_or_default();
        let is_shown = path_of(value).is_some() && parts.all(shows);
        match is_shown {
            true => self.note(value, ValueUse::Shown),
            false => self.add_deciding(words),
        }
    }

    /// One part of a condition: whether a value is there, or anything else.
    fn add_clause(&mut self, clause: &[&str]) {
        let clause = clause.strip_prefix(&["not"]).unwrap_or(clause);
        let value = match clause {
            [value @ .., "is", "not", "defined"] | [value @ .., "is", "defined"] => value,
            value => value,
        };
        match path_of(value) {
            Some(_) => self.note(value, ValueUse::Shown),
            None => self.add_deciding(clause),
        }
    }

    /// Each name decides.
    fn add_deciding(&mut self, words: &[&str]) {
        for at in 0..words.len() {
            let is_part = at > 0 && words[at - 1] == ".";
            if is_name(words[at]) && !is_part && !BETWEEN.contains(&words[at]) {
                self.note(&words[at..], ValueUse::Decides);
            }
        }
    }

    /// A name, with what follows of its path.
    fn note(&mut self, path: &[&str], used: ValueUse) {
        let (of, name) = match path {
            ["vars", ".", name, ..] => (&mut self.vars, *name),
            ["vars", ..] => {
                self.takes_all_vars = true;
                return;
            }
            // Whether there is one does not hang on its letters; what it has does.
            [name @ ("answer" | "callback" | "order"), ".", ..] if used == ValueUse::Decides => {
                self.values.insert("name".to_owned(), used);
                (&mut self.values, *name)
            }
            [name, ..] => (&mut self.values, *name),
            [] => return,
        };
        let known = of.entry(name.to_owned()).or_insert(used);
        *known = used.max(*known);
    }
}

/// A name, or a path of names.
fn path_of<'w>(words: &[&'w str]) -> Option<&'w str> {
    let is_in_place = |(at, word): (usize, &&str)| match at % 2 {
        0 => is_name(word) && !BETWEEN.contains(word),
        _ => *word == ".",
    };
    let is_path = words.len() % 2 == 1 && words.iter().enumerate().all(is_in_place);
    words.first().copied().filter(|_| is_path)
}

/// Whether a filter looks at nothing but a value's characters, and has no names in its brackets.
fn shows(filter: &[&str]) -> bool {
    match filter {
        ["length", ..] | [] => false,
        [name, bracketed @ ..] => FILTERS.contains(name) && !bracketed.iter().any(|word| is_name(word)),
    }
}

fn is_name(word: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    word.starts_with(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str) -> TemplateReads {
        assert!(plain::includes(source).is_some(), "{source}");
        let mut reads = TemplateReads::default();
        reads.add(source);
        reads
    }

    #[test]
    fn what_is_written_out_or_asked_for_is_shown() {
        let reads = of(
            "{{ name }}{{- vars.disk | default(\"x\") | arg -}}{% if callback and vars.keys is not defined %}\
             {{ callback.done }}{% elif not uuid %}{% endif %}{{ serial | upper }}",
        );
        for value in ["name", "callback", "uuid", "serial"] {
            assert_eq!(reads.of_value(value), Some(ValueUse::Shown), "{value}");
        }
        for var in ["disk", "keys"] {
            assert_eq!(reads.of_var(var), Some(ValueUse::Shown), "{var}");
        }
        assert_eq!((reads.of_value("address"), reads.of_var("name")), (None, None));
        assert!(!reads.has_word("reads") && of("d-i a: b").has_word("a"));
    }

    #[test]
    fn what_a_condition_compares_a_loop_goes_through_or_a_name_is_given_to_decides() {
        for source in [
            "{% if serial == 'x' %}{% endif %}",
            "{% if 'x' in serial %}{% endif %}",
            "{% if uuid and 'x' != serial %}{% endif %}",
            "{% for c in serial %}{% endfor %}",
            "{% set s = serial %}",
            "{{ serial or 'x' }}",
            "{{ 'a' if serial else 'b' }}",
            "{{ serial[0] }}",
            "{{ serial | length }}",
            "{{ domain | default(serial) }}",
            "{{ serial is defined }}",
            "{{ serial }}{% if serial < 'x' %}{% endif %}",
            "{% if serial is none %}{% endif %}",
        ] {
            assert_eq!(of(source).of_value("serial"), Some(ValueUse::Decides), "{source}");
        }
        assert_eq!(
            of("{% if 'x' in answer.url %}{% endif %}").of_value("name"),
            Some(ValueUse::Decides)
        );
        assert_eq!(of("{{ vars | tojson }}").of_var("x"), Some(ValueUse::Decides));
        assert_eq!(of("{{ vars['x'] }}").of_var("x"), Some(ValueUse::Decides));
        assert_eq!(
            of("{% if vars.x > 3 %}{% endif %}").of_var("x"),
            Some(ValueUse::Decides)
        );
    }
}
