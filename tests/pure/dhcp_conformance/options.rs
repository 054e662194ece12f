//! What a reply says beside the address and the boot file, and plain BOOTP.

use super::support::*;
use bootwright::boot::{
    event::Reason,
    snapshot::{Host, Hosts},
};
use bootwright::lease::LeaseChange;
use bootwright::model::BootTarget;
use bootwright::proto::dhcp::RawOption;
use std::time::Duration;

fn option(code: u8, body: &[u8], always: bool) -> RawOption {
    RawOption {
        code,
        body: body.to_vec(),
        always,
    }
}

/// A room whose first subnet and whose first host have these options.
fn room(subnet: &[RawOption], own: &[RawOption]) -> Room {
    let mut room = Room::new();
    let named = |options: &[RawOption]| {
        options
            .iter()
            .map(|option| (option.code, sourced(option.clone())))
            .collect()
    };
    room.snapshot.subnets[0].options = named(subnet);
    let mut listed = host("live-one", &[LIVE], Some("192.0.2.11"), BootTarget::Live);
    listed.settings.options = named(own);
    room.snapshot.hosts = Hosts::new(vec![listed]);
    room
}

fn asking(mac: bootwright::model::MacAddr, list: &[u8]) -> Packet {
    Packet::discover(mac).with(55, list)
}

#[test]
fn a_hosts_option_stands_before_its_subnets() {
    let mut room = room(
        &[option(42, &[192, 0, 2, 5], false), option(26, &[5, 220], false)],
        &[option(42, &[192, 0, 2, 6], false)],
    );
    let offer = room.reply(&asking(LIVE, &[1, 26, 42]));
    assert_eq!(offer.option(42), Some(&[192, 0, 2, 6][..]));
    assert_eq!(offer.option(26), Some(&[5, 220][..]));
    let offer = room.reply(&asking(STRANGER, &[1, 26, 42]));
    assert_eq!(offer.option(42), Some(&[192, 0, 2, 5][..]));
}

#[test]
fn an_option_goes_to_who_asks_for_it_or_always() {
    let mut room = room(&[option(150, &[1], false), option(209, &[2], true)], &[]);
    let offer = room.reply(&asking(STRANGER, &[1, 3]));
    assert_eq!((offer.option(150), offer.option(209)), (None, Some(&[2][..])));
    let offer = room.reply(&asking(STRANGER, &[150]));
    assert_eq!(offer.option(150), Some(&[1][..]));
}

#[test]
fn options_stand_in_the_order_of_the_clients_list_behind_the_essential_ones() {
    let mut room = room(&[option(42, &[192, 0, 2, 5], false), option(26, &[5, 220], false)], &[]);
    let offer = room.reply(&asking(LIVE, &[42, 15, 12, 26, 6, 28, 1, 3, 51]));
    let codes: Vec<u8> = offer.options.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [53, 54, 51, 1, 3, 42, 15, 12, 26, 6, 28]);
}

#[test]
fn what_does_not_fit_is_left_out_from_the_end_of_the_list() {
    let long: Vec<RawOption> = [150, 209, 210].map(|code| option(code, &[7; 200], false)).to_vec();
    let mut room = room(&long, &[]);
    let offer = room.reply(&asking(STRANGER, &[210, 150, 209]).with(57, &576_u16.to_be_bytes()));
    assert!(offer.bytes.len() <= 548);
    assert!(offer.option(210).is_some());
    assert!(offer.option(209).is_none());
    assert!(offer.option(51).is_some());
}

#[test]
fn the_default_route_stands_among_the_classless_ones() {
    let routes = [24, 203, 0, 113, 192, 0, 2, 253];
    let mut with = room(&[option(121, &routes, false)], &[]);
    let expected = [&routes[..], &[0, 192, 0, 2, 254]].concat();
    let offer = with.reply(&asking(STRANGER, &[121]));
    assert_eq!(offer.option(121), Some(&expected[..]));
    // One of the operator's own is enough.
    let own = [0, 192, 0, 2, 253];
    let offer = room(&[option(121, &own, false)], &[]).reply(&asking(STRANGER, &[121]));
    assert_eq!(offer.option(121), Some(&own[..]));
}

#[test]
fn a_host_is_called_by_its_hostname_and_by_its_name_without_one() {
    let mut room = room(&[], &[]);
    assert_eq!(room.reply(&asking(LIVE, &[12])).option(12), Some(&b"live-one"[..]));
    let named = host("live-one", &[LIVE], None, BootTarget::Live);
    room.snapshot.hosts = Hosts::new(vec![Host {
        hostname: Some("db1".to_owned()),
        ..named
    }]);
    assert_eq!(room.reply(&asking(LIVE, &[12])).option(12), Some(&b"db1"[..]));
}

