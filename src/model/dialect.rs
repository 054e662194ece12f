//! The languages that scripts are written in: a loader reads one.

use serde::Serialize;
use std::fmt;

/// A loader's language. A new one is a row here, its rule in `boot::render` and its paths in
/// `boot::script_path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// iPXE's scripts.
    Ipxe,
    /// GRUB's `grub.cfg`.
    Grub,
    /// SYSLINUX's configuration, as PXELINUX reads it.
    Pxelinux,
}

impl Dialect {
    /// Every one, iPXE first.
    pub const ALL: [Dialect; 3] = [Dialect::Ipxe, Dialect::Grub, Dialect::Pxelinux];

    /// The extension of a script's file, and the word for it in logs.
    pub fn extension(self) -> &'static str {
        match self {
            Dialect::Ipxe => "ipxe",
            Dialect::Grub => "grub",
            Dialect::Pxelinux => "pxelinux",
        }
    }

    /// What the loader of that file reads, as far as its name tells. A shim loads GRUB, but for iPXE's own;
    /// `bootnetx64.efi` is a shim of Debian's netboot tree.
    pub fn of_loader(file: &str) -> Option<Dialect> {
        let name = file.rsplit('/').next().unwrap_or(file).to_ascii_lowercase();
        let named = |word: &str| name.contains(word);
        if named("pxelinux") {
            Some(Dialect::Pxelinux)
        } else if ["ipxe", "snponly", "undionly"].into_iter().any(named) {
            Some(Dialect::Ipxe)
        } else if ["grub", "shim", "bootnet"].into_iter().any(named) {
            Some(Dialect::Grub)
        } else {
            None
        }
    }
}

/// The loader's name as people write it.
impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dialect::Ipxe => "iPXE",
            Dialect::Grub => "GRUB",
            Dialect::Pxelinux => "PXELINUX",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loaders_name_tells_what_it_reads_or_nothing() {
        for (file, dialect) in [
            ("shimx64.efi", Some(Dialect::Grub)),
            ("debian/grubnetx64.efi.signed", Some(Dialect::Grub)),
            ("debian-installer/amd64/bootnetx64.efi", Some(Dialect::Grub)),
            ("bootnetaa64.efi", Some(Dialect::Grub)),
            ("bootnetriscv64.efi", Some(Dialect::Grub)),
            ("snponly-shim.efi", Some(Dialect::Ipxe)),
            ("x86_64-sb/ipxe-shimx64.efi", Some(Dialect::Ipxe)),
            ("ipxe-riscv64.efi", Some(Dialect::Ipxe)),
            ("lpxelinux.0", Some(Dialect::Pxelinux)),
            ("arm64-efi/snponly.efi", Some(Dialect::Ipxe)),
            ("undionly.kpxe", Some(Dialect::Ipxe)),
            ("grub/wimboot", None),
        ] {
            assert_eq!(Dialect::of_loader(file), dialect, "{file}");
        }
    }
}
