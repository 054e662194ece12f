//! What fuzzing found, each as the exchange that shows it.

use super::support::*;
use bootwright::boot::snapshot::Hosts;
use bootwright::model::{BootTarget, MacAddr};
use std::time::Duration;

#[test]
fn declining_an_address_that_was_only_offered_writes_nothing() {
    let mut room = Room::new();
    let address = room.reply(&Packet::discover(STRANGER)).message.yiaddr();
    let outcome = room.outcome(&Packet::new(4, STRANGER).with(50, &address.octets()));
    assert_eq!(outcome.change, None);
    let wanting = Packet::discover(STRANGER).with(50, &address.octets());
    assert_ne!(
        room.reply(&wanting).message.yiaddr(),
        address,
        "and it is out of use all the same"
    );
}

#[test]
fn a_lease_from_before_its_reservation_is_kept_as_long_as_the_last_ack_said() {
    let mut room = Room::new();
    let address = room.dora(STRANGER);
    let listed = host("late", &[STRANGER], Some(&address.to_string()), BootTarget::Live);
    let before = std::mem::replace(&mut room.snapshot.hosts, Hosts::new(vec![listed]));
    room.now = room.now.after(Duration::from_secs(1800));
    let ack = room.reply(&Packet::renewing(STRANGER, address));
    assert_eq!(ack.option(51), Some(&3600u32.to_be_bytes()[..]));
    // The reservation goes, and the lease that was there before it would have ended by now.
    room.snapshot.hosts = before;
    room.now = room.now.after(Duration::from_secs(1900));
    let wanting = Packet::discover(MacAddr([2, 0, 0, 0, 0, 1])).with(50, &address.octets());
    assert_ne!(room.reply(&wanting).message.yiaddr(), address);
}
