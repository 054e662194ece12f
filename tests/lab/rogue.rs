//! Rung 3: other DHCP servers on the wire, a stranger's and our own second appliance.

use super::daemon::Daemon;
use super::namespace::Wire;
use super::proxy::OtherServer;
use super::room::Room;
use super::wire::Rack;

/// Whether it names a rogue DHCP server for that reason.
fn is_rogue(line: &super::daemon::Line, reason: &str) -> bool {
    line.event == "rogue_dhcp_server" && line.reason == reason
}

#[test]
fn a_second_dhcp_server_is_named_in_the_log_within_five_seconds_and_once() {
    let wire = Wire::new();
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    let _other = OtherServer::start(&wire, &["--no-ping"]);
    let client = wire.client("02:bb:00:00:00:01");
    let ask = || assert!(client.gets_lease(&["-B"]));
    for _ in 0..2 {
        ask();
    }
    let line = daemon.wait_for("the other server's name", |line| is_rogue(line, "overheard"));
    assert_eq!(line.level, "WARN");
    assert_eq!(line.address, OtherServer::ADDRESS);
    assert_eq!(line.field("mac"), "02:00:c0:00:02:09");
    let lines = daemon.lines();
    assert_eq!(lines.iter().filter(|line| is_rogue(line, "overheard")).count(), 1);
    let mut rogues = lines.iter().filter(|line| line.event == "rogue_dhcp_server");
    let own = rogues.find(|line| line.address != OtherServer::ADDRESS);
    assert!(own.is_none(), "our own replies were taken for another's: {own:?}");
}

#[test]
fn a_second_dhcp_server_whose_replies_nobody_overhears_is_named_by_the_machines_that_choose_it() {
    let wire = Wire::new();
    let room = Room::new("");
    // No pool, so that the machine has but one offer to choose; and no broadcast flag: the other
    // server's replies go to its clients alone.
    room.write("inventory.toml", "[[subnet]]\ncidr = \"192.0.2.0/24\"\n");
    let daemon = Daemon::start(&wire, &room);
    let _other = OtherServer::start(&wire, &["--no-ping"]);
    let client = wire.client("02:bb:00:00:00:01");
    let ask = || assert!(client.gets_lease(&[]));
    for _ in 0..2 {
        ask();
    }
    let line = daemon.wait_for("the other server's name", |line| is_rogue(line, "chosen"));
    assert_eq!(line.level, "WARN");
    assert_eq!(line.address, OtherServer::ADDRESS);
    let lines = daemon.lines();
    assert_eq!(lines.iter().filter(|line| is_rogue(line, "chosen")).count(), 1);
}

#[test]
fn a_guest_warns_of_another_server_that_tells_machines_what_to_boot() {
    let wire = Wire::new();
    let room = Room::new("");
    room.set("mode = \"dhcp\"", "mode = \"proxy\"");
    let daemon = Daemon::start(&wire, &room);
    let other = OtherServer::start(&wire, &["--no-ping"]);
    let client = wire.client("02:bb:00:00:00:01");
    let ask = || assert!(client.gets_lease(&["-B"]));
    ask();
    let is_at = |line: &super::daemon::Line, event: &str| line.has(event, &[("address", OtherServer::ADDRESS)]);
    let line = daemon.wait_for("its host", |line| is_at(line, "dhcp_server"));
    assert_eq!(line.level, "INFO");
    drop(other);
    let _other = OtherServer::start(&wire, &["--no-ping", "--dhcp-boot=pxelinux.0"]);
    ask();
    let line = daemon.wait_for("the boot server's name", |line| is_at(line, "other_boot_server"));
    assert_eq!(line.level, "WARN");
}

#[test]
fn two_appliances_with_one_inventory_give_a_reserved_host_the_same_address() {
    let inventory = "[[host]]\nname = \"r1u07\"\nmac = \"02:bb:00:00:00:07\"\naddress = \"192.0.2.11\"\n";
    let wire = Wire::new();
    let (room, twin) = (Room::new(inventory), Room::new(inventory));
    twin.set("eno2", "eth0");
    let second = wire.client_at("02:00:c0:00:02:02", "192.0.2.2");
    let first = Daemon::start(&wire, &room);
    let other = Daemon::spawn(&second, &twin);
    let serving = |line: &super::daemon::Line| line.event == "serving";
    other.wait_for("the second appliance", serving);
    let rack = Rack::new(&wire.client_at("02:00:00:00:00:fa", "192.0.2.250"));
    for _ in 0..5 {
        assert_eq!(
            rack.lease(7).map(|address| address.to_string()).as_deref(),
            Some("192.0.2.11")
        );
    }
    for appliance in [&first, &other] {
        appliance.wait_for("the same offer", |line| line.is("r1u07", "offered", &["192.0.2.11"]));
    }
    // Which of the two is taken is the client's choice; the other keeps quiet.
    let left = super::poll(super::SOON, || {
        let mut lines = first.lines();
        lines.extend(other.lines());
        lines
            .into_iter()
            .find(|line| line.is("r1u07", "chose_other_server", &[]))
    });
    assert!(left.is_some(), "{}\n{}", first.log_tail(), other.log_tail());
    // A dynamic lease is of one of the two, and the machine comes back to it.
    let dynamic = rack.lease(1).expect("a lease from one of the two");
    assert_eq!(rack.lease(1), Some(dynamic));
}
