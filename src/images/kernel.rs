//! Whether a file is a kernel, and for which instruction set: from its header.
//!
//! Sources: Linux `Documentation/arch/x86/boot.rst` (bzImage), `arch/arm64/booting.rst` and
//! `arch/riscv/boot-image-header.rst` (Image), and the PE format, which is what UEFI runs.

use super::{content::ArtifactContent, error::ImageError};
use crate::model::{Cpu, text};
use std::io;

/// Bytes of a kernel that are enough to judge it.
const HEAD_BYTES: u64 = 4096;

/// A kernel by its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The instruction set, where the header says.
    pub cpu: Option<Cpu>,
    /// Packed with gzip, as some arm64 kernels are: only newer iPXE unpacks it.
    pub is_gzip: bool,
}

/// Whether machines of an instruction set may run what is for another.
pub(super) fn runs(found: Cpu, wanted: Cpu) -> bool {
    // A 32-bit kernel of old does not say what it is, and x86_64 machines run either.
    let x86 = |cpu| matches!(cpu, Cpu::X86 | Cpu::X86_64);
    found == wanted || (x86(found) && x86(wanted))
}

/// The instruction set of an image: the one that was declared, or else that of the kernel's header.
///
/// # Errors
/// When the header has another one than was declared.
pub fn cpu_of(
    kernel: &ArtifactContent,
    header: Option<Kernel>,
    declared: Option<Cpu>,
) -> Result<Option<Cpu>, ImageError> {
    let found = header.and_then(|header| header.cpu);
    match (declared, found) {
        (Some(declared), Some(found)) if !runs(found, declared) => Err(ImageError::new(format_args!(
            "the kernel {} is for {found}, not for {declared}: take another one, or say {found}",
            text::escape(kernel.name().as_bytes())
        ))),
        (declared, found) => Ok(declared.or(found)),
    }
}

/// Magic words of raw kernel images: where they stand, and for which instruction set.
const IMAGES: [(usize, &[u8], Cpu); 2] = [(0x38, b"ARM\x64", Cpu::Arm64), (0x38, b"RSC\x05", Cpu::Riscv64)];

/// PE's machine numbers.
const MACHINES: [(u16, Cpu); 7] = [
    (0x014C, Cpu::X86),
    (0x8664, Cpu::X86_64),
    (0x01C0, Cpu::Arm32),
    (0x01C2, Cpu::Arm32),
    (0xAA64, Cpu::Arm64),
    (0x5064, Cpu::Riscv64),
    (0x6264, Cpu::LoongArch64),
];

/// What a file's header says; `None` where it is no kernel's.
///
/// # Errors
/// When the file can't be read.
pub fn kernel_of(content: &ArtifactContent) -> io::Result<Option<Kernel>> {
    Ok(recognise(&content.head(HEAD_BYTES)?))
}

/// What the first bytes of a file say it is.
fn recognise(head: &[u8]) -> Option<Kernel> {
    let of = |cpu| Kernel { cpu, is_gzip: false };
    if at(head, 0x202, b"HdrS") {
        return Some(of(Some(bz_image(head))));
    }
    if let Some((_, _, cpu)) = IMAGES.iter().find(|(offset, magic, _)| at(head, *offset, magic)) {
        return Some(of(Some(*cpu)));
    }
    if let Some(machine) = pe_machine(head) {
        let known = MACHINES.iter().find(|(number, _)| *number == machine);
        return Some(of(known.map(|(_, cpu)| *cpu)));
    }
    // A 32-bit ARM zImage.
    if at(head, 0x24, &0x016F_2818_u32.to_le_bytes()) {
        return Some(of(Some(Cpu::Arm32)));
    }
    at(head, 0, &[0x1F, 0x8B, 8]).then_some(Kernel {
        cpu: None,
        is_gzip: true,
    })
}

fn at(head: &[u8], offset: usize, magic: &[u8]) -> bool {
    head.get(offset..offset + magic.len()) == Some(magic)
}

/// A bzImage says from boot protocol 2.12 on whether it has a 64-bit entry point.
fn bz_image(head: &[u8]) -> Cpu {
    const PROTOCOL: u16 = 0x020C;
    const KERNEL_64: u16 = 1;
    let says = u16_at(head, 0x206).is_some_and(|protocol| protocol >= PROTOCOL);
    match says && u16_at(head, 0x236).is_some_and(|flags| flags & KERNEL_64 == 0) {
        true => Cpu::X86,
        false => Cpu::X86_64,
    }
}

fn pe_machine(head: &[u8]) -> Option<u16> {
    let pe = usize::from(u16_at(head, 0x3C)?);
    let is_pe = at(head, 0, b"MZ") && u16_at(head, 0x3E) == Some(0) && at(head, pe, b"PE\0\0");
    is_pe.then(|| u16_at(head, pe + 4)).flatten()
}

fn u16_at(head: &[u8], offset: usize) -> Option<u16> {
    let two = head.get(offset..offset + 2)?;
    Some(u16::from_le_bytes([two[0], two[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(size: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; size];
        for (offset, bytes) in parts {
            head[*offset..*offset + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    #[test]
    fn a_kernel_says_what_it_is_for() {
        let bz = |flags: u8| with(1024, &[(0x202, b"HdrS"), (0x206, &[0x0F, 0x02]), (0x236, &[flags])]);
        let old = with(1024, &[(0x202, b"HdrS"), (0x206, &[0x0A, 0x02])]);
        let pe = |machine: u16| {
            let offset = 0x80_u32.to_le_bytes();
            with(
                1024,
                &[
                    (0, b"MZ"),
                    (0x3C, &offset),
                    (0x80, b"PE\0\0"),
                    (0x84, &machine.to_le_bytes()),
                ],
            )
        };
        for (head, cpu) in [
            (bz(1), Some(Cpu::X86_64)),
            (bz(0), Some(Cpu::X86)),
            (old, Some(Cpu::X86_64)),
            (with(64, &[(0x38, b"ARM\x64")]), Some(Cpu::Arm64)),
            (with(64, &[(0x38, b"RSC\x05")]), Some(Cpu::Riscv64)),
            (pe(0xAA64), Some(Cpu::Arm64)),
            (pe(0x6264), Some(Cpu::LoongArch64)),
            (pe(0x1234), None),
        ] {
            assert_eq!(recognise(&head), Some(Kernel { cpu, is_gzip: false }));
        }
        assert!(recognise(&[0x1F, 0x8B, 8, 0]).unwrap().is_gzip);
    }

    #[test]
    fn what_is_no_kernel_is_none_however_short() {
        let text = b"ceci n'est pas un kernel ".repeat(50);
        assert_eq!(recognise(&text), None);
        for length in 0..600 {
            assert_eq!(recognise(&vec![0; length]), None);
            assert_eq!(recognise(&vec![0xFF; length]), None);
        }
        assert_eq!(recognise(&with(100, &[(0, b"MZ"), (0x3C, &[0xFF, 0xFF])])), None);
    }
}
