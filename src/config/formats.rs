//! Rendered answers as their readers parse them: preseed lines, kickstart, Ignition, YAML for cloud-init, autoinstall and
//! Talos, AutoYaST's XML, Agama's JSON and Proxmox's TOML. An installer finds out about a slip at night, and some pass
//! over it without a word; here it is found when the file is saved.
//!
//! What is wrong for every reader is an error. What a newer version of one may know, as a command of kickstart or a key
//! of a configuration, is warned of: an inventory is not refused because its installer is newer than this program.

mod autoinstall;
mod ignition;
mod kickstart;
mod node;
mod preseed;
mod proxmox;
mod xml;
mod yaml;

use super::rendered::Flaw;
use crate::boot::snapshot::Origin;
use std::borrow::Cow;

/// A line and a column of a rendered text, from 1; the column in characters.
pub(super) type Place = (u32, u32);

/// What is wrong with one file of an answer for the program that reads it.
pub(super) fn flaws(file: &str, text: &str) -> Vec<Flaw> {
    let named = file.rsplit('/').next().unwrap_or_default();
    let extension = named.rsplit_once('.').map_or("", |(_, extension)| extension);
    let begins = |mark: &str| text.lines().any(|line| line.trim_start().starts_with(mark));
    let is_cloud_config = text.trim_start().starts_with("#cloud-config");
    match (named, extension) {
        _ if text.trim().is_empty() => Vec::new(),
        (_, "ks") => kickstart::flaws(text),
        (_, "cfg") if begins("%packages") || begins("%post") || begins("%end") => kickstart::flaws(text),
        (_, "cfg" | "preseed" | "seed") if begins("d-i ") || begins("d-i\t") => preseed::flaws(text),
        (_, "ign") => ignition::flaws(text),
        (_, "json") => agama(text),
        (_, "xml") => xml::flaws(text),
        (_, "toml") => proxmox::flaws(text),
        (_, "yaml" | "yml") | ("meta-data" | "network-config", _) => yaml::flaws(text),
        ("user-data" | "vendor-data", _) if is_cloud_config => yaml::flaws(text),
        _ => Vec::new(),
    }
}

/// A flaw of a rendered text, at its line in the file that people edit: where that has the very line once, and else at
/// its beginning. The words say where it is in the text that the machine gets.
pub(super) fn located(flaw: Flaw, text: &str, (file, source): (&str, &str)) -> (Flaw, Origin) {
    let beginning = Origin {
        file: file.into(),
        line: 1,
        column: 1,
    };
    let Some((row, column)) = flaw.place else {
        return (flaw, beginning);
    };
    let (row, column, shown) = clamped(text, (row, column));
    let mut same = source.lines().enumerate().filter(|(_, own)| *own == shown);
    let place = match (same.next(), same.next()) {
        (Some((own, _)), None) => Origin {
            line: number(own + 1),
            column,
            ..beginning
        },
        _ => beginning,
    };
    let what = match (place.line, place.column) == (row, column) {
        true => flaw.what,
        false => format!("{} (line {row}, column {column} of the rendered text)", flaw.what).into(),
    };
    (Flaw { what, ..flaw }, place)
}

/// A place, and its line: of one behind the end of the text, where a reader goes on to miss something, the last line's end.
fn clamped(text: &str, (row, column): Place) -> (u32, u32, &str) {
    let index = usize::try_from(row).unwrap_or_default().saturating_sub(1);
    match text.lines().nth(index) {
        Some(shown) => (row, column, shown),
        None => {
            let last = text.lines().next_back().unwrap_or_default();
            let rows = number(text.lines().count()).max(1);
            (rows, number(last.chars().count() + 1), last)
        }
    }
}

/// Agama's profile, which names a product.
fn agama(text: &str) -> Vec<Flaw> {
    let Ok(serde_json::Value::Object(profile)) = serde_json::from_str(text) else {
        return Vec::new();
    };
    let is_profile =
        profile.contains_key("product") && (profile.contains_key("storage") || profile.contains_key("user"));
    let id = profile.get("product").and_then(|product| product.get("id"));
    match (is_profile, id) {
        (true, Some(serde_json::Value::String(_))) | (false, _) => Vec::new(),
        (true, _) => vec![error(
            place_of(text, "\"product\""),
            "Agama's profile names no product",
            "write `\"product\": { \"id\": \"SLES\" }`, or whatever product its medium has",
        )],
    }
}

fn error(place: Option<Place>, what: impl Into<Cow<'static, str>>, help: &'static str) -> Flaw {
    Flaw {
        place,
        is_error: true,
        what: what.into(),
        help,
    }
}

fn warning(place: Option<Place>, what: impl Into<Cow<'static, str>>, help: &'static str) -> Flaw {
    Flaw {
        is_error: false,
        ..error(place, what, help)
    }
}

/// Where the first of some words stands.
fn place_of(text: &str, words: &str) -> Option<Place> {
    text.find(words).map(|at| place_at(text, at))
}

/// The place of a byte.
fn place_at(text: &str, at: usize) -> Place {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (number(line), number(column))
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The beginning of a line.
fn line(place: usize) -> Option<Place> {
    Some((number(place + 1), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where, and whether it is an error.
    fn found(file: &str, text: &str) -> Vec<(Option<Place>, bool)> {
        let flaws = flaws(file, text).into_iter();
        flaws.map(|flaw| (flaw.place, flaw.is_error)).collect()
    }

    #[test]
    fn a_flaw_is_at_its_line_in_the_file_that_people_edit() {
        let flaw = |place| error(Some(place), "wrong", "mend it");
        let source = "{% if x %}\na: [\n{% endif %}\nb: {{ y }}\nc\nc\n";
        let text = "a: [\nb: 1\nc\nc\n";
        for (place, expected, says_where) in [((1, 4), (2, 4), true), ((2, 4), (1, 1), true), ((3, 1), (1, 1), true)] {
            let (flaw, origin) = located(flaw(place), text, ("a.yaml", source));
            assert_eq!((origin.line, origin.column), expected, "{place:?}");
            assert_eq!(flaw.what.contains("of the rendered text"), says_where, "{place:?}");
        }
        let (flaw, origin) = located(flaw((2, 3)), "a\nb\n", ("a.yaml", "a\nb\n"));
        assert_eq!((origin.line, origin.column, &*flaw.what), (2, 3, "wrong"));
    }

    #[test]
    fn a_profile_of_agama_names_its_product_and_other_json_is_let_alone() {
        let sound = r#"{"product": {"id": "SLES"}, "user": {}}"#;
        assert_eq!(found("agama.json", sound), []);
        let bare = "{\n  \"product\": {},\n  \"storage\": {}\n}";
        assert_eq!(found("agama.json", bare), [(Some((2, 3)), true)]);
        assert_eq!(found("other.json", r#"{"product": 7}"#), []);
    }

    #[test]
    fn a_file_is_read_as_what_it_is() {
        for (file, text) in [
            ("boot.cfg", "kernel=tboot.b00\nkernelopt=runweasel\n"),
            ("user-data", "#!/bin/sh\n: a: [\n"),
            ("user-data", "## template: jinja\n{% if\n"),
            ("late.sh", "if then\n"),
            ("a.ks", " \n"),
            ("a.yaml", ""),
        ] {
            assert_eq!(found(file, text), [], "{file}");
        }
        assert_eq!(found("user-data", "#cloud-config\na: [\n").len(), 1);
        assert_eq!(found("ks.cfg", "text\n%post\n"), [(Some((2, 1)), true)]);
    }
}
