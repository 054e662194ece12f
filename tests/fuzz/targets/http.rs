//! libFuzzer's way into the HTTP server.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a panic is what is looked for")]

#[path = "../../shared/fixtures.rs"]
mod fixtures;
#[path = "../http.rs"]
#[allow(dead_code, reason = "what it counts is looked at where the corpus is replayed")]
mod http;
#[path = "../room.rs"]
#[allow(dead_code, reason = "not every target takes all of it")]
mod room;
#[path = "../template.rs"]
#[allow(dead_code, reason = "its inventory is this one's too")]
mod template;

use std::sync::OnceLock;

static SERVER: OnceLock<http::Appliance> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    SERVER.get_or_init(http::Appliance::start).ask(input);
});
