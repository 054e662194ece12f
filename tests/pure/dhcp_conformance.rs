//! DHCP as firmware and systems need it: packets in, replies out, through the public surface.

mod captures;
mod chain;
mod crowds;
mod fuzzed;
mod identities;
mod interfaces;
mod loaders;
mod loops;
mod moves;
mod options;
mod ports;
mod probes;
mod properties;
mod proxy;
mod quirks;
mod shared;
pub mod support;
mod wires;

use bootwright::boot::{
    engine::{Destination, stage},
    event::{BootAction, DiskReason, Near, NoOwnAddress, Reason, ReservationUnavailable, Stage, Step, SubnetSource},
    snapshot::{Host, Hosts, RuleMatch, UnknownPolicy},
};
use bootwright::lease::{LeaseChange, LeaseTable};
use bootwright::model::{Arch, BootTarget, HardwareAddr, MacAddr, Uuid, limits};
use bootwright::proto::dhcp::{MalformedRequest, Reply, ReplyKind, parse};
use dhcproto::v4::MessageType;
use std::{net::Ipv4Addr, time::Duration};
use support::*;

/// What [`STRANGER`]'s MAC comes to in the pool of the first subnet.
const STRANGERS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 102);
const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

fn unicast(text: &str) -> Destination {
    Destination::Unicast(text.parse().unwrap())
}

// Reading.

#[test]
fn case_01_a_hardware_length_of_17_or_255_is_answered_without_a_panic() {
    for hlen in [17, 255] {
        let mut packet = Packet::discover(STRANGER);
        packet.hlen = hlen;
        let reply = Room::new().reply(&packet);
        assert_eq!(reply.destination, BROADCAST);
    }
}

#[test]
fn case_02_what_is_not_a_request_is_dropped_with_its_reason() {
    let good = Packet::discover(STRANGER).bytes();
    let mut magic = good.clone();
    magic[236] = 0;
    let mut reply = good.clone();
    reply[0] = 2;
    assert_eq!(parse(&magic), Err(MalformedRequest::BadMagic));
    assert_eq!(parse(&reply), Err(MalformedRequest::NotARequest));
    assert_eq!(parse(&good[..239]), Err(MalformedRequest::Short));
    assert_eq!(parse(&good[..235]), Err(MalformedRequest::Short));
    assert_eq!(parse(&[]), Err(MalformedRequest::Short));
}

#[test]
fn case_03_a_bad_host_name_costs_no_other_option() {
    let packet = Packet::discover(STRANGER)
        .with(12, &[0xff, 0xfe, 0x80])
        .with(57, &[5])
        .pxe(7);
    let request = parse(&packet.bytes()).unwrap();
    assert_eq!(request.arch(), Arch::from_option_93(7));
    assert!(request.uuid.is_some());
    assert!(request.vendor_class.unwrap().starts_with(b"PXEClient"));
    assert_eq!(request.message_bytes_max, None);
}

#[test]
fn case_04_a_user_class_split_around_another_option_is_joined() {
    let packet = Packet::discover(STRANGER)
        .with(77, b"iP")
        .with(93, &[0, 7])
        .with(77, b"XE");
    assert!(parse(&packet.bytes()).unwrap().has_user_class(b"iPXE"));
}

#[test]
fn case_05_overloaded_fields_are_read_file_then_sname() {
    let mut packet = Packet::discover(STRANGER).with(52, &[3]);
    packet.file = vec![60, 4, b'P', b'X', b'E', b'C', 255];
    packet.sname = vec![60, 5, b'l', b'i', b'e', b'n', b't', 93, 2, 0, 7, 255];
    let request = parse(&packet.bytes()).unwrap();
    assert_eq!(request.vendor_class.as_deref(), Some(&b"PXEClient"[..]));
    assert_eq!(stage(&request), Stage::UefiPxe);
}

// Relays.

#[test]
fn case_06_the_relays_information_comes_back_byte_for_byte_and_last() {
    // Out of order, one sub-option twice, one unknown, one broken: none of it is ours to tidy.
    let agent = [2, 1, b'b', 1, 1, b'a', 1, 1, b'z', 240, 2, 0, 0, 7, 9];
    let packet = Packet::discover(STRANGER).with(82, &agent).through(RELAY).pxe(7);
    let reply = Room::new().reply(&packet);
    assert_eq!(reply.options.last().unwrap(), &(82, agent.to_vec()));
}

#[test]
fn case_07_link_selection_picks_the_subnet_and_the_reply_still_goes_to_the_relay() {
    let agent = [5, 4, 198, 51, 100, 0];
    let relay = Ipv4Addr::new(192, 0, 2, 2);
    let reply = Room::new().reply(&Packet::discover(STRANGER).with(82, &agent).through(relay));
    assert_eq!(reply.message.yiaddr().octets()[..3], [198, 51, 100]);
    assert_eq!(reply.destination, unicast("192.0.2.2:67"));
}

#[test]
fn a_relayed_client_gets_an_address_of_its_own_subnet() {
    let reply = Room::new().reply(&Packet::discover(LIVE).through(RELAY));
    assert_eq!(reply.message.yiaddr().octets()[..3], [198, 51, 100]);
    assert_eq!(reply.option(3), Some(&[198, 51, 100, 254][..]));
    assert_eq!(reply.destination, unicast("198.51.100.2:67"));
}

#[test]
fn a_subnet_nobody_lists_is_not_served() {
    let packet = Packet::discover(STRANGER).through(Ipv4Addr::new(203, 0, 113, 1));
    let unserved = Reason::SubnetUnserved {
        address: Ipv4Addr::new(203, 0, 113, 1),
        told_by: SubnetSource::Relay,
    };
    assert_eq!(Room::new().silence(&packet), unserved);
}

#[test]
fn case_08_the_relays_override_becomes_the_server_identifier() {
    let agent = [11, 4, 198, 51, 100, 2];
    let reply = Room::new().reply(&Packet::discover(STRANGER).with(82, &agent).through(RELAY));
    assert_eq!(reply.server_identifier(), RELAY);
}

#[test]
fn case_09_a_relay_that_asks_for_it_is_answered_on_its_source_port() {
    let mut room = Room::new();
    room.ingress.source = "198.51.100.2:4068".parse().unwrap();
    let packet = Packet::discover(STRANGER).with(82, &[19, 0]).through(RELAY);
    assert_eq!(room.reply(&packet).destination, unicast("198.51.100.2:4068"));
}

