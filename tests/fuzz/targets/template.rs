//! libFuzzer's way into the judging and rendering of templates.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a panic is what is looked for")]

#[path = "../room.rs"]
#[allow(dead_code, reason = "not every target takes all of it")]
mod room;
#[path = "../template.rs"]
mod template;

use std::sync::OnceLock;

static ROOM: OnceLock<room::Room> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    template::judge(ROOM.get_or_init(template::room), input);
});
