//! What a client sends as a path or a query, before it is trusted.
//!
//! A path that passes here has only components that can stand in a file system without leaving a
//! folder; the servers open it beneath a root with no symlinks all the same.

use crate::boot::{
    event::PathFault,
    machine::{Identity, client_text},
};
use crate::model::{
    Arch, Cpu, Firmware, MachineFacts, Uuid, is_placeholder_serial,
    limits::{CHIP_NAME_BYTES_MAX, REQUEST_PATH_BYTES_MAX},
    text,
};
use percent_encoding::percent_decode;
use std::borrow::Cow;

/// The server that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TFTP.
    Tftp,
    /// HTTP.
    Http,
}

/// A path with no empty, `.` or `..` component, no control character and no backslash.
///
/// Clients write it in many ways that mean the same: shim has two slashes in front, GRUB two inside where
/// its prefix ends with one, Windows' loaders have backslashes, others a `.` or a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath(String);

impl RequestPath {
    /// Reads a TFTP file name, or an HTTP path that is still percent-encoded (once).
    pub fn parse(transport: Transport, raw: &[u8]) -> Result<RequestPath, PathFault> {
        if raw.len() > REQUEST_PATH_BYTES_MAX {
            return Err(PathFault::TooLong);
        }
        let decoded: Cow<'_, [u8]> = match transport {
            Transport::Tftp => raw.into(),
            Transport::Http => percent_decode(raw).into(),
        };
        let path = str::from_utf8(&decoded).map_err(|_| PathFault::NotUtf8)?;
        if path.chars().any(text::steers) {
            return Err(PathFault::ControlCharacter);
        }
        let named = path
            .split(['/', '\\'])
            .filter(|component| !matches!(*component, "" | "."));
        let components: Vec<&str> = named.collect();
        if components.is_empty() {
            return Err(PathFault::Empty);
        }
        if transport == Transport::Tftp && path.contains("://") {
            return Err(PathFault::OtherServer);
        }
        if components.contains(&"..") {
            return Err(PathFault::Parent);
        }
        Ok(RequestPath(components.join("/")))
    }

    /// The path, without a slash in front.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its components, in order; at least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Who a script's query string says it is (see `paths::script_url`). What can't be read, or has
    /// control characters, is left out.
    pub fn identity(query: &str) -> Identity {
        let mut identity = Identity::default();
        let (mut buildarch, mut platform) = (Cow::default(), Cow::default());
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let Ok(value) = percent_decode(value.as_bytes()).decode_utf8() else {
                continue;
            };
            match key {
                "mac" => identity.mac = value.parse().ok(),
                "uuid" => identity.uuid = value.parse().ok().filter(|uuid: &Uuid| !uuid.is_placeholder()),
                "serial" => identity.serial = client_text(&value).filter(|serial| !is_placeholder_serial(serial)),
                "manufacturer" => identity.vendor = client_text(&value),
                "arch" => buildarch = value,
                "platform" => platform = value,
                _ => {}
            }
        }
        identity.arch = ipxe_arch(&buildarch, &platform);
        identity
    }
}

/// What a script's query string says of its machine besides who it is. What can't be read is left out.
pub fn machine_facts(query: &str) -> MachineFacts {
    let mut facts = MachineFacts::default();
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match (key, value) {
            ("sb", "01") => facts.secure_boot = Some(true),
            ("sb", "00") => facts.secure_boot = Some(false),
            ("ram", range) => facts.memory_mib = hex_bytes(range).and_then(MachineFacts::memory_of_mapped_range),
            ("chip", _) => {
                let told = percent_decode(value.as_bytes()).decode_utf8().ok();
                let told = told.and_then(|told| client_text(&told));
                facts.chip = told.map(|told| text::prefix(&told, CHIP_NAME_BYTES_MAX).into());
            }
            _ => {}
        }
    }
    facts
}

fn hex_bytes(digits: &str) -> Option<[u8; 8]> {
    let value = u64::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 16)?;
    Some(value.to_be_bytes())
}