// Destinations.

#[test]
fn case_10_a_client_that_cannot_take_unicast_gets_a_broadcast() {
    let reply = Room::new().reply(&Packet::discover(LIVE).broadcast());
    assert_eq!(reply.destination, BROADCAST);
}

#[test]
fn case_11_a_client_without_the_flag_gets_a_frame_to_its_mac() {
    let reply = Room::new().reply(&Packet::discover(LIVE));
    let to = "192.0.2.11:68".parse().unwrap();
    assert_eq!(reply.destination, Destination::Frame { mac: LIVE, to });
}

#[test]
fn case_12_a_nak_is_broadcast_and_a_relayed_nak_sets_the_flag() {
    let elsewhere = Ipv4Addr::new(203, 0, 113, 9);
    let direct = Room::new().reply(&Packet::rebooting(LIVE, elsewhere));
    assert_eq!(direct.kind(), MessageType::Nak);
    assert_eq!(direct.destination, BROADCAST);
    let relayed = Room::new().reply(&Packet::rebooting(STRANGER, STRANGERS).through(RELAY));
    assert_eq!(relayed.kind(), MessageType::Nak);
    assert_eq!(relayed.destination, unicast("198.51.100.2:67"));
    assert!(relayed.message.flags().broadcast());
}

#[test]
fn case_15_a_renewal_is_acknowledged_by_unicast() {
    let mut room = Room::new();
    let address = room.dora(STRANGER);
    let ack = room.reply(&Packet::renewing(STRANGER, address));
    assert_eq!(ack.kind(), MessageType::Ack);
    assert_eq!(ack.destination, unicast("192.0.2.102:68"));
    assert_eq!(ack.message.ciaddr(), address);
}

#[test]
fn case_21_and_case_22_on_port_4011_the_reply_goes_where_the_request_came_from() {
    for source in ["192.0.2.11:4011", "192.0.2.11:68"] {
        let mut room = Room::new();
        room.ingress.port = 4011;
        room.ingress.source = source.parse().unwrap();
        let address = Ipv4Addr::new(192, 0, 2, 11);
        let ack = room.reply(
            &Packet::new(3, LIVE)
                .at(address)
                .pxe(7)
                .with(43, &[71, 4, 0, 0, 0, 0, 255]),
        );
        assert_eq!(ack.destination, unicast(source));
        assert_eq!(ack.kind(), MessageType::Ack);
        assert_eq!(ack.option(60), Some(&b"PXEClient"[..]));
        assert_eq!(ack.option(43), Some(&[71, 4, 0, 0, 0, 0, 255][..]));
        assert_eq!(ack.message.siaddr(), SERVER);
        assert_eq!(ack.boot_file().as_deref(), Some("snponly.efi"));
        assert_eq!(ack.message.yiaddr(), NOBODY);
        for code in [1, 3, 51] {
            assert_eq!(ack.option(code), None, "option {code}");
        }
    }
}

// The exchange.

#[test]
fn case_13_a_request_for_another_servers_offer_frees_ours_and_stays_unanswered() {
    let mut room = Room::new();
    assert_eq!(room.reply(&Packet::discover(STRANGER)).message.yiaddr(), STRANGERS);
    let other = Packet::rebooting(STRANGER, Ipv4Addr::new(192, 0, 2, 200)).with(54, &[192, 0, 2, 9]);
    let server = Ipv4Addr::new(192, 0, 2, 9);
    assert_eq!(room.unanswered(&other), Step::ChoseOtherServer { server });
    let wanting = Packet::discover(MacAddr([2, 0, 0, 0, 0, 1])).with(50, &STRANGERS.octets());
    assert_eq!(room.reply(&wanting).message.yiaddr(), STRANGERS);
}

#[test]
fn case_14_a_rebooting_client_that_nobody_knows_is_left_to_the_server_that_knows_it() {
    let reason = Room::new().silence(&Packet::rebooting(STRANGER, STRANGERS));
    assert_eq!(reason, Reason::LeaseUnknown { address: STRANGERS });
}

#[test]
fn a_rebooting_client_on_the_wrong_network_gets_a_nak() {
    let reply = Room::new().reply(&Packet::rebooting(STRANGER, Ipv4Addr::new(203, 0, 113, 9)));
    assert_eq!(reply.kind(), MessageType::Nak);
}

#[test]
fn a_rebooting_client_gets_its_lease_again() {
    let mut room = Room::new();
    let address = room.dora(STRANGER);
    let ack = room.reply(&Packet::rebooting(STRANGER, address));
    assert_eq!(ack.kind(), MessageType::Ack);
    assert!(matches!(ack.change, Some(LeaseChange::Put(record)) if record.address == address));
}

#[test]
fn a_renewal_that_a_lost_store_forgot_is_granted_while_the_address_is_free() {
    let mut room = Room::new();
    room.ingress.to = SERVER;
    let ack = room.reply(&Packet::renewing(STRANGER, STRANGERS));
    assert_eq!(ack.kind(), MessageType::Ack);
    let thief = MacAddr([2, 0, 0, 0, 0, 1]);
    let nak = room.reply(&Packet::renewing(thief, STRANGERS));
    assert_eq!(nak.kind(), MessageType::Nak);
    assert_eq!(nak.destination, BROADCAST);
}

#[test]
fn a_rebinding_client_of_another_server_keeps_its_address() {
    let mut room = Room::new();
    let neighbour = MacAddr([2, 0, 0, 0, 0, 1]);
    assert_eq!(room.dora(neighbour), Ipv4Addr::new(192, 0, 2, 101));
    // In no pool of ours, leased to a neighbour, and free: a second appliance gave each of them.
    for last in [200, 101, 100] {
        let address = Ipv4Addr::new(192, 0, 2, last);
        let reason = room.silence(&Packet::renewing(STRANGER, address));
        assert_eq!(reason, Reason::LeaseUnknown { address });
    }
}

#[test]
fn a_client_that_took_another_servers_offer_is_left_to_that_server() {
    let mut room = Room::new();
    assert_eq!(room.reply(&Packet::discover(STRANGER)).message.yiaddr(), STRANGERS);
    let taken = Packet::rebooting(STRANGER, STRANGERS).with(54, &[192, 0, 2, 9]);
    room.unanswered(&taken);
    for later in [
        Packet::rebooting(STRANGER, STRANGERS),
        Packet::renewing(STRANGER, STRANGERS),
    ] {
        assert_eq!(room.silence(&later), Reason::LeaseUnknown { address: STRANGERS });
    }
}