#[test]
fn a_client_that_says_its_full_name_is_told_that_nobody_here_updates_dns() {
    let mut room = room(&[], &[]);
    // S and E: the client wants us to update, and writes labels.
    let sent = [&[0b0101, 0, 0][..], b"\x03old\x07example\0"].concat();
    let offer = room.reply(&asking(LIVE, &[1]).with(81, &sent));
    let expected = [&[0b1110, 255, 255][..], b"\x08live-one\x04rack\x07example\0"].concat();
    assert_eq!(offer.option(81), Some(&expected[..]));
    // A stranger keeps its own name, as it wrote it; it wanted to do the update itself.
    let offer = room.reply(&asking(STRANGER, &[1]).with(81, b"\0\0\0old.example"));
    assert_eq!(offer.option(81), Some(&b"\x08\xff\xffold.example"[..]));
    // One that says a part of its name is told the whole; the root behind labels, or a dot, makes a whole.
    let mut whole = |sent: &[u8]| {
        room.reply(&asking(STRANGER, &[1]).with(81, sent))
            .option(81)
            .unwrap()
            .to_vec()
    };
    assert_eq!(whole(b"\x04\0\0\x03new"), b"\x0c\xff\xff\x03new\x04rack\x07example\0");
    assert_eq!(whole(b"\x04\0\0\x03new\0"), b"\x0c\xff\xff\x03new\0");
    assert_eq!(whole(b"\0\0\0new"), b"\x08\xff\xffnew.rack.example");
    assert_eq!(whole(b"\0\0\0n w"), b"\x08\xff\xffn w");
    // Who does not say 81 does not hear it, and a cut one says nothing.
    assert_eq!(room.reply(&asking(LIVE, &[81])).option(81), None);
    assert_eq!(room.reply(&asking(LIVE, &[81]).with(81, &[0, 0])).option(81), None);
}

#[test]
fn who_asks_for_both_the_router_and_the_classless_routes_gets_the_routes_alone() {
    let routes = [24, 203, 0, 113, 192, 0, 2, 253];
    let mut room = room(&[option(121, &routes, false), option(33, &[7; 8], false)], &[]);
    let mut codes = |packet: Packet| -> Vec<u8> {
        let offer = room.reply(&packet);
        let codes = offer.options.iter().map(|(code, _)| *code);
        codes.filter(|code| [3, 33, 121].contains(code)).collect()
    };
    assert_eq!(codes(asking(STRANGER, &[1, 121, 3, 33])), [121]);
    assert_eq!(codes(asking(STRANGER, &[1, 3, 33])), [3, 33]);
    // Who says nothing of what it wants may know nothing of option 121.
    assert_eq!(codes(Packet::discover(STRANGER)), [3, 33, 121]);
}

#[test]
fn who_has_no_room_for_the_classless_routes_keeps_its_router() {
    let mut room = room(&[option(121, &[32; 600], false)], &[]);
    let asks = |bytes: u16| asking(STRANGER, &[1, 121, 3]).with(57, &bytes.to_be_bytes());
    let offer = room.reply(&asks(576));
    assert_eq!(
        (offer.option(121), offer.option(3)),
        (None, Some(&[192, 0, 2, 254][..]))
    );
    let offer = room.reply(&asks(1472));
    assert!(offer.option(121).is_some() && offer.option(3).is_none());
}

/// The options in one of the header's fields, to the end marker that must be there.
fn options_in(field: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut options = Vec::new();
    let mut rest = field;
    while rest[0] != 255 {
        let length = usize::from(rest[1]);
        options.push((rest[0], rest[2..2 + length].to_vec()));
        rest = &rest[2 + length..];
    }
    assert!(rest.len() > 1 && rest[1..].iter().all(|byte| *byte == 0), "{field:?}");
    options
}

