//! Detects mistyped MACs: an unlisted machine whose MAC differs from a listed one by one digit.

use crate::boot::{event::Near, snapshot::Hosts};
use crate::model::{MacAddr, Name};

/// The listed host that it nearly is.
pub(super) fn mac_typo_hint(hosts: &Hosts, mac: Option<MacAddr>) -> Near {
    Near(mac.and_then(|mac| one_digit_off(hosts, mac)).cloned())
}

/// The host one of whose MACs differs from `mac` in one digit. The half that the digit is not in is as it
/// was then, so an invented address, as in a flood, is dismissed by two looks into a table.
fn one_digit_off(hosts: &Hosts, mac: MacAddr) -> Option<&Name> {
    let [a, b, c, d, e, f] = mac.0;
    let halves = [([a, b, c], 3..6), ([d, e, f], 0..3)];
    let bytes = halves
        .into_iter()
        .filter(|(half, _)| hosts.has_mac_half(*half))
        .flat_map(|(_, bytes)| bytes);
    let others = bytes.flat_map(|byte| {
        // Either digit of a byte has fifteen other values.
        (1..16u8).flat_map(|change| [change, change << 4]).map(move |change| {
            let mut other = mac;
            other.0[byte] ^= change;
            other
        })
    });
    let mut hosts = others.filter_map(|other| hosts.by_mac(other));
    hosts.next().map(|host| &host.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{boot::snapshot::Host, fixtures};

    fn room(macs: &[&str]) -> Hosts {
        let host = |(number, mac): (usize, &&str)| Host {
            macs: vec![mac.parse().unwrap()],
            ..fixtures::host(&format!("r1u{number:02}"))
        };
        Hosts::new(macs.iter().enumerate().map(host).collect())
    }

    #[test]
    fn one_digit_anywhere_is_a_slip_and_two_are_another_machine() {
        let hosts = room(&["52:54:00:ab:cd:07", "a4:bf:01:00:00:09"]);
        let near = |mac: &str| one_digit_off(&hosts, mac.parse().unwrap()).map(Name::as_str);
        for mac_typo_hint in [
            "52:54:00:ab:cd:08",
            "52:54:00:ab:cd:f7",
            "52:54:00:bb:cd:07",
            "12:54:00:ab:cd:07",
        ] {
            assert_eq!(near(mac_typo_hint), Some("r1u00"), "{mac_typo_hint}");
        }
        assert_eq!(near("a4:bf:01:00:00:0a"), Some("r1u01"));
        for other in ["52:54:00:ab:cd:18", "53:54:00:ab:cd:08", "02:00:00:00:00:01"] {
            assert_eq!(near(other), None, "{other}");
        }
        assert_eq!(one_digit_off(&room(&[]), "52:54:00:ab:cd:07".parse().unwrap()), None);
    }
}