#[test]
fn a_lease_of_ours_does_not_make_another_servers_later_one_ours_to_refuse() {
    let mut room = Room::new();
    let own = room.dora(STRANGER);
    let others = Ipv4Addr::new(192, 0, 2, 200);
    let unknown = Reason::LeaseUnknown { address: others };
    assert_eq!(room.silence(&Packet::rebooting(STRANGER, others)), unknown);
    assert_eq!(room.silence(&Packet::renewing(STRANGER, others)), unknown);
    let nak = room.reply(&Packet::rebooting(STRANGER, Ipv4Addr::new(192, 0, 2, 103)));
    assert_eq!(nak.kind(), MessageType::Nak);
    assert_eq!(room.reply(&Packet::rebooting(STRANGER, own)).kind(), MessageType::Ack);
}

#[test]
fn an_option_82_longer_than_a_relay_writes_leaves_room_for_the_reply() {
    let packet = Packet::discover(LIVE)
        .through(Ipv4Addr::new(192, 0, 2, 2))
        .with(82, &[9; 600])
        .pxe(7);
    let reply = Room::new().reply(&packet);
    assert_eq!((reply.option(82), reply.file().as_str()), (None, "snponly.efi"));
}

#[test]
fn a_client_that_asks_for_itself_can_be_had_by_a_frame_and_one_behind_a_relay_or_of_broadcasts_can_not() {
    let mut room = Room::new();
    let used = Ipv4Addr::new(192, 0, 2, 77);
    let mut link = |packet: Packet| room.outcome(&packet).send.expect("a reply").link;
    let inform = || Packet::new(8, STRANGER).at(used);
    assert_eq!(link(inform()), Some(STRANGER));
    assert_eq!(link(inform().broadcast()), None);
    let relayed = Packet::new(8, STRANGER)
        .at(Ipv4Addr::new(198, 51, 100, 77))
        .through(RELAY);
    assert_eq!(link(relayed), None);
    let mut infiniband = inform();
    (infiniband.htype, infiniband.hlen) = (32, 0);
    assert_eq!(link(infiniband.with(61, b"\xffmachine")), None);
}

#[test]
fn case_16_an_inform_is_acknowledged_without_an_address_or_a_time() {
    let address = Ipv4Addr::new(192, 0, 2, 77);
    let ack = Room::new().reply(&Packet::new(8, STRANGER).at(address));
    assert_eq!(ack.kind(), MessageType::Ack);
    assert_eq!(ack.message.yiaddr(), NOBODY);
    assert_eq!(ack.destination, unicast("192.0.2.77:68"));
    for code in [51, 58, 59] {
        assert_eq!(ack.option(code), None, "option {code}");
    }
    assert_eq!(ack.option(1), Some(&[255, 255, 255, 0][..]));
}

#[test]
fn an_inform_from_an_address_elsewhere_is_not_reflected_there() {
    let packet = Packet::new(8, STRANGER).at(Ipv4Addr::new(203, 0, 113, 5));
    let elsewhere = Reason::InformElsewhere {
        address: Ipv4Addr::new(203, 0, 113, 5),
        subnet: cidr("192.0.2.0/24"),
    };
    assert_eq!(Room::new().silence(&packet), elsewhere);
}

#[test]
fn a_reply_is_not_reflected_to_an_address_elsewhere() {
    let mut room = Room::new();
    let elsewhere = Ipv4Addr::new(203, 0, 113, 5);
    let offer = room.reply(&Packet::discover(LIVE).at(elsewhere));
    let ack = room.reply(&Packet::selecting(LIVE, Ipv4Addr::new(192, 0, 2, 11)).at(elsewhere));
    for reply in [offer, ack] {
        assert!(
            matches!(reply.destination, Destination::Frame { mac: LIVE, .. }),
            "{:?}",
            reply.destination
        );
    }
}

#[test]
fn case_17_the_client_identifier_is_echoed_in_a_nak_too() {
    let identifier = [255, 1, 2, 3, 0, 255];
    let offer = Room::new().reply(&Packet::discover(STRANGER).with(61, &identifier));
    assert_eq!(offer.option(61), Some(&identifier[..]));
    let elsewhere = Ipv4Addr::new(203, 0, 113, 9);
    let nak = Room::new().reply(&Packet::rebooting(STRANGER, elsewhere).with(61, &identifier));
    assert_eq!(nak.kind(), MessageType::Nak);
    assert_eq!(nak.option(61), Some(&identifier[..]));
}

#[test]
fn plain_bootp_and_servers_messages_are_ignored_with_a_reason() {
    let mut bootp = Packet::discover(STRANGER);
    bootp.options.clear();
    assert_eq!(Room::new().silence(&bootp), Reason::BootpUnreserved);
    let ack = Room::new().silence(&Packet::new(5, STRANGER));
    assert_eq!(ack, Reason::MessageType { kind: 5 });
}

/// `BOOTP=yes` of networkd and klibc's `ipconfig -c bootp` send the fixed header and nothing behind it.
#[test]
fn a_bootp_request_without_a_vendor_area_is_answered_with_our_address_whatever_it_boots() {
    for mac in [LIVE, LOCAL] {
        let mut packet = Packet::discover(mac);
        packet.options.clear();
        let whole = packet.bytes();
        let mut empty = whole.clone();
        empty[236..].fill(0);
        for bytes in [&whole[..236], &empty] {
            let request = parse(bytes).unwrap();
            let reply = Room::new().reply_to(&request);
            assert_eq!(reply.message.siaddr(), SERVER);
            assert!(!reply.message.yiaddr().is_unspecified());
            let codes: Vec<u8> = reply.options.iter().map(|(code, _)| *code).collect();
            assert!([51, 53, 54].iter().all(|code| !codes.contains(code)), "{codes:?}");
        }
    }
}

#[test]
fn a_packet_from_our_own_address_is_ignored() {
    let mut room = Room::new();
    room.ingress.source = "192.0.2.1:68".parse().unwrap();
    assert_eq!(room.silence(&Packet::discover(STRANGER)), Reason::FromOurselves);
}

