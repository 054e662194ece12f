//! Which loader each architecture gets: a table, and the files found for it. What a loader's bytes say of it is
//! in `program`.

use crate::model::{Arch, Cpu, Dialect, Firmware};
use std::{collections::BTreeMap, path::PathBuf};

/// File names to look for, best first, by firmware and instruction set. `snponly` comes before
/// `ipxe` on UEFI: it speaks through the firmware's own driver of the NIC it was loaded from. Debian names
/// its builds `ipxe-amd64.efi` since 13, and its `ipxe.efi` is a link to that one.
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
        &["snponly.efi", "x86_64-efi/snponly.efi", "ipxe.efi", "ipxe-amd64.efi"],
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
/// Raspberry Pi's ROM fetches fixed names of its own, and firmware that reads `pxelinux.cfg` needs none. UEFI HTTP boot runs the same binaries as
/// UEFI PXE.
pub fn candidates(arch: Arch) -> &'static [&'static str] {
    let runs = program_arch(arch);
    CANDIDATES
        .iter()
        .find(|(firmware, cpu, _)| *firmware == runs.firmware && *cpu == runs.cpu)
        .map_or(&[], |(_, _, files)| *files)
}

/// The architecture whose programs run on `arch`, however they are fetched.
fn program_arch(arch: Arch) -> Arch {
    let firmware = match arch.firmware {
        Firmware::UefiHttp => Firmware::Uefi,
        Firmware::BiosHttp => Firmware::Bios,
        other @ (Firmware::Bios | Firmware::Uefi | Firmware::RaspberryPi | Firmware::Pxelinux) => other,
    };
    Arch { firmware, ..arch }
}

/// Where the bytes of a loader are: a regular file, with no symlink on the way from the folder to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLocation {
    /// The folder.
    pub root: PathBuf,
    /// The path beneath it.
    pub file: String,
}

/// The loaders found: every regular file beneath the folders of `paths.loaders`, and the links there that
/// are followed.
#[derive(Clone, Debug, Default)]
pub struct Loaders {
    files: BTreeMap<String, FileLocation>,
    /// Links that are not followed, and why.
    unfollowed: BTreeMap<String, String>,
    /// What runs those that the inventory names.
    named: BTreeMap<String, Arch>,
    /// What those load in the end whose bytes say more than their names.
    dialects: BTreeMap<String, Dialect>,
    /// iPXE that Secure Boot takes, the best for each architecture.
    signed: BTreeMap<Arch, String>,
}

impl Loaders {
    /// Adds a file by its path beneath `root`: also what firmware asks for. Where two folders have
    /// a file of one name, the one added first has it.
    pub fn add(&mut self, root: PathBuf, file: String) {
        self.add_link(file.clone(), FileLocation { root, file });
    }

    /// Adds a link by its path beneath its folder, and what it names.
    pub fn add_link(&mut self, link: String, target: FileLocation) {
        self.files.entry(link).or_insert(target);
    }

    /// Notes a link that is not followed, and why.
    pub fn add_unfollowed_link(&mut self, link: String, why: String) {
        self.unfollowed.entry(link).or_insert(why);
    }

    /// Where the bytes of `file` are, if it is a loader.
    pub fn location_of(&self, file: &str) -> Option<&FileLocation> {
        self.files.get(file)
    }

    /// Why `file` is no loader although there is a link of that name.
    pub fn why_unfollowed(&self, file: &str) -> Option<&str> {
        let why = self.unfollowed.get(file).map(String::as_str);
        why.filter(|_| !self.files.contains_key(file))
    }

    /// Notes which firmware runs `file`, which the inventory names.
    pub fn set_arch(&mut self, file: String, arch: Arch) {
        self.named.insert(file, arch);
    }

    /// Whether firmware of that kind can run `file`, as far as it was noted.
    pub fn runs_on(&self, file: &str, arch: Arch) -> bool {
        self.named.get(file) == Some(&program_arch(arch))
    }

    /// Notes which language the scripts of `file` are in, where its bytes tell.
    pub fn set_dialect(&mut self, file: String, dialect: Dialect) {
        self.dialects.insert(file, dialect);
    }

    /// The language that `file`, or what it loads in the end, reads its scripts in.
    pub fn dialect_of(&self, file: &str) -> Option<Dialect> {
        self.dialects.get(file).copied().or_else(|| Dialect::of_loader(file))
    }

    /// Notes an iPXE that Secure Boot takes; the first for an architecture stays.
    pub fn set_signed(&mut self, arch: Arch, file: String) {
        self.signed.entry(arch).or_insert(file);
    }

    /// The names of all files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The best loader for `arch` that was found. Nothing tells before a boot whether Secure Boot is on, and
    /// what it takes runs without it too.
    pub fn for_arch(&self, arch: Arch) -> Option<&str> {
        let signed = self.signed.get(&program_arch(arch)).map(String::as_str);
        let there = |file: &&&str| self.files.contains_key(**file);
        signed.or_else(|| candidates(arch).iter().find(there).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_that_takes_a_loader_has_a_candidate() {
        for arch in Arch::all() {
            let expected = !matches!(arch.firmware, Firmware::RaspberryPi | Firmware::Pxelinux);
            assert_eq!(!candidates(arch).is_empty(), expected, "{arch}");
        }
    }

    #[test]
    fn a_named_loader_runs_on_its_own_kind_of_firmware_however_it_is_fetched() {
        let arch = |value| Arch::from_option_93(value).unwrap();
        let mut loaders = Loaders::default();
        loaders.set_arch("shimx64.efi".into(), arch(7));
        loaders.set_arch("lpxelinux.0".into(), arch(0));
        for (value, shim, pxelinux) in [
            (7, true, false),
            (16, true, false),
            (0, false, true),
            (11, false, false),
        ] {
            assert_eq!(loaders.runs_on("shimx64.efi", arch(value)), shim, "{value}");
            assert_eq!(loaders.runs_on("lpxelinux.0", arch(value)), pxelinux, "{value}");
        }
        assert!(!loaders.runs_on("other.efi", arch(7)));
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
        assert_eq!(
            loaders.location_of("snponly.efi").unwrap().root,
            PathBuf::from("/first")
        );
    }

    #[test]
    fn an_ipxe_that_secure_boot_takes_is_the_default_for_its_own_architecture() {
        let arch = |value| Arch::from_option_93(value).unwrap();
        let mut loaders = Loaders::default();
        for file in ["snponly.efi", "snponly-arm64.efi", "snponly-shim.efi"] {
            loaders.add("/loaders".into(), file.into());
        }
        loaders.set_signed(arch(7), "snponly-shim.efi".into());
        for (value, loader) in [
            (7, "snponly-shim.efi"),
            (16, "snponly-shim.efi"),
            (11, "snponly-arm64.efi"),
        ] {
            assert_eq!(loaders.for_arch(arch(value)), Some(loader), "{value}");
        }
    }

    #[test]
    fn a_link_that_is_not_followed_is_no_loader_unless_another_folder_has_the_file() {
        let mut loaders = Loaders::default();
        loaders.add_unfollowed_link("ipxe.efi".into(), "it belongs to user 1000".into());
        assert_eq!(loaders.location_of("ipxe.efi"), None);
        assert_eq!(loaders.why_unfollowed("ipxe.efi"), Some("it belongs to user 1000"));
        loaders.add("/second".into(), "ipxe.efi".into());
        assert_eq!(loaders.why_unfollowed("ipxe.efi"), None);
    }
}
