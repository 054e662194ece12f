//! What the bytes of an EFI program say of it: for which machine it is, whether it is signed, and what a shim
//! loads.
//!
//! PE format: the place of the header stands at 60; behind its four letters are the machine, 18 bytes more,
//! and the optional header, whose directories say where the signatures are.

use crate::model::{Cpu, Dialect};

/// The optional header, behind the header's four letters.
const OPTIONAL_HEADER: usize = 20;
/// The directories in it, by its first two bytes: of a 32-bit program and of a 64-bit one.
const DIRECTORIES: [(u16, usize); 2] = [(0x10b, 96), (0x20b, 112)];
/// The place of the signatures in the file, in the fifth directory, and their length.
const SIGNATURES_PLACE: usize = 4 * 8;
const SIGNATURES_LENGTH: usize = 4 * 8 + 4;
/// The header of a section.
const SECTION_HEADER: usize = 40;
/// The line of iPXE's shim in the list of parts that Secure Boot may revoke (SBAT): each vendor's shim has
/// one of its own.
const IPXE_SHIM: &[u8] = b"shim.ipxe,";
/// The name of the program that any other shim loads, in its own letters of two bytes: `\grubx64.efi`.
const LOADS_GRUB: &[u8] = b"\\\0g\0r\0u\0b\0";

/// What follows the header's four letters.
fn header(program: &[u8]) -> Option<&[u8]> {
    let place = program.get(0x3c..0x40)?.try_into().ok()?;
    let place = usize::try_from(u32::from_le_bytes(place)).ok()?;
    let header = program.get(place..)?.strip_prefix(b"PE\0\0")?;
    program.starts_with(b"MZ").then_some(header)
}

fn two_bytes(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn four_bytes(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?)).ok()
}

/// The instruction set that an EFI program is for, from its beginning; `None` where it is no EFI program, or
/// one for a machine we do not know.
pub fn cpu_of_efi(beginning: &[u8]) -> Option<Cpu> {
    match two_bytes(header(beginning)?, 0)? {
        0x014c => Some(Cpu::X86),
        0x8664 => Some(Cpu::X86_64),
        0x01c2 => Some(Cpu::Arm32),
        0xaa64 => Some(Cpu::Arm64),
        0x5064 => Some(Cpu::Riscv64),
        0x6264 => Some(Cpu::LoongArch64),
        _ => None,
    }
}

/// Whether an EFI program carries a signature, from its beginning; by whom is for the firmware to say.
pub fn is_signed(beginning: &[u8]) -> bool {
    let length = || {
        let header = header(beginning)?.get(OPTIONAL_HEADER..)?;
        let magic = two_bytes(header, 0)?;
        let (_, directories) = DIRECTORIES.into_iter().find(|(known, _)| *known == magic)?;
        let length = header.get(directories + SIGNATURES_LENGTH..)?.get(..4)?;
        Some(length != [0; 4])
    };
    length().unwrap_or(false)
}

/// The signatures of an EFI program, from all of it: each a `WIN_CERTIFICATE` (PE format, attribute certificate table).
/// Empty where it is not signed or no EFI program, or where it is cut.
pub fn signatures(program: &[u8]) -> &[u8] {
    let directory = || {
        let optional = header(program)?.get(OPTIONAL_HEADER..)?;
        let magic = two_bytes(optional, 0)?;
        let (_, directories) = DIRECTORIES.into_iter().find(|(known, _)| *known == magic)?;
        let place = four_bytes(optional, directories + SIGNATURES_PLACE)?;
        let length = four_bytes(optional, directories + SIGNATURES_LENGTH)?;
        program.get(place..place.checked_add(length)?)
    };
    directory().unwrap_or_default()
}

/// The bytes of a section, by its name of at most eight letters, from the whole program.
pub fn section<'p>(program: &'p [u8], name: &[u8]) -> Option<&'p [u8]> {
    let header = header(program)?;
    let (count, optional) = (two_bytes(header, 2)?, two_bytes(header, 16)?);
    let table = header.get(OPTIONAL_HEADER + usize::from(optional)..)?;
    let mut sections = table.chunks_exact(SECTION_HEADER).take(usize::from(count));
    let found = sections.find(|section| {
        let own = section.get(..8).unwrap_or_default();
        own.strip_prefix(name)
            .is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
    })?;
    // What is in the file may be more than what is in memory: the section is filled up.
    let length = four_bytes(found, 8)?.min(four_bytes(found, 16)?);
    let place = four_bytes(found, 20)?;
    program.get(place..place.checked_add(length)?)
}

