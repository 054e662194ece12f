//! Preseed lines, as debconf-set-selections and Debian's installer read them: owner, question, type and value.

use super::{error, line, warning};
use crate::config::rendered::Flaw;

/// The types of questions, and the flag that a line may set.
const TYPES: [&str; 9] = [
    "select",
    "boolean",
    "string",
    "multiselect",
    "note",
    "password",
    "text",
    "title",
    "seen",
];

pub(super) fn flaws(text: &str) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((place, first)) = lines.next() {
        let (mut last, mut joined) = (first, None::<String>);
        while let Some(begun) = last.strip_suffix('\\') {
            let joined = joined.get_or_insert_default();
            joined.push_str(begun);
            let Some((_, next)) = lines.next() else { break };
            last = next;
            if !last.ends_with('\\') {
                joined.push_str(last);
            }
        }
        let whole = joined.as_deref().unwrap_or(first);
        flaws.extend(flaw(place, whole));
        if whole.trim_end().ends_with('\\') && !whole.trim_start().starts_with('#') {
            let what = "there are blanks behind the line's last `\\`, so the next line is not a part of it";
            flaws.push(warning(line(place), what, "take the blanks out"));
        }
    }
    flaws
}

fn flaw(place: usize, whole: &str) -> Option<Flaw> {
    let shown = whole.trim_start();
    if shown.is_empty() || shown.starts_with('#') {
        return None;
    }
    let mut words = shown.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(_), Some(_), Some(kind)) if TYPES.contains(&kind) => None,
        (Some(_), Some(question), Some(kind)) => Some(warning(
            line(place),
            [
                "the answer to `",
                question,
                "` has the type `",
                kind,
                "`, and the installer passes over the line",
            ]
            .concat(),
            "the types are select, boolean, string, multiselect, note, password, text and title",
        )),
        _ => Some(error(
            line(place),
            "the line has no owner, question and type",
            "a line is as `d-i netcfg/get_hostname string web-7`; what goes on in the next line ends with a `\\`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_one_without_its_type_is_found() {
        let text = "# d-i\nd-i a/b string \\\n   one; \\\n   two\nd-i a/c\nd-i a/d sting x\nd-i a/e seen true\nd-i a/f string a \\ \nb\n";
        let found: Vec<_> = flaws(text).iter().map(|flaw| (flaw.place, flaw.is_error)).collect();
        let expected = [
            (Some((5, 1)), true),
            (Some((6, 1)), false),
            (Some((8, 1)), false),
            (Some((9, 1)), true),
        ];
        assert_eq!(found, expected);
    }
}
