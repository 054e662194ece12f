//! libFuzzer's way into the lines that machines log.
#![no_main]

#[path = "../syslog.rs"]
mod syslog;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    syslog::judge(input);
});
