//! The paths that stand for a machine's script: each loader asks by its own names.
//!
//! iPXE is told where its script is. GRUB and PXELINUX look beside themselves, from the name that is
//! meant for one machine to the name that is meant for all:
//!
//! | loader | asks for, in any folder |
//! |---|---|
//! | iPXE | `boot.ipxe` (at the top); `autoexec.ipxe` leads there (`resource::autoexec`) |
//! | GRUB | `grub.cfg-UUID`, `grub.cfg-01-MAC`, `grub.cfg-ADDRESS` and its beginnings, `grub.cfg` |
//! | PXELINUX | `pxelinux.cfg/UUID`, `01-MAC`, `ADDRESS` and its beginnings, `default` |
//!
//! `ADDRESS` is hexadecimal: `C000020B`. Every one of these names is answered, so a machine has its
//! script by the first that it asks for. Does not own: whose script it is (`resource`).

use crate::boot::{paths, request_path::RequestPath};
use crate::model::{Dialect, MacAddr, Uuid};
use std::net::Ipv4Addr;

/// GRUB's configuration, by itself and with a machine's name behind.
const GRUB: &str = "grub.cfg";
/// The folder of PXELINUX's configurations.
const PXELINUX_FOLDER: &str = "pxelinux.cfg";
/// The one that is meant for all machines.
const PXELINUX_DEFAULT: &str = "default";
/// Ethernet's number before a MAC address.
const ETHERNET: &str = "01-";
/// Digits of an IPv4 address in hexadecimal.
const ADDRESS_DIGITS: usize = 8;

/// A path that stands for a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptPath {
    /// The language of the loader that asks so.
    pub dialect: Dialect,
    /// Whose script it is.
    pub subject: ScriptSubject,
}

/// The machine that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptSubject {
    /// None: whoever asks.
    Requester,
    /// The one with that interface.
    Mac(MacAddr),
    /// The one with that UUID; the bytes may be in option 97's order.
    Uuid(Uuid),
    /// The one that holds that address.
    Address(Ipv4Addr),
}

impl ScriptPath {
    /// What a path stands for, if it is a script.
    pub fn of(path: &RequestPath) -> Option<ScriptPath> {
        let path = path.as_str();
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let (dialect, subject) = match file {
            paths::SCRIPT if folder.is_empty() => (Dialect::Ipxe, ScriptSubject::Requester),
            // An artifact and an answer may have any name.
            _ if is_content(folder) => return None,
            GRUB => (Dialect::Grub, ScriptSubject::Requester),
            PXELINUX_DEFAULT if is_pxelinux(folder) => (Dialect::Pxelinux, ScriptSubject::Requester),
            _ if is_pxelinux(folder) => (Dialect::Pxelinux, named(file)?),
            _ => (Dialect::Grub, named(file.strip_prefix(GRUB)?.strip_prefix('-')?)?),
        };
        Some(ScriptPath { dialect, subject })
    }
}

fn is_content(folder: &str) -> bool {
    matches!(folder.split('/').next(), Some(paths::IMAGE | paths::ANSWER))
}

fn is_pxelinux(folder: &str) -> bool {
    folder.rsplit('/').next() == Some(PXELINUX_FOLDER)
}

/// The machine that a configuration's name means; `None` where it means none, as an operator's own file.
fn named(name: &str) -> Option<ScriptSubject> {
    let is_hexadecimal =
        (1..=ADDRESS_DIGITS).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hexadecimal {
        return match u32::from_str_radix(name, 16) {
            Ok(address) if name.len() == ADDRESS_DIGITS => Some(ScriptSubject::Address(address.into())),
            Ok(_) | Err(_) => Some(ScriptSubject::Requester),
        };
    }
    let mac = name.strip_prefix(ETHERNET).unwrap_or(name).parse();
    mac.map(ScriptSubject::Mac)
        .or_else(|_| name.parse().map(ScriptSubject::Uuid))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::request_path::Transport;

    fn of(path: &str) -> Option<(Dialect, ScriptSubject)> {
        let path = RequestPath::parse(Transport::Tftp, path.as_bytes()).unwrap();
        ScriptPath::of(&path).map(|found| (found.dialect, found.subject))
    }

    const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 7]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

    #[test]
    fn every_loader_is_understood_by_the_names_it_asks_for() {
        let uuid = "11223344-5566-7788-99aa-bbccddeeff00";
        let subject = [
            ("", ScriptSubject::Requester),
            ("52-54-00-00-00-07", ScriptSubject::Mac(MAC)),
            ("01-52-54-00-00-00-07", ScriptSubject::Mac(MAC)),
            ("01-52:54:00:00:00:07", ScriptSubject::Mac(MAC)),
            (uuid, ScriptSubject::Uuid(uuid.parse().unwrap())),
            ("C000020B", ScriptSubject::Address(ADDRESS)),
            ("C000020", ScriptSubject::Requester),
            ("C", ScriptSubject::Requester),
        ];
        for (name, subject) in subject {
            let (hyphen, file) = if name.is_empty() { ("", "default") } else { ("-", name) };
            for folder in ["", "grub/", "boot/grub/", "debian-installer/amd64/grub/", "EFI/debian/"] {
                let path = format!("{folder}grub.cfg{hyphen}{name}");
                assert_eq!(of(&path), Some((Dialect::Grub, subject)), "{path}");
            }
            for folder in ["", "bios/", "a/b/"] {
                let path = format!("{folder}pxelinux.cfg/{file}");
                assert_eq!(of(&path), Some((Dialect::Pxelinux, subject)), "{path}");
            }
        }
        assert_eq!(of("boot.ipxe"), Some((Dialect::Ipxe, ScriptSubject::Requester)));
    }

    #[test]
    fn other_files_beside_them_are_no_scripts() {
        for path in [
            "snponly.efi",
            "x/boot.ipxe",
            "autoexec.ipxe",
            "grub/x86_64-efi/command.lst",
            "grub/grub.cfg.bak",
            "grub/grub.cfg-",
            "grub/grub.cfg-01-",
            "grub/grub.cfg-theme",
            "grub/grub.cfgs",
            "pxelinux.cfg",
            "pxelinux.cfg/graphics.conf",
            "pxelinux.cfg/01-52-54",
            "pxelinux.cfg/C000020B0",
            "default",
            "image/debian-12/grub.cfg",
            "image/debian-12/pxelinux.cfg/default",
            "answer/r1u07/grub.cfg",
        ] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