// Size.

#[test]
fn case_18_a_reply_is_at_least_300_bytes_and_at_most_what_the_client_takes() {
    let plain = Room::new().reply(&Packet::discover(LOCAL).with(55, &[1]));
    assert_eq!(plain.bytes.len(), 300);
    let identifier = [7; 255];
    let agent = [9; 255];
    for (sent, most) in [(0u16, 548), (576, 548), (700, 672), (1500, 1472), (u16::MAX, 1472)] {
        let packet = Packet::discover(LIVE)
            .ipxe(7)
            .with(61, &identifier)
            .with(82, &agent)
            .with(57, &sent.to_be_bytes());
        let reply = Room::new().reply(&packet);
        assert!(reply.bytes.len() <= most, "{} over {most}", reply.bytes.len());
        assert_eq!(reply.options.last().unwrap().0, 82);
        assert_eq!(reply.server_identifier(), SERVER);
    }
}

// Boot fields.

#[test]
fn case_19_a_bios_gets_60_together_with_43_and_a_file() {
    for packet in [
        Packet::discover(LIVE),
        Packet::selecting(LIVE, Ipv4Addr::new(192, 0, 2, 11)),
    ] {
        let reply = Room::new().reply(&packet.pxe(0));
        assert_eq!(reply.option(60), Some(&b"PXEClient"[..]));
        assert_eq!(reply.option(43), Some(&[6, 1, 8, 255][..]));
        assert_eq!(reply.boot_file().as_deref(), Some("undionly.kpxe"));
        assert_eq!(reply.file(), "undionly.kpxe");
        assert_eq!(reply.message.siaddr(), SERVER);
        assert_eq!(reply.option(97).unwrap().len(), 17);
    }
}

#[test]
fn case_19_and_case_28_uefi_gets_the_same_loader_for_7_and_9_and_never_60() {
    for arch in [7, 9] {
        let reply = Room::new().reply(&Packet::discover(LIVE).pxe(arch));
        assert_eq!(reply.option(60), None);
        assert_eq!(reply.boot_file().as_deref(), Some("snponly.efi"));
        assert_eq!(reply.file(), "snponly.efi");
    }
    let arm = Room::new().reply(&Packet::discover(LIVE).pxe(11));
    assert_eq!(arm.file(), "snponly-arm64.efi");
}

#[test]
fn case_24_ipxe_gets_its_script_in_offer_and_ack_and_waits_for_no_proxy() {
    for packet in [
        Packet::discover(LIVE),
        Packet::selecting(LIVE, Ipv4Addr::new(192, 0, 2, 11)),
    ] {
        let reply = Room::new().reply(&packet.ipxe(7));
        assert_eq!(reply.option(175), Some(&[0xb0, 1, 1][..]));
        assert_eq!(reply.message.siaddr(), SERVER);
        assert_eq!(reply.option(60), None);
        assert_eq!(reply.option(43), None);
        let url = reply.boot_file().unwrap();
        assert!(url.starts_with("http://192.0.2.1/boot.ipxe?"), "{url}");
        assert!(reply.file().is_empty() == (url.len() > 127));
    }
}

#[test]
fn ipxe_without_http_gets_one_of_ours_by_a_full_url() {
    let packet = Packet::discover(LIVE).pxe(7).with(77, b"iPXE").with(175, &[0x24, 1, 1]);
    let reply = Room::new().reply(&packet);
    assert_eq!(reply.boot_file().as_deref(), Some("tftp://192.0.2.1/snponly.efi"));
    assert_eq!(reply.option(175), Some(&[0xb0, 1, 1][..]));
    let without_175 = Packet::discover(LIVE).pxe(0).with(77, b"iPXE");
    let reply = Room::new().reply(&without_175);
    assert_eq!(reply.boot_file().as_deref(), Some("tftp://192.0.2.1/undionly.kpxe"));
}

#[test]
fn case_27_http_boot_gets_its_class_back_and_a_url() {
    let mut room = Room::new();
    room.snapshot.ports.http = 8080;
    let reply = room.reply(&Packet::discover(LIVE).http_boot(16));
    assert_eq!(reply.option(60), Some(&b"HTTPClient"[..]));
    assert_eq!(reply.boot_file().as_deref(), Some("http://192.0.2.1:8080/snponly.efi"));
    assert_eq!(reply.option(6), Some(&[192, 0, 2, 53][..]));
}

#[test]
fn case_26_a_url_over_127_bytes_stands_in_67_alone() {
    let request = parse(&Packet::discover(LIVE).bytes()).unwrap();
    for (length, in_file) in [(127, true), (128, false), (200, false)] {
        let mut reply = Reply::to(&request, ReplyKind::Offer, SERVER);
        reply.boot_file = Some("u".repeat(length));
        let bytes = reply.encode();
        let options = raw_options(&bytes);
        let (_, body) = options.iter().find(|(code, _)| *code == 67).unwrap();
        assert_eq!(body.len(), length + 1);
        assert_eq!(bytes[108] != 0, in_file, "{length}");
        assert_eq!(bytes[235], 0, "file is NUL-terminated");
    }
}

#[test]
fn case_28_a_raspberry_pi_5_with_arch_0_is_not_taken_for_a_bios() {
    let pi = MacAddr([0x2c, 0xcf, 0x67, 1, 2, 3]);
    let mut room = Room::new();
    let mut stage_of = |packet: Packet| room.outcome(&packet).event.stage;
    assert_eq!(stage_of(Packet::discover(pi).pxe(0)), Stage::RaspberryPi);
    assert_eq!(stage_of(Packet::discover(STRANGER).pxe(41)), Stage::RaspberryPi);
    assert_eq!(stage_of(Packet::discover(pi).pxe(11)), Stage::UefiPxe);
    assert_eq!(stage_of(Packet::discover(pi)), Stage::System);
}

#[test]
fn case_29_a_missing_uuid_is_no_matter() {
    let packet = Packet::discover(LIVE).with(60, b"PXEClient:Arch:00007:UNDI:003016");
    let reply = Room::new().reply(&packet);
    assert_eq!(reply.option(97), None);
    assert_eq!(reply.file(), "snponly.efi");
}

