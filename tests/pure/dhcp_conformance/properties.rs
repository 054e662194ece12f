//! Any bytes at all: no panic, and every reply is one that a client can read.

use super::support::*;
use crate::fixtures::nobody_armed;
use bootwright::boot::{
    engine::{self, Destination, Ingress, Outcome},
    event::Step,
    snapshot::{Snapshot, UnknownPolicy},
    world::World,
};
use bootwright::lease::LeaseTable;
use bootwright::model::{Mode, limits};
use bootwright::proto::dhcp::{self, ReplyKind, Request};
use dhcproto::{Decodable, v4::Message};
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn snapshots() -> Vec<Snapshot> {
    let mut without_anything = snapshot(UnknownPolicy::Lease);
    without_anything.subnets.clear();
    without_anything.loaders = loaders(&bootwright::model::Arch::all().collect::<Vec<_>>());
    let mut without_pool = snapshot(UnknownPolicy::Discover);
    without_pool.subnets[0].pool.clear();
    vec![
        snapshot(UnknownPolicy::Discover),
        snapshot(UnknownPolicy::Ignore),
        without_anything,
        without_pool,
    ]
}

fn ingresses() -> Vec<Ingress> {
    let mut pxe = ingress();
    pxe.port = 4011;
    pxe.source = "192.0.2.11:4011".parse().unwrap();
    let guest = |ingress: Ingress| Ingress {
        mode: Mode::Proxy,
        ..ingress
    };
    vec![ingress(), pxe.clone(), guest(ingress()), guest(pxe)]
}

/// What must hold of every outcome.
fn compiled(outcome: &Outcome, request: &Request) {
    let words = format!("{} {}", outcome.event.machine.key, outcome.event.step);
    assert!(words.is_ascii() && !words.contains("\\n"), "{words}");
    let Some(sending) = &outcome.send else {
        return;
    };
    assert!(!matches!(outcome.event.step, Step::Ignored { .. }));
    let bytes = sending.encode();
    assert!(bytes.len() >= limits::DHCP_REPLY_BYTES_MIN && bytes.len() <= limits::DHCP_REPLY_BYTES_MAX);
    let message = Message::from_bytes(&bytes).unwrap();
    assert_eq!(message.xid(), request.xid);
    let options = raw_options(&bytes);
    let has = |code: u8| options.iter().any(|(each, _)| *each == code);
    if sending.reply.kind == ReplyKind::Bootp {
        assert!((50..60).all(|code| !has(code)));
    } else {
        assert_eq!((options[0].0, options[1].0), (53, 54));
    }
    if let Some(agent) = request.relay_agent.as_ref().filter(|agent| agent.raw.len() <= 255) {
        assert_eq!(options.last(), Some(&(82, agent.raw.clone())));
    }
    if sending.reply.kind == ReplyKind::Nak {
        assert_eq!(message.yiaddr(), Ipv4Addr::UNSPECIFIED);
        assert!(!has(51) && !has(67));
    }
    if let Destination::Frame { to, .. } = sending.destination {
        assert_eq!(*to.ip(), message.yiaddr());
    }
}

fn check(bytes: &[u8]) {
    let Ok(request) = dhcp::parse(bytes) else {
        return;
    };
    for snapshot in snapshots() {
        let mut leases = LeaseTable::default();
        for ingress in ingresses() {
            let mut world = World {
                now: START,
                snapshot: &snapshot,
                leases: &mut leases,
                arming: nobody_armed(),
            };
            let outcome = engine::handle(&mut world, &ingress, &request);
            compiled(&outcome, &request);
        }
    }
}

fn kind() -> impl Strategy<Value = u8> {
    prop_oneof![Just(1), Just(3), Just(4), Just(7), Just(8), any::<u8>()]
}

/// Addresses that mean something in the room, and others.
fn address() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        Just(NOBODY),
        Just(SERVER),
        Just(Ipv4Addr::BROADCAST),
        any::<u8>().prop_map(|last| Ipv4Addr::new(192, 0, 2, last)),
        any::<u8>().prop_map(|last| Ipv4Addr::new(198, 51, 100, last)),
        any::<[u8; 4]>().prop_map(Ipv4Addr::from),
    ]
}

fn option() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let code = prop_oneof![
        proptest::sample::select(vec![
            12u8, 43, 50, 52, 53, 54, 55, 57, 60, 61, 77, 80, 81, 82, 93, 94, 97, 118, 175
        ]),
        1..=254u8,
    ];
    let sent = vec![
        &b"iPXE"[..],
        b"PXEClient:Arch:00007:UNDI:003016",
        b"HTTPClient",
        b"bootwright",
    ];
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        proptest::collection::vec(any::<u8>(), 0..9),
        address().prop_map(|address| address.octets().to_vec()),
        proptest::sample::select(sent).prop_map(<[u8]>::to_vec),
    ];
    (code, body)
}

prop_compose! {
    fn packet()(
        kind in kind(),
        mac in proptest::sample::select(vec![LIVE, LOCAL, INSTALL, STRANGER]),
        hlen in prop_oneof![Just(6), any::<u8>()],
        htype in prop_oneof![Just(1), any::<u8>()],
        flags in any::<u16>(),
        ciaddr in address(),
        giaddr in prop_oneof![Just(NOBODY), address()],
        options in proptest::collection::vec(option(), 0..8),
        sname in proptest::collection::vec(any::<u8>(), 64),
        file in proptest::collection::vec(any::<u8>(), 128),
    ) -> Packet {
        let mut packet = Packet::new(kind, mac);
        packet.hlen = hlen;
        packet.htype = htype;
        packet.flags = flags;
        packet.ciaddr = ciaddr;
        packet.giaddr = giaddr;
        packet.sname = sname;
        packet.file = file;
        packet.options.extend(options);
        packet
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
        check(&bytes);
    }

    #[test]
    fn any_options_behind_a_good_header_are_survived(tail in proptest::collection::vec(any::<u8>(), 0..1200)) {
        let mut bytes = Packet::discover(LIVE).bytes();
        bytes.pop();
        bytes.extend_from_slice(&tail);
        check(&bytes);
    }

    #[test]
    fn any_packet_gets_a_sound_outcome(packet in packet(), cut in prop_oneof![Just(None), (0..600usize).prop_map(Some)]) {
        let mut bytes = packet.bytes();
        if let Some(cut) = cut {
            bytes.truncate(cut);
        }
        check(&bytes);
    }
}