#[test]
fn what_finds_no_room_behind_the_header_goes_into_its_unused_fields() {
    let body: Vec<u8> = (0..=255).chain(0..144).collect();
    let mut room = room(&[option(224, &body, false), option(42, &[192, 0, 2, 5], false)], &[]);
    let agent = [1, 2, b'e', b'1'];
    let asks = || {
        asking(STRANGER, &[1, 224, 42])
            .with(57, &576_u16.to_be_bytes())
            .with(82, &agent)
    };
    let offer = room.reply(&asks());
    assert!(offer.bytes.len() <= 548);
    assert_eq!(offer.option(52), Some(&[3][..]), "both fields");
    assert_eq!(
        offer.options.last(),
        Some(&(82, agent.to_vec())),
        "behind everything else"
    );
    // In the order in which RFC 3396 has them joined; what is short is never cut.
    let fields = [options_in(&offer.bytes[108..236]), options_in(&offer.bytes[44..108])];
    let all: Vec<(u8, Vec<u8>)> = [offer.options.clone(), fields.concat()].concat();
    let pieces = |code: u8| all.iter().filter(move |(each, _)| *each == code);
    let joined: Vec<u8> = pieces(224).flat_map(|(_, piece)| piece.clone()).collect();
    assert_eq!(joined, body);
    assert_eq!(pieces(42).count(), usize::from(all.iter().any(|(code, _)| *code == 42)));
    assert!(fields.iter().flatten().all(|(code, _)| *code != 82));
    // Firmware that is told what to load finds its file there, and a NAK has no options to spare.
    let firmware = room.reply(&asks().pxe(0));
    assert_eq!((firmware.option(52), firmware.option(224)), (None, None));
    assert!(firmware.boot_file().is_some() && !firmware.file().is_empty());
    // Whom all of it fits is spared that.
    let large = room.reply(&asking(STRANGER, &[1, 224, 42]).with(57, &1472_u16.to_be_bytes()));
    assert!(large.option(52).is_none() && large.option(42).is_some());
}