/// The architecture behind iPXE's `${buildarch}` and `${platform}`. A BIOS build is 32-bit on every
/// PC, so that it says nothing of the CPU: as option 93's value 0, it stands for any PC.
fn ipxe_arch(buildarch: &str, platform: &str) -> Option<Arch> {
    match platform {
        "pcbios" => Some(Arch {
            firmware: Firmware::Bios,
            cpu: Cpu::X86_64,
        }),
        "efi" => Some(Arch {
            firmware: Firmware::Uefi,
            cpu: Cpu::from_name(buildarch)?,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_may_send_no_slash_or_two() {
        for raw in [&b"snponly.efi"[..], b"/snponly.efi", b"//snponly.efi"] {
            assert_eq!(
                RequestPath::parse(Transport::Tftp, raw).unwrap().as_str(),
                "snponly.efi"
            );
        }
    }

    #[test]
    fn a_path_is_the_same_however_it_is_written() {
        for (raw, path) in [
            (&b"grub//x86_64-efi/command.lst"[..], "grub/x86_64-efi/command.lst"),
            (b"./grub/./grub.cfg", "grub/grub.cfg"),
            (b"pxelinux.cfg/", "pxelinux.cfg"),
            (b"/dtb//", "dtb"),
            (b"\\Boot\\BCD", "Boot/BCD"),
            (b"boot\\x64/wdsmgfw.efi", "boot/x64/wdsmgfw.efi"),
        ] {
            for transport in [Transport::Tftp, Transport::Http] {
                assert_eq!(RequestPath::parse(transport, raw).unwrap().as_str(), path, "{raw:?}");
            }
        }
        let encoded = RequestPath::parse(Transport::Http, b"Boot%5cBCD%2f").unwrap();
        assert_eq!(encoded.as_str(), "Boot/BCD");
    }

    #[test]
    fn a_url_of_another_server_is_called_what_it_is() {
        let refused = RequestPath::parse(Transport::Tftp, b"tftp://198.51.100.9/x").unwrap_err();
        assert_eq!(refused, PathFault::OtherServer);
    }

    #[test]
    fn a_path_that_would_show_other_words_in_the_log_is_refused() {
        for raw in [
            &b"/a%1b[31m"[..],
            b"/a%c2%85",
            b"/a%e2%80%a8b",
            b"/a%e2%80%aeife.b",
            b"/%e2%81%a7",
        ] {
            let refused = RequestPath::parse(Transport::Http, raw);
            assert_eq!(refused, Err(PathFault::ControlCharacter), "{raw:?}");
        }
        let umlaut = RequestPath::parse(Transport::Http, b"/b%c3%bcro.efi").unwrap();
        assert_eq!(umlaut.as_str(), "b\u{fc}ro.efi");
    }

    #[test]
    fn nothing_that_leaves_a_folder_passes_on_either_server() {
        let hostile: [&[u8]; 13] = [
            b"",
            b"/",
            b"..",
            b"../etc/passwd",
            b"/../../etc/passwd",
            b"image/../../etc/passwd",
            b"./.",
            b"a/.\\../b",
            b"..\\..\\boot.ini",
            b"a\\..\\b",
            b"a\0b",
            b"a\nb",
            b"\xff\xfe",
        ];
        for raw in hostile {
            for transport in [Transport::Tftp, Transport::Http] {
                assert!(RequestPath::parse(transport, raw).is_err(), "{raw:?}");
            }
        }
        for raw in [
            &b"%2e%2e/etc/passwd"[..],
            b"%2e%2e%2fetc%2fpasswd",
            b"a%00b",
            b"a%5c..",
            b"%0d%0a",
        ] {
            assert!(RequestPath::parse(Transport::Http, raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn an_encoded_path_is_decoded_once_and_no_more() {
        let path = RequestPath::parse(Transport::Http, b"a%252e%252e").unwrap();
        assert_eq!(path.as_str(), "a%2e%2e");
    }

    #[test]
    fn a_path_over_the_limit_is_refused() {
        let raw = vec![b'a'; REQUEST_PATH_BYTES_MAX + 1];
        assert!(RequestPath::parse(Transport::Http, &raw).is_err());
    }

    #[test]
    fn a_query_tells_who_asks_and_bad_parts_are_left_out() {
        let identity = RequestPath::identity(
            "mac=52-54-00-00-00-07&uuid=nonsense&serial=S%2F1&arch=x86_64&platform=efi&manufacturer=ACME%0aboot",
        );
        assert_eq!(identity.mac, "52:54:00:00:00:07".parse().ok());
        assert_eq!(identity.uuid, None);
        assert_eq!(identity.serial.as_deref(), Some("S/1"));
        assert_eq!(identity.arch, Arch::from_option_93(7));
        assert_eq!(identity.vendor, None);
        let nothing = RequestPath::identity("uuid=03000200-0400-0500-0006-000700080009&serial=Default%20string");
        assert_eq!(nothing, Identity::default());
    }
}
