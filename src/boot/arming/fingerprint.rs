//! Which machine a host of the inventory is: by everything that it is listed by, and by its name.

use crate::boot::snapshot::Host;
use crate::model::{HardwareAddr, Uuid};
use serde::{Deserialize, Serialize};

/// FNV-1a, 64 bits: two of one inventory are never taken for each other but by a chance of one in 2^64.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// One thing that a host is known by: an interface, a UUID, a serial number, a switch port, or its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostKey(pub u64);

/// All that a host is listed by beside its name, in whatever order. Whoever arms a host arms this machine: where the
/// inventory lists another by the name, or one more or one less, nothing is armed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

impl HostKey {
    fn of(kind: u8, words: impl IntoIterator<Item = u8>) -> HostKey {
        let bytes = std::iter::once(kind).chain(words);
        HostKey(bytes.fold(FNV_OFFSET, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
        }))
    }

    fn of_hardware(hardware: HardwareAddr) -> HostKey {
        let bytes = hardware.as_bytes();
        let typed = std::iter::once(hardware.htype()).chain((0..bytes.len()).map(|place| bytes[place]));
        HostKey::of(b'h', typed)
    }

    /// Firmware says it with its fields in either order.
    fn of_uuid(uuid: Uuid) -> HostKey {
        HostKey::of(b'u', uuid.option_97().min(uuid.swapped().option_97()))
    }

    /// Whatever its case: inventories are edited.
    fn of_text(kind: u8, text: &str) -> HostKey {
        HostKey::of(kind, text.bytes().map(|byte| byte.to_ascii_lowercase()))
    }
}

/// What a host is listed by beside its name. Nothing is allocated: the gate asks for it.
fn of_machine(host: &Host) -> impl Iterator<Item = HostKey> {
    let macs = host.macs.iter().map(|mac| HostKey::of_hardware((*mac).into()));
    let links = host.links.iter().map(|link| HostKey::of_hardware(*link));
    let uuid = host.uuid.map(HostKey::of_uuid);
    let serial = host.serial.as_deref().map(|serial| HostKey::of_text(b's', serial));
    let port = host.port.as_deref().map(|port| HostKey::of_text(b'p', port));
    macs.chain(links).chain(uuid).chain(serial).chain(port)
}

/// Everything that a host is known by.
pub(super) fn keys(host: &Host) -> impl Iterator<Item = HostKey> {
    of_machine(host).chain([HostKey::of_text(b'n', host.name.as_str())])
}

impl Fingerprint {
    /// That of a host as it is listed.
    pub fn of(host: &Host) -> Fingerprint {
        Fingerprint(of_machine(host).fold(0, |sum, key| sum.wrapping_add(key.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::host;

    fn listed(macs: &[&str]) -> Host {
        Host {
            macs: macs.iter().map(|mac| mac.parse().unwrap()).collect(),
            ..host("r1u07")
        }
    }

    #[test]
    fn a_machine_is_the_same_in_whatever_order_and_case_it_is_listed() {
        let (one, two) = ("02:00:00:00:00:01", "02:00:00:00:00:02");
        assert_eq!(
            Fingerprint::of(&listed(&[one, two])),
            Fingerprint::of(&listed(&[two, one]))
        );
        let serial = |serial: &str| Host {
            serial: Some(serial.to_owned()),
            ..host("r1u07")
        };
        assert_eq!(Fingerprint::of(&serial("SN-7")), Fingerprint::of(&serial("sn-7")));
    }

    #[test]
    fn a_machine_is_another_by_anything_that_it_is_listed_by_and_not_by_its_name() {
        let uuid = "b5a1c6b2-1111-2222-3333-445566778899";
        let plain = listed(&["02:00:00:00:00:01"]);
        let renamed = Host {
            name: "r1u08".parse().unwrap(),
            ..plain.clone()
        };
        assert_eq!(Fingerprint::of(&renamed), Fingerprint::of(&plain));
        let others = [
            listed(&["02:00:00:00:00:02"]),
            listed(&["02:00:00:00:00:01", "02:00:00:00:00:02"]),
            listed(&[]),
            Host {
                uuid: Some(uuid.parse().unwrap()),
                ..plain.clone()
            },
            Host {
                serial: Some("02:00:00:00:00:01".to_owned()),
                ..plain.clone()
            },
            Host {
                port: Some("sw1/Gi1/7".to_owned()),
                ..plain.clone()
            },
        ];
        for other in others {
            assert_ne!(Fingerprint::of(&other), Fingerprint::of(&plain), "{other:?}");
        }
    }
}
