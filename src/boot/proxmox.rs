//! What Proxmox's installer is told and tells: the URL of its answer by DHCP, its machine's facts as JSON, and in which
//! language it takes the answer. Who gets one is `resource`'s.

use super::{paths, render::Templates, snapshot::BootSettings};
use crate::model::MacAddr;
use serde::Deserialize;

/// The option by which it is told where its answer is: `proxmox-auto-installer-manifest-url`, a text.
pub const ANSWER_OPTION: u8 = 250;
/// How the files of its answers end.
const TOML: &str = ".toml";

/// As much of what the installer says as tells machines apart.
#[derive(Debug, Default, Deserialize)]
struct Facts<'b> {
    #[serde(borrow, default, alias = "network-interfaces")]
    network_interfaces: Vec<FactsInterface<'b>>,
}

#[derive(Debug, Deserialize)]
struct FactsInterface<'b> {
    mac: &'b str,
}

/// The one file of its answer, where a machine has one of its kind: a single file in TOML, as no other installer has.
pub fn answer_file<'s>(templates: &'s Templates, settings: Option<&BootSettings>) -> Option<&'s str> {
    let answer = settings?.answer.as_ref()?;
    let file = templates.single_file(answer.value.as_str())?;
    is_toml(file).then_some(file)
}

/// The URL of that; `base` is `http_base`.
pub fn answer_url(base: &str, machine: &str, file: &str) -> String {
    [&paths::answer_base(base, machine), file].concat()
}

/// Whether a file of an answer may be sent as JSON.
pub fn is_toml(file: &str) -> bool {
    file.ends_with(TOML)
}

/// The MAC addresses of the machine whose facts these are; none where they can't be read.
pub fn macs(facts: &[u8]) -> Vec<MacAddr> {
    let facts: Facts<'_> = serde_json::from_slice(facts).unwrap_or_default();
    let macs = facts.network_interfaces.iter();
    macs.filter_map(|interface| interface.mac.parse().ok()).collect()
}

/// Whether `Accept` names JSON, and TOML not before it.
pub fn prefers_json(accept: &str) -> bool {
    let weight = |wanted: &str| {
        let mut ranges = accept.split(',').map(|range| range.split(';').map(str::trim));
        ranges.find_map(|mut range| {
            let is_it = range.next()?.eq_ignore_ascii_case(wanted);
            let weight = range.find_map(|parameter| parameter.strip_prefix("q=")).unwrap_or("1");
            is_it.then(|| weight.parse::<f32>().unwrap_or(0.0))
        })
    };
    let json = weight("application/json").unwrap_or(0.0);
    json > 0.0 && json >= weight("application/toml").unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_sent_to_whom_asks_for_it_and_toml_to_all_others() {
        for (accept, is_json) in [
            // As the installer of 9.2.7 asks.
            ("application/json, application/toml;q=0.5", true),
            ("application/json", true),
            ("application/toml, application/json", true),
            ("application/toml, application/json;q=0.5", false),
            ("application/json;q=0", false),
            ("application/toml", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(prefers_json(accept), is_json, "{accept}");
        }
    }

    #[test]
    fn facts_have_the_interfaces_and_what_is_none_has_none() {
        // Field by field as the installer of 9.2.7 serialises them.
        let facts = br#"{"$schema":{"version":"1.0"},"product":{"fullname":"Proxmox VE","product":"pve","enable_btrfs":true},
            "iso":{"release":"9.2","isorelease":"1"},
            "network_interfaces":[{"link":"enp1s0","mac":"52:54:00:00:00:07"},{"link":"enp2s0","mac":"52:54:00:00:01:07"}],
            "dmi":{"baseboard":{},"chassis":{},"system":{"serial":"SN-7","uuid":"11223344-5566-7788-99aa-bbccddeeff00"}}}"#;
        let shown: Vec<String> = macs(facts).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["52:54:00:00:00:07", "52:54:00:00:01:07"]);
        for none in ["", "{}", "[]", "{\"network_interfaces\": 7}"] {
            assert!(macs(none.as_bytes()).is_empty(), "{none}");
        }
    }
}
