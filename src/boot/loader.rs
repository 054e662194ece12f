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
    let runs = what_runs_on(arch);
    CANDIDATES
        .iter()
        .find(|(firmware, cpu, _)| *firmware == runs.firmware && *cpu == runs.cpu)
        .map_or(&[], |(_, _, files)| *files)
}

/// The architecture whose programs run on `arch`, however they are fetched.
fn what_runs_on(arch: Arch) -> Arch {
    let firmware = match arch.firmware {
        Firmware::UefiHttp => Firmware::Uefi,
        Firmware::BiosHttp => Firmware::Bios,
        other @ (Firmware::Bios | Firmware::Uefi | Firmware::RaspberryPi) => other,
    };
    Arch { firmware, ..arch }
}

/// The instruction set that an EFI program is for, from its beginning (PE format: the place of its header
/// stands at 60, and the machine behind the header's four letters); `None` where it is no EFI program, or
/// one for a machine we do not know.
pub fn cpu_of_efi(beginning: &[u8]) -> Option<Cpu> {
    let place = beginning.get(0x3c..0x40).and_then(|bytes| bytes.try_into().ok())?;
    let header = usize::try_from(u32::from_le_bytes(place)).ok()?;
    let machine = beginning
        .starts_with(b"MZ")
        .then(|| beginning.get(header..)?.strip_prefix(b"PE\0\0"))??;
    match u16::from_le_bytes([*machine.first()?, *machine.get(1)?]) {
        0x014c => Some(Cpu::X86),
        0x8664 => Some(Cpu::X86_64),
        0x01c2 => Some(Cpu::Arm32),
        0xaa64 => Some(Cpu::Arm64),
        0x5064 => Some(Cpu::Riscv64),
        0x6264 => Some(Cpu::LoongArch64),
        _ => None,
    }
}

/// The loaders found: every regular file beneath the folders of `paths.loaders`.
#[derive(Clone, Debug, Default)]
pub struct Loaders {
    files: BTreeMap<String, PathBuf>,
    /// What runs those that the inventory names.
    named: BTreeMap<String, Arch>,
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

    /// Notes which firmware runs `file`, which the inventory names.
    pub fn set_arch(&mut self, file: String, arch: Arch) {
        self.named.insert(file, arch);
    }

    /// Whether firmware of that kind can run `file`, as far as it was noted.
    pub fn runs_on(&self, file: &str, arch: Arch) -> bool {
        self.named.get(file) == Some(&what_runs_on(arch))
    }

    /// The names of all files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
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
    fn an_efi_program_says_which_machine_runs_it() {
        let program = |machine: u16| {
            let mut program = vec![0; 0x46];
            program[..2].copy_from_slice(b"MZ");
            program[0x3c] = 0x40;
            program[0x40..0x44].copy_from_slice(b"PE\0\0");
            program[0x44..].copy_from_slice(&machine.to_le_bytes());
            program
        };
        assert_eq!(cpu_of_efi(&program(0x8664)), Some(Cpu::X86_64));
        assert_eq!(cpu_of_efi(&program(0xaa64)), Some(Cpu::Arm64));
        assert_eq!(cpu_of_efi(&program(0x0ebc)), None);
        assert_eq!(cpu_of_efi(&program(0x8664)[..0x45]), None);
        assert_eq!(cpu_of_efi(b"\x7fELF"), None);
        assert_eq!(cpu_of_efi(b""), None);
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
        assert_eq!(loaders.root_of("snponly.efi"), Some(&PathBuf::from("/first")));
    }
}
