//! What a machine's iPXE tells of it besides who it is.

use serde::{Deserialize, Serialize};

/// What is told of one power-on. It is the machine's own word: shown, and held against what is seen; nothing is decided
/// by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFacts {
    /// Whether Secure Boot is on: the UEFI variable, which iPXE reads since 2.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_boot: Option<bool>,
    /// Memory in MiB, of the first mapped range of SMBIOS (structure 19), where that may be all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// iPXE's name for the network card's driver and chip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chip: Option<Box<str>>,
}

impl MachineFacts {
    /// Whether nothing is told.
    pub fn is_empty(&self) -> bool {
        *self == MachineFacts::default()
    }

    /// Takes what is told later: what that leaves out stays.
    pub fn update(&mut self, later: &MachineFacts) {
        self.secure_boot = later.secure_boot.or(self.secure_boot);
        self.memory_mib = later.memory_mib.or(self.memory_mib);
        if later.chip.is_some() {
            self.chip.clone_from(&later.chip);
        }
    }

    /// The memory that the first 8 bytes behind an SMBIOS structure 19's header tell (DMTF DSP0134, 7.20): the first and
    /// the last KiB that are mapped, each 32 bits little-endian. All ones mean that they stand elsewhere. A range that
    /// ends where devices have their addresses, below 4 GiB, may have another one behind it, which iPXE does not tell:
    /// QEMU's machines have that, and many servers.
    pub fn memory_of_mapped_range(range: [u8; 8]) -> Option<u32> {
        let [a, b, c, d, e, f, g, h] = range;
        let (first, last) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let kib = u64::from(last).checked_sub(first.into())? + 1;
        let mib = u32::try_from(kib / 1024).ok()?;
        let may_go_on = first == 0 && (2048..4096).contains(&mib);
        (first != u32::MAX && mib > 0 && !may_go_on).then_some(mib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_lies_between_the_first_and_the_last_kib() {
        let range = |first: u32, last: u32| {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&first.to_le_bytes());
            bytes[4..].copy_from_slice(&last.to_le_bytes());
            MachineFacts::memory_of_mapped_range(bytes)
        };
        assert_eq!(range(0, 262_143), Some(256));
        assert_eq!(range(0, 0x3fff_ffff), Some(1024 * 1024));
        assert_eq!(range(1024, 2047), Some(1));
        // 33 GiB as one range, and 4 GiB; of 64 GiB what lies below the devices' addresses.
        assert_eq!(range(0, 0x20f_ffff), Some(33 * 1024));
        assert_eq!(range(0, 0x3f_ffff), Some(4096));
        for part in [0x1f_ffff, 0x2b_ffff, 0x2f_ffff, 0x37_ffff] {
            assert_eq!(range(0, part), None, "{part:x}");
        }
        for nothing in [range(u32::MAX, u32::MAX), range(0, 0), range(9, 3)] {
            assert_eq!(nothing, None);
        }
    }

    #[test]
    fn what_is_told_later_wins_and_what_it_leaves_out_stays() {
        let mut facts = MachineFacts {
            secure_boot: Some(true),
            memory_mib: Some(256),
            chip: None,
        };
        facts.update(&MachineFacts {
            memory_mib: Some(512),
            chip: Some("virtio-net".into()),
            ..MachineFacts::default()
        });
        assert_eq!(facts.secure_boot, Some(true));
        assert_eq!(
            (facts.memory_mib, facts.chip.as_deref()),
            (Some(512), Some("virtio-net"))
        );
        assert!(!facts.is_empty() && MachineFacts::default().is_empty());
        assert_eq!(serde_json::to_string(&MachineFacts::default()).unwrap(), "{}");
    }
}
