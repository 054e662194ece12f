//! libFuzzer's way into the life of a DHCP server behind relays.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a panic is what is looked for")]

#[path = "../../shared/fixtures.rs"]
mod fixtures;
#[path = "../dhcp.rs"]
#[allow(dead_code, reason = "its own steps are another target's")]
mod dhcp;
#[path = "../input.rs"]
#[allow(dead_code, reason = "not every target takes all of it")]
mod input;
#[path = "../relay.rs"]
mod relay;
#[path = "../../pure/dhcp_conformance/support.rs"]
#[allow(dead_code, reason = "the room is shared with the conformance tests")]
mod support;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    relay::live(input);
});