#[test]
fn a_missing_loader_costs_the_boot_and_not_the_address() {
    let mut room = Room::new();
    let arm = Arch::from_option_93(11).unwrap();
    room.snapshot.loaders = loaders(&[arm]);
    let reply = room.reply(&Packet::discover(LIVE).pxe(11));
    assert_eq!(reply.option(67), None);
    assert_eq!(
        reply.step,
        Step::Offered {
            address: Ipv4Addr::new(192, 0, 2, 11),
            boot: told(BootAction::NoLoader {
                arch: Some(arm),
                option_93: [11].into(),
            }),
        }
    );
}

#[test]
fn an_unregistered_architecture_gets_no_loader_by_guess() {
    let reply = Room::new().reply(&Packet::discover(LIVE).pxe(4711));
    assert_eq!(reply.option(67), None);
    let (arch, option_93) = (None, [4711].into());
    let boot = told(BootAction::NoLoader { arch, option_93 });
    let address = Ipv4Addr::new(192, 0, 2, 11);
    assert_eq!(reply.step, Step::Offered { address, boot });
}

#[test]
fn a_host_that_boots_its_disk_gets_a_lease_and_no_boot_fields() {
    for (mac, why) in [(LOCAL, DiskReason::Configured), (INSTALL, DiskReason::NotArmed)] {
        let reply = Room::new().reply(&Packet::discover(mac).pxe(0));
        assert!(!reply.message.yiaddr().is_unspecified());
        assert_eq!(reply.message.siaddr(), NOBODY);
        assert_eq!(
            (reply.option(67), reply.option(60), reply.option(43)),
            (None, None, None)
        );
        let (address, boot) = (reply.message.yiaddr(), told(BootAction::Disk { why }));
        assert_eq!(reply.step, Step::Offered { address, boot });
    }
}

#[test]
fn a_uefi_that_is_to_boot_its_disk_is_given_that_as_the_one_item_of_a_menu_and_takes_it_at_once() {
    for mac in [LOCAL, INSTALL] {
        let reply = Room::new().reply(&Packet::discover(mac).pxe(7));
        assert_eq!(reply.option(60), Some(&b"PXEClient"[..]));
        let menu = reply.option(43).unwrap();
        let mut rest = menu;
        let mut items = Vec::new();
        while let [code, length, body @ ..] = rest {
            let (body, behind) = body.split_at(usize::from(*length));
            items.push((*code, body));
            rest = behind;
        }
        assert_eq!(rest, [255]);
        // No broadcast and no multicast for a boot server; type 0, which is the disk; no second to choose in.
        assert_eq!(items, [(6, &[3][..]), (9, b"\0\0\x04disk"), (10, b"\0disk.")]);
        assert_eq!((reply.option(67), reply.message.siaddr()), (None, NOBODY));
    }
    for packet in [Packet::discover(LOCAL).http_boot(16), Packet::discover(LOCAL)] {
        assert_eq!(Room::new().reply(&packet).option(43), None);
    }
}

#[test]
fn an_ipxe_that_is_to_boot_its_disk_waits_for_no_proxy_and_only_one_that_others_may_boot_does() {
    for mac in [LOCAL, INSTALL] {
        let reply = Room::new().reply(&Packet::discover(mac).ipxe(0));
        assert_eq!(reply.option(67), None);
        assert_eq!(reply.option(175), Some(&[0xb0, 1, 1][..]));
        assert_eq!(Room::new().reply(&Packet::discover(mac).pxe(0)).option(175), None);
    }
    let mut room = Room::new();
    room.snapshot.unknown = UnknownPolicy::Lease;
    assert_eq!(room.reply(&Packet::discover(STRANGER).ipxe(0)).option(175), None);
}

/// What the ROMs of s390 and POWER say in a DISCOVER: this list and nothing else.
const WANTED_BY_SLOF: [u8; 6] = [1, 3, 6, 66, 67, 93];

#[test]
fn firmware_that_reads_pxelinux_cfg_is_told_the_server_and_no_file() {
    let mut room = Room::new();
    let sent = [&b"U-Boot.armv7"[..], b"U-Boot.armv8", b"U-Boot"];
    for (arch, class) in [
        (Some(21_u16), Some(sent[0])),
        (Some(22), Some(sent[1])),
        (None, Some(sent[2])),
        (Some(12), None),
        (Some(14), None),
        (Some(31), None),
    ] {
        for mac in [LIVE, STRANGER] {
            let mut packet = Packet::discover(mac).with(55, &WANTED_BY_SLOF);
            packet = class.map_or(packet.clone(), |class| packet.clone().with(60, class));
            packet = arch.map_or(packet.clone(), |arch| packet.clone().with(93, &arch.to_be_bytes()));
            let reply = room.reply(&packet);
            assert_eq!(reply.message.siaddr(), SERVER, "{arch:?} {class:?}");
            assert_eq!(reply.option(66), Some(&b"192.0.2.1\0"[..]));
            assert_eq!((reply.option(67), reply.file()), (None, String::new()));
            assert_eq!((reply.option(43), reply.option(60)), (None, None));
            let event = room.outcome(&packet).event;
            assert_eq!(event.stage, Stage::Pxelinux);
        }
    }
}

#[test]
fn whatever_may_boot_from_the_network_is_told_our_address_before_it_says_what_it_is() {
    let mut room = Room::new();
    for mac in [LIVE, STRANGER] {
        let offer = room.reply(&Packet::discover(mac).with(55, &WANTED_BY_SLOF));
        assert_eq!(offer.message.siaddr(), SERVER);
        let taking = Packet::selecting(mac, offer.message.yiaddr()).with(55, &WANTED_BY_SLOF);
        let outcome = room.outcome(&taking.with(93, &[0, 31]));
        // What it is is kept for its script, which it asks for by names that do not tell.
        let kept = outcome.observation.firmware.unwrap();
        assert_eq!((kept.mac, kept.arch), (Some(mac), Arch::from_option_93(31)));
        let ack = outcome.send.unwrap().reply;
        assert_eq!((ack.next_server, ack.boot_file), (SERVER, None));
    }
    // It tries the next of its boot devices then, and this is what the operator wants.
    for mac in [LOCAL, INSTALL] {
        let packet = Packet::discover(mac).with(55, &WANTED_BY_SLOF).with(93, &[0, 31]);
        assert_eq!(room.reply(&packet).message.siaddr(), NOBODY);
    }
}