#[test]
fn an_option_of_more_than_255_bytes_goes_out_in_pieces_one_behind_the_other() {
    for bytes in [255, 256, 510, 511, 1024] {
        let body: Vec<u8> = (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut room = room(&[option(150, &body, false), option(42, &[192, 0, 2, 5], false)], &[]);
        let offer = room.reply(&asking(STRANGER, &[1, 150, 42]).with(57, &1472_u16.to_be_bytes()));
        let at = |code: u8| {
            offer
                .options
                .iter()
                .position(|(each, _)| *each == code)
                .expect("it is sent")
        };
        let pieces = &offer.options[at(150)..at(42)];
        assert!(pieces.iter().all(|(code, _)| *code == 150), "{bytes}: {pieces:?}");
        let lengths: Vec<usize> = pieces.iter().map(|(_, piece)| piece.len()).collect();
        assert!(lengths.iter().rev().skip(1).all(|length| *length == 255), "{lengths:?}");
        let joined: Vec<u8> = pieces.iter().flat_map(|(_, piece)| piece.clone()).collect();
        assert_eq!(joined, body);
        // Who takes no more than it must gets all but what is too long, and never a part of it.
        let small = room.reply(&asking(STRANGER, &[1, 150, 42]));
        let is_there = |code: u8| small.options.iter().any(|(each, _)| *each == code);
        assert_eq!((is_there(150), is_there(42)), (bytes < 257, true), "{bytes}");
        assert!(small.bytes.len() <= 548);
    }
}

#[test]
fn a_body_that_no_reply_can_hold_is_left_out_whole() {
    let mut room = room(&[option(150, &[32; 1025], true)], &[]);
    let offer = room.reply(&asking(STRANGER, &[1]).with(57, &1472_u16.to_be_bytes()));
    assert_eq!(offer.option(150), None);
    assert!(offer.option(1).is_some());
}

#[test]
fn a_subnet_is_selected_where_it_may_be_and_the_client_hears_so() {
    let selecting = || asking(STRANGER, &[1]).with(118, &[198, 51, 100, 0]);
    let mut room = Room::new();
    // Nobody allowed it: as if it had not been said.
    let offer = room.reply(&selecting());
    assert_eq!(offer.message.yiaddr().octets()[..3], [192, 0, 2]);
    assert_eq!(offer.option(118), None);
    room.snapshot.subnets[1].selectable = true;
    let offer = room.reply(&selecting());
    assert_eq!(offer.message.yiaddr().octets()[..3], [198, 51, 100]);
    assert_eq!(offer.option(118), Some(&[198, 51, 100, 0][..]));
    // What is in no subnet of ours may not be selected either.
    let offer = room.reply(&asking(STRANGER, &[1]).with(118, &[203, 0, 113, 0]));
    assert_eq!((offer.message.yiaddr().octets()[0], offer.option(118)), (192, None));
    // A relay's own word stands before it, and then it was not obeyed.
    let link = [5, 4, 192, 0, 2, 0];
    let relayed = selecting().through("198.51.100.2".parse().unwrap()).with(82, &link);
    let offer = room.reply(&relayed);
    assert_eq!(offer.message.yiaddr().octets()[..3], [192, 0, 2]);
    assert_eq!(offer.option(118), None);
}

#[test]
fn a_lease_lasts_as_long_as_its_subnet_says() {
    let mut room = Room::new();
    room.snapshot.subnets[0].lease = Duration::from_secs(600);
    let address = room.dora(STRANGER);
    let ack = room.reply(&Packet::renewing(STRANGER, address));
    assert_eq!(ack.option(51), Some(&600_u32.to_be_bytes()[..]));
    match ack.change {
        Some(LeaseChange::Put(record)) => assert_eq!(record.expires.0, START.wall.0 + 600),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plain_bootp_gives_a_listed_host_its_reservation_and_none_of_dhcps_options() {
    let mut room = Room::new();
    let mut packet = Packet::discover(LIVE);
    packet.options.clear();
    let reply = room.reply(&packet);
    assert_eq!(reply.message.yiaddr().to_string(), "192.0.2.11");
    for code in [50, 51, 53, 54, 55, 56, 57, 58, 59] {
        assert_eq!(reply.option(code), None, "option {code}");
    }
    assert_eq!(reply.option(1), Some(&[255, 255, 255, 0][..]));
    assert!(reply.bytes.len() >= 300 && reply.change.is_none());

    let mut packet = Packet::discover(STRANGER);
    packet.options.clear();
    assert_eq!(room.silence(&packet), Reason::BootpUnreserved);
}

#[test]
fn a_hosts_name_servers_and_domain_stand_in_place_of_its_subnets() {
    let mut room = room(
        &[],
        &[option(6, &[192, 0, 2, 5], true), option(15, b"db.example", false)],
    );
    let offer = room.reply(&asking(LIVE, &[1, 15]).with(81, b"\0\0\0live-one"));
    let times = |code: u8| offer.options.iter().filter(|(each, _)| *each == code).count();
    assert_eq!((offer.option(6), times(6)), (Some(&[192, 0, 2, 5][..]), 1));
    assert_eq!((offer.option(15), times(15)), (Some(&b"db.example"[..]), 1));
    assert_eq!(offer.option(81), Some(&b"\x08\xff\xfflive-one.db.example"[..]));
    let stranger = room.reply(&asking(STRANGER, &[1, 15]));
    assert_eq!(stranger.option(6), Some(&[192, 0, 2, 53][..]));
    assert_eq!(stranger.option(15), Some(&b"rack.example"[..]));
}

#[test]
fn we_are_the_log_server_of_ipxe_and_of_whoever_asks_and_of_nobody_else() {
    let ours = SERVER.octets();
    let ipxe = |mac| Packet::discover(mac).ipxe(7).with(57, &1472_u16.to_be_bytes());
    let mut quiet = room(&[], &[]);
    assert_eq!(quiet.reply(&asking(LIVE, &[1, 7])).option(7), None);
    assert_eq!(quiet.reply(&ipxe(LIVE)).option(7), None);
    let mut logging = room(&[], &[]);
    logging.snapshot.syslog = true;
    assert_eq!(logging.reply(&asking(LIVE, &[1, 7])).option(7), Some(&ours[..]));
    assert_eq!(logging.reply(&ipxe(LIVE)).option(7), Some(&ours[..]));
    // Who does not ask gets the same bytes as before: firmware, and clients without a list of what they want.
    for packet in [
        asking(LIVE, &[1, 3, 6]),
        Packet::discover(LIVE),
        Packet::discover(STRANGER),
    ] {
        assert_eq!(logging.reply(&packet).bytes, quiet.reply(&packet).bytes);
    }
    // The operator's own, of a subnet or of the machine, stands before it.
    let theirs = [192, 0, 2, 200];
    for (subnet, own) in [
        (&[option(7, &theirs, false)][..], &[][..]),
        (&[], &[option(7, &theirs, false)]),
    ] {
        let mut named = room(subnet, own);
        named.snapshot.syslog = true;
        let offer = named.reply(&asking(LIVE, &[1, 7]));
        let sevens: Vec<&[u8]> = offer
            .options
            .iter()
            .filter(|(code, _)| *code == 7)
            .map(|(_, body)| &body[..])
            .collect();
        assert_eq!(sevens, [&theirs[..]]);
    }
}
