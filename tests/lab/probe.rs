//! Rung 3: an address of the pool that somebody has taken without asking.

use super::daemon::{Daemon, ask_json};
use super::namespace::Wire;
use super::room::{Room, SUBNET};

const SQUATTER: &str = "02:bb:00:00:00:99";
const CLIENT: &str = "02:bb:00:00:00:01";
/// The client's name in the log.
const NAMED: &str = "02-bb-00-00-00-01";

/// A room that probes its addresses that way.
fn room(probe: &str) -> Room {
    let room = Room::new("");
    room.write("inventory.toml", &format!("{SUBNET}probe = \"{probe}\"\n"));
    room
}

/// The client gets the second address that its MAC comes to, because somebody has the first.
fn the_second_address_is_given(probe: &str, who: &str) {
    let wire = Wire::new();
    let room = room(probe);
    let daemon = Daemon::start(&wire, &room);
    let _squatter = wire.client_at(SQUATTER, "192.0.2.188");
    assert!(wire.client(CLIENT).gets_lease(&[]));
    let logged = |event: &str, address: &str| daemon.wait_for(event, |line| line.is(NAMED, event, &[address]));
    let found = logged("address_in_use", "192.0.2.188");
    assert!(found.level == "WARN" && found.field("by") == who, "{found:?}");
    logged("acknowledged", "192.0.2.133");
    let counters = ask_json(&room, "status")["counters"].clone();
    assert_eq!(counters["dhcp_probe_conflict"], 1, "{counters}");
}

#[test]
fn a_squatter_is_noticed_by_arp_and_named_and_the_client_gets_another_address() {
    the_second_address_is_given("arp", SQUATTER);
}

#[test]
fn a_squatter_is_noticed_by_a_ping_too() {
    the_second_address_is_given("ping", "");
}

#[test]
fn where_nobody_answers_the_first_address_is_given_and_others_are_served_meanwhile() {
    let wire = Wire::new();
    let daemon = Daemon::start(&wire, &room("arp"));
    let clients: Vec<_> = (1..=4)
        .map(|number| wire.client(&format!("02:bb:00:00:00:0{number}")))
        .collect();
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(move || assert!(client.gets_lease(&[])));
        }
    });
    // What each MAC comes to in the pool.
    for last in [188, 185, 151, 154] {
        let address = format!("192.0.2.{last}");
        daemon.wait_for(&address, |line| line.event == "acknowledged" && line.address == address);
    }
}
