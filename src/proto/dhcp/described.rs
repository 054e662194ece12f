//! The options of a reply for people: in their order on the wire, each with its name and what its body means.

use super::wire::{self, FILE, HEADER_BYTES, SNAME};
use crate::model::text;
use std::{
    fmt::{self, Display, Formatter},
    net::Ipv4Addr,
};

/// An option as it stands in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedOption {
    /// Its number.
    pub code: u8,
    /// Its body, joined from all its pieces (RFC 3396).
    pub body: Vec<u8>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyKind {
    Addresses,
    Seconds,
    Text,
    Bytes,
    Number,
    MessageType,
    Domains,
    Routes,
    SubOptions,
}

/// Every option that our replies have, or that operators name, by RFC 2132 and those behind it.
const NAMES: &[(u8, &str, BodyKind)] = &[
    (1, "subnet mask", BodyKind::Addresses),
    (2, "time offset", BodyKind::Seconds),
    (3, "router", BodyKind::Addresses),
    (4, "time servers", BodyKind::Addresses),
    (6, "name servers", BodyKind::Addresses),
    (7, "log servers", BodyKind::Addresses),
    (12, "host name", BodyKind::Text),
    (15, "domain name", BodyKind::Text),
    (17, "root path", BodyKind::Text),
    (26, "interface MTU", BodyKind::Number),
    (28, "broadcast address", BodyKind::Addresses),
    (33, "static routes", BodyKind::Addresses),
    (42, "NTP servers", BodyKind::Addresses),
    (43, "vendor options", BodyKind::SubOptions),
    (44, "NetBIOS name servers", BodyKind::Addresses),
    (51, "lease time", BodyKind::Seconds),
    (52, "option overload", BodyKind::Number),
    (53, "message type", BodyKind::MessageType),
    (54, "server identifier", BodyKind::Addresses),
    (56, "message", BodyKind::Text),
    (58, "renewal time (T1)", BodyKind::Seconds),
    (59, "rebinding time (T2)", BodyKind::Seconds),
    (60, "vendor class", BodyKind::Text),
    (61, "client identifier", BodyKind::Bytes),
    (66, "TFTP server", BodyKind::Text),
    (67, "boot file", BodyKind::Text),
    (81, "client's full name", BodyKind::Bytes),
    (82, "relay agent", BodyKind::SubOptions),
    (97, "machine identifier", BodyKind::Bytes),
    (114, "captive portal", BodyKind::Text),
    (118, "subnet selection", BodyKind::Addresses),
    (119, "domain search", BodyKind::Domains),
    (121, "classless routes", BodyKind::Routes),
    (150, "TFTP server addresses", BodyKind::Addresses),
    (175, "iPXE", BodyKind::SubOptions),
    (209, "PXELINUX configuration", BodyKind::Text),
    (210, "PXELINUX path prefix", BodyKind::Text),
    (250, "Proxmox VE's answer", BodyKind::Text),
];

/// The options of a message: those behind the header, then those in `file` and `sname` where option 52 says so.
pub fn described_options(message: &[u8]) -> Vec<DescribedOption> {
    let joined = wire::options(message);
    let mut order: Vec<u8> = Vec::new();
    for field in [message.get(HEADER_BYTES..), message.get(FILE), message.get(SNAME)] {
        let mut field = field.unwrap_or_default();
        while let Some((code, _, rest)) = wire::next(field) {
            if joined.contains_key(&code) && !order.contains(&code) {
                order.push(code);
            }
            field = rest;
        }
    }
    let with_body = |code: u8| {
        Some(DescribedOption {
            code,
            body: joined.get(&code)?.clone(),
        })
    };
    order.into_iter().filter_map(with_body).collect()
}

impl DescribedOption {
    /// Its name.
    pub fn name(&self) -> &'static str {
        self.row().map_or("option", |(_, name, _)| name)
    }

    fn row(&self) -> Option<&'static (u8, &'static str, BodyKind)> {
        NAMES.iter().find(|(code, _, _)| *code == self.code)
    }
}

/// What the body means; as bytes where it is not what the option should be.
impl Display for DescribedOption {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let body = self.body.as_slice();
        match self.row().map_or(BodyKind::Bytes, |(_, _, kind)| *kind) {
            BodyKind::Addresses if body.len().is_multiple_of(4) => list(f, body.chunks(4).map(address)),
            BodyKind::Seconds => match body.try_into() {
                Ok(seconds) => match u32::from_be_bytes(seconds) {
                    u32::MAX => f.write_str("for ever"),
                    seconds => write!(f, "{seconds} s"),
                },
                Err(_) => bytes(f, body),
            },
            BodyKind::Text => f.write_str(&text::escape(body.strip_suffix(&[0]).unwrap_or(body))),
            BodyKind::Number if (1..=4).contains(&body.len()) => {
                let number = body.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
                number.fmt(f)
            }
            BodyKind::MessageType => match body {
                [2] => f.write_str("DHCPOFFER"),
                [5] => f.write_str("DHCPACK"),
                [6] => f.write_str("DHCPNAK"),
                _ => bytes(f, body),
            },
            BodyKind::Domains => domains(f, body),
            BodyKind::Routes => routes(f, body),
            BodyKind::SubOptions => sub_options(f, body),
            BodyKind::Addresses | BodyKind::Number | BodyKind::Bytes => bytes(f, body),
        }
    }
}

