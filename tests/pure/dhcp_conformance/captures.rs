//! Golden packets: what real firmware sent, and what it is answered.

use super::support::*;
use bootwright::boot::{engine::stage, event::Stage};
use bootwright::model::{Arch, MacAddr};
use bootwright::proto::dhcp::{Request, RequestKind, parse};

/// The bytes in a file of `tests/packets`: hex, and comments behind `#`.
pub fn capture(text: &str) -> Vec<u8> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_ascii_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn discover(text: &str, last_of_mac: u8) -> Request {
    let request = parse(&capture(text)).unwrap();
    assert_eq!(request.kind, RequestKind::Discover);
    assert_eq!(
        request.hardware.mac(),
        Some(MacAddr([0x52, 0x54, 0, 0, 0, last_of_mac]))
    );
    assert!(request.machine_identifier.is_some());
    request
}

const SEABIOS_IPXE: &str = include_str!("../../packets/seabios-ipxe-discover.hex");
const OVMF_PXE: &str = include_str!("../../packets/ovmf-pxe-discover.hex");
const OVMF_HTTP: &str = include_str!("../../packets/ovmf-http-discover.hex");

#[test]
fn the_ipxe_in_a_nic_gets_its_script_and_no_second_loader() {
    let request = discover(SEABIOS_IPXE, 0xa0);
    assert_eq!(stage(&request), Stage::Ipxe);
    assert_eq!(request.arch(), Arch::from_option_93(0));
    let features = request.ipxe.unwrap();
    assert!(features.http && features.bzimage && !features.efi);
    let reply = Room::new().reply_to(&request);
    assert!(reply.boot_file().unwrap().starts_with("http://192.0.2.1/boot.ipxe?"));
    assert_eq!(reply.option(175), Some(&[0xb0, 1, 1][..]));
}

#[test]
fn ovmf_pxe_gets_a_loader_by_broadcast_and_no_60() {
    let request = discover(OVMF_PXE, 0xa1);
    assert_eq!(stage(&request), Stage::UefiPxe);
    assert!(request.wants_broadcast());
    let reply = Room::new().reply_to(&request);
    assert_eq!(reply.destination, BROADCAST);
    assert_eq!(reply.file(), "snponly.efi");
    assert_eq!(reply.option(60), None);
    assert_eq!(reply.option(97), request.machine_identifier.as_deref());
}

#[test]
fn ovmf_http_boot_gets_its_class_and_a_url() {
    let request = discover(OVMF_HTTP, 0xa2);
    assert_eq!(stage(&request), Stage::UefiHttp);
    assert_eq!(request.arch(), Arch::from_option_93(16));
    let reply = Room::new().reply_to(&request);
    assert_eq!(reply.option(60), Some(&b"HTTPClient"[..]));
    assert_eq!(reply.boot_file().as_deref(), Some("http://192.0.2.1/snponly.efi"));
}
