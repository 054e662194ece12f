//! Firmware that needs something of its own: each shipped row by what is missing without it, and
//! what a row can do by a row of an operator's.

use super::support::*;
use bootwright::boot::{
    event::{Event, Stage},
    quirks::{Quirk, QuirkMatch, QuirkSet},
    snapshot::{BootSettings, Rule, RuleMatch, UnknownPolicy},
};
use bootwright::config::shipped_quirks;
use bootwright::model::{BootTarget, MacAddr, Mode};
use bootwright::proto::dhcp::parse;

/// A board with one of Raspberry Pi's addresses.
const PI: MacAddr = MacAddr([0x2c, 0xcf, 0x67, 1, 2, 3]);
/// 43 of PROTOCOL's answer for a Raspberry Pi, with PXE's end marker.
const PI_MENU: &[u8] = b"\x06\x01\x08\x09\x14\x00\x00\x11Raspberry Pi Boot\x0a\x04\x00PXE\xff";
const PI_5: &str = include_str!("../../packets/raspberry-pi-discover.hex");

/// A room whose table lacks one of the shipped rows.
fn without(name: &str) -> Room {
    let mut room = Room::new();
    let before = room.snapshot.quirks.0.len();
    room.snapshot.quirks.0.retain(|quirk| &*quirk.name != name);
    assert_eq!(room.snapshot.quirks.0.len(), before - 1, "{name} is shipped");
    room
}

/// A room whose table begins with an operator's row for machines of one address block.
fn with(set: QuirkSet) -> Room {
    let mut room = Room::new();
    let quirk = Quirk {
        name: "ours".into(),
        why: "a test".to_owned(),
        matches: QuirkMatch {
            ouis: vec!["52:54:00".parse().unwrap()],
            ..QuirkMatch::default()
        },
        set,
    };
    room.snapshot.quirks.0.insert(0, quirk);
    room
}

fn names(room: &mut Room, packet: &Packet) -> Vec<String> {
    shown(&room.outcome(packet).event)
}

fn shown(event: &Event) -> Vec<String> {
    event.quirks.iter().map(ToString::to_string).collect()
}

#[test]
fn case_28_a_raspberry_pi_that_says_arch_0_gets_the_pi_answer() {
    for arch in [0, 41] {
        let mac = if arch == 0 { PI } else { STRANGER };
        let packet = Packet::discover(mac).pxe(arch);
        let reply = Room::new().reply(&packet);
        assert_eq!(reply.option(43), Some(PI_MENU), "{arch}");
        assert_eq!(reply.option(60), Some(&b"PXEClient"[..]));
        assert_eq!(reply.option(67), None, "it knows its files' names");
        assert_eq!(reply.message.siaddr(), SERVER);
        assert_eq!(reply.option(66), Some(&b"192.0.2.1\0"[..]));
    }
}

#[test]
fn case_28_a_raspberry_pi_with_uefi_firmware_is_a_uefi_machine() {
    let reply = Room::new().reply(&Packet::discover(PI).pxe(11));
    assert_eq!(reply.file(), "snponly-arm64.efi");
    assert_eq!((reply.option(43), reply.option(60)), (None, None));
}