/// The language that the loader behind a shim reads, from the whole program; `None` where it is no shim that
/// we know.
pub fn dialect_of_shim(program: &[u8]) -> Option<Dialect> {
    let has = |words: &[u8]| program.windows(words.len()).any(|part| part == words);
    if has(IPXE_SHIM) {
        Some(Dialect::Ipxe)
    } else if has(LOADS_GRUB) {
        Some(Dialect::Grub)
    } else {
        None
    }
}

/// What iPXE's shim loads from beside itself, by its own file's name: `snponly-shimx64.efi` and
/// `snponly-shim.efi` load `snponly.efi`. One that has no name but shim loads `ipxe.efi`.
pub fn behind_ipxe_shim(file: &str) -> Option<String> {
    let (folder, name) = match file.rfind('/') {
        Some(slash) => file.split_at(slash + 1),
        None => ("", file),
    };
    let (before, _) = name.split_once("shim")?;
    let loaded = match before.trim_end_matches('-') {
        "" => "ipxe",
        before => before,
    };
    Some(format!("{folder}{loaded}.efi"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a 64-bit program for that machine, with signatures of that many bytes.
    fn program(machine: u16, signatures: u32) -> Vec<u8> {
        let mut program = vec![0; 0x100];
        program[..2].copy_from_slice(b"MZ");
        program[0x3c] = 0x40;
        program[0x40..0x44].copy_from_slice(b"PE\0\0");
        program[0x44..0x46].copy_from_slice(&machine.to_le_bytes());
        program[0x58..0x5a].copy_from_slice(&0x20b_u16.to_le_bytes());
        program[0xec..0xf0].copy_from_slice(&signatures.to_le_bytes());
        program
    }

    #[test]
    fn an_efi_program_says_which_machine_runs_it() {
        assert_eq!(cpu_of_efi(&program(0x8664, 0)), Some(Cpu::X86_64));
        assert_eq!(cpu_of_efi(&program(0xaa64, 0)), Some(Cpu::Arm64));
        assert_eq!(cpu_of_efi(&program(0x0ebc, 0)), None);
        assert_eq!(cpu_of_efi(&program(0x8664, 0)[..0x45]), None);
        assert_eq!(cpu_of_efi(b"\x7fELF"), None);
        assert_eq!(cpu_of_efi(b""), None);
    }

    #[test]
    fn a_signed_program_is_told_from_one_that_is_not() {
        assert!(is_signed(&program(0x8664, 9000)));
        assert!(!is_signed(&program(0x8664, 0)));
        assert!(!is_signed(&program(0x8664, 9000)[..0xee]));
        assert!(!is_signed(b"MZ"));
    }

    #[test]
    fn a_shim_says_what_it_loads() {
        let with = |words: &[u8]| [&program(0x8664, 1), words, b"rest"].concat();
        let grub = b"\\\0\\\0g\0r\0u\0b\0x\x006\x004\0.\0e\0f\0i\0".as_slice();
        assert_eq!(dialect_of_shim(&with(grub)), Some(Dialect::Grub));
        let ipxe = [grub, b"shim,4,UEFI shim\nshim.ipxe,1,iPXE,shim,1,https"].concat();
        assert_eq!(dialect_of_shim(&with(&ipxe)), Some(Dialect::Ipxe));
        assert_eq!(dialect_of_shim(&with(b"")), None);
    }

    #[test]
    fn ipxes_shim_loads_what_its_name_says() {
        for (shim, loads) in [
            ("snponly-shim.efi", "snponly.efi"),
            ("x86_64-sb/ipxe-shimx64.efi", "x86_64-sb/ipxe.efi"),
            ("a/shimaa64.efi", "a/ipxe.efi"),
        ] {
            assert_eq!(behind_ipxe_shim(shim).as_deref(), Some(loads), "{shim}");
        }
        assert_eq!(behind_ipxe_shim("snponly.efi"), None);
    }
}