#[test]
fn a_running_system_gets_plain_dhcp() {
    let packet = Packet::discover(LIVE)
        .with(60, b"udhcp 1.35.0")
        .with(55, &[1, 3, 6, 12, 15, 28, 58, 59]);
    let reply = Room::new().reply(&packet);
    assert_eq!(reply.option(67), None);
    assert_eq!(reply.option(12), Some(&b"live-one"[..]));
    assert_eq!(reply.option(15), Some(&b"rack.example"[..]));
    assert_eq!(reply.option(28), Some(&[192, 0, 2, 255][..]));
    assert_eq!(reply.option(51), Some(&3600u32.to_be_bytes()[..]));
    assert_eq!(reply.option(58), Some(&1800u32.to_be_bytes()[..]));
    assert_eq!(reply.option(59), Some(&3150u32.to_be_bytes()[..]));
}

#[test]
fn what_was_not_asked_for_is_not_sent() {
    let reply = Room::new().reply(&Packet::discover(LIVE).with(55, &[1]));
    let mut codes: Vec<u8> = reply.options.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [1, 3, 6, 51, 53, 54]);
}

// Who gets which address.

#[test]
fn a_reservation_needs_no_lease_record_and_boots_every_interface_of_its_host() {
    let mut room = Room::new();
    let address = Ipv4Addr::new(192, 0, 2, 11);
    for mac in [LIVE, LIVE_SECOND] {
        let offer = room.reply(&Packet::discover(mac).pxe(7));
        assert_eq!(offer.message.yiaddr(), address);
        let ack = room.reply(&Packet::selecting(mac, address).pxe(7));
        assert_eq!((ack.kind(), ack.change), (MessageType::Ack, None));
    }
    assert_eq!(room.leases.iter(room.now).count(), 0);
}

#[test]
fn a_reserved_address_that_is_leased_to_another_is_given_when_that_lease_ends() {
    let mut room = Room::new();
    let address = room.dora(STRANGER);
    let late = host("late", &[LIVE], Some(&address.to_string()), BootTarget::Live);
    room.snapshot.hosts = Hosts::new(vec![late]);
    let meanwhile = room.dora(LIVE);
    assert_ne!(meanwhile, address);
    // The holder's renewal is refused, and its lease ends there.
    let nak = room.reply(&Packet::renewing(STRANGER, address));
    assert_eq!(nak.kind(), MessageType::Nak);
    assert_eq!(nak.change, Some(LeaseChange::Remove(address)));
    assert_eq!(room.reply(&Packet::discover(LIVE)).message.yiaddr(), address);
}

#[test]
fn a_lease_of_a_hosts_other_interface_goes_from_the_disk_when_its_reservation_takes_over() {
    let mut room = Room::new();
    let hosts = std::mem::replace(&mut room.snapshot.hosts, Hosts::new(Vec::new()));
    let address = room.dora(LIVE);
    let both = host(
        "live-one",
        &[LIVE, LIVE_SECOND],
        Some(&address.to_string()),
        BootTarget::Live,
    );
    room.snapshot.hosts = Hosts::new(vec![both]);
    let taken = Packet::selecting(LIVE_SECOND, address).pxe(7);
    let ack = room.reply(&taken);
    assert_eq!(
        (ack.kind(), ack.change),
        (MessageType::Ack, Some(LeaseChange::Remove(address)))
    );
    assert_eq!(room.reply(&taken).change, None, "its record is gone");
    // Plain BOOTP takes it over too, when that lease has ended; one of its own stays its own.
    let other = Ipv4Addr::new(192, 0, 2, 11);
    room.snapshot.hosts = hosts;
    for (mac, change) in [(LIVE_SECOND, Some(LeaseChange::Remove(other))), (LIVE, None)] {
        room.leases = LeaseTable::default();
        let lasting = Duration::from_secs(3600);
        let record = room.leases.lease(room.now, LIVE.into(), other, lasting);
        assert!(record.is_some());
        room.now.monotonic += lasting;
        let mut bootp = Packet::new(1, mac);
        bootp.options.clear();
        let reply = room.outcome(&bootp);
        assert!(reply.send.is_some(), "{:?}", reply.event.step);
        assert_eq!(reply.change, change);
    }
}

#[test]
fn a_reserved_address_leased_to_another_is_ignored_with_a_reason_when_the_pool_is_used_up() {
    let mut room = Room::new();
    let taken: Vec<Ipv4Addr> = (0..4).map(|n| room.dora(MacAddr([2, 0, 0, 0, 0, n]))).collect();
    let late = host("late", &[LIVE], Some(&taken[0].to_string()), BootTarget::Live);
    room.snapshot.hosts = Hosts::new(vec![late]);
    let by = MacAddr([2, 0, 0, 0, 0, 0]).into();
    let own = NoOwnAddress::Unavailable {
        address: taken[0],
        why: ReservationUnavailable::Leased { by },
    };
    let subnet = cidr("192.0.2.0/24");
    let expected = Reason::PoolUsedUp { own, subnet };
    assert_eq!(room.silence(&Packet::discover(LIVE)), expected);
}

/// Option 97 with a UUID, and the host that has it.
const UUID_97: [u8; 17] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

fn host_with_uuid(macs: &[MacAddr]) -> Host {
    Host {
        uuid: Uuid::from_option_97(&UUID_97),
        ..host("by-uuid", macs, Some("192.0.2.11"), BootTarget::Live)
    }
}

#[test]
fn a_stranger_that_says_a_hosts_uuid_does_not_get_the_address_of_its_mac() {
    let mut room = Room::new();
    room.snapshot.hosts = Hosts::new(vec![host_with_uuid(&[LIVE])]);
    let address = Ipv4Addr::new(192, 0, 2, 11);
    assert_eq!(room.dora(LIVE), address);
    let offer = room.reply(&Packet::discover(STRANGER).with(97, &UUID_97));
    assert_eq!(offer.message.yiaddr(), STRANGERS);
    let nak = room.reply(&Packet::selecting(STRANGER, address).with(97, &UUID_97));
    assert_eq!(nak.kind(), MessageType::Nak);
}