#[test]
fn case_28_a_packet_built_like_a_pi_5s_gets_the_pi_answer() {
    let bytes: Vec<u8> = PI_5
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(str::split_ascii_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let reply = Room::new().reply_to(&parse(&bytes).unwrap());
    assert_eq!(reply.option(43), Some(PI_MENU));
}

#[test]
fn a_pi_is_known_by_what_it_says_and_by_each_block_that_is_raspberry_pis() {
    let mac = |text: &str| text.parse::<MacAddr>().unwrap();
    for known in [
        "88:a2:9e:00:00:05",
        "98:fe:54:00:00:05",
        "f0:40:af:90:00:05",
        "8c:1f:64:34:a0:05",
    ] {
        let reply = Room::new().reply(&Packet::discover(mac(known)).pxe(0));
        assert_eq!(reply.option(43), Some(PI_MENU), "{known}");
    }
    let says_so = |mac: MacAddr, arch: u16| {
        let class = format!("PXEClient:Arch:{arch:05}:UNDI:002001");
        Packet::discover(mac)
            .with(60, class.as_bytes())
            .with(93, &arch.to_be_bytes())
            .with(97, b"\0RPi5\x17\x04\xd0\0\0\0\0\x05\x12\x34\x56\x78")
    };
    for stranger in ["f0:40:af:a0:00:05", "8c:1f:64:34:b0:05", "02:00:00:00:00:05"] {
        let reply = Room::new().reply(&Packet::discover(mac(stranger)).pxe(0));
        assert_eq!(reply.file(), "undionly.kpxe", "{stranger}");
        let reply = Room::new().reply(&says_so(mac(stranger), 0));
        assert_eq!(reply.option(43), Some(PI_MENU), "{stranger}");
    }
    // Its UEFI firmware begins its UUID in the same way.
    assert_eq!(Room::new().reply(&says_so(PI, 11)).file(), "snponly-arm64.efi");
}

#[test]
fn a_guest_gives_a_raspberry_pi_the_same() {
    let mut room = Room::new();
    room.ingress.mode = Mode::Proxy;
    let reply = room.reply(&Packet::discover(PI).pxe(0));
    assert_eq!(reply.option(43), Some(PI_MENU));
    assert_eq!(reply.option(60), Some(&b"PXEClient"[..]));
    assert_eq!(reply.message.yiaddr(), NOBODY);
}

#[test]
fn a_raspberry_pi_that_boots_its_disk_or_runs_a_system_gets_an_address_alone() {
    let mut room = Room::new();
    room.snapshot.unknown = UnknownPolicy::Ignore;
    let settings = BootSettings {
        boot: Some(sourced(BootTarget::Local)),
        ..BootSettings::default()
    };
    room.snapshot.rules = vec![Rule {
        settings,
        ..rule(RuleMatch::default(), BootTarget::Local)
    }];
    let gated = room.reply(&Packet::discover(PI).pxe(0));
    let system = Room::new().reply(&Packet::discover(PI));
    for reply in [gated, system] {
        assert_eq!([43, 60, 66, 67].map(|code| reply.option(code).is_some()), [false; 4]);
        assert!(!reply.message.yiaddr().is_unspecified());
    }
}

#[test]
fn without_its_rows_a_raspberry_pi_is_a_bios() {
    for (name, mac, arch) in [("raspberry-pi", STRANGER, 41), ("raspberry-pi-by-address", PI, 0)] {
        let outcome = without(name).outcome(&Packet::discover(mac).pxe(arch));
        assert_eq!(outcome.event.stage, Stage::BiosPxe, "{name}");
        assert_eq!(shown(&outcome.event), [] as [&str; 0], "{name}");
    }
    let reply = without("raspberry-pi-answer").reply(&Packet::discover(PI).pxe(0));
    assert_eq!(reply.option(43), None);
}

#[test]
fn a_rom_from_before_pxe_2_1_has_its_tftp_blocks_limited() {
    let old = Packet::discover(LIVE).with(60, b"PXEClient:Arch:00000:UNDI:002000");
    let outcome = Room::new().outcome(&old);
    assert_eq!(shown(&outcome.event), ["undi-before-2.1"]);
    assert_eq!(outcome.observation.block_max, Some((LIVE, Some(512))));
    assert_eq!(
        without("undi-before-2.1").outcome(&old).observation.block_max,
        Some((LIVE, None))
    );
    let newer = Packet::discover(LIVE).with(60, b"PXEClient:Arch:00000:UNDI:002001");
    assert_eq!(Room::new().outcome(&newer).observation.block_max, Some((LIVE, None)));
    let system = Packet::discover(LIVE);
    assert_eq!(
        Room::new().outcome(&system).observation.block_max,
        None,
        "it fetches no files"
    );
}

#[test]
fn the_matching_rows_are_named_in_their_order() {
    let expected = ["raspberry-pi-by-address", "raspberry-pi-answer"];
    assert_eq!(names(&mut Room::new(), &Packet::discover(PI).pxe(0)), expected);
    let mut room = with(QuirkSet::default());
    assert_eq!(names(&mut room, &Packet::discover(LIVE).pxe(7)), ["ours"]);
    assert_eq!(names(&mut room, &Packet::discover(PI).pxe(11)), [] as [&str; 0]);
}

#[test]
fn a_quirk_overrules_the_broadcast_flag_either_way() {
    let mut room = with(QuirkSet {
        broadcast: Some(true),
        ..QuirkSet::default()
    });
    assert_eq!(room.reply(&Packet::discover(LIVE).pxe(0)).destination, BROADCAST);
    let mut room = with(QuirkSet {
        broadcast: Some(false),
        ..QuirkSet::default()
    });
    let unicast = room.reply(&Packet::discover(LIVE).pxe(0).broadcast());
    assert_ne!(unicast.destination, BROADCAST);
    let nak = room.reply(&Packet::rebooting(LIVE, STRANGERS_ADDRESS));
    assert_eq!(nak.destination, BROADCAST, "a NAK has no address to go to");
}

const STRANGERS_ADDRESS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(203, 0, 113, 9);

#[test]
fn a_quirk_leaves_options_out_and_puts_others_in_their_place() {
    let mut room = with(QuirkSet {
        leave_out: vec![66, 97],
        add: vec![(43, vec![1, 1, 7]), (150, vec![192, 0, 2, 9])],
        ..QuirkSet::default()
    });
    let reply = room.reply(&Packet::discover(LIVE).pxe(0));
    assert_eq!((reply.option(66), reply.option(97)), (None, None));
    assert_eq!(reply.option(150), Some(&[192, 0, 2, 9][..]));
    let menus: Vec<_> = reply.options.iter().filter(|(code, _)| *code == 43).collect();
    assert_eq!(menus, [&(43, vec![1, 1, 7])], "in place of our own");
    let system = room.reply(&Packet::discover(LIVE));
    assert_eq!(system.option(150), None, "a running system boots nothing");
}

#[test]
fn a_quirk_chooses_the_loader() {
    let mut room = with(QuirkSet {
        loader: Some("ipxe.efi".to_owned()),
        ..QuirkSet::default()
    });
    assert_eq!(room.reply(&Packet::discover(LIVE).pxe(7)).file(), "ipxe.efi");
}

#[test]
fn no_quirk_makes_firmware_of_ipxe_or_of_a_system() {
    let mut room = with(QuirkSet {
        stage: Some(Stage::RaspberryPi),
        ..QuirkSet::default()
    });
    let mut stage_of = |packet: Packet| room.outcome(&packet).event.stage;
    assert_eq!(stage_of(Packet::discover(LIVE).pxe(7)), Stage::RaspberryPi);
    assert_eq!(stage_of(Packet::discover(LIVE).ipxe(7)), Stage::Ipxe);
    assert_eq!(stage_of(Packet::discover(LIVE)), Stage::System);
}

#[test]
fn every_shipped_row_says_why() {
    let shipped = shipped_quirks();
    assert_eq!(shipped.0.len(), 5);
    assert!(
        shipped
            .0
            .iter()
            .all(|quirk| quirk.why.ends_with('.') && quirk.why.len() > 40)
    );
}
