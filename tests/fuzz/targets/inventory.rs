//! libFuzzer's way into the judging of an inventory.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a panic is what is looked for")]

#[path = "../../shared/fixtures.rs"]
mod fixtures;
#[path = "../inventory.rs"]
mod inventory;
#[path = "../room.rs"]
#[allow(dead_code, reason = "not every target takes all of it")]
mod room;

use std::sync::OnceLock;

static ROOM: OnceLock<room::Room> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    inventory::judge(ROOM.get_or_init(room::Room::new), input);
});