#[test]
fn of_two_boards_with_the_same_uuid_one_has_the_reserved_address() {
    let mut room = Room::new();
    room.snapshot.hosts = Hosts::new(vec![host_with_uuid(&[])]);
    let address = Ipv4Addr::new(192, 0, 2, 11);
    let ack = room.reply(&Packet::selecting(LIVE, address).with(97, &UUID_97));
    assert_eq!((ack.kind(), ack.change), (MessageType::Ack, None));
    let other = room.reply(&Packet::discover(STRANGER).with(97, &UUID_97));
    assert_eq!(other.message.yiaddr(), STRANGERS);
    let again = room.reply(&Packet::discover(LIVE).with(97, &UUID_97));
    assert_eq!(again.message.yiaddr(), address);
    room.outcome(&Packet::new(7, LIVE).at(address).with(97, &UUID_97));
    let other = room.reply(&Packet::discover(STRANGER).with(97, &UUID_97));
    assert_eq!(other.message.yiaddr(), address);
}

#[test]
fn an_address_whose_reservation_went_is_nobody_elses_while_it_is_in_use() {
    let mut room = Room::new();
    assert_eq!(room.dora(LIVE), Ipv4Addr::new(192, 0, 2, 11));
    room.snapshot.hosts = Hosts::new(Vec::new());
    room.snapshot.subnets = vec![subnet("192.0.2.0/24", None, &["192.0.2.11-192.0.2.12"])];
    assert_eq!(room.dora(STRANGER), Ipv4Addr::new(192, 0, 2, 12));
    let kept = room.reply(&Packet::renewing(LIVE, Ipv4Addr::new(192, 0, 2, 11)));
    assert_eq!(kept.kind(), MessageType::Ack);
    assert!(matches!(kept.change, Some(LeaseChange::Put(_))));
}

#[test]
fn a_new_board_gets_the_reserved_address_of_the_one_it_replaces_at_once() {
    let mut room = Room::new();
    let address = room.dora(LIVE);
    let replaced = host("live-one", &[STRANGER], Some("192.0.2.11"), BootTarget::Live);
    room.snapshot.hosts = Hosts::new(vec![replaced]);
    assert_eq!(room.dora(STRANGER), address);
}

#[test]
fn strangers_with_whole_exchanges_leave_the_part_of_the_pool_that_is_kept_for_listed_hosts() {
    let mut room = Room::new();
    room.snapshot.subnets[0].kept = vec!["192.0.2.104-192.0.2.105".parse().unwrap()];
    let stranger = |last: u8| MacAddr([2, 0, 0, 0, 0, last]);
    let given = [1, 2, 3, 4].map(|last| (stranger(last), room.dora(stranger(last))));
    let kept = Ipv4Addr::new(192, 0, 2, 104);
    let outcome = room.outcome(&Packet::discover(stranger(5)).with(50, &kept.octets()));
    assert!(
        matches!(outcome.event.step, Step::PoolExhausted { .. }),
        "{:?}",
        outcome.event.step
    );
    let nak = room.reply(&Packet::selecting(stranger(5), kept));
    assert_eq!(nak.kind(), MessageType::Nak);
    assert!((104..=105).contains(&room.dora(INSTALL).octets()[3]));
    // The inventory changes, and keeps an address for others that a machine has: it stays its own.
    room.snapshot.subnets[0].pool = vec!["192.0.2.100-192.0.2.102".parse().unwrap()];
    room.snapshot.subnets[0].kept = vec!["192.0.2.103-192.0.2.105".parse().unwrap()];
    let last = given.iter().find(|(_, address)| address.octets()[3] == 103);
    let (mac, address) = last.expect("all four were given");
    let renewal = Packet::renewing(*mac, *address);
    assert_eq!(room.reply(&renewal).kind(), MessageType::Ack);
}

#[test]
fn a_flood_of_offers_to_strangers_keeps_no_listed_host_out() {
    let mut room = Room::new();
    let flood: Vec<Ipv4Addr> = (0..4)
        .map(|n| {
            let offer = room.reply(&Packet::discover(MacAddr([2, 0, 0, 0, 0, n])));
            room.now = room.now.after(Duration::from_millis(1));
            offer.message.yiaddr()
        })
        .collect();
    assert_eq!(room.silence(&Packet::discover(STRANGER)), used_up());
    let address = room.dora(INSTALL);
    assert_eq!(address, flood[0], "the offer that ends soonest");
    let late = room.reply(&Packet::selecting(MacAddr([2, 0, 0, 0, 0, 0]), address));
    assert_eq!(late.kind(), MessageType::Nak);
}

#[test]
fn an_exhausted_pool_is_told_from_a_packet_that_is_ignored() {
    let mut room = Room::new();
    for last in 0..4 {
        room.dora(MacAddr([2, 0, 0, 0, 0, last]));
    }
    let outcome = room.outcome(&Packet::discover(STRANGER));
    assert_eq!(outcome.event.step, Step::PoolExhausted { reason: used_up() });
    room.snapshot.subnets[0].pool.clear();
    let (own, subnet) = (NoOwnAddress::Unreserved, cidr("192.0.2.0/24"));
    let reason = Reason::NoPool { own, subnet };
    assert_eq!(room.unanswered(&Packet::discover(STRANGER)), Step::Ignored { reason });
}

#[test]
fn a_listed_host_takes_no_lease_and_no_other_listed_hosts_offer() {
    let mut room = Room::new();
    let second = MacAddr([0x52, 0x54, 0, 0, 0, 4]);
    room.snapshot.hosts = Hosts::new(vec![
        host("one", &[INSTALL], None, BootTarget::Local),
        host("two", &[second], None, BootTarget::Local),
    ]);
    for n in 0..3 {
        room.dora(MacAddr([2, 0, 0, 0, 0, n]));
    }
    room.reply(&Packet::discover(INSTALL));
    assert_eq!(room.silence(&Packet::discover(second)), used_up());
}

#[test]
fn every_acknowledged_lease_has_its_record() {
    let mut room = Room::new();
    let address = room.reply(&Packet::discover(STRANGER)).message.yiaddr();
    let ack = room.reply(&Packet::selecting(STRANGER, address));
    let Some(LeaseChange::Put(record)) = ack.change else {
        panic!("{:?}", ack.change);
    };
    assert_eq!((record.address, record.client), (address, HardwareAddr::from(STRANGER)));
    assert_eq!(record.expires.0, START.wall.0 + 3600);
    assert_eq!(
        room.leases.client_at(room.now, address),
        Some(HardwareAddr::from(STRANGER))
    );
}

