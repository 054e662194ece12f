//! Ubuntu's autoinstall: its version, and the keys that subiquity knows.

use super::{
    error,
    node::{child, keys, place},
    warning,
};
use crate::config::{problems::closest, rendered::Flaw};
use saphyr::MarkedYaml;

const KEYS: &[&str] = &[
    "active-directory",
    "apt",
    "codecs",
    "debconf-selections",
    "drivers",
    "early-commands",
    "error-commands",
    "identity",
    "interactive-sections",
    "kernel",
    "kernel-crash-dumps",
    "keyboard",
    "late-commands",
    "locale",
    "network",
    "oem",
    "packages",
    "proxy",
    "refresh-installer",
    "reporting",
    "shutdown",
    "snaps",
    "source",
    "ssh",
    "storage",
    "timezone",
    "ubuntu-pro",
    "updates",
    "user-data",
    "version",
    "zdevs",
];

pub(super) fn flaws(installer: &MarkedYaml<'_>) -> Vec<Flaw> {
    let Some(keys) = keys(installer) else {
        let what = "`autoinstall` holds no settings";
        return vec![error(
            Some(place(installer)),
            what,
            "write `version: 1` and the others beneath it",
        )];
    };
    let mut flaws = Vec::new();
    let version = child(installer, "version");
    if version.and_then(|version| version.data.as_integer()) != Some(1) {
        let at = place(version.unwrap_or(installer));
        flaws.push(error(
            Some(at),
            "the `version` of `autoinstall` is not 1",
            "write `version: 1`",
        ));
    }
    let has = |key: &str| child(installer, key).is_some();
    if !has("identity") && !has("user-data") && !has("interactive-sections") && !has("active-directory") {
        let what = "nobody could log in: there is neither `identity` nor `user-data`";
        flaws.push(error(
            Some(place(installer)),
            what,
            "write one of them; Ubuntu's installer stops without",
        ));
    }
    for (key, at) in keys.into_iter().filter(|(key, _)| !KEYS.contains(key)) {
        let meant = closest(key, KEYS.iter().copied());
        let meant = meant.map_or(["", "", ""], |meant| [": did you mean `", meant, "`?"]);
        let what = [
            "`autoinstall` has no key `",
            key,
            "` that is known here",
            &meant.concat(),
        ]
        .concat();
        flaws.push(warning(Some(at), what, "see Ubuntu's reference of autoinstall"));
    }
    flaws
}

#[cfg(test)]
mod tests {
    use crate::config::formats::yaml;

    #[test]
    fn an_autoinstall_has_its_version_somebody_who_logs_in_and_known_keys() {
        let sound = "autoinstall:\n  version: 1\n  identity: {}\n";
        for (text, expected) in [
            (sound.to_owned(), vec![]),
            (sound.replace("1", "2"), vec![((2, 12), true)]),
            (sound.replace("  version: 1\n", ""), vec![((2, 3), true)]),
            (
                sound.replace("identity", "idenity"),
                vec![((2, 3), true), ((3, 3), false)],
            ),
            ("autoinstall: yes\n".to_owned(), vec![((1, 14), true)]),
        ] {
            let flaws = yaml::flaws(&text).into_iter();
            let found: Vec<_> = flaws.filter_map(|flaw| Some((flaw.place?, flaw.is_error))).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
