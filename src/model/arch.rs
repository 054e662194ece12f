//! What kind of machine firmware says it runs on: DHCP option 93 as a table.
//!
//! A new architecture is one row of [`TABLE`].

use serde::Serialize;
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
    /// 64-bit POWER, in either byte order.
    Ppc64,
    /// IBM Z, "s390".
    S390x,
}

impl Cpu {
    /// Every instruction set with the names technicians use for it, the canonical one first.
    const NAMES: [(Cpu, &'static [&'static str]); 8] = [
        (Cpu::X86, &["x86", "i386", "ia32"]),
        (Cpu::X86_64, &["x86_64", "amd64", "x64"]),
        (Cpu::Arm32, &["arm32", "arm", "armhf"]),
        (Cpu::Arm64, &["arm64", "aarch64"]),
        (Cpu::Riscv64, &["riscv64"]),
        (Cpu::LoongArch64, &["loongarch64", "loong64"]),
        (Cpu::Ppc64, &["ppc64", "ppc64le", "ppc64el"]),
        (Cpu::S390x, &["s390x", "s390"]),
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

    /// Whether every machine of it that we know of has firmware that reads `pxelinux.cfg` itself.
    pub fn boots_by_pxelinux_alone(self) -> bool {
        let mut known = TABLE.iter().filter(|(_, _, cpu)| *cpu == self);
        known.all(|(_, firmware, _)| *firmware == Firmware::Pxelinux)
    }

    /// Whether some machines of it have such firmware.
    pub fn may_boot_by_pxelinux(self) -> bool {
        match self {
            Cpu::Arm32 | Cpu::Arm64 | Cpu::Riscv64 | Cpu::Ppc64 | Cpu::S390x => true,
            // U-Boot runs on boards with x86 too, but nobody racks those.
            Cpu::X86 | Cpu::X86_64 | Cpu::LoongArch64 => false,
        }
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
    /// Firmware that needs no loader, because it reads PXELINUX's configuration and boots the kernel in
    /// it: U-Boot, POWER's SLOF and petitboot, the boot ROM of s390.
    Pxelinux,
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
const TABLE: [(u16, Firmware, Cpu); 22] = [
    (0, Firmware::Bios, Cpu::X86_64),
    (6, Firmware::Uefi, Cpu::X86),
    (7, Firmware::Uefi, Cpu::X86_64),
    (9, Firmware::Uefi, Cpu::X86_64),
    (10, Firmware::Uefi, Cpu::Arm32),
    (11, Firmware::Uefi, Cpu::Arm64),
    (12, Firmware::Pxelinux, Cpu::Ppc64),
    (14, Firmware::Pxelinux, Cpu::Ppc64),
    (15, Firmware::UefiHttp, Cpu::X86),
    (16, Firmware::UefiHttp, Cpu::X86_64),
    (17, Firmware::UefiHttp, Cpu::X86_64),
    (18, Firmware::UefiHttp, Cpu::Arm32),
    (19, Firmware::UefiHttp, Cpu::Arm64),
    (20, Firmware::BiosHttp, Cpu::X86_64),
    (21, Firmware::Pxelinux, Cpu::Arm32),
    (22, Firmware::Pxelinux, Cpu::Arm64),
    (27, Firmware::Uefi, Cpu::Riscv64),
    (28, Firmware::UefiHttp, Cpu::Riscv64),
    (31, Firmware::Pxelinux, Cpu::S390x),
    (39, Firmware::Uefi, Cpu::LoongArch64),
    (40, Firmware::UefiHttp, Cpu::LoongArch64),
    (41, Firmware::RaspberryPi, Cpu::Arm64),
];

impl Arch {
    /// The architecture behind one value of option 93; `None` for a value that IANA has not registered.
    pub fn from_option_93(value: u16) -> Option<Arch> {
        TABLE
            .iter()
            .find(|(code, _, _)| *code == value)
            .map(|(_, firmware, cpu)| Arch {
                firmware: *firmware,
                cpu: *cpu,
            })
    }

    /// The value of option 93 that stands for it, the usual one where there are several.
    pub fn option_93(self) -> Option<u16> {
        let mut rows = TABLE.iter();
        rows.find(|(_, firmware, cpu)| (*firmware, *cpu) == (self.firmware, self.cpu))
            .map(|(code, _, _)| *code)
    }

    /// Every known architecture, for tables and tests.
    pub fn all() -> impl Iterator<Item = Arch> {
        TABLE.iter().map(|(_, firmware, cpu)| Arch {
            firmware: *firmware,
            cpu: *cpu,
        })
    }
}

impl Serialize for Arch {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
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
            Firmware::Pxelinux => "pxelinux",
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
    fn firmware_that_reads_pxelinux_cfg_is_known_by_its_number() {
        for (value, shown) in [
            (12, "pxelinux-ppc64"),
            (21, "pxelinux-arm32"),
            (22, "pxelinux-arm64"),
            (31, "pxelinux-s390x"),
        ] {
            assert_eq!(Arch::from_option_93(value).unwrap().to_string(), shown);
        }
        let alone: Vec<Cpu> = Arch::all()
            .map(|arch| arch.cpu)
            .filter(|cpu| cpu.boots_by_pxelinux_alone())
            .collect();
        assert_eq!(alone, [Cpu::Ppc64, Cpu::Ppc64, Cpu::S390x]);
    }

    #[test]
    fn a_cpu_is_found_by_every_common_spelling() {
        assert_eq!(Cpu::from_name("AMD64"), Some(Cpu::X86_64));
        assert_eq!(Cpu::from_name("aarch64"), Some(Cpu::Arm64));
        assert_eq!(Cpu::from_name("z80"), None);
    }
}