#[test]
fn a_request_after_a_restart_that_forgot_the_offer_is_acknowledged() {
    let ack = Room::new().reply(&Packet::selecting(STRANGER, STRANGERS));
    assert_eq!(ack.kind(), MessageType::Ack);
}

#[test]
fn a_request_for_an_address_that_another_holds_gets_a_nak() {
    let mut room = Room::new();
    let address = room.dora(STRANGER);
    let other = MacAddr([2, 0, 0, 0, 0, 1]);
    assert_eq!(room.reply(&Packet::selecting(other, address)).kind(), MessageType::Nak);
    assert_eq!(
        room.leases.client_at(room.now, address),
        Some(HardwareAddr::from(STRANGER))
    );
}

#[test]
fn a_request_for_our_own_or_a_hosts_address_gets_a_nak() {
    for address in [SERVER, Ipv4Addr::new(192, 0, 2, 11), Ipv4Addr::new(192, 0, 2, 255)] {
        let reply = Room::new().reply(&Packet::selecting(STRANGER, address));
        assert_eq!(reply.kind(), MessageType::Nak, "{address}");
    }
}

#[test]
fn a_released_address_is_kept_for_its_client_while_others_are_free() {
    let mut room = Room::new();
    let address = room.dora(STRANGER);
    let outcome = room.outcome(&Packet::new(7, STRANGER).at(address).with(54, &SERVER.octets()));
    assert!(outcome.send.is_none());
    assert_eq!(outcome.change, Some(LeaseChange::Remove(address)));
    assert_eq!(outcome.event.step, Step::Released { address });
    assert_ne!(room.dora(MacAddr([2, 0, 0, 0, 0, 1])), address);
    assert_eq!(room.dora(STRANGER), address);
}

#[test]
fn nobody_releases_or_declines_what_is_anothers() {
    let mut room = Room::new();
    let address = room.dora(STRANGER);
    let thief = MacAddr([2, 0, 0, 0, 0, 1]);
    let release = room.silence(&Packet::new(7, thief).at(address));
    assert_eq!(release, Reason::ReleaseNotHeld { address });
    let decline = Packet::new(4, thief).with(50, &address.octets());
    assert_eq!(room.silence(&decline), Reason::DeclineNotHeld { address });
    assert_eq!(
        room.leases.client_at(room.now, address),
        Some(HardwareAddr::from(STRANGER))
    );
}

#[test]
fn a_declined_address_is_out_of_use_for_a_while() {
    let mut room = Room::new();
    let address = room.dora(STRANGER);
    let decline = Packet::new(4, STRANGER)
        .with(50, &address.octets())
        .with(54, &SERVER.octets());
    let outcome = room.outcome(&decline);
    assert_eq!(outcome.change, Some(LeaseChange::Remove(address)));
    let wanting = Packet::discover(STRANGER).with(50, &address.octets());
    assert_ne!(room.reply(&wanting).message.yiaddr(), address);
    room.now = room.now.after(limits::DECLINE_QUARANTINE + Duration::from_secs(1));
    let other = Packet::discover(MacAddr([2, 0, 0, 0, 0, 1])).with(50, &address.octets());
    assert_eq!(room.reply(&other).message.yiaddr(), address);
}

// Machines nobody listed.

#[test]
fn the_unknown_get_what_the_policy_says() {
    let mut room = Room::new();
    assert_eq!(room.reply(&Packet::discover(STRANGER).pxe(7)).file(), "snponly.efi");
    room.snapshot.unknown = UnknownPolicy::Lease;
    let reply = room.reply(&Packet::discover(STRANGER).pxe(7));
    assert_eq!((reply.message.yiaddr(), reply.option(67)), (STRANGERS, None));
    room.snapshot.unknown = UnknownPolicy::Ignore;
    let ignored = room.silence(&Packet::discover(STRANGER).pxe(7));
    let near = Near(Some("install-one".parse().unwrap()));
    assert_eq!(ignored, Reason::Unlisted { near }, "one digit from that too");
    let mac_typo_hint = MacAddr([LIVE.0[0], LIVE.0[1], LIVE.0[2], LIVE.0[3], LIVE.0[4], LIVE.0[5] ^ 0x40]);
    let near = Near(Some("live-one".parse().unwrap()));
    assert_eq!(
        room.silence(&Packet::discover(mac_typo_hint).pxe(7)),
        Reason::Unlisted { near }
    );
    assert_eq!(room.reply(&Packet::discover(LIVE).pxe(7)).kind(), MessageType::Offer);
}

#[test]
fn a_rule_matches_by_vendor_and_architecture() {
    let mut room = Room::new();
    room.snapshot.unknown = UnknownPolicy::Ignore;
    let matches = RuleMatch {
        vendor: Some("PXEClient*".to_owned()),
        cpu: Some(bootwright::model::Cpu::Arm64),
        ..RuleMatch::default()
    };
    room.snapshot.rules = vec![rule(matches, BootTarget::Live)];
    assert_eq!(
        room.reply(&Packet::discover(STRANGER).pxe(11)).file(),
        "snponly-arm64.efi"
    );
    room.silence(&Packet::discover(STRANGER).pxe(7));
}

#[test]
fn events_name_the_host_or_the_mac() {
    let mut room = Room::new();
    let host = room.outcome(&Packet::discover(LIVE).pxe(7)).event;
    assert_eq!((host.machine.key, host.stage), (listed("live-one"), Stage::UefiPxe));
    assert_eq!(host.machine.hardware, Some(LIVE.into()));
    let stranger = room.outcome(&Packet::discover(STRANGER)).event;
    assert_eq!(stranger.machine.key, unlisted(STRANGER));
    assert_eq!(stranger.machine.key.to_string(), "52-54-00-00-00-63");
}

/// The conformance cases of DHCP are numbered; each is found by its number.
#[test]
fn every_case_has_its_test() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pure/dhcp_conformance");
    let files = std::fs::read_dir(&here).unwrap().map(|file| file.unwrap().path());
    let source: String = files
        .chain([here.with_extension("rs")])
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let tests: Vec<&str> = source.lines().filter(|line| line.starts_with("fn ")).collect();
    let missing: Vec<u8> = (1..=29)
        .filter(|case| !tests.iter().any(|name| name.contains(&format!("case_{case:02}_"))))
        .collect();
    assert!(missing.is_empty(), "no test for {missing:?}");
}
