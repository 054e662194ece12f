//! Ignition's configuration: its version, the sections that a version has, and what every entry must say.

use super::{error, place_of, warning};
use crate::config::rendered::Flaw;
use serde_json::{Map, Value};

/// The newest version that is no experiment: 3.6.
const NEWEST: u32 = 6;
/// What stands beside `ignition`, with the first version 3.x that has it.
const SECTIONS: [(&str, u32); 4] = [("passwd", 0), ("storage", 0), ("systemd", 0), ("kernelArguments", 3)];
/// The lists in them, what each entry must say, and the first version that has them.
const LISTS: [(&str, &str, &[&str], u32); 9] = [
    ("passwd", "users", &["name"], 0),
    ("passwd", "groups", &["name"], 0),
    ("storage", "disks", &["device"], 0),
    ("storage", "raid", &["name"], 0),
    ("storage", "filesystems", &["device"], 0),
    ("storage", "files", &["path"], 0),
    ("storage", "directories", &["path"], 0),
    ("storage", "links", &["path"], 0),
    ("systemd", "units", &["name"], 0),
];
const LUKS: u32 = 2;

pub(super) fn flaws(text: &str) -> Vec<Flaw> {
    // What is no JSON was found before.
    let Ok(Value::Object(config)) = serde_json::from_str(text) else {
        return match serde_json::from_str::<Value>(text) {
            Ok(_) => vec![error(
                place_of(text, ""),
                "the configuration is no JSON object",
                "begin it with `{`",
            )],
            Err(_) => Vec::new(),
        };
    };
    let minor = match version(text, &config) {
        Ok(minor) => minor,
        Err(flaw) => return vec![flaw],
    };
    let mut flaws = Vec::new();
    for (key, value) in &config {
        let known = SECTIONS.iter().find(|(section, _)| section == key);
        match known {
            _ if key == "ignition" => {}
            None => flaws.push(unknown(text, key)),
            Some((_, first)) if *first > minor => flaws.push(too_new(text, key)),
            Some(_) if !value.is_object() => {
                let what = ["`", key, "` is no JSON object"].concat();
                flaws.push(error(
                    place_of(text, &quoted(key)),
                    what,
                    "see the specification of the version it says",
                ));
            }
            Some(_) => {}
        }
    }
    let has_luks = config.get("storage").and_then(|storage| storage.get("luks")).is_some();
    if has_luks && minor < LUKS {
        flaws.push(too_new(text, "luks"));
    }
    flaws.extend(LISTS.iter().flat_map(|list| entries(text, &config, list)));
    flaws
}

/// The minor version of version 3, which every reader of today takes.
fn version(text: &str, config: &Map<String, Value>) -> Result<u32, Flaw> {
    let place = place_of(text, "\"version\"")
        .or_else(|| place_of(text, "\"ignition\""))
        .or(Some((1, 1)));
    let help = "write `\"ignition\": { \"version\": \"3.3.0\" }`: 3.0.0 to 3.6.0";
    let said = config.get("ignition").and_then(|ignition| ignition.get("version"));
    let Some(Value::String(said)) = said else {
        return Err(error(
            place,
            "the configuration does not say its version, and Ignition refuses it",
            help,
        ));
    };
    let numbers = said.split('.').map(|number| number.parse::<u32>());
    match numbers.collect::<Result<Vec<_>, _>>().as_deref() {
        Ok([3, minor @ 0..=NEWEST, 0]) => Ok(*minor),
        Ok([2, _, 0]) => Err(warning(
            place,
            "version 2 is read by Flatcar alone, and no more by Fedora CoreOS",
            help,
        )),
        Ok([3, _, 0]) => Err(warning(
            place,
            ["version ", said, " is newer than what is known here"].concat(),
            help,
        )),
        _ if said.starts_with("3.") && said.ends_with("-experimental") => Err(warning(
            place,
            [
                "version ",
                said,
                " is read by the Ignition that it was written for alone",
            ]
            .concat(),
            help,
        )),
        _ => Err(error(
            place,
            ["there is no version `", said, "` of Ignition's configuration"].concat(),
            help,
        )),
    }
}

fn entries(
    text: &str,
    config: &Map<String, Value>,
    (section, list, keys, _): &(&'static str, &'static str, &[&'static str], u32),
) -> Vec<Flaw> {
    let Some(found) = config.get(*section).and_then(|section| section.get(*list)) else {
        return Vec::new();
    };
    let place = place_of(text, &quoted(list));
    let Value::Array(entries) = found else {
        let what = ["`", section, ".", list, "` is no list"].concat();
        return vec![error(place, what, "put its entries between `[` and `]`")];
    };
    let mut flaws = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let named = [section, ".", list, "[", number.to_string().as_str(), "]"].concat();
        for key in *keys {
            match entry.get(key) {
                Some(Value::String(value)) if *key != "path" || value.starts_with('/') => {}
                Some(Value::String(value)) => {
                    let what = ["the path `", value, "` of `", &named, "` does not begin with `/`"].concat();
                    flaws.push(error(place_of(text, value).or(place), what, "write the whole path"));
                }
                _ => flaws.push(error(
                    place,
                    ["`", &named, "` has no `", key, "`"].concat(),
                    "every entry has one",
                )),
            }
        }
    }
    flaws
}

fn unknown(text: &str, key: &str) -> Flaw {
    let what = ["Ignition knows no `", key, "`, and passes over it"].concat();
    warning(
        place_of(text, &quoted(key)),
        what,
        "it has ignition, passwd, storage, systemd and kernelArguments",
    )
}

fn too_new(text: &str, key: &str) -> Flaw {
    let what = ["the version that the configuration says has no `", key, "`"].concat();
    error(
        place_of(text, &quoted(key)),
        what,
        "say a newer version: 3.2.0 has luks, and 3.3.0 kernelArguments",
    )
}

fn quoted(key: &str) -> String {
    ["\"", key, "\""].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_its_version_and_its_entries_what_they_must() {
        let of = |rest: &str| ["{\n\"ignition\": {\"version\": \"3.2.0\"}", rest, "}"].concat();
        for (text, expected) in [
            (of(""), vec![]),
            (
                of(",\n\"storage\": {\"files\": [{\"path\": \"/etc/a\"}], \"luks\": []}"),
                vec![],
            ),
            (of(",\n\"storage\": {\n\"files\": [{}]}"), vec![(4, true)]),
            (
                of(",\n\"storage\": {\"files\": [\n{\"path\": \"etc/a\"}]}"),
                vec![(4, true)],
            ),
            (of(",\n\"systemd\": {\"units\": {}}"), vec![(3, true)]),
            (of(",\n\"kernelArguments\": {}"), vec![(3, true)]),
            (of(",\n\"networkd\": {}"), vec![(3, false)]),
            ("{}".to_owned(), vec![(1, true)]),
            ("[]".to_owned(), vec![(1, true)]),
            ("{".to_owned(), vec![]),
            (
                "{\"ignition\": {\n\"version\": \"2.3.0\"}}".to_owned(),
                vec![(2, false)],
            ),
            (
                "{\"ignition\": {\"version\": \"3.7.0-experimental\"}}".to_owned(),
                vec![(1, false)],
            ),
            ("{\"ignition\": {\"version\": \"3.2\"}}".to_owned(), vec![(1, true)]),
            ("{\"ignition\": {\"version\": \"4.0.0\"}}".to_owned(), vec![(1, true)]),
        ] {
            let found: Vec<_> = flaws(&text)
                .iter()
                .filter_map(|flaw| Some((flaw.place?.0, flaw.is_error)))
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
