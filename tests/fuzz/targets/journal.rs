//! libFuzzer's way into the store's journal.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a panic is what is looked for")]

#[path = "../input.rs"]
#[allow(dead_code, reason = "not every target takes all of it")]
mod input;
#[path = "../journal.rs"]
mod journal;

use std::sync::OnceLock;

static DISK: OnceLock<journal::Disk> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    DISK.get_or_init(journal::Disk::new).live(input);
});
