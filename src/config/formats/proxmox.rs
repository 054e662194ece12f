//! TOML, and Proxmox's answer in it: the keys that its installer knows, which refuses any other, and those that it must
//! have (`proxmox-auto-install-assistant validate-answer`).

use super::{error, place_at, place_of};
use crate::config::rendered::Flaw;
use serde::{Deserialize, de::IgnoredAny};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Answer {
    global: Global,
    #[serde(rename = "network")]
    _network: NetworkAnswer,
    disk_setup: DiskSetup,
    #[serde(rename = "post-installation-webhook")]
    _post_installation_webhook: Option<Webhook>,
    #[serde(rename = "first-boot")]
    _first_boot: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "that it is there, and of its kind, is what is asked")]
struct Global {
    country: String,
    fqdn: IgnoredAny,
    keyboard: String,
    mailto: String,
    timezone: String,
    #[serde(alias = "root_password")]
    root_password: Option<String>,
    #[serde(alias = "root_password_hashed")]
    root_password_hashed: Option<String>,
    #[serde(alias = "reboot_on_error")]
    reboot_on_error: Option<bool>,
    #[serde(alias = "reboot_mode")]
    reboot_mode: Option<String>,
    #[serde(alias = "root_ssh_keys")]
    root_ssh_keys: Option<Vec<String>>,
    #[serde(alias = "subscription_key")]
    subscription_key: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "that it is of its kind is what is asked")]
struct NetworkAnswer {
    source: Option<String>,
    cidr: Option<String>,
    dns: Option<String>,
    gateway: Option<String>,
    filter: Option<BTreeMap<String, String>>,
    #[serde(alias = "interface_name_pinning")]
    interface_name_pinning: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "that it is of its kind is what is asked")]
struct DiskSetup {
    filesystem: String,
    #[serde(alias = "disk_list", default)]
    disk_list: Vec<String>,
    #[serde(default)]
    filter: BTreeMap<String, String>,
    #[serde(alias = "filter_match")]
    filter_match: Option<String>,
    zfs: Option<IgnoredAny>,
    lvm: Option<IgnoredAny>,
    btrfs: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(dead_code, reason = "that it is of its kind is what is asked")]
struct Webhook {
    url: String,
    #[serde(alias = "cert_fingerprint")]
    cert_fingerprint: Option<String>,
}

pub(super) fn flaws(text: &str) -> Vec<Flaw> {
    let place = |wrong: &toml::de::Error| wrong.span().map(|span| place_at(text, span.start));
    let table: toml::Table = match toml::from_str(text) {
        Ok(table) => table,
        Err(wrong) => {
            let what = ["the rendered text is not TOML: ", wrong.message()].concat();
            let help = "correct it; `{{ vars.x | tojson }}` writes a value as TOML wants it";
            return vec![error(place(&wrong), what, help)];
        }
    };
    // Another program's TOML is its own.
    if !table.contains_key("global") && !table.contains_key("disk-setup") {
        return Vec::new();
    }
    let answer: Answer = match toml::from_str(text) {
        Ok(answer) => answer,
        Err(wrong) => {
            let what = ["Proxmox's installer refuses the answer: ", wrong.message()].concat();
            let flaw = error(
                place(&wrong),
                what,
                "see the list of keys of Proxmox's automated installation",
            );
            // A newer installer may know it.
            let is_error = !wrong.message().starts_with("unknown field");
            return vec![Flaw { is_error, ..flaw }];
        }
    };
    let Global {
        root_password,
        root_password_hashed,
        ..
    } = &answer.global;
    let mut flaws = Vec::new();
    if root_password.is_some() == root_password_hashed.is_some() {
        let what = "the answer has neither `root-password` nor `root-password-hashed`, or both";
        flaws.push(error(place_of(text, "[global]"), what, "write one of the two"));
    }
    if answer.disk_setup.disk_list.is_empty() == answer.disk_setup.filter.is_empty() {
        let what = "the answer has neither `disk-list` nor `filter`, or both";
        flaws.push(error(place_of(text, "[disk-setup]"), what, "write one of the two"));
    }
    flaws
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_what_proxmoxs_installer_asks_and_nothing_else() {
        let sound = "[global]\ncountry = \"at\"\nfqdn.source = \"from-dhcp\"\nkeyboard = \"de\"\nmailto = \"a@b.c\"\n\
            timezone = \"UTC\"\nroot-password-hashed = \"x\"\n[network]\nsource = \"from-dhcp\"\n[disk-setup]\n\
            filesystem = \"zfs\"\nzfs.raid = \"raid1\"\ndisk-list = [\"sda\", \"sdb\"]\n";
        for (text, expected) in [
            (sound.to_owned(), None),
            (sound.replace("disk-list", "disk_list"), None),
            (sound.replace("disk-list", "disks"), Some((13, 1))),
            (sound.replace("[\"sda\", \"sdb\"]", "[]"), Some((10, 1))),
            (sound.replace("root-password-hashed = \"x\"\n", ""), Some((1, 1))),
            (sound.replace("\"de\"", "de"), Some((4, 12))),
            ("a = 1\n".to_owned(), None),
        ] {
            let found = flaws(&text);
            assert_eq!(found.first().and_then(|flaw| flaw.place), expected, "{text} {found:?}");
        }
    }
}
