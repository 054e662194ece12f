//! Rung 3: no addresses are given on an interface that leads to more than machines, unless that is asked for.

use super::SOON;
use super::daemon::{Daemon, Line, ask_json};
use super::namespace::Wire;
use super::room::Room;
use nix::sys::signal::Signal;
use serde_json::Value;

const CLIENT: &str = "02:bb:00:00:00:01";

fn is_warned(line: &Line) -> bool {
    line.has("default_route", &[("interface", "eno2")]) && line.level == "WARN"
}

/// The interface as `bootwright status` has it.
fn interface(room: &Room) -> Value {
    ask_json(room, "status")["interfaces"][0].clone()
}

fn route(wire: &Wire, what: &str) {
    wire.server
        .expect("ip", &["route", what, "default", "via", "192.0.2.254", "dev", "eno2"]);
}

#[test]
fn an_interface_with_the_default_route_is_refused_at_the_start_unless_it_is_meant() {
    let wire = Wire::new();
    let room = Room::new("");
    route(&wire, "add");
    let mut refused = Daemon::spawn(&wire.server, &room);
    assert_eq!(refused.wait_exit().code(), Some(1));
    let tail = refused.log_tail();
    assert!(tail.contains("eno2") && tail.contains("allow_default_route"), "{tail}");
    room.set(
        "interfaces = [\"eno2\"]",
        "interfaces = [{ name = \"eno2\", allow_default_route = true }]",
    );
    let daemon = Daemon::start(&wire, &room);
    assert!(wire.client(CLIENT).gets_lease(&[]), "{}", daemon.log_tail());
    assert!(!daemon.lines().iter().any(is_warned), "{}", daemon.log_tail());
    drop(daemon);
    // A guest gives no addresses.
    room.set("{ name = \"eno2\", allow_default_route = true }", "\"eno2\"");
    room.set("mode = \"dhcp\"", "mode = \"proxy\"");
    let daemon = Daemon::start(&wire, &room);
    daemon.wait_for("its start", |line| line.has("serving", &[("interface", "eno2")]));
}

#[test]
fn a_default_route_that_comes_later_is_told_and_takes_nobodys_server_away() {
    let wire = Wire::new();
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    route(&wire, "add");
    daemon.wait_for("the warning", is_warned);
    assert!(wire.client(CLIENT).gets_lease(&[]), "{}", daemon.log_tail());
    assert_eq!(daemon.lines().iter().filter(|line| is_warned(line)).count(), 1);
}

#[test]
fn an_interface_that_comes_with_the_default_route_is_served_once_that_is_gone() {
    let wire = Wire::new();
    let room = Room::new("");
    let server = &wire.server;
    let _client = wire.client(CLIENT);
    server.expect("ip", &["link", "set", "eno2", "down"]);
    server.expect("ip", &["link", "set", "eno2", "name", "away"]);
    let daemon = Daemon::start(&wire, &room);
    // A route needs an interface that is up, which can't be renamed: the daemon sees both in one moment.
    daemon.signal(Signal::SIGSTOP);
    server.expect("ip", &["link", "set", "away", "name", "eno2"]);
    server.expect("ip", &["link", "set", "eno2", "up"]);
    route(&wire, "add");
    daemon.signal(Signal::SIGCONT);
    // Until it has seen that, it says that there is no such interface.
    let is_named = || {
        let now = interface(&room);
        let problem = now["problem"].as_str().unwrap_or_default();
        problem.contains("allow_default_route").then_some(())
    };
    assert!(
        super::poll(SOON, is_named).is_some(),
        "{}\n{}",
        interface(&room),
        daemon.log_tail()
    );
    daemon.wait_for("the refusal", is_warned);
    route(&wire, "del");
    let served = super::poll(SOON, || interface(&room)["problem"].is_null().then_some(()));
    assert!(served.is_some(), "{}\n{}", interface(&room), daemon.log_tail());
}