fn address(quad: &[u8]) -> Ipv4Addr {
    <[u8; 4]>::try_from(quad).map_or(Ipv4Addr::UNSPECIFIED, Ipv4Addr::from)
}

fn list(f: &mut Formatter<'_>, items: impl Iterator<Item = impl Display>) -> fmt::Result {
    for (place, item) in items.enumerate() {
        let comma = if place == 0 { "" } else { ", " };
        write!(f, "{comma}{item}")?;
    }
    Ok(())
}

fn bytes(f: &mut Formatter<'_>, body: &[u8]) -> fmt::Result {
    f.write_str("0x")?;
    body.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Names behind their lengths, without compression, as we write them.
fn domains(f: &mut Formatter<'_>, body: &[u8]) -> fmt::Result {
    let (mut rest, mut is_inside, mut is_later) = (body, false, false);
    while let Some((length, behind)) = rest.split_first() {
        let Some((label, behind)) = behind.split_at_checked(usize::from(*length)) else {
            return Ok(());
        };
        match (label.is_empty(), is_inside, is_later) {
            (true, _, _) => is_later = true,
            (false, true, _) => write!(f, ".{}", text::escape(label))?,
            (false, false, true) => write!(f, ", {}", text::escape(label))?,
            (false, false, false) => f.write_str(&text::escape(label))?,
        }
        is_inside = !label.is_empty();
        rest = behind;
    }
    Ok(())
}

/// `198.51.100.0/24 via 192.0.2.254` (RFC 3442).
fn routes(f: &mut Formatter<'_>, mut body: &[u8]) -> fmt::Result {
    let mut comma = "";
    while let Some((prefix, rest)) = body.split_first() {
        let Some((significant, rest)) = rest.split_at_checked(usize::from(*prefix).div_ceil(8).min(4)) else {
            return Ok(());
        };
        let Some((router, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(());
        };
        let mut to = [0; 4];
        to[..significant.len()].copy_from_slice(significant);
        write!(
            f,
            "{comma}{}/{prefix} via {}",
            Ipv4Addr::from(to),
            Ipv4Addr::from(*router)
        )?;
        comma = ", ";
        body = rest;
    }
    Ok(())
}

fn sub_options(f: &mut Formatter<'_>, body: &[u8]) -> fmt::Result {
    let body = body.strip_suffix(&[wire::END]).unwrap_or(body);
    let mut comma = "";
    for (code, value) in wire::sub_options(body) {
        write!(f, "{comma}{code} = ")?;
        bytes(f, value)?;
        comma = ", ";
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(code: u8, body: &[u8]) -> String {
        DescribedOption {
            code,
            body: body.to_vec(),
        }
        .to_string()
    }

    #[test]
    fn every_kind_of_body_is_told_by_its_meaning() {
        for (code, body, expected) in [
            (3, &[192, 0, 2, 254][..], "192.0.2.254"),
            (6, &[192, 0, 2, 1, 192, 0, 2, 2], "192.0.2.1, 192.0.2.2"),
            (26, &[5, 220], "1500"),
            (51, &[0, 0, 14, 16], "3600 s"),
            (51, &[255; 4], "for ever"),
            (53, &[2], "DHCPOFFER"),
            (67, b"snponly.efi\0", "snponly.efi"),
            (67, b"a\x1b[31m", "a\\x1b[31m"),
            (43, &[6, 1, 8, 255], "6 = 0x08"),
            (175, &[0xb0, 1, 1], "176 = 0x01"),
            (119, b"\x04rack\x07example\0\x07example\0", "rack.example, example"),
            (
                121,
                &[24, 198, 51, 100, 192, 0, 2, 254, 0, 192, 0, 2, 1],
                "198.51.100.0/24 via 192.0.2.254, 0.0.0.0/0 via 192.0.2.1",
            ),
            (222, &[1, 0xab], "0x01ab"),
            // What is not of its length.
            (3, &[192, 0, 2], "0xc00002"),
            (51, &[1], "0x01"),
        ] {
            assert_eq!(shown(code, body), expected, "{code}");
        }
    }

    #[test]
    fn options_come_in_their_order_and_those_of_the_header_s_fields_behind_them() {
        let mut message = vec![0; HEADER_BYTES];
        message[..4].copy_from_slice(&[2, 1, 6, 0]);
        message[236..].copy_from_slice(&wire::MAGIC);
        message[FILE][..4].copy_from_slice(&[15, 1, b'x', 255]);
        message.extend([53, 1, 2, 12, 1, b'h', 52, 1, 1, 255]);
        let codes: Vec<u8> = described_options(&message).iter().map(|option| option.code).collect();
        assert_eq!(codes, [53, 12, 52, 15]);
        message[248] = 0;
        assert!(described_options(&message[..100]).is_empty());
    }
}
