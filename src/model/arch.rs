//! What kind of machine firmware says it runs on: DHCP option 93 as a table.
//!
//! A new architecture is one row of [`TABLE`].

use std::fmt;

/// The instruction set of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cpu {
    /// 32-bit x86.
    X86,
    /// 64-bit x86, "amd64".
    X86_64,
    /// 32-bit ARM.
    Arm32,
    /// 64-bit ARM, "aarch64".
    Arm64,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit LoongArch.
    LoongArch64,
}

impl Cpu {
    /// Every instruction set with the names technicians use for it, the canonical one first.
    const NAMES: [(Cpu, &'static [&'static str]); 6] = [
        (Cpu::X86, &["x86", "i386", "ia32"]),
        (Cpu::X86_64, &["x86_64", "amd64", "x64"]),
        (Cpu::Arm32, &["arm32", "arm", "armhf"]),
        (Cpu::Arm64, &["arm64", "aarch64"]),
        (Cpu::Riscv64, &["riscv64"]),
        (Cpu::LoongArch64, &["loongarch64", "loong64"]),
    ];

    /// The instruction set called `name`, in any common spelling.
    pub fn from_name(name: &str) -> Option<Cpu> {
        Self::NAMES
            .iter()
            .find(|(_, names)| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
            .map(|(cpu, _)| *cpu)
    }

    /// The canonical name, such as `x86_64`.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(cpu, _)| *cpu == self)
            .map_or("unknown", |(_, names)| names[0])
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The firmware that asks, and so the kind of loader it can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Firmware {
    /// PC BIOS with a PXE ROM: loads a raw 16-bit network bootstrap program over TFTP.
    Bios,
    /// UEFI PXE: loads an EFI binary over TFTP.
    Uefi,
    /// UEFI HTTP boot: loads an EFI binary from an HTTP URL.
    UefiHttp,
    /// BIOS-like HTTP boot (option 93 value 20).
    BiosHttp,
    /// The Raspberry Pi's boot ROM: TFTP with fixed file names.
    RaspberryPi,
}

/// A client system architecture: DHCP option 93 (RFC 4578 and the IANA registry behind it).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Arch {
    /// Who loads the first file, and how.
    pub firmware: Firmware,
    /// The instruction set that the file must be for.
    pub cpu: Cpu,
}

/// Option 93's values that we know. 7 and 9 are both UEFI x64: the RFC's erratum swapped EBC with
/// x64, and firmware of both schools is in the field.
const TABLE: [(u16, Firmware, Cpu); 17] = [
    (0, Firmware::Bios, Cpu::X86_64),
    (6, Firmware::Uefi, Cpu::X86),
    (7, Firmware::Uefi, Cpu::X86_64),
    (9, Firmware::Uefi, Cpu::X86_64),
    (10, Firmware::Uefi, Cpu::Arm32),
    (11, Firmware::Uefi, Cpu::Arm64),
    (15, Firmware::UefiHttp, Cpu::X86),
    (16, Firmware::UefiHttp, Cpu::X86_64),
    (17, Firmware::UefiHttp, Cpu::X86_64),
    (18, Firmware::UefiHttp, Cpu::Arm32),
    (19, Firmware::UefiHttp, Cpu::Arm64),
    (20, Firmware::BiosHttp, Cpu::X86_64),
    (27, Firmware::Uefi, Cpu::Riscv64),
    (28, Firmware::UefiHttp, Cpu::Riscv64),
    (39, Firmware::Uefi, Cpu::LoongArch64),
    (40, Firmware::UefiHttp, Cpu::LoongArch64),
    (41, Firmware::RaspberryPi, Cpu::Arm64),
];

impl Arch {
    /// The architecture behind one value of option 93; `None` for a value nobody registered.
    pub fn from_option_93(value: u16) -> Option<Arch> {
        TABLE
            .iter()
            .find(|(code, _, _)| *code == value)
            .map(|(_, firmware, cpu)| Arch {
                firmware: *firmware,
                cpu: *cpu,
            })
    }

    /// Every known architecture, for tables and tests.
    pub fn all() -> impl Iterator<Item = Arch> {
        TABLE.iter().map(|(_, firmware, cpu)| Arch {
            firmware: *firmware,
            cpu: *cpu,
        })
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let firmware = match self.firmware {
            Firmware::Bios => "bios",
            Firmware::Uefi => "uefi",
            Firmware::UefiHttp => "uefi-http",
            Firmware::BiosHttp => "bios-http",
            Firmware::RaspberryPi => "raspberry-pi",
        };
        write!(f, "{firmware}-{}", self.cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_and_nine_are_both_uefi_x64() {
        assert_eq!(Arch::from_option_93(7), Arch::from_option_93(9));
        assert_eq!(Arch::from_option_93(7).unwrap().to_string(), "uefi-x86_64");
    }

    #[test]
    fn an_unregistered_value_is_not_guessed() {
        assert_eq!(Arch::from_option_93(4711), None);
    }

    #[test]
    fn a_cpu_is_found_by_every_common_spelling() {
        assert_eq!(Cpu::from_name("AMD64"), Some(Cpu::X86_64));
        assert_eq!(Cpu::from_name("aarch64"), Some(Cpu::Arm64));
        assert_eq!(Cpu::from_name("z80"), None);
    }
}
