//! Which loader each architecture gets: a table, and the files found for it.

use crate::model::{Arch, Cpu, Firmware};
use std::{collections::BTreeMap, path::PathBuf};

/// File names to look for, best first, by firmware and instruction set. `snponly` comes before
/// `ipxe` on UEFI: it speaks through the firmware's own driver of the NIC it was loaded from.
const CANDIDATES: &[(Firmware, Cpu, &[&str])] = &[
    (Firmware::Bios, Cpu::X86_64, &["undionly.kpxe", "ipxe.pxe"]),
    (
        Firmware::Uefi,
        Cpu::X86,
        &["snponly-i386.efi", "i386-efi/snponly.efi", "ipxe-i386.efi"],
    ),
    (
        Firmware::Uefi,
        Cpu::X86_64,
        &["snponly.efi", "x86_64-efi/snponly.efi", "ipxe.efi"],
    ),
    (
        Firmware::Uefi,
        Cpu::Arm32,
        &["snponly-arm32.efi", "arm32-efi/snponly.efi", "ipxe-arm32.efi"],
    ),
    (
        Firmware::Uefi,
        Cpu::Arm64,
        &["snponly-arm64.efi", "arm64-efi/snponly.efi", "ipxe-arm64.efi"],
    ),
    (
        Firmware::Uefi,
        Cpu::Riscv64,
        &["snponly-riscv64.efi", "riscv64-efi/snponly.efi", "ipxe-riscv64.efi"],
    ),
    (
        Firmware::Uefi,
        Cpu::LoongArch64,
        &["snponly-loong64.efi", "loong64-efi/snponly.efi", "ipxe-loong64.efi"],
    ),
];

/// The files that would serve `arch`, best first. Empty where no loader of ours can: the
/// Raspberry Pi's ROM fetches fixed names of its own. UEFI HTTP boot runs the same binaries as
/// UEFI PXE.
pub fn candidates(arch: Arch) -> &'static [&'static str] {
    let firmware = match arch.firmware {
        Firmware::UefiHttp => Firmware::Uefi,
        Firmware::BiosHttp => Firmware::Bios,
        other @ (Firmware::Bios | Firmware::Uefi | Firmware::RaspberryPi) => other,
    };
    CANDIDATES
        .iter()
        .find(|(listed, cpu, _)| *listed == firmware && *cpu == arch.cpu)
        .map_or(&[], |(_, _, files)| *files)
}

/// The loaders found: every regular file beneath the folders of `paths.loaders`.
#[derive(Clone, Debug, Default)]
pub struct Loaders {
    files: BTreeMap<String, PathBuf>,
}

impl Loaders {
    /// Adds a file by its path beneath `root`: also what firmware asks for. Where two folders have
    /// a file of one name, the one added first has it.
    pub fn add(&mut self, root: PathBuf, file: String) {
        self.files.entry(file).or_insert(root);
    }

    /// The folder that `file` lies beneath, if it is a loader.
    pub fn root_of(&self, file: &str) -> Option<&PathBuf> {
        self.files.get(file)
    }

    /// The best loader for `arch` that was found.
    pub fn for_arch(&self, arch: Arch) -> Option<&'static str> {
        candidates(arch)
            .iter()
            .find(|file| self.files.contains_key(**file))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_but_the_pi_has_a_candidate() {
        for arch in Arch::all() {
            let expected = arch.firmware != Firmware::RaspberryPi;
            assert_eq!(!candidates(arch).is_empty(), expected, "{arch}");
        }
    }

    #[test]
    fn the_best_loader_that_was_found_is_taken_and_the_first_folder_wins() {
        let arch = Arch::from_option_93(7).unwrap();
        let mut loaders = Loaders::default();
        loaders.add("/first".into(), "ipxe.efi".into());
        assert_eq!(loaders.for_arch(arch), Some("ipxe.efi"));
        loaders.add("/first".into(), "snponly.efi".into());
        loaders.add("/second".into(), "snponly.efi".into());
        assert_eq!(loaders.for_arch(arch), Some("snponly.efi"));
        assert_eq!(loaders.root_of("snponly.efi"), Some(&PathBuf::from("/first")));
    }
}
