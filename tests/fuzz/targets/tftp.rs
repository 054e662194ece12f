//! libFuzzer's way into TFTP's packets and transfers.
#![no_main]

#[path = "../tftp.rs"]
mod tftp;

libfuzzer_sys::fuzz_target!(|input: &[u8]| tftp::transfer(input));
