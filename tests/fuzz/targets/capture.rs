//! libFuzzer's way into the reader of captures, and what is made of them.
#![no_main]
#![expect(clippy::unwrap_used, reason = "a panic is what is looked for")]

#[path = "../capture.rs"]
mod capture;
#[path = "../../shared/fixtures.rs"]
mod fixtures;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    capture::judge(input);
});
