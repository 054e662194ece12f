//! Rung 3: firmware with needs of its own, played by udhcpc, and an operator's row while it runs.

use super::daemon::Daemon;
use super::namespace::{Namespace, Wire};
use super::room::Room;

/// One of Raspberry Pi's addresses.
const PI: &str = "2c:cf:67:00:00:01";
const PI_NAME: &str = "2c-cf-67-00-00-01";
const OURS: &str = r#"
[[quirk]]
name  = "our-boards"
why   = "Boards on the bench."
match = { oui = "2c:cf:67" }
set   = { reply = "broadcast", leave_out = [97] }
"#;

/// Asks once with option 60 and option 93 (0: BIOS) as the Pi's ROM does.
fn ask(client: &Namespace) {
    let class = ["-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000"];
    assert!(client.gets_lease(&class));
}

#[test]
fn case_28_the_log_names_the_rows_of_a_raspberry_pi_and_an_operators_row_needs_no_restart() {
    let wire = Wire::new();
    let room = Room::new("");
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client(PI);
    let named = |rows: &str| {
        daemon.wait_for(rows, |line| {
            line.is(PI_NAME, "acknowledged", &[]) && line.stage == "raspberry-pi" && line.quirks == rows
        });
    };
    ask(&client);
    named("raspberry-pi-by-address,raspberry-pi-answer");
    room.write("quirks.toml", OURS);
    daemon.wait_for("the new generation", |line| {
        line.has("reloaded", &[("generation", "2")])
    });
    ask(&client);
    named("our-boards,raspberry-pi-by-address,raspberry-pi-answer");
}
