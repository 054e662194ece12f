//! What becomes of an address that a host has when the inventory gives it another.

use super::support::*;
use bootwright::boot::snapshot::Hosts;
use bootwright::model::BootTarget;
use dhcproto::v4::MessageType;
use std::net::Ipv4Addr;

const OLD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

/// A room in which the host has its old address, and whose inventory says another now.
fn moved_to(address: &str) -> Room {
    let mut room = Room::new();
    assert_eq!(room.dora(LIVE), OLD);
    room.snapshot.hosts = Hosts::new(vec![host("live-one", &[LIVE], Some(address), BootTarget::Live)]);
    room
}

#[test]
fn a_host_that_reboots_or_renews_with_its_old_reservation_is_sent_to_ask_for_the_new_one() {
    for packet in [Packet::rebooting(LIVE, OLD), Packet::renewing(LIVE, OLD)] {
        let mut room = moved_to("192.0.2.21");
        assert_eq!(room.reply(&packet).kind(), MessageType::Nak);
        assert_eq!(room.dora(LIVE), Ipv4Addr::new(192, 0, 2, 21));
    }
}

#[test]
fn a_host_whose_reservation_moved_to_another_subnet_is_refused_its_old_address_and_gets_the_new_one_there() {
    for packet in [Packet::rebooting(LIVE, OLD), Packet::renewing(LIVE, OLD)] {
        let mut room = moved_to("198.51.100.21");
        assert_eq!(room.reply(&packet).kind(), MessageType::Nak);
        let there = Packet::discover(LIVE).through(Ipv4Addr::new(198, 51, 100, 2));
        assert_eq!(room.reply(&there).message.yiaddr(), Ipv4Addr::new(198, 51, 100, 21));
    }
}
